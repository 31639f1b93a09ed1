"""Rerankers that see lists, from the command to the rankings and the labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.errors import InputError
from shardrank.core.finite import Source
from shardrank.core.protocols import ListScores
from shardrank.core.reranker_settings import (
    GroupwiseSettings,
    ListwiseSettings,
    SetwiseSettings,
)
from shardrank.core.text import passage_text
from shardrank.models.folder.layout import read_layout
from shardrank.models.rerankers.groupwise import make_groupwise
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.rerankers.pointwise import PointwiseReranker
from shardrank.models.rerankers.setwise import make_setwise
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.tokens import load_tokeniser
from shardrank.stages.rank.rerank_lists import _refuse_broken, once_each
from shardrank.stages.rank.rerank_pairs import ScorePairs
from tests.inline import installed
from tests.judges import language_of
from tests.tiny_language import Plain, tiny_language
from tests.world import World, make_world, shardrank, snapshot, tiny_models, write_lines

PROMPT = 'method: pointwise\nbody: "{query} | {doc_content} ?"\nanswers: ["y", "n"]\n'
DEPTH = 7


@dataclass(frozen=True)
class Setting:
    """An index, and a language model that reranks what it finds."""

    root: Path
    world: World
    model: Path

    def rank(self, name: str, *sets: str) -> int:
        """The exit code of `shardrank rank` into a folder of that name."""
        told = (
            "reranker.family=pointwise",
            f"reranker.model={self.model}",
            f"reranker.prompt={self.root / 'prompt.yaml'}",
            f"reranker.depth={DEPTH}",
        )
        return shardrank(*self.world.rank(self.root / "index", self.root / name, *told, *sets))

    def ranked(self, name: str) -> list[dict[str, Any]]:
        """The rows of its rankings that were reranked."""
        files = sorted((self.root / name / "rankings").iterdir())
        rows = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
        return [row for row in rows if row["rerank_score"] is not None]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    root = tmp_path_factory.mktemp("lists")
    world = make_world(root / "world", tiny_models(root / "models"), documents=60, queries=9)
    (root / "prompt.yaml").write_text(PROMPT)
    model = tiny_language(root / "language")
    sets = ("passages.max_tokens=40", "passages.part_size=20")
    with installed():
        assert shardrank(*world.index(root / "index", *sets)) == 0
    return Setting(root, world, model)


def test_scores_are_those_of_the_plain_model(setting: Setting) -> None:
    with installed():
        assert setting.rank("out", "reranker.dtype=fp32") == 0
    texts = {row["_id"]: row["text"] for row in setting.world.rows("corpus")}
    asked = {row["_id"]: row["text"] for row in setting.world.rows("queries")}
    found = setting.ranked("out")
    assert len(found) == 9 * DEPTH
    plain, tokeniser, chat = opened(setting.model)
    answers = np.array([tokeniser.encode([each])[0].ids[0] for each in ("y", "n")])
    for row in (row for row in found if len(texts[row["doc_id"]].split()) < 20):
        told = f"{asked[row['query_id']]} | {texts[row['doc_id']]} ?"
        ids = chat.ids_of(chat.text([Message("user", told)], ""))
        yes, no = plain.last_logits([ids], answers)[0]
        assert row["rerank_score"] == pytest.approx(yes - no, abs=1e-4)


def opened(folder: Path) -> tuple[Plain, Any, Chat]:
    tokeniser = load_tokeniser(read_layout(folder, plain=True))
    return Plain(folder), tokeniser, Chat(folder, tokeniser)


def test_blocks_and_units_change_nothing(setting: Setting) -> None:
    with installed(), pytest.MonkeyPatch.context() as patch:
        assert setting.rank("whole") == 0
        patch.setattr("shardrank.stages.rank.list_texts.pairs_per_list_unit", lambda pairs: 10)
        assert setting.rank("cut", "search.block_queries=4") == 0
    assert len(list((setting.root / "cut" / "units" / "rerank").iterdir())) > 3
    whole, cut = (setting.root / name / "run.trec" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    scores = [{(r["query_id"], r["doc_id"]): r["rerank_score"] for r in setting.ranked(name)}
              for name in ("whole", "cut")]  # fmt: skip
    assert scores[0] == scores[1]


def test_a_run_that_was_cut_short_scores_nothing_twice(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardrank.stages.rank.list_texts.pairs_per_list_unit", lambda pairs: 10)
    with installed():
        assert setting.rank("again", "search.block_queries=4") == 0
        before = snapshot(setting.root / "index", setting.root / "again")
        marker = sorted((setting.root / "again" / "units" / "rerank").glob("*.json"))[0]
        kept = {each: each.stat().st_mtime_ns for each in marker.parent.glob("*.json")}
        marker.unlink()
        assert setting.rank("again", "search.block_queries=4") == 0
    now = {each: each.stat().st_mtime_ns for each in marker.parent.glob("*.json")}
    assert [each for each in kept if kept[each] != now[each]] == [marker]
    assert snapshot(setting.root / "index", setting.root / "again") == before


def test_labels_by_a_language_model(setting: Setting) -> None:
    with installed():
        assert setting.rank("taught") == 0
        words = ["label", str(setting.root / "taught"), str(setting.root / "labels")]
        words += ["--format", "margin-mse", "--qrels", setting.world.qrels]
        told = (
            f"encoder.model={setting.world.encoder}",
            "reranker.family=pointwise",
            f"reranker.model={setting.model}",
            f"reranker.prompt={setting.root / 'prompt.yaml'}",
            f"label.depth={DEPTH + 3}",
        )
        assert shardrank(*words, *(word for each in told for word in ("--set", each))) == 0
    scores = [pq.read_table(f) for f in sorted((setting.root / "labels" / "scores").iterdir())]
    table = pa.concat_tables(scores)
    assert table["score"].null_count == 0
    known = {(r["query_id"], r["doc_id"]): r["rerank_score"] for r in setting.ranked("taught")}
    for row in table.to_pylist():
        key = row["query_id"], row["doc_id"]
        assert row["score"] == pytest.approx(known.get(key, row["score"]))


def test_a_cascade_keeps_what_each_step_gave(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And labels by both teachers score only what neither the one nor the other has seen."""
    root = setting.root
    steps = f"""
    [[reranker]]
    model = "{setting.world.reranker}"
    depth = 12
    [[reranker]]
    family = "pointwise"
    model = "{setting.model}"
    prompt = "{root / "prompt.yaml"}"
    depth = {DEPTH}
    [label]
    teachers = ["{setting.world.reranker}", "reranker"]
    depth = 15
    """
    (root / "cascade.toml").write_text(steps)
    config = ["--config", str(root / "cascade.toml")]
    encoder = ["--set", f"encoder.model={setting.world.encoder}"]
    words = ["rank", str(root / "index"), setting.world.queries, str(root / "cascade")]
    with installed():
        assert shardrank(*words, *config, *encoder) == 0
        shapes = {n: kept_scores(root / "cascade", n).num_rows for n in (1, 2)}
        assert shapes == {1: 9 * 12, 2: 9 * DEPTH}
        scored: list[int] = []
        monkeypatch.setattr(ScorePairs, "__call__", counting(ScorePairs.__call__, scored))
        taught = ["label", str(root / "cascade"), str(root / "both"), "--format", "pointwise"]
        assert shardrank(*taught, *config, *encoder) == 0
    assert sum(scored) == 9 * (15 - 12)
    tables = [pq.read_table(f) for f in sorted((root / "both" / "scores").iterdir())]
    table = pa.concat_tables(tables)
    first = {
        (r["query_id"], r["doc_id"]): r["score"]
        for r in kept_scores(root / "cascade", 1).to_pylist()
    }
    for row in table.to_pylist():
        key = row["query_id"], row["doc_id"]
        assert row["score_1"] == first.get(key, row["score_1"])
    assert table.num_rows == 9 * 15


