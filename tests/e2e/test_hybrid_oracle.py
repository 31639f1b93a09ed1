"""Hybrid runs against plain Python (tests/hybrid.py), after nights that add, change and delete.

Vectors are small integers made from words, so dense scores are exact and ties abound. What each
retriever found is held against the contract, and what was fused against what they found; passages
that are reranked show that a hit's part and row are those of its passage.
"""

import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Float32, Int32
from shardrank.core.cards import EncoderCard
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.overrides import parse_settings
from shardrank.core.pools import Resources
from shardrank.core.protocols import PairScores
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.core.settings import Settings
from shardrank.flows.compact import compact_index, own_settings
from shardrank.flows.index import index
from shardrank.flows.index_plan import plan_indexing
from shardrank.flows.rank import rank
from shardrank.flows.rank_plan import plan_ranking
from shardrank.models.folder.layout import CLASSIFIES, read_layout
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from shardrank.stages.run.inline import Inline
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.runner import Context
from shardrank.stages.run.watch import Watch
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import Published
from shardrank.storage.local import LocalStorage
from tests.hybrid import (
    Bm25Oracle,
    Documents,
    Fusing,
    Hit,
    Words,
    check_fused,
    check_list,
    close,
    lists_of,
)
from tests.world import VOCABULARY, write_lines

MAX_TOKENS = 16
ROOM = MAX_TOKENS - 2
DIM = 4
NAN = "flutter"  # a word that breaks the first encoder's vector
STOPS = ("is", "a")  # of which the second is no word of BM25 in any case
PLAIN = ("wing", "flow", "heat", "shock", "Wave", "PLATE")
RARE = ("nozzle", "drag")
UNKNOWN = "zzz"  # to the models too
IDS = ("10", "9", "B", "a", "b", "é", "\uffe5", "😀")


# The numbers that the stubs and the oracle agree on.


def vector(words: Words, name: str) -> Float32:
    """Of passages and queries by the encoder of this name."""
    total = _sum(words) * (1 if name == "dense" else 3)
    values = np.array([(total * (d + 2) + d) % 5 - 2 for d in range(DIM)], np.float32)
    if NAN in words and name == "dense":
        values[0] = float("nan")
    return values


def logit(query: Words, passage: Words) -> float:
    return (3 * _sum(query) + _sum(passage)) % 11 - 5


def _sum(words: Words) -> int:
    return sum(VOCABULARY.index(w.lower()) for w in words if w.lower() in VOCABULARY)


class Stub:
    """Both models: words out of ids, numbers out of words."""

    def __init__(self, tokeniser: FastTokeniser, name: str, card: EncoderCard | None) -> None:
        self.tokeniser, self.card, self.dim, self.prompt = tokeniser, card, DIM, ""
        self._name = name

    def encode_ids(self, ids: Sequence[Int32]) -> Float32:
        """As an encoder does, it cuts what is too long."""
        rows = [vector(self._words(row)[:ROOM], self._name) for row in ids]
        return np.array(rows, np.float32).reshape(-1, DIM)

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        return np.array([vector(text.split(), self._name) for text in texts], np.float32)

    def score(
        self, queries: Sequence[Int32], passages: Sequence[Int32], left: Int32, right: Int32
    ) -> PairScores:
        pairs = zip(left, right, strict=True)
        logits = [logit(self._words(queries[i]), self._words(passages[j])) for i, j in pairs]
        return PairScores(np.array(logits, np.float32), np.zeros(len(logits), np.bool_))

    def _words(self, ids: Int32) -> list[str]:
        return [self.tokeniser._backend.id_to_token(int(i)) for i in ids]


