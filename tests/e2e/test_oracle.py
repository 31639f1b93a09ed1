"""Whole flows against a brute-force computation, written here from the contract alone.

Vectors and logits are small integers made from words, so arithmetic is exact and ties abound.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Float32, Int32
from shardrank.core.cards import EncoderCard
from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.overrides import parse_settings
from shardrank.core.pools import Resources
from shardrank.core.protocols import PairScores
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.core.schemas import RANKINGS
from shardrank.core.settings import Settings
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
from tests.tiny_models import tiny_reranker
from tests.world import VOCABULARY, write_lines

MAX_TOKENS = 16
ROOM = MAX_TOKENS - 2
DIM = 4
NAN, HUGE = "flutter", "buckling"  # words that break a vector: always, and where stored as fp16
PLAIN = ("wing", "flow", "heat", "shock", "wave", "plate", "lift")
# In the order of UTF-8 bytes, which is neither that of UTF-16 nor that of any locale.
IDS = ("10", "9", "B", "a", "b", "é", "\uffe5", "😀")

Words = list[str]


@dataclass(frozen=True)
class Row:
    """A source row: `kind` says whether and how it is bad."""

    kind: str
    doc_id: str
    title: Words
    text: Words

    def line(self) -> Any:
        good = {"_id": self.doc_id, "title": " ".join(self.title), "text": " ".join(self.text)}
        bad = {
            "malformed_json": '{"_id": "x", "text": ',
            "missing_id": {"text": "wing"},
            "empty_text": good | {"text": "  "},
            "id_has_whitespace": good | {"_id": "a b"},
            "no_tokens": good | {"title": "", "text": "\x01\x02"},
        }
        return bad.get(self.kind, good)


@dataclass(frozen=True)
class Case:
    """A corpus, queries, and every setting that may or may not change the answer."""

    rows: list[Row]
    queries: list[Words]
    split: bool
    overlap: int
    stored: str
    k: int
    rerank: str
    depth: int
    interpolation: float
    broken_logits: bool
    part_size: int
    spare: int
    block_queries: int
    slice_bytes: int
    own_ids: bool = False
    ignore_same_id: bool = False
    excluded: list[list[str]] = field(default_factory=list)

    def leaves_out(self, number: int, doc_id: str) -> bool:
        """Whether a document is no hit of a query, by its id or the query's list."""
        lists = self.excluded[number : number + 1]
        own = self.ignore_same_id and doc_id == self.name(number)
        return own or any(doc_id in each for each in lists)

    def name(self, number: int) -> str:
        """A query's id; with `own_ids` the first queries have ids that documents may have."""
        return IDS[number] if self.own_ids and number < len(IDS) else f"q{number}"


_text = st.lists(st.sampled_from(PLAIN), min_size=1, max_size=40)
_poisoned = st.tuples(_text, st.sampled_from([NAN, HUGE])).map(lambda pair: [*pair[0], pair[1]])
_kinds = ["good"] * 9
_kinds += ["malformed_json", "missing_id", "empty_text", "id_has_whitespace", "no_tokens"]
_rows = st.builds(
    Row,
    st.sampled_from(_kinds),
    st.sampled_from(IDS),
    st.lists(st.sampled_from(PLAIN), max_size=3),
    st.one_of(_text, _text, _text, _poisoned),
)
_cases = st.builds(
    Case,
    rows=st.lists(_rows, max_size=14),
    queries=st.lists(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4), min_size=1),
    split=st.booleans(),
    overlap=st.integers(0, 8),
    stored=st.sampled_from(["fp16", "fp32"]),
    k=st.integers(1, 10),
    rerank=st.sampled_from(["off", "bert", "roberta"]),
    depth=st.integers(1, 6),
    interpolation=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    broken_logits=st.booleans(),
    part_size=st.integers(1, 6),
    spare=st.integers(0, 30),
    block_queries=st.integers(1, 4),
    slice_bytes=st.integers(40, 2000),
    own_ids=st.booleans(),
    ignore_same_id=st.booleans(),
    excluded=st.lists(st.lists(st.sampled_from([*IDS, "nobody"]), max_size=5), max_size=3),
)