def kept_scores(out: Path, number: int) -> pa.Table:
    return pa.concat_tables(
        [pq.read_table(f) for f in sorted((out / "scores" / str(number)).iterdir())]
    )


def counting(scores: Any, seen: list[int]) -> Any:
    """The method, which says of how many pairs it was asked."""

    def counted(self: ScorePairs, unit: Any, tables: Any) -> Any:
        seen.append(tables["pairs"].num_rows)
        return scores(self, unit, tables)

    return counted


def test_a_query_that_fills_the_input_is_set_aside(
    setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(["heat"] * 300)
    rows = [*setting.world.rows("queries"), {"_id": "long", "text": long}]
    asked = write_lines(tmp_path / "queries.jsonl", rows)
    words = setting.world.rank(setting.root / "index", tmp_path / "out")
    words[2] = asked
    told = (
        "reranker.family=pointwise",
        f"reranker.model={setting.model}",
        f"reranker.prompt={setting.root / 'prompt.yaml'}",
        f"reranker.depth={DEPTH}",
        "reranker.max_tokens=150",
    )
    with installed():
        assert shardrank(*words, *(word for each in told for word in ("--set", each))) == 0
    said = capsys.readouterr().out
    assert f"{DEPTH} without a finite score" in said
    assert f"{9 * DEPTH} calls, 1 query too long" in said


class Counting:
    """A reranker that says how long each text is, and what it was given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """Lengths."""
        self.seen += passages
        sizes = np.array([len(text) for text in passages], np.float32)
        return ListScores(sizes, sizes > 3, {"calls": len(passages)})


def test_equal_passages_are_judged_once() -> None:
    counting = Counting()
    found = once_each(counting, "q", ["aa", "bbbb", "aa", "c"])
    assert counting.seen == ["aa", "bbbb", "c"]
    assert found.scores.tolist() == [2, 4, 2, 1]
    assert found.truncated.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("family", "sets", "told"),
    [
        ("listwise", ("window=4", "stride=2", "prompt=rank-zephyr-alpha"), "27 calls"),
        ("setwise", ("top=3",), " calls"),
        ("groupwise", ("group=4", "passes=1", "prompt=expected-grades"), "18 calls"),
    ],
)
def test_families_that_see_several_passages(
    setting: Setting, family: str, sets: tuple[str, ...], told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What the whole command gives is what the plain model gives of the lists before it."""
    kind = {"listwise": ListwiseSettings, "setwise": SetwiseSettings}.get(family, GroupwiseSettings)
    given = dict(each.split("=") for each in sets)
    how = kind.model_validate({"model": "tiny", "depth": DEPTH, **given})
    words = [f"reranker.{each}" for each in (f"family={family}", *sets)]
    world, out = setting.world, setting.root / family
    model = (f"reranker.model={setting.model}", f"reranker.depth={DEPTH}", "reranker.dtype=fp32")
    with installed():
        assert shardrank(*world.rank(setting.root / "index", out, *words, *model)) == 0
    assert told in capsys.readouterr().out
    prompt = how.prompt or "best-of-set"
    make: Any = {"listwise": make_listwise, "setwise": make_setwise}.get(family, make_groupwise)
    plain = make(how, language_of(setting.model, prompt, Plain(setting.model)))
    stored = pa.concat_tables(
        [pq.read_table(file) for file in (setting.root / "index").glob("parts/*/passages.parquet")]
    )
    texts = {
        (row["doc_id"], row["passage"]): passage_text(row["title"], row["text"])
        for row in stored.to_pylist()
    }
    asked = {row["_id"]: row["text"] for row in world.rows("queries")}
    compared = 0
    for query, rows in groupby(setting.ranked(family), key=lambda row: row["query_id"]):
        before = sorted(rows, key=lambda row: row["retrieval_rank"])
        if len(before) == DEPTH and compared < 2:  # no document by two of its passages
            shown = [texts[row["doc_id"], row["passage"]] for row in before]
            scores = plain.rank(asked[query], shown).scores
            found = [row["rerank_score"] for row in before]
            assert found == pytest.approx(scores.tolist(), abs=1e-4)
            compared += 1
    assert compared == 2


def test_too_few_identifiers_are_refused_before_any_stage(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("reranker.family=listwise", f"reranker.model={setting.model}",
             "reranker.window=90", "reranker.depth=90")  # fmt: skip
    out = setting.root / "refused"
    with installed():
        assert shardrank(*setting.world.rank(setting.root / "index", out, *words)) == 2
    assert "52 letters that are one token each" in " ".join(capsys.readouterr().err.split())
    assert not (out / "units").exists()


def test_a_model_that_writes_nothing_of_use_is_refused(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("reranker.family=listwise", f"reranker.model={setting.model}", "reranker.depth=5",
             "reranker.answer=generated")  # fmt: skip
    out = setting.root / "mute"
    with installed():
        assert shardrank(*setting.world.rank(setting.root / "index", out, *words)) == 2
    assert "Or it writes nothing that its prompt's answers are read from" in " ".join(
        capsys.readouterr().err.split()
    )


def test_one_query_whose_answers_cannot_be_read_is_set_aside() -> None:
    source = Source("reranker", "tiny", "fp32", "score")
    none = ListScores(np.full(50, np.nan, np.float32), np.zeros(50, np.bool_), {"unparsed": 9})
    _refuse_broken(source, [none] * 15)
    with pytest.raises(InputError, match="all 16 queries of a unit"):
        _refuse_broken(source, [none] * 16)
    with pytest.raises(InputError, match="all 50 pairs of a unit"):
        _refuse_broken(source, [replace(none, counts={"calls": 9})])


def test_what_a_model_wrote_is_kept_by_query(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rank(self: PointwiseReranker, query: str, passages: Sequence[str]) -> ListScores:
        scores = np.arange(len(passages), dtype=np.float32)
        return ListScores(scores, scores < 0, {"calls": 2}, (f"of {query}", "and more"))

    monkeypatch.setattr(PointwiseReranker, "rank", rank)
    monkeypatch.setattr("shardrank.stages.rank.list_texts.pairs_per_list_unit", lambda pairs: 10)
    with installed():
        assert setting.rank("wrote", "search.block_queries=4") == 0
    files = sorted((setting.root / "wrote" / "answers" / "1").iterdir())
    assert [file.name for file in files] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    kept = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    asked = {row["_id"]: row["text"] for row in setting.world.rows("queries")}
    assert {(row["query_id"], row["call"], row["answer"]) for row in kept} == {
        (query, call, answer)
        for query, text in asked.items()
        for call, answer in enumerate((f"of {text}", "and more"))
    }