@pytest.fixture(scope="module", autouse=True)
def stubbed(inline: pytest.MonkeyPatch, models: tuple[Path, Path]) -> Iterator[None]:
    """Both models replaced; no report is drawn."""

    def encoder(wanted: EncoderSettings, device: str, planned: EncoderCard) -> Stub:
        return Stub(load_tokeniser(read_layout(models[0])), wanted.name, planned)

    def reranker(wanted: RerankerSettings, device: str, fingerprint: str) -> Stub:
        return Stub(load_tokeniser(read_layout(models[1], CLASSIFIES, plain=True)), "", None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.models.encoders.dense.load_encoder", encoder)
        patch.setattr("shardrank.models.rerankers.cross.load_reranker", reranker)
        patch.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
        yield


# Cases.


@dataclass(frozen=True)
class Row:
    """A source row; `gone`: its document is deleted."""

    doc_id: str
    title: list[str]
    text: list[str]
    gone: bool = False

    def line(self) -> dict[str, Any]:
        texts = {"title": " ".join(self.title), "text": " ".join(self.text)}
        return {"_id": self.doc_id, **texts, "gone": self.gone}


@dataclass(frozen=True)
class Asked:
    """A retriever: its name, index, and how it looks."""

    name: str
    index: str
    k: int
    k1: float = 1.5
    b: float = 0.75

    def table(self) -> dict[str, Any]:
        told = {"name": self.name, "index": self.index, "k": self.k}
        return told | ({"k1": self.k1, "b": self.b} if self.index == "bm25" else {})


@dataclass(frozen=True)
class Case:
    """Two nights, queries, retrievers, and every setting that may not change the answer."""

    first: list[Row]
    second: list[Row]
    mode: str
    queries: list[list[str]]
    asked: list[Asked]
    fusing: Fusing
    stop_words: str
    k: int
    depth: int
    ignore_same_id: bool
    excluded: list[str]
    overlap: int
    part_size: int
    shard_passages: int
    fold: int
    max_deleted: float
    block_queries: int

    def name(self, number: int) -> str:
        """A query's id, which the first documents may have, too."""
        return IDS[number] if number < len(IDS) else f"q{number}"

    def left_out(self, number: int) -> list[str]:
        """What a query excludes: each its own share."""
        return self.excluded[number % 3 :]


_word = st.sampled_from([*PLAIN, *PLAIN, *STOPS, *RARE])
_text = st.lists(_word, min_size=1, max_size=32)
_stops = st.lists(st.sampled_from(STOPS), min_size=1, max_size=3)
_rows = st.builds(
    Row,
    st.sampled_from(IDS),
    st.lists(_word, max_size=3),
    st.one_of(_text, _text, _text, _stops, st.just(["wing", NAN])),
    st.sampled_from([False, False, False, True]),
)
_query = st.lists(st.sampled_from([*PLAIN, *PLAIN, *STOPS, *RARE, UNKNOWN]), min_size=1, max_size=5)
_worths = st.sampled_from([0.0, 0.9, 1.5, 3.0])
_bm25 = st.builds(
    Asked, st.just(""), st.just("bm25"), st.integers(1, 9), _worths, st.sampled_from([0, 0.4, 1])
)
_dense = st.builds(Asked, st.just(""), st.sampled_from(["dense", "other"]), st.integers(1, 9))
_asked = st.one_of(
    st.tuples(_bm25), st.tuples(_bm25, _dense), st.tuples(_dense, _bm25, st.one_of(_bm25, _dense))
)


def _named(asked: Sequence[Asked]) -> list[Asked]:
    """By names of their own; one is called as its index is."""
    return [replace(each, name=each.index if not n else f"r{n}") for n, each in enumerate(asked)]


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    asked = draw(_asked.map(_named))
    weights = st.lists(st.sampled_from([0.25, 1.0, 2.0]), min_size=len(asked), max_size=len(asked))
    fusing = st.builds(
        Fusing,
        st.sampled_from(["rrf", "scores"]),
        st.sampled_from(["min-max", "z"]),
        st.none() | weights.map(tuple),
        st.sampled_from([0, 60]),
    )
    return Case(
        first=draw(st.lists(_rows, max_size=14)),
        second=draw(st.lists(_rows, max_size=8)),
        mode=draw(st.sampled_from(["snapshot", "upsert"])),
        queries=draw(st.lists(_query, min_size=1, max_size=6)),
        asked=asked,
        fusing=draw(fusing),
        stop_words=draw(st.sampled_from(["english", "none"])),
        k=draw(st.integers(1, 12)),
        depth=draw(st.integers(1, 4)),
        ignore_same_id=draw(st.booleans()),
        excluded=draw(st.lists(st.sampled_from(IDS), max_size=4)),
        overlap=draw(st.integers(0, 4)),
        part_size=draw(st.integers(1, 6)),
        shard_passages=draw(st.integers(1, 12)),
        fold=draw(st.sampled_from([2, 8])),
        max_deleted=draw(st.sampled_from([0.2, 0.99, 0.99])),
        block_queries=draw(st.integers(1, 4)),
    )


# The oracle.

SENTINEL = Row("sentinel", [], ["wing", "is"])


def documents(case: Case) -> dict[str, list[list[str]]]:
    """The passages of each document after both nights."""
    found = _live(case, {}, [SENTINEL, *case.first], "snapshot")
    return _live(case, found, [SENTINEL, *case.second], case.mode)


def _live(
    case: Case, before: dict[str, list[list[str]]], rows: list[Row], mode: str
) -> dict[str, list[list[str]]]:
    """A row whose vector is broken changes nothing in an upsert; in a snapshot it is gone."""
    found = dict(before) if mode == "upsert" else {}
    for row in {row.doc_id: row for row in rows}.values():
        cut = _cut(row, case.overlap)
        if row.gone:
            found.pop(row.doc_id, None)
        elif not any(NAN in passage[:ROOM] for passage in cut):
            found[row.doc_id] = cut
    return found


def _cut(row: Row, overlap: int) -> list[list[str]]:
    whole = row.title + row.text
    if len(whole) <= ROOM:
        return [whole]
    room = ROOM - len(row.title)
    starts = range(0, len(row.text) - room, room - overlap)
    windows = [row.text[start : start + room] for start in starts]
    return [row.title + window for window in [*windows, row.text[-room:]]]


def scores(
    asked: Asked, stop_words: str, query: Words, live: Documents, passed_over: Sequence[str]
) -> dict[str, list[float]]:
    """What a retriever may find: the scores of each document's passages."""
    score = partial(_dense, asked.index, query)
    if asked.index == "bm25":
        score = partial(_counted, Bm25Oracle(live, stop_words, asked.k1, asked.b), query)
    kept = ((doc, cut) for doc, cut in live.items() if doc not in passed_over)
    return {doc: [score(passage) for passage in cut] for doc, cut in kept}


def _dense(name: str, query: Words, passage: Words) -> float:
    return float(vector(query, name) @ vector(passage[:ROOM], name))


def _counted(bm25: Bm25Oracle, query: Words, passage: Words) -> float:
    """Without a word in common there is no hit."""
    return bm25.score(query, passage) or -math.inf


# The system under test.


def settings_of(case: Case, models: tuple[Path, Path]) -> Settings:
    encoder = {"model": str(models[0]), "dim": DIM}
    tables: dict[str, Any] = {
        "corpus": {"tombstone": "gone"},
        "passages": {
            "max_tokens": MAX_TOKENS,
            "overlap": case.overlap,
            "part_size": case.part_size,
        },
        "encoder": [
            encoder,
            {"family": "bm25", "stop_words": case.stop_words},
            encoder | {"name": "other", "stored": "fp32"},
        ],
        "index": [{"kind": "exact"}, {"of": "bm25", "shard_passages": case.shard_passages}],
        "gate": {
            "max_deleted": 1,
            "max_change": 100,
            "max_changed": 1,
            "max_rejected": 1,
            "min_spread": 0,
        },
        "compact": {"fold": case.fold, "max_deleted": case.max_deleted},
        "search": {
            "k": case.k,
            "block_queries": case.block_queries,
            "ignore_same_id": case.ignore_same_id,
            "exclude": "not" if case.excluded else None,
        },
        "retriever": [each.table() for each in case.asked],
        "fusion": {
            "how": case.fusing.how,
            "norm": case.fusing.norm,
            "rank_constant": case.fusing.rank_constant,
            "weights": case.fusing.weights,
        },
        "reranker": {"model": str(models[1]), "depth": case.depth, "interpolation": 1.0},
    }
    return parse_settings(tables, [])


def workspace(folder: Path) -> Workspace:
    return Workspace(LocalStorage(str(folder)))


def context(folder: Path, run: str, wanted: Settings) -> Context:
    return Context(workspace(folder), run, wanted, Inline(Resources(2)), Watch(Silent()))


def run_index(root: Path, rows: Sequence[Row], mode: str, wanted: Settings) -> Published:
    corpus = write_lines(root / "corpus.jsonl", (row.line() for row in rows))
    plan = plan_indexing(corpus, workspace(root / "index"), mode, wanted)  # type: ignore[arg-type]
    return index(context(root / "index", plan.run, plan.settings), plan)


def run_compact(root: Path, base: Published, wanted: Settings) -> Published:
    return compact_index(context(root / "index", "c", own_settings(base, wanted)), base, wanted)


def run_rank(root: Path, out: str, case: Case, wanted: Settings) -> pa.Table:
    rows = [{"_id": case.name(n), "text": " ".join(w)} for n, w in enumerate(case.queries)]
    if case.excluded:
        rows = [row | {"not": case.left_out(n)} for n, row in enumerate(rows)]
    path = write_lines(root / "queries.jsonl", rows)
    plan = plan_ranking(workspace(root / "index"), path, None, wanted)
    rank(context(root / out, plan.run, plan.settings), plan)
    return pa.concat_tables(pq.read_table(p) for p in sorted((root / out / "rankings").iterdir()))


# What must hold.


def check(case: Case, live: Documents, lists: dict[str, list[list[Hit]]], table: pa.Table) -> None:
    rows = table.to_pylist()
    assert [row["query_id"] for row in rows] == sorted(
        (row["query_id"] for row in rows), key=[*lists].index
    )
    for number, query in enumerate(case.queries):
        query_id = case.name(number)
        mine = [row for row in rows if row["query_id"] == query_id]
        passed_over = [*case.left_out(number), *[query_id] * case.ignore_same_id]
        for asked, found in zip(case.asked, lists[query_id], strict=True):
            k = asked.k if len(case.asked) > 1 else min(asked.k, case.k)
            check_list(found, scores(asked, case.stop_words, query, live, passed_over), k)
        retrieved = sorted(mine, key=lambda row: row["retrieval_rank"])
        hits = [Hit(r["doc_id"], r["passage"], r["retrieval_score"]) for r in retrieved]
        if len(case.asked) > 1:
            check_fused(hits, lists[query_id], case.fusing, case.k)
        else:
            assert [hits] == lists[query_id]
        check_reranked(case, query, live, mine)


def check_reranked(case: Case, query: Words, live: Documents, rows: list[dict[str, Any]]) -> None:
    """Ranks count from 1, and the reranker saw the passage that the row names."""
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert sorted(row["retrieval_rank"] for row in rows) == [row["rank"] for row in rows]
    for row in rows:
        reranked = row["retrieval_rank"] <= case.depth
        wanted = logit(query, live[row["doc_id"]][row["passage"]]) if reranked else None
        assert row["rerank_score"] == wanted
        assert not reranked or close(row["score"], row["rerank_score"])


def live_through(case: Case, root: Path, models: tuple[Path, Path]) -> Published:
    """The version after both nights, of which all that must hold is checked."""
    wanted, live = settings_of(case, models), documents(case)
    run_index(root, [SENTINEL, *case.first], "snapshot", wanted)
    base = run_index(root, [SENTINEL, *case.second], case.mode, wanted)
    passages = sum(map(len, live.values()))
    counts = base.version.indexes["bm25"].counts
    assert counts
    assert (base.version.live.documents, base.version.live.passages) == (len(live), passages)
    words = Bm25Oracle(live, case.stop_words, 1, 1).words
    assert (counts.passages, counts.words) == (passages, words)
    table = run_rank(root, "out", case, wanted)
    check(case, live, lists_of(root / "out"), table)
    compacted = run_compact(root, base, wanted)
    assert all(part.deleted is None for part in compacted.version.parts)
    assert run_rank(root, "compacted", case, wanted).equals(table)
    return base


def long_documents(**changes: Any) -> Case:
    """Of many passages each, in which the retrievers do not agree; some are deleted from parts and
    shards that stay."""
    rng = random.Random(3)
    rows = [Row(doc_id, [], rng.choices((*PLAIN, *RARE, *STOPS), k=32)) for doc_id in IDS]
    case = Case(
        first=rows,
        second=[*rows[1:5], *rows[6:], Row("new", ["heat"], ["flow", "heat", "nozzle"])],
        mode="snapshot",
        queries=[rng.sample((*PLAIN, *RARE), 3) for _ in range(6)],
        asked=[Asked("dense", "dense", 8), Asked("words", "bm25", 8), Asked("o", "other", 4)],
        fusing=Fusing("rrf", weights=(1.0, 3.0, 0.5)),
        stop_words="english",
        k=10,
        depth=4,
        ignore_same_id=True,
        excluded=[IDS[1], IDS[4]],
        overlap=2,
        part_size=9,
        shard_passages=18,
        fold=8,
        max_deleted=0.99,
        block_queries=1,
    )
    return replace(case, **changes)


def test_the_passage_is_that_of_the_best_rank(tmp_path: Path, models: tuple[Path, Path]) -> None:
    case = long_documents()
    base = live_through(case, tmp_path, models)
    assert any(part.deleted for part in base.version.parts)
    found = lists_of(tmp_path / "out").values()
    passages = [{hit.doc_id: hit.passage for hit in hits} for one in found for hits in one[:2]]
    pairs = zip(passages[::2], passages[1::2], strict=True)
    assert any(one[doc] != other.get(doc, one[doc]) for one, other in pairs for doc in one)


def test_the_layout_changes_no_byte(tmp_path: Path, models: tuple[Path, Path]) -> None:
    """Parts, shards, folds and query blocks cut the work, never the answer."""
    found = []
    for part_size, shard_passages, fold, block in [(1, 1, 8, 1), (3, 5, 2, 2), (9, 99, 2, 9)]:
        case = long_documents(
            fusing=Fusing("scores", "z"),
            part_size=part_size,
            shard_passages=shard_passages,
            fold=fold,
            block_queries=block,
        )
        root = tmp_path / str(part_size)
        root.mkdir()
        wanted = settings_of(case, models)
        run_index(root, [SENTINEL, *case.first], "snapshot", wanted)
        run_index(root, [SENTINEL, *case.second], case.mode, wanted)
        found.append(run_rank(root, "out", case, wanted))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


@given(case=_cases())
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_hybrid_is_what_plain_python_gives(models: tuple[Path, Path], case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        live_through(case, Path(folder), models)


@pytest.mark.slow
@given(case=_cases())
@settings(
    max_examples=400,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_many_hybrids_are_what_plain_python_gives(models: tuple[Path, Path], case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        live_through(case, Path(folder), models)