# The numbers that the stubs and the oracle agree on.


def vector(words: Sequence[str]) -> Float32:
    total = sum(VOCABULARY.index(word) for word in words)
    values = [(total * (d + 2) + d) % 5 - 2 for d in range(DIM)]
    if NAN in words:
        values[0] = float("nan")
    if HUGE in words:
        values[1] = 70_000
    return np.array(values, dtype=np.float32)


def logit(query: Sequence[str], passage: Sequence[str], broken: bool) -> float:
    a = sum(VOCABULARY.index(word) for word in query)
    b = sum(VOCABULARY.index(word) for word in passage)
    return [float("nan"), float("inf")][b % 2] if broken and b % 3 == 0 else (3 * a + b) % 7 - 3


# The oracle.

SENTINEL = Row("good", "sentinel", [], ["wing"])
Passages = dict[str, list[Words]]


def expected_documents(case: Case) -> tuple[Passages, Counter[str]]:
    """Passages of each indexed document, and how often each reason sets a row aside."""
    found: Passages = {}
    reasons, rows = Counter[str](), [SENTINEL, *case.rows]
    last = {row.doc_id: n for n, row in enumerate(rows) if row.kind in ("good", "no_tokens")}
    for number, row in enumerate(rows):
        if row.kind not in ("good", "no_tokens"):
            reasons[row.kind] += 1
        elif last[row.doc_id] != number:
            reasons["duplicate_id"] += 1
        else:
            reason = _keep(row, case, found)
            reasons.update([reason] if reason else [])
    return found, reasons


def _keep(row: Row, case: Case, found: Passages) -> str:
    if row.kind == "no_tokens":
        return "no_tokens"
    cut = _cut(row, case)
    words = {word for passage in cut for word in passage[:ROOM]}
    if NAN in words or (HUGE in words and case.stored == "fp16"):
        return "not_finite"
    found[row.doc_id] = cut
    return ""


