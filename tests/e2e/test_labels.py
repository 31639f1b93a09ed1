"""The label flow: every format against a hand computation, and a run that was killed or scaled."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from shardrank.core.protocols import PairScores
from shardrank.labels.formats import FORMATS
from shardrank.models.rerankers.cross import CrossEncoderReranker
from shardrank.storage.local import LocalStorage
from tests.ending import Counter, Killed, counted
from tests.world import World, make_world, shardrank

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=64",
    "search.k=20",
    "search.block_queries=4",
    "reranker.depth=8",
    "label.depth=8",
    "label.negatives=3",
)

pytestmark = pytest.mark.usefixtures("inline")

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: " ".join("".join(capsys.readouterr()).split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=80, queries=12)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, world: World, inline: object) -> Path:
    root = tmp_path_factory.mktemp("ranked")
    assert shardrank(*world.index(root / "index", *SETS)) == 0
    assert shardrank(*world.rank(root / "index", root / "out", *SETS)) == 0
    return root / "out"


def label(world: World, ranked: Path, labels: Path, name: str, *sets: str) -> int:
    values = [word for value in (*SETS, *sets) for word in ("--set", value)]
    models = ["--set", f"reranker.model={world.reranker}"]
    return shardrank(
        "label", str(ranked), str(labels), "-f", name, "--qrels", world.qrels, *models, *values
    )


def rows_of(labels: Path, name: str) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted((labels / name).glob("*.parquet"))]
    return pa.concat_tables(tables).to_pylist()


def ids_of(labels: Path, name: str) -> list[dict[str, Any]]:
    return rows_of(labels / "about" / name, "ids")


def scores_of(labels: Path) -> dict[str, list[dict[str, Any]]]:
    """By query, in the order of the files."""
    rows = rows_of(labels, "scores")
    return {q: list(mine) for q, mine in itertools.groupby(rows, lambda row: row["query_id"])}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_out(world: World, ranked: Path, tmp_path: Path, name: str) -> None:
    assert label(world, ranked, tmp_path, name) == 0
    manifest = json.loads((tmp_path / "about" / name / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["queries"] == 12 == counts["used"] + sum(counts["set_aside"].values())
    assert counts["rows"] > 0
    assert (tmp_path / "about" / name / "report.html").exists()
    if name == "tevatron":
        assert counts["rows"] == 12, "a line a query"
        lines = (tmp_path / name / "00000.jsonl").read_text().splitlines()
        first = json.loads(lines[0])
        assert first.keys() == {"query_id", "query", "positive_passages", "negative_passages"}
        assert first["negative_passages"][0].keys() == {"docid", "title", "text"}
    else:
        assert len(rows_of(tmp_path, name)) == counts["rows"] == len(ids_of(tmp_path, name))
        assert pq.read_table(tmp_path / name).num_rows == counts["rows"]
    assert loaded(tmp_path / name, tmp_path / "cache") == counts["rows"]


def loaded(folder: Path, cache: Path) -> int:
    """Rows of a folder as `datasets` finds them by its name alone."""
    return len(load_dataset(str(folder), split="train", cache_dir=str(cache)))


def test_rankings_are_read_by_their_folder(ranked: Path, tmp_path: Path) -> None:
    rows = pq.read_table(ranked / "rankings").num_rows
    assert 0 < rows == loaded(ranked / "rankings", tmp_path / "cache")


def test_an_earlier_layout_is_refused(
    world: World, ranked: Path, tmp_path: Path, said: Said
) -> None:
    """Its manifests lay among the rows, and readers of folders stumbled over them."""
    assert label(world, ranked, tmp_path, "triplets") == 0
    (tmp_path / "about/triplets/manifest.json").rename(tmp_path / "triplets/manifest.json")
    (tmp_path / "about/triplets/ids").rename(tmp_path / "triplets/ids")
    said()
    assert label(world, ranked, tmp_path, "pointwise") == 2
    assert "holds labels of an earlier shardrank" in said()
    words = ["label", str(ranked), str(tmp_path), "-f", "triplets", "--qrels", world.qrels]
    sets = [w for v in (*SETS, f"reranker.model={world.reranker}") for w in ("--set", v)]
    assert shardrank(*words, *sets, "--overwrite") == 0
    assert {path.suffix for path in (tmp_path / "triplets").rglob("*.*")} == {".parquet"}
    assert loaded(tmp_path / "triplets", tmp_path / "cache") == len(ids_of(tmp_path, "triplets"))


def test_scores_are_those_of_the_ranking(world: World, ranked: Path, tmp_path: Path) -> None:
    """The run's own logits, never computed again; positives that it missed, scored beside them."""
    assert label(world, ranked, tmp_path, "pointwise") == 0
    rankings = {(r["query_id"], r["doc_id"]): r for r in rows_of(ranked, "rankings")}
    judged = {
        tuple(line.split("\t")[:2]) for line in Path(world.qrels).read_text().splitlines()[1:]
    }
    reranked = {pair for pair, r in rankings.items() if r["rerank_score"] is not None}
    behind = judged & rankings.keys() - reranked
    found = {(q, row["doc_id"]): row for q, rows in scores_of(tmp_path).items() for row in rows}
    retrieved = {k: row for k, row in found.items() if row["origin"] == "retrieved"}
    assert retrieved.keys() == reranked | behind
    for pair, row in retrieved.items():
        run = rankings[pair]
        assert (run["retrieval_rank"], run["passage"]) == (row["retrieval_rank"], row["passage"])
        assert row["score_1"] == run["rerank_score"] or pair in behind
    missed = {k: row for k, row in found.items() if row["origin"] == "positive"}
    assert missed.keys() == judged - rankings.keys()
    assert behind, "this world has positives that are retrieved too low to be reranked"
    assert missed, "and such as retrieval misses"
    assert all(found[pair]["grade"] == 1 and np.isfinite(found[pair]["score"]) for pair in judged)
    assert all(row["retrieval_rank"] is None for row in missed.values())


