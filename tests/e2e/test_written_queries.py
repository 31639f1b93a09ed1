"""What a language model writes about queries, from the command to the rankings: parts against the
same parts written by hand, passages against the papers' formulas."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.errors import SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.settings import Settings
from shardrank.models.encoders.dense import load_encoder
from tests.ending import Counter, Killed, counted
from tests.inline import installed
from tests.tiny_language import tiny_language
from tests.world import VOCABULARY, World, latest, make_world, snapshot, tiny_models, write_lines

K = 6
Given = Mapping[str, Any]
PROMPT = 'method: writing\nbody: "{text} ?"\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("written")
    made = make_world(root, tiny_models(root / "models"), documents=50, queries=6)
    tiny_language(root / "language")
    (root / "prompt.yaml").write_text(PROMPT)
    with installed():
        package.index(made.corpus, root / "index", settings=settings(made))
    return made


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's bytes become words of the corpus, a byte a word."""
    from shardrank.models.text.tokens import FastTokeniser

    def decode(self: FastTokeniser, ids: Any, specials: bool = True) -> str:
        return " ".join(VOCABULARY[token % len(VOCABULARY)] for token in ids.tolist())

    monkeypatch.setattr(FastTokeniser, "decode", decode)


def settings(
    world: World, writer: Given | None = None, retrievers: Sequence[str] = ("dense",), **search: Any
) -> Settings:
    own = {
        "model": str(world.root / "language"),
        "prompt": str(world.root / "prompt.yaml"),
        "answer_tokens": 5,
        "temperature": 1.0,
        "count": 2,
    }
    return Settings.model_validate(
        {
            "encoder": [{"model": str(world.encoder)}, {"family": "bm25"}],
            "passages": {"part_size": 16},
            "retriever": [{"index": name} for name in retrievers],
            "search": {"k": K, "block_queries": 4, **search},
            "reranker": [{"model": str(world.reranker), "depth": 4}],
            "writer": {} if writer is None else {**own, **writer},
        }
    )


def ranked(
    world: World, out: Path, given: Settings, queries: str | None = None, again: bool = False
) -> Any:
    index, asked = world.root / "index", queries or world.queries
    with installed():
        return package.rank(index, asked, out, qrels=world.qrels, settings=given, overwrite=again)


def rankings(out: Path) -> list[dict[str, Any]]:
    table = pq.read_table(out / "rankings")
    return list(table.sort_by([("query_id", "ascending"), ("rank", "ascending")]).to_pylist())


def written(out: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(out / "written" / "queries.parquet").to_pylist())