def _cut(row: Row, case: Case) -> list[Words]:
    """The passages whole: the reranker reads all of them, the encoder the first ROOM words."""
    whole = row.title + row.text
    if len(whole) <= ROOM or not case.split:
        return [whole]
    room = ROOM - len(row.title)
    step = room - min(case.overlap, room // 2)
    starts = range(0, len(row.text) - room, step)
    windows = [row.text[start : start + room] for start in starts]
    return [row.title + window for window in [*windows, row.text[-room:]]]


def expected_rankings(case: Case, documents: Passages) -> list[dict[str, Any]]:
    return [
        row
        for number, query in enumerate(case.queries)
        for row in _ranking(number, query, case, documents)
    ]


def _ranking(number: int, query: Words, case: Case, documents: Passages) -> list[dict[str, Any]]:
    rows = [
        _best(case.name(number), query, doc_id, cut)
        for doc_id, cut in documents.items()
        if not case.leaves_out(number, doc_id)
    ]
    rows = _ordered(rows, "retrieval_score", "retrieval_rank")[: case.k]
    for row in rows[: case.depth if case.rerank != "off" else 0]:
        value = logit(query, documents[row["doc_id"]][row["passage"]], case.broken_logits)
        row["rerank_score"] = value if np.isfinite(value) else None
    _score(rows, case.interpolation)
    return _ordered(rows, "score", "rank")


def _best(query_id: str, query: Words, doc_id: str, passages: list[Words]) -> dict[str, Any]:
    scores = [float(vector(query) @ vector(passage[:ROOM])) for passage in passages]
    best = scores.index(max(scores))
    return {
        "query_id": query_id,
        "doc_id": doc_id,
        "passage": best,
        "retrieval_score": scores[best],
        "rerank_score": None,
    }


def all_broken(case: Case, documents: Passages) -> bool:
    """Whether pairs are reranked, and none of them has a finite logit."""
    rows = expected_rankings(case, documents) if case.rerank != "off" else []
    reranked = [row for row in rows if row["retrieval_rank"] <= case.depth]
    return bool(reranked) and all(row["rerank_score"] is None for row in reranked)


def _ordered(rows: list[dict[str, Any]], score: str, rank: str) -> list[dict[str, Any]]:
    ordered = sorted(rows, key=lambda row: (-row[score], row["doc_id"].encode()))
    return [row | {rank: place} for place, row in enumerate(ordered, 1)]


def _score(rows: list[dict[str, Any]], a: float) -> None:
    reranked = [row for row in rows if row["rerank_score"] is not None]
    for row in reranked:
        row["score"] = a * row["rerank_score"] + (1 - a) * row["retrieval_score"]
    tail = [row for row in rows if row["rerank_score"] is None]
    if not reranked:
        for row in tail:
            row["score"] = row["retrieval_score"]
        return
    lowest = below = np.float32(min(row["score"] for row in reranked))
    for row in tail:
        away = row["retrieval_score"] - tail[0]["retrieval_score"]
        below = min(np.float32(lowest + away), np.nextafter(below, np.float32(-np.inf)))
        row["score"] = float(below)


# The system under test, with its models replaced.


class Stub:
    """Both models: words out of ids, numbers out of words."""

    def __init__(self, tokeniser: FastTokeniser, broken: bool = False) -> None:
        self.tokeniser = tokeniser
        self.dim = DIM
        self.prompt = ""
        self._broken = broken

    def encode_ids(self, ids: Sequence[Int32]) -> Float32:
        return np.array([vector(self._words(row)) for row in ids], np.float32).reshape(-1, DIM)

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        return np.array([vector(text.split()) for text in texts], dtype=np.float32)

    def score(
        self, queries: Sequence[Int32], passages: Sequence[Int32], left: Int32, right: Int32
    ) -> PairScores:
        pairs = [
            (self._words(queries[i]), self._words(passages[j]))
            for i, j in zip(left, right, strict=True)
        ]
        logits = [logit(query, passage, self._broken) for query, passage in pairs]
        return PairScores(np.array(logits, np.float32), np.zeros(len(pairs), dtype=np.bool_))

    def _words(self, ids: Int32) -> Words:
        backend = self.tokeniser._backend
        tokens = [backend.id_to_token(int(i)) for i in ids]
        spelled = any(token.startswith("Ġ") for token in tokens) or tokens[0] not in VOCABULARY
        return ("".join(tokens).replace("Ġ", " ") if spelled else " ".join(tokens)).split()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> dict[str, Path]:
    roberta = tiny_reranker(tmp_path_factory.mktemp("roberta"), "roberta")
    return {"encoder": models[0], "bert": models[1], "roberta": roberta}


@pytest.fixture(scope="module")
def stubbed(inline: pytest.MonkeyPatch, folders: dict[str, Path]) -> Iterator[SimpleNamespace]:
    """Both models replaced; `broken` decides whether some logits are not finite."""
    state = SimpleNamespace(broken=False)

    def encoder(wanted: EncoderSettings, device: str, planned: EncoderCard) -> Stub:
        return Stub(load_tokeniser(read_layout(folders["encoder"])))

    def reranker(wanted: RerankerSettings, device: str, fingerprint: str) -> Stub:
        return Stub(
            load_tokeniser(read_layout(Path(wanted.model), CLASSIFIES, plain=True)), state.broken
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.models.encoders.dense.load_encoder", encoder)
        patch.setattr("shardrank.models.rerankers.cross.load_reranker", reranker)
        yield state


def settings_of(case: Case, folders: dict[str, Path]) -> Settings:
    longest = max(len(_cut(row, case)) for row in [SENTINEL, *case.rows])
    tables: dict[str, Any] = {
        "corpus": {"slice_bytes": case.slice_bytes},
        "passages": {
            "max_tokens": MAX_TOKENS,
            "split": case.split,
            "overlap": case.overlap,
            "part_size": case.part_size,
        },
        "encoder": {"model": str(folders["encoder"]), "dim": DIM, "stored": case.stored},
        "gate": {"max_rejected": 1},
        "index": {"kind": "exact", "shard_passages": case.part_size + longest + case.spare},
        "search": {
            "k": case.k,
            "block_queries": case.block_queries,
            "ignore_same_id": case.ignore_same_id,
            "exclude": "not" if case.excluded else None,
        },
        "reranker": {
            "model": str(folders.get(case.rerank, "off")),
            "depth": case.depth,
            "interpolation": case.interpolation,
        },
    }
    return parse_settings(tables, [])


def run_index(root: Path, rows: Sequence[Row], wanted: Settings) -> Published:
    corpus = write_lines(root / "corpus.jsonl", (row.line() for row in rows))
    plan = plan_indexing(corpus, _workspace(root / "index"), "snapshot", wanted)
    return index(_context(root / "index", plan.run, wanted), plan)


def run_rank(root: Path, case: Case, wanted: Settings) -> pa.Table:
    rows = [{"_id": case.name(n), "text": " ".join(w)} for n, w in enumerate(case.queries)]
    if case.excluded:
        rows = [{**row, "not": each} for row, each in zip_longest(rows, case.excluded) if row]
    path = write_lines(root / "queries.jsonl", rows)
    plan = plan_ranking(_workspace(root / "index"), path, None, wanted)
    rank(_context(root / "out", plan.run, wanted), plan)
    return pa.concat_tables(pq.read_table(p) for p in sorted((root / "out/rankings").iterdir()))


def _context(folder: Path, run: str, wanted: Settings) -> Context:
    return Context(_workspace(folder), run, wanted, Inline(Resources(2)), Watch(Silent()))


def _workspace(folder: Path) -> Workspace:
    return Workspace(LocalStorage(str(folder)))


def rejected_reasons(root: Path) -> Counter[str]:
    tables = [pq.read_table(path) for path in (root / "index/runs").glob("*/rejected/*.parquet")]
    return Counter(reason for table in tables for reason in table["reason"].to_pylist())


@given(case=_cases)
@settings(max_examples=16, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_flows_give_what_brute_force_gives(
    stubbed: SimpleNamespace, folders: dict[str, Path], case: Case
) -> None:
    check_case(stubbed, folders, case)


@pytest.mark.slow
@given(case=_cases)
@settings(max_examples=200, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_flows_give_what_brute_force_gives_in_many_cases(
    stubbed: SimpleNamespace, folders: dict[str, Path], case: Case
) -> None:
    check_case(stubbed, folders, case)


def check_case(stubbed: SimpleNamespace, folders: dict[str, Path], case: Case) -> None:
    stubbed.broken = case.broken_logits
    wanted = settings_of(case, folders)
    documents, reasons = expected_documents(case)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        version = run_index(root, [SENTINEL, *case.rows], wanted).version
        assert rejected_reasons(root) == reasons
        if all_broken(case, documents):
            with pytest.raises(InputError, match="gives no finite score"):
                run_rank(root, case, wanted)
            return
        table = run_rank(root, case, wanted)
    assert version.changes.rows == len(case.rows) + 1
    assert version.live.documents == version.changes.added == len(documents)
    assert version.changes.rejected == reasons.total() == len(case.rows) + 1 - len(documents)
    assert version.live.passages == sum(map(len, documents.values()))
    assert table.schema == RANKINGS
    expected = pa.Table.from_pylist(expected_rankings(case, documents), RANKINGS)
    assert table.to_pylist() == expected.to_pylist()


def _plain(**changes: Any) -> Case:
    rows = [Row("good", doc_id, [], ["wave"] * (n % 3 + 1)) for n, doc_id in enumerate(IDS)]
    values: dict[str, Any] = {
        "rows": rows,
        "queries": [["wing"], ["flow", "heat"]],
        "split": True,
        "overlap": 0,
        "stored": "fp16",
        "k": 100,
        "rerank": "bert",
        "depth": 3,
        "interpolation": 0.5,
        "broken_logits": False,
        "part_size": 2,
        "spare": 0,
        "block_queries": 1,
        "slice_bytes": 100,
    }
    return Case(**(values | changes))


def test_the_layout_changes_no_byte(
    stubbed: SimpleNamespace, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Parts, shards, slices and query blocks cut the work, never the answer."""
    stubbed.broken = False
    found = []
    for n, layout in enumerate([(1, 0, 1, 50), (3, 2, 1, 500), (6, 30, 2, 5000)]):
        names = ("part_size", "spare", "block_queries", "slice_bytes")
        case = _plain(**dict(zip(names, layout, strict=True)))
        (tmp_path / str(n)).mkdir()
        run_index(tmp_path / str(n), case.rows, settings_of(case, folders))
        found.append(run_rank(tmp_path / str(n), case, settings_of(case, folders)))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_k_beyond_the_corpus_returns_the_corpus(
    stubbed: SimpleNamespace, folders: dict[str, Path], tmp_path: Path
) -> None:
    stubbed.broken = False
    case = _plain(k=1000)
    run_index(tmp_path, case.rows, settings_of(case, folders))
    table = run_rank(tmp_path, case, settings_of(case, folders))
    for query in ("q0", "q1"):
        mine = [row["doc_id"] for row in table.to_pylist() if row["query_id"] == query]
        assert sorted(mine) == sorted(IDS)


def test_an_index_whose_every_vector_is_broken_is_refused(
    stubbed: SimpleNamespace, folders: dict[str, Path], tmp_path: Path
) -> None:
    case = _plain(rows=[Row("good", "a", [], [NAN]), Row("good", "b", [], [NAN, "wing"])])
    with pytest.raises(InputError, match="2 rows, and none can be indexed"):
        run_index(tmp_path, case.rows, settings_of(case, folders))
    assert rejected_reasons(tmp_path) == {"not_finite": 2}


def test_a_corpus_without_one_good_row_is_refused(
    stubbed: SimpleNamespace, folders: dict[str, Path], tmp_path: Path
) -> None:
    case = _plain(rows=[Row("empty_text", "a", [], []), Row("no_tokens", "b", [], [])])
    with pytest.raises(InputError, match="2 rows, and none can be indexed"):
        run_index(tmp_path, case.rows, settings_of(case, folders))
    assert rejected_reasons(tmp_path) == {"empty_text": 1, "no_tokens": 1}
    assert not (tmp_path / "index/manifests").exists()


def test_a_query_that_cannot_be_encoded_is_set_aside(
    stubbed: SimpleNamespace, folders: dict[str, Path], tmp_path: Path
) -> None:
    case = _plain()
    run_index(tmp_path, case.rows, settings_of(case, folders))
    case = _plain(queries=[["wing"], [NAN], ["\u200b"], ["heat"]])
    table = run_rank(tmp_path, case, settings_of(case, folders))
    assert set(table["query_id"].to_pylist()) == {"q0", "q3"}
    aside = pq.read_table(tmp_path / "out/rejected/queries.parquet").to_pylist()
    assert [(row["doc_id"], row["reason"]) for row in aside] == [
        ("q1", "not_finite"),
        ("q2", "no_tokens"),
    ]


def test_queries_whose_every_vector_is_broken_are_refused(
    stubbed: SimpleNamespace, folders: dict[str, Path], tmp_path: Path
) -> None:
    case = _plain(queries=[[NAN], [NAN, "wing"]])
    run_index(tmp_path, case.rows, settings_of(case, folders))
    with pytest.raises(InputError, match="None of the 2 queries can be encoded: not_finite"):
        run_rank(tmp_path, case, settings_of(case, folders))