def test_a_block_reads_its_own_texts(
    world: World, ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of texts is of one block: scored once and exported once, whatever the blocks."""
    opened: list[str] = []
    read = LocalStorage.read

    def noted(self: LocalStorage, key: str) -> bytes:
        opened.append(key)
        return read(self, key)

    monkeypatch.setattr(LocalStorage, "read", noted)
    assert label(world, ranked, tmp_path, "pointwise") == 0
    texts = {f"passages/{path.name}" for path in (tmp_path / "passages").iterdir()}
    assert len(texts) >= 3, "a file a block at least"
    assert {key: opened.count(key) for key in texts} == dict.fromkeys(texts, 2)


def test_margins_by_hand(world: World, ranked: Path, tmp_path: Path) -> None:
    assert label(world, ranked, tmp_path, "margin-mse", "label.near_duplicate=none") == 0
    texts = {
        (row["doc_id"], row["passage"]): f"{row['title']} {row['text']}".strip()
        for row in rows_of(tmp_path, "passages")
    }
    lines = Path(world.queries).read_text().splitlines()
    queries = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    expected = []
    for query, rows in scores_of(tmp_path).items():
        positives = [row for row in rows if row["grade"] == 1]
        others = [row for row in rows if row["grade"] != 1]
        others.sort(key=lambda row: -row["score"])
        for positive in positives:
            for other in others[:3]:
                margin = np.float32(positive["score"]) - np.float32(other["score"])
                pair = [texts[row["doc_id"], row["passage"]] for row in (positive, other)]
                expected.append((queries[query], *pair, margin))
    found = [
        (row["query"], row["positive"], row["negative"], row["score"])
        for row in rows_of(tmp_path, "margin-mse")
    ]
    assert found == expected


def test_lists_by_hand(world: World, ranked: Path, tmp_path: Path) -> None:
    sets = ("label.temperature=2", "label.near_duplicate=none")
    assert label(world, ranked, tmp_path, "listwise", *sets) == 0
    ids = ids_of(tmp_path, "listwise")
    rows = rows_of(tmp_path, "listwise")
    assert list(rows[0]) == ["query", "positive", "negative_1", "negative_2", "negative_3", "label"]
    for row, where in zip(rows, ids, strict=True):
        logits = np.array(where["score"]) / 2
        wanted = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(np.exp(row["label"]), wanted, rtol=1e-5)
        assert where["grade"][0] == 1
        assert 1 not in where["grade"][1:]


def test_random_and_batch_negatives(world: World, ranked: Path, tmp_path: Path) -> None:
    sets = ("label.random_negatives=2", "label.batch_negatives=1")
    assert label(world, ranked, tmp_path, "triplets", *sets) == 0
    origins = [o for row in ids_of(tmp_path, "triplets") for o in row["origin"][1:]]
    assert {"retrieved", "random", "batch"} == set(origins)
    for rows in scores_of(tmp_path).values():
        assert len({row["doc_id"] for row in rows}) == len(rows), "each document once"
        assert sum(row["origin"] == "random" for row in rows) <= 2


def test_two_teachers(world: World, ranked: Path, tmp_path: Path) -> None:
    for how in ("mean", "rrf"):
        labels = tmp_path / how
        sets = ("label.teachers=reranker,retrieval", f"label.ensemble={how}")
        assert label(world, ranked, labels, "pointwise", *sets) == 0
        for rows in scores_of(labels).values():
            first, second = (np.array([r[f"score_{n}"] for r in rows]) for n in (1, 2))
            found = np.array([r["score"] for r in rows])
            np.testing.assert_array_equal(second, [r["retrieval_score"] for r in rows])
            if how == "mean":
                np.testing.assert_allclose(found, (first + second) / 2, rtol=1e-5)
            else:
                ranks = [np.argsort(np.argsort(-s)) + 1 for s in (first, second)]
                fused = sum(1 / (60 + rank) for rank in ranks)
                np.testing.assert_allclose(found, fused, rtol=1e-5)


def test_provenance_is_in_every_file(world: World, ranked: Path, tmp_path: Path) -> None:
    assert label(world, ranked, tmp_path, "margin-mse") == 0
    [first, *_] = sorted((tmp_path / "margin-mse").glob("*.parquet"))
    told = json.loads(pq.read_schema(first).metadata[b"shardrank"])
    assert told["format"] == "margin-mse"
    assert told["settings"]["negatives"] == 3
    [teacher] = told["teachers"]
    assert len(teacher["weights_sha256"]) == 64


def test_blocks_without_rows_leave_no_files(world: World, ranked: Path, tmp_path: Path) -> None:
    """Loaders stumble over empty tables: the first, a middle and the last block have no row."""
    judged = Path(world.qrels).read_text().splitlines()
    for kept in ("q004", "q000", "q011"):
        qrels = tmp_path / f"{kept}.tsv"
        qrels.write_text("\n".join([judged[0], *(row for row in judged if row.startswith(kept))]))
        words = ["--qrels", str(qrels), "--set", f"reranker.model={world.reranker}"]
        values = [w for v in (*SETS, "label.curriculum=score-gap") for w in ("--set", v)]
        for name in ("listwise", "soft-labels"):
            labels = tmp_path / f"{kept}-{name}"
            assert shardrank("label", str(ranked), str(labels), "-f", name, *words, *values) == 0
            assert loaded(labels / name, tmp_path / "cache") == (1 if name == "listwise" else 12)


def test_ids_instead_of_texts(world: World, ranked: Path, tmp_path: Path) -> None:
    assert label(world, ranked, tmp_path, "triplets", "label.text=id") == 0
    row, where = rows_of(tmp_path, "triplets")[0], ids_of(tmp_path, "triplets")[0]
    assert row["query"] == where["query_id"]
    assert row["positive"] == f"{where['doc_id'][0]}#{where['passage'][0]}"


# What is refused or set aside.


def test_an_unknown_format(world: World, ranked: Path, tmp_path: Path, said: Said) -> None:
    assert label(world, ranked, tmp_path, "margins") == 2
    assert "no label format 'margins'" in said()
    assert not list(tmp_path.iterdir())


def test_positives_are_needed(ranked: Path, tmp_path: Path, said: Said) -> None:
    assert shardrank("label", str(ranked), str(tmp_path), "-f", "triplets") == 2
    assert "Give judgements with --qrels" in said()


def test_the_teachers_own_positives(world: World, ranked: Path, tmp_path: Path) -> None:
    values = [w for v in (*SETS, "label.positives=teacher") for w in ("--set", v)]
    model = ["--set", f"reranker.model={world.reranker}"]
    words = ("label", str(ranked), str(tmp_path / "alone"), "-f", "triplets", *values, *model)
    assert shardrank(*words) == 0
    scores = scores_of(tmp_path / "alone")
    best = {q: max(rows, key=lambda r: r["score"]) for q, rows in scores.items()}
    for where in ids_of(tmp_path / "alone", "triplets"):
        assert where["doc_id"][0] == best[where["query_id"]]["doc_id"]
    # With judgements too, no judged positive is a negative.
    assert label(world, ranked, tmp_path / "both", "triplets", "label.positives=teacher") == 0
    for where in ids_of(tmp_path / "both", "triplets"):
        assert where["grade"][1] is None


def test_another_reranker(world: World, ranked: Path, tmp_path: Path, said: Said) -> None:
    assert label(world, ranked, tmp_path, "triplets", "reranker.max_tokens=20") == 2
    assert "labels would mix two teachers" in said()


def test_no_ranking(world: World, tmp_path: Path, said: Said) -> None:
    assert label(world, tmp_path / "nothing", tmp_path / "labels", "triplets") == 2
    assert "holds no finished ranking" in said()


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (("label.teachers=reranker,reranker",), "names one model twice"),
        (("label.teachers=off",), "which is nobody"),
    ],
)
def test_teachers_that_are_refused(
    world: World, ranked: Path, tmp_path: Path, said: Said, sets: tuple[str, ...], words: str
) -> None:
    assert label(world, ranked, tmp_path, "triplets", *sets) == 2
    assert words in said()


def test_what_needs_judgements(ranked: Path, tmp_path: Path, said: Said) -> None:
    words = ("label", str(ranked), str(tmp_path), "-f", "pointwise", "--set")
    assert shardrank(*words, "label.batch_negatives=2") == 2
    assert "label.batch_negatives needs positives" in said()
    assert shardrank(*words, "label.curriculum=score-gap") == 2
    assert "label.curriculum needs positives" in said()


def test_a_named_teacher_that_is_the_runs_own(world: World, ranked: Path, tmp_path: Path) -> None:
    """Its logits are known, whatever it is called; other names are other labels."""
    assert label(world, ranked, tmp_path / "a", "triplets") == 0
    named = f"label.teachers={world.reranker}"
    assert label(world, ranked, tmp_path / "b", "triplets", named) == 0
    assert rows_of(tmp_path / "a", "triplets") == rows_of(tmp_path / "b", "triplets")
    assert label(world, ranked, tmp_path / "a", "margin-mse", named) == 2


def test_an_index_that_moved(world: World, tmp_path: Path, said: Said) -> None:
    assert shardrank(*world.index(tmp_path / "index", *SETS)) == 0
    assert shardrank(*world.rank(tmp_path / "index", tmp_path / "out", *SETS)) == 0
    (tmp_path / "index").rename(tmp_path / "moved")
    assert label(world, tmp_path / "out", tmp_path / "labels", "triplets") == 2
    assert "say where with --index" in said()
    sets = [word for value in SETS for word in ("--set", value)]
    words = ["--index", str(tmp_path / "moved"), "--qrels", world.qrels, *sets]
    model = ["--set", f"reranker.model={world.reranker}"]
    out, labels = str(tmp_path / "out"), str(tmp_path / "labels")
    assert shardrank("label", out, labels, "-f", "triplets", *words, *model) == 0
    assert shardrank("label", out, str(tmp_path / "moved"), "-f", "triplets", *words, *model) == 2
    assert f"LABELS {tmp_path / 'moved'} holds an index." in said()


def test_more_depth_after_nothing_came_out(world: World, ranked: Path, tmp_path: Path) -> None:
    assert label(world, ranked, tmp_path, "triplets", "label.ceiling=-1000") == 2
    assert label(world, ranked, tmp_path, "triplets", "label.depth=6") == 0


def test_draws_do_not_depend_on_blocks(
    world: World, ranked: Path, tmp_path: Path, inline: object
) -> None:
    """The same index, ranked in one block: the same labels."""
    index = str(ranked.parent / "index")
    sets = [*SETS, "search.block_queries=100"]
    assert shardrank(*world.rank(index, tmp_path / "out", *sets)) == 0
    drawn = ("label.random_negatives=2", "label.batch_negatives=3", "label.pick=random")
    found = []
    for out, labels in ((ranked, tmp_path / "a"), (tmp_path / "out", tmp_path / "b")):
        assert label(world, out, labels, "listwise", *drawn) == 0
        found.append(ids_of(labels, "listwise"))
    assert found[0] == found[1]


def test_scores_that_are_not_finite(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third logit is NaN: such pairs are counted and give no rows; nothing is guessed."""
    sound = CrossEncoderReranker.score

    def score(reranker: CrossEncoderReranker, *pairs: Any) -> PairScores:
        found = sound(reranker, *pairs)
        logits = found.logits.copy()
        logits[::3] = np.nan
        return PairScores(logits, found.truncated)

    monkeypatch.setattr(CrossEncoderReranker, "score", score)
    assert shardrank(*world.index(tmp_path / "index", *SETS)) == 0
    assert shardrank(*world.rank(tmp_path / "index", tmp_path / "out", *SETS)) == 0
    assert label(world, tmp_path / "out", tmp_path / "labels", "triplets") == 0
    counts = json.loads((tmp_path / "labels/about/triplets/manifest.json").read_text())["counts"]
    lost = [row for rows in scores_of(tmp_path / "labels").values() for row in rows]
    lost = [row for row in lost if row["score"] is None]
    assert counts["not_finite"] == len(lost) > 10
    assert counts["queries"] == 12 == counts["used"] + sum(counts["set_aside"].values())
    aside = {
        row["query_id"]: row["reason"]
        for row in rows_of(tmp_path / "labels/about/triplets", "set-aside")
    }
    positives = {row["query_id"] for row in lost if row["grade"] == 1}
    assert positives == {q for q, why in aside.items() if "not finite" in why} != set()
    used = {
        (i["query_id"], d) for i in ids_of(tmp_path / "labels", "triplets") for d in i["doc_id"]
    }
    assert not used & {(row["query_id"], row["doc_id"]) for row in lost}


def test_all_negatives_filtered(world: World, ranked: Path, tmp_path: Path, said: Said) -> None:
    assert label(world, ranked, tmp_path, "triplets", "label.ceiling=-1000") == 2
    assert "No query gives a row of triplets: 12 queries: no negative is left" in said()


def test_queries_without_positives_are_set_aside(
    world: World, ranked: Path, tmp_path: Path
) -> None:
    lines = Path(world.qrels).read_text().splitlines()
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("\n".join([*lines[:5], "q011\tnot-in-the-index\t1"]))
    words = ["--qrels", str(qrels), "--set", f"reranker.model={world.reranker}"]
    values = [word for value in SETS for word in ("--set", value)]
    labels = tmp_path / "labels"
    assert shardrank("label", str(ranked), str(labels), "-f", "triplets", *words, *values) == 0
    aside = rows_of(labels / "about/triplets", "set-aside")
    assert {row["reason"] for row in aside} == {"no positive among its candidates"}
    assert len(aside) == 12 - 4


def test_other_labels_in_the_same_place(
    world: World, ranked: Path, tmp_path: Path, said: Said
) -> None:
    assert label(world, ranked, tmp_path, "triplets") == 0
    assert label(world, ranked, tmp_path, "margin-mse") == 0, "another format of the same scores"
    assert label(world, ranked, tmp_path, "triplets", "label.negatives=1") == 2
    assert "triplets/manifest.json says which" in said()
    assert label(world, ranked, tmp_path, "triplets", "label.depth=4") == 2
    assert label(world, ranked, tmp_path, "triplets", "label.ensemble=rrf") == 2


# Killed and scaled.


def files_of(labels: Path) -> dict[str, bytes]:
    storage = LocalStorage(str(labels))
    keys = [entry.key for entry in storage.list("")]
    kept = [k for k in keys if not k.startswith(("units/", "runs/")) and not k.endswith(".html")]
    return {key: storage.read(key) for key in kept}


def test_killed_at_some_writes(world: World, ranked: Path, tmp_path: Path) -> None:
    check_kills(world, ranked, tmp_path, every=20)


@pytest.mark.slow
def test_killed_at_any_write(world: World, ranked: Path, tmp_path: Path) -> None:
    check_kills(world, ranked, tmp_path, every=1)


def check_kills(world: World, ranked: Path, tmp_path: Path, every: int) -> None:
    """Before and after each `every`-th write."""
    sets = ("label.random_negatives=2", "label.batch_negatives=1")
    counter = Counter(at=0, before=True)
    with counted(counter):
        assert label(world, ranked, tmp_path / "whole", "listwise", *sets) == 0
    expected = files_of(tmp_path / "whole")
    for at, before in itertools.product(range(1, counter.count + 1, every), (True, False)):
        labels = tmp_path / f"{at}-{before}"
        with counted(Counter(at, before)), pytest.raises(Killed):
            label(world, ranked, labels, "listwise", *sets)
        assert label(world, ranked, labels, "listwise", *sets) == 0
        assert files_of(labels) == expected, at