def texts(rows: Sequence[Given]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        assert row["number"] == len(found.setdefault(row["query_id"], []))
        found[row["query_id"]].append(row["text"])
    return found


@pytest.mark.usefixtures("spoken")
def test_parts_are_those_that_somebody_could_have_written(world: World, tmp_path: Path) -> None:
    both = ("dense", "bm25")
    done = ranked(world, tmp_path / "model", settings(world, {}, both))
    found = written(tmp_path / "model")
    assert set(texts(found)) == {row["_id"] for row in world.rows("queries")}
    assert {len(each) for each in texts(found).values()} == {2}
    parts = [
        {
            "_id": f"{row['query_id']}-{row['number']}",
            "text": row["text"],
            "parent": row["query_id"],
        }
        for row in found
    ]
    rows = write_lines(tmp_path / "queries.jsonl", [*world.rows("queries"), *parts])
    ranked(world, tmp_path / "hand", settings(world, None, both, parent="parent"), rows)
    assert rankings(tmp_path / "model") == rankings(tmp_path / "hand")
    plain = ranked(world, tmp_path / "plain", settings(world, None, both))
    assert rankings(tmp_path / "model") != rankings(tmp_path / "plain")
    assert (done.counts.parts, done.counts.written["texts"]) == (12, 12)
    assert done.counts.queries == plain.counts.queries + 12
    assert "12 texts about the queries, 60 tokens written" in "\n".join(done.counts.lines())


@pytest.mark.usefixtures("spoken")
def test_vectors_are_means_as_hyde_has_them(world: World, tmp_path: Path) -> None:
    given = settings(world, {"makes": "passages"})
    ranked(world, tmp_path / "out", given)
    encoder = load_encoder(EncoderSettings(model=str(world.encoder)), "cpu")
    asked = {row["_id"]: row["text"] for row in world.rows("queries")}
    wanted = {}
    for query, passages in texts(written(tmp_path / "out")).items():
        vectors = np.concatenate(
            [encoder.encode_queries([asked[query]]), encoder.encode_documents(passages)]
        )
        mean = vectors.mean(axis=0)
        wanted[query] = mean / np.linalg.norm(mean) if encoder.card.normalise else mean
    moved = np.concatenate(
        [
            matrix(pq.read_table(tmp_path / "out" / marker["made"]["vectors"]["key"])["vector"])
            for marker in markers(tmp_path / "out", "written")
        ]
    )
    assert len(moved) == len(wanted) == 6
    for vector in wanted.values():  # blocks lie by the names of their units
        assert np.abs(moved - vector).max(axis=1).min() < 1e-5
    scores = stored(world)
    for row in rankings(tmp_path / "out"):
        best = max(float(v @ wanted[row["query_id"]]) for v in scores[row["doc_id"]])
        assert row["retrieval_score"] == pytest.approx(best, abs=1e-4)


def markers(out: Path, stage: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in (out / "units" / stage).glob("*.json")]


def stored(world: World) -> dict[str, list[Float32]]:
    """By document its passages' vectors."""
    found: dict[str, list[Float32]] = {}
    for part in latest(world.root / "index").parts:
        ids = pq.read_table(world.root / "index" / part.passages.key)["doc_id"].to_pylist()
        file = world.root / "index" / part.columns["dense"].file.key
        vectors = matrix(pq.read_table(file)["vector"])
        for name, vector in zip(ids, vectors, strict=True):
            found.setdefault(name, []).append(vector)
    return found


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("repeat", [1, 5])
def test_words_are_added_as_query2doc_adds_them(world: World, tmp_path: Path, repeat: int) -> None:
    writer = {"makes": "passages", "repeat": repeat}
    ranked(world, tmp_path / "model", settings(world, writer, ["bm25"]))
    told = texts(written(tmp_path / "model"))
    longer = [
        {"_id": row["_id"], "text": " ".join([*[row["text"]] * repeat, *told[row["_id"]]])}
        for row in world.rows("queries")
    ]
    rows = write_lines(tmp_path / "queries.jsonl", longer)
    ranked(world, tmp_path / "hand", settings(world, None, ["bm25"]), rows)
    by_hand = retrieved(tmp_path / "hand")
    assert retrieved(tmp_path / "model") == by_hand  # rerankers see the query alone


def retrieved(out: Path) -> dict[tuple[str, int], tuple[str, float]]:
    return {
        (row["query_id"], row["retrieval_rank"]): (row["doc_id"], row["retrieval_score"])
        for row in rankings(out)
    }


@pytest.mark.usefixtures("spoken")
def test_rerankers_see_the_query_as_it_was_asked(world: World, tmp_path: Path) -> None:
    given = settings(world, {"makes": "passages"})
    ranked(world, tmp_path / "written", given)
    ranked(world, tmp_path / "plain", settings(world))
    scores = [
        {(row["query_id"], row["doc_id"]): row["rerank_score"] for row in rankings(out)}
        for out in (tmp_path / "written", tmp_path / "plain")
    ]
    both = [key for key, score in scores[0].items() if score and scores[1].get(key)]
    assert both
    for key in both:
        assert scores[0][key] == pytest.approx(scores[1][key], abs=1e-4)


@pytest.mark.usefixtures("spoken")
def test_the_manifest_and_the_report_tell_of_it(world: World, tmp_path: Path) -> None:
    done = ranked(world, tmp_path / "out", settings(world, {"makes": "passages"}))
    manifest = done.manifest
    assert manifest.writer.prompt == PROMPT
    assert manifest.settings.writer.makes == "passages"
    assert manifest.files["written/queries.parquet"].rows == 12
    assert not manifest.by_first
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    shown = [all(t in report for t in each) for each in texts(written(tmp_path / "out")).values()]
    assert any(shown)


@pytest.mark.usefixtures("spoken")
def test_only_what_decides_a_text_is_written_again(world: World, tmp_path: Path) -> None:
    ranked(world, tmp_path / "out", settings(world, {}))
    assert len(markers(tmp_path / "out", "write")) == 1
    changes: list[tuple[Given, int]] = [
        ({"batch_tokens": 64}, 1),
        ({"seed": 5}, 2),
        ({"prompt": "answer-passage"}, 3),
        ({"makes": "passages"}, 4),
    ]
    for changed, units in changes:
        ranked(world, tmp_path / "out", settings(world, changed), again=True)
        assert len(markers(tmp_path / "out", "write")) == units


@pytest.mark.usefixtures("spoken")
def test_ended_at_some_writes_and_run_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardrank.stages.rank.write.TOGETHER", 2)
    monkeypatch.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    given = settings(world, {"makes": "passages"}, ["dense", "bm25"])
    with counted(count := Counter(at=0, before=True)):
        ranked(world, tmp_path / "whole", given)
    whole = seen(tmp_path / "whole", world)
    for number, at in enumerate(range(3, min(count.count, 40), 6)):
        out = tmp_path / str(at)
        with counted(Counter(at, before=number % 2 == 0)), pytest.raises(Killed):
            ranked(world, out, given)
        kept = {path: path.stat().st_mtime_ns for path in (out / "units" / "write").glob("*.json")}
        ranked(world, out, given)
        assert seen(out, world) == whole
        assert all(path.stat().st_mtime_ns == at for path, at in kept.items())


def seen(out: Path, world: World) -> dict[str, Any]:
    texts = (out / "written" / "queries.parquet").read_bytes()
    return snapshot(world.root / "index", out) | {"written": texts}


def test_contradictions_are_refused_before_any_work(world: World, tmp_path: Path) -> None:
    rows = [*world.rows("queries"), {"_id": "b", "text": "flow", "parent": "q000"}]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    both = settings(world, {}, parent="parent")
    with pytest.raises(SettingsError, match=r"search\.parent = 'parent' names parts"):
        ranked(world, tmp_path / "out", both, queries)
    with pytest.raises(SettingsError, match=r"writer\.count = 2 answers"):
        ranked(world, tmp_path / "out", settings(world, {"temperature": 0.0}))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("spoken")
def test_parts_by_hand_stay_as_they_are_beside_passages(world: World, tmp_path: Path) -> None:
    rows = [*world.rows("queries"), {"_id": "p", "text": "wing", "parent": "q000"}]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    given = settings(world, {"makes": "passages"}, ["dense", "bm25"], parent="parent")
    done = ranked(world, tmp_path / "out", given, queries)
    assert (done.counts.parts, done.counts.written["texts"]) == (1, 12)
    assert len(markers(tmp_path / "out", "written")) == 2


@pytest.mark.usefixtures("spoken")
def test_written_parts_leave_out_what_their_query_does(world: World, tmp_path: Path) -> None:
    gone = ["d0000", "d0001", "d0002"]
    rows = [row | {"not": gone} for row in world.rows("queries")]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    done = ranked(world, tmp_path / "out", settings(world, {}, exclude="not"), queries)
    assert done.counts.written["texts"] == 12
    found = pq.read_table(tmp_path / "out" / "rankings")["doc_id"].to_pylist()
    assert len(found) == K * len(rows)
    assert not set(found) & set(gone)


def test_a_repeat_of_parts_is_refused(world: World) -> None:
    with pytest.raises(SettingsError, match=r"writer\.repeat is of passages"):
        settings(world, {"repeat": 3})
