"""What codes of one or two bits find of the vectors that they are of, and what that is worth; and
beside them codes of -1, 0 and 1, which fill two bits too and are not among the library's.

python -m tests.bench.bit_quality DATA/cranfield [DATA/...]
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.arrow_columns import vector_column
from shardrank.core.bit_codes import BitsCodec
from shardrank.core.bits_settings import Asked, BitsSettings, Rotation
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.text import passage_text
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.binary import BinaryShard
from shardrank.index.list_major import rounded
from shardrank.kernels.rotation_loops import along, centred
from shardrank.models.encoders.bit_cards import sampled_vectors
from shardrank.models.encoders.bit_fitting import fit_bits
from shardrank.models.encoders.bits import BitEncoder
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.forward.products import int8_product
from tests.bench.beir import Collection

#: nDCG counts so many; recall of exact search as many as are searched for.
FIRST, K = 10, 100
DEPTHS = (100, 200, 400, 800)
ROTATIONS: tuple[Rotation, ...] = ("none", "random", "itq")
ASKED: tuple[Asked, ...] = ("codes", "vectors")


@dataclass(frozen=True, eq=False)
class Task:
    """Vectors of a collection's documents, as they are stored, and of its judged queries, and what
    each judged document is worth to each of these."""

    documents: Float32
    queries: Float32
    gains: Float32

    @classmethod
    def of(cls, collection: Collection) -> "Task":
        lines = collection.corpus().read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        texts = {r["_id"]: passage_text(r.get("title", ""), r["text"]) for r in rows}
        asked = map(json.loads, collection.queries.read_text("utf-8").splitlines())
        judged = {j.query_id for j in collection.judgements}
        questions = {r["_id"]: r["text"] for r in asked if r["_id"] in judged}
        gains = np.zeros((len(questions), len(texts)), np.float32)
        places = [{name: n for n, name in enumerate(names)} for names in (questions, texts)]
        for j in collection.judgements:
            if j.query_id in places[0] and j.doc_id in places[1]:
                gains[places[0][j.query_id], places[1][j.doc_id]] = max(0, j.relevance)
        encoder = load_encoder(EncoderSettings(), "cpu")
        spans = encoder.tokeniser.encode(list(texts.values()))
        vectors = encoder.encode_ids([each.ids for each in spans])
        stored = vectors.astype(np.float16).astype(np.float32)
        return cls(stored, encoder.encode_queries(list(questions.values())), gains)

    def exact(self) -> Int64:
        """int64[q, n]: all documents, nearest first."""
        scores = self.queries @ self.documents.T
        return np.argsort(-scores, axis=1, kind="stable")

    def ndcg(self, ranked: Int64) -> float:
        """nDCG@10 of int64[q, ≥ 10]."""
        weights = 1 / np.log2(np.arange(FIRST) + 2)
        found = np.take_along_axis(self.gains, ranked[:, :FIRST], axis=1) @ weights
        best = -np.sort(-self.gains, axis=1)[:, :FIRST] @ weights
        return float((found / np.where(best > 0, best, 1)).mean())

    def refined(self, found: Int64) -> Int64:
        """The K best candidates by their vectors."""
        scores = np.einsum("qd,qkd->qk", self.queries, self.documents[found])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        return np.take_along_axis(found, order, axis=1)


def recall(exact: Int64, found: Int64) -> float:
    """The share of the first K that were found among the first K."""
    both = zip(exact[:, :K], found[:, :K], strict=True)
    return float(np.mean([np.isin(wanted, mine).mean() for wanted, mine in both]))


@dataclass(frozen=True, eq=False)
class Ternary:
    """Codes of -1, 0 and 1: the sign of a component of y = R(x - m) where it is beyond a threshold.

    Of each component the threshold is the one whose codes are most like it, by the cosine of both
    over the sample, and the step that its codes are multiplied by is the mean beyond it.
    """

    made: BitsCodec
    thresholds: Float32
    steps: Float32

    @classmethod
    def of(cls, sample: Float32, rotation: Rotation) -> "Ternary":
        made = BitsCodec.of(fit_bits(sample, BitsSettings(bits=1, rotation=rotation)))
        sizes = -np.sort(-np.abs(centred(sample, made.mean, made.axes)), axis=0)
        beyond = np.arange(1, len(sizes) + 1)[:, None]
        sums = np.cumsum(sizes, axis=0, dtype=np.float64)
        best = np.argmax(sums / np.sqrt(beyond), axis=0)[None]
        last, first = (np.take_along_axis(sizes, n, axis=0)[0] for n in (best, best + 1))
        steps = np.take_along_axis(sums / beyond, best, axis=0)[0].astype(np.float32)
        return cls(made, (last + first) / 2, steps)

    @property
    def code_bytes(self) -> int:
        """Of two planes of bits: signs, and which are not 0."""
        return 2 * self.made.code_bytes

    def codes(self, turned: Float32) -> Float32:
        return np.sign(turned) * (np.abs(turned) > self.thresholds)

    def found(self, task: Task, asked: str) -> Int64:
        """The documents int64[q, depth] whose codes are nearest."""
        codes = self.codes(centred(task.documents, self.made.mean, self.made.axes))
        axes = self.made.axes
        turned = task.queries if axes is None else along(task.queries, axes)
        if asked == "vectors":
            own = rounded(turned * self.steps).astype(np.float32)
        else:
            longer = np.linalg.norm(self.made.steps) / np.linalg.norm(turned, axis=1, keepdims=True)
            own = self.codes(turned * longer)
        return np.argsort(-(own @ codes.T), axis=1, kind="stable")[:, : DEPTHS[-1]]


def rows(task: Task) -> Iterator[tuple[Any, ...]]:
    """For each way its bytes a passage, and `figures`."""
    exact = task.exact()
    yield "vectors, fp16", 2 * task.documents.shape[1], task.ndcg(exact), 1.0, *[1.0] * len(DEPTHS)
    generator = np.random.default_rng(0)
    count = min(len(task.documents), sampled_vectors(task.documents.shape[1]))
    sample = task.documents[generator.permutation(len(task.documents))[:count]]
    for bits, rotation, asked in product((1, 2), ROTATIONS, ASKED):
        settings = BitsSettings(bits=bits, rotation=rotation, asked=asked)
        codec = BitsCodec.of(fit_bits(sample, settings))
        codes = BitEncoder("bits", codec).column(vector_column(task.documents))
        shard = BinaryShard(codec, [codes], CompiledSelector(int8_product))
        name = f"{bits} bit{'s' * (bits > 1)}, rotation {rotation}, {asked} asked"
        found = shard.search(task.queries, 1, DEPTHS[-1])
        yield name, codec.code_bytes, *figures(task, exact, found)
    for rotation, asked in product(ROTATIONS, ASKED):
        ternary = Ternary.of(sample, rotation)
        name = f"-1, 0, 1, rotation {rotation}, {asked} asked"
        yield name, ternary.code_bytes, *figures(task, exact, ternary.found(task, asked))


def figures(task: Task, exact: Int64, found: Int64) -> Iterator[float]:
    """nDCG@10 and recall by codes alone, and recall of what is refined of each depth."""
    yield task.ndcg(found)
    yield recall(exact, found)
    for depth in DEPTHS:
        yield recall(exact, task.refined(found[:, :depth]))


def main() -> None:
    """Print a table for each collection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collections", type=Path, nargs="+")
    for folder in parser.parse_args().collections:
        print(f"{folder.name}: | bytes | nDCG@10 | recall@{K} | of depths {DEPTHS}")
        for name, size, *figures in rows(Task.of(Collection(folder, folder))):
            shown = " | ".join(f"{figure:.4f}" for figure in figures)
            print(f"| {name} | {size} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
