"""Static encoders: from texts, or from their tokens, to vectors, against model2vec and
sentence-transformers on the same table.

Every contender runs on one thread, except model2vec's two, where that is its best setting. Ours is
measured twice: with no word remembered when a run begins, as a worker's first batches are, and with
all of them, as its last ones nearly are.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from infra.weights.folders import weights_folder
from shardrank.core.arrays import Float32, Int32
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text.word_rules import WordRule, word_rule
from shardrank.models.text.words import WordMemory
from tests.bench.harness import Benchmark, Contender, Duel, fastest
from tests.bench.texts import documents

NEW, MET, OURS = "shardrank, words new", "shardrank, words met", "shardrank"
LIBRARY, MODEL2VEC, BAG = "sentence-transformers", "model2vec", "torch EmbeddingBag"
BATCHES = (32, 256, 1_024, 8_192)
WIDTH = 256
#: Largest difference of a component of two normalised vectors: sums of float32 in other orders.
TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Task:
    """A table, as every contender has it, and documents that have no unknown token, which
    model2vec leaves out of a mean and sentence-transformers does not.
    """

    folder: Path
    rows: Float32
    tokeniser: Tokenizer
    texts: list[str]

    @property
    def library(self) -> SentenceTransformer:
        return SentenceTransformer(str(self.folder), device="cpu")

    @property
    def ours(self) -> BiEncoder:
        return load_encoder(EncoderSettings(model=str(self.folder)), "cpu")


def wordpiece(folder: Path) -> Benchmark:
    """Random rows for the 30,522 tokens of bert-base-uncased."""
    tokeniser = Tokenizer.from_file(str(resolve_model("embedded", None) / "tokenizer.json"))
    random = np.random.default_rng(0)
    rows = random.standard_normal((tokeniser.get_vocab_size(), WIDTH), dtype=np.float32)
    return _texts("WordPiece", _task(folder / "wordpiece", tokeniser, rows))


def llama(folder: Path) -> Benchmark:
    """The table of wordllama, which `make weights` puts into the cache."""
    return _texts("Llama's BPE", _real(folder))


def tokens(folder: Path) -> Benchmark:
    """wordllama's again, from the tokens that an index stores."""
    task = _real(folder)
    lists = [spans.ids for spans in task.ours.tokeniser.encode(task.texts)]
    contenders = [
        Contender(BAG, _bag(task, lists), None),
        Contender(OURS, partial(task.ours.encode_ids, lists), TOLERANCE),
    ]
    duels = [Duel(OURS, BAG, floor=0.8, goal=1)]
    if find_spec("model2vec"):
        given = _model2vec(task, [each.tolist() for each in lists])
        contenders.append(Contender(MODEL2VEC, given, TOLERANCE))
        duels.append(Duel(OURS, MODEL2VEC, floor=2, goal=5))
    name = "static, Llama's BPE, from tokens"
    return Benchmark(name, "documents", len(lists), contenders, duels, furthest)


def furthest(wanted: Float32, found: Float32) -> float:
    """The largest difference of a component."""
    return float(np.abs(wanted - found).max())


def has_real_table() -> bool:
    """Whether `make weights` was run."""
    return (weights_folder() / "wordllama" / "model.safetensors").is_file()


def _real(folder: Path) -> Task:
    source = weights_folder() / "wordllama"
    rows = load_file(source / "model.safetensors")["embedding.weight"].astype(np.float32)
    return _task(folder / "llama", Tokenizer.from_file(str(source / "tokenizer.json")), rows)


def _task(folder: Path, tokeniser: Tokenizer, rows: Float32) -> Task:
    tokeniser.no_truncation()
    tokeniser.no_padding()
    table = StaticEmbedding(tokeniser, embedding_weights=rows)
    SentenceTransformer(modules=[table], device="cpu").save(str(folder))
    unknown = tokeniser.token_to_id(tokeniser.model.unk_token)
    texts = documents(1_000_000)
    found = tokeniser.encode_batch(texts, add_special_tokens=False)
    known = [text for text, each in zip(texts, found, strict=True) if unknown not in each.ids]
    return Task(folder, rows, tokeniser, known)


def _texts(kind: str, task: Task) -> Benchmark:
    peers = [_library(task, batch) for batch in BATCHES]
    if find_spec("model2vec"):
        peers += [
            Contender(f"{MODEL2VEC}, batch {batch}{', 2 threads' * threads}", run, TOLERANCE)
            for batch in BATCHES[1:]
            for threads in (False, True)
            for run in [_model2vec(task, task.texts, batch, threads)]
        ]
    else:
        print(f"{MODEL2VEC} is not measured: it is absent, and `make bench` installs it.")
    best = fastest(peers)
    contenders = [peers[0], best, *_ours(task)]
    gc.freeze()  # or each would look through torch's objects now and then, and pay by lot
    pairs = product((NEW, MET), (best, peers[0]))
    duels = [Duel(who, peer.name, floor=2, goal=5) for who, peer in pairs]
    name = f"static, {kind}, from texts"
    return Benchmark(name, "documents", len(task.texts), contenders, duels, furthest)


def _ours(task: Task) -> list[Contender]:
    rule, encoder = word_rule(task.tokeniser), task.ours
    assert rule is not None
    return [
        Contender(NEW, partial(_all_new, encoder, rule, task.texts), TOLERANCE),
        Contender(MET, partial(_met, encoder, task.texts), TOLERANCE),
    ]


def _all_new(encoder: BiEncoder, rule: WordRule, texts: Sequence[str]) -> Float32:
    """As `_met`, by a tokeniser that was never asked."""
    spans = WordMemory(rule).encode(texts)
    missing = [text for text, span in zip(texts, spans, strict=True) if span is None]
    rest = iter(encoder.tokeniser.encode(missing))
    return encoder.encode_ids([(span or next(rest)).ids for span in spans])


def _met(encoder: BiEncoder, texts: Sequence[str]) -> Float32:
    return encoder.encode_ids([spans.ids for spans in encoder.tokeniser.encode(texts)])


def _library(task: Task, batch: int) -> Contender:
    how = {"batch_size": batch, "normalize_embeddings": True, "show_progress_bar": False}
    run = partial(task.library.encode, task.texts, **how)
    return Contender(f"{LIBRARY}, batch {batch}", run, TOLERANCE)


def _model2vec(
    task: Task, given: Sequence[Any], batch: int = 1_024, threads: bool = False
) -> Callable[[], Any]:
    """Of texts, or of lists of tokens."""
    from model2vec import StaticModel

    class OfTokens(StaticModel):  # type: ignore[misc]  # not installed where types are checked
        def tokenize(self, sentences: Any) -> Any:
            return sentences

    kind = StaticModel if isinstance(given[0], str) else OfTokens
    model = kind(task.rows, task.tokeniser, normalize=True, max_length=None)
    how = {"use_multiprocessing": threads, "multiprocessing_threshold": 0}
    return partial(model.encode, given, batch_size=batch, **how)


def _bag(task: Task, lists: Sequence[Int32]) -> Callable[[], Any]:
    """What sentence-transformers calls once it has tensors, and normalises; these are made faster
    here than there, where they pass through a list of Python's numbers.
    """
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(task.rows))

    def run() -> Any:
        flat = torch.from_numpy(np.concatenate(lists))
        sizes = np.fromiter(map(len, lists), np.int32, len(lists))
        begins = torch.from_numpy(np.cumsum(sizes, dtype=np.int32) - sizes)
        with torch.inference_mode():
            return torch.nn.functional.normalize(bag(flat, begins)).numpy()

    return run
