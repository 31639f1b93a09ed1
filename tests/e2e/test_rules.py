"""Queries that are documents, scores that are not finite, judgements that meet nothing: by whole
commands, against arithmetic written out here."""

import gzip
import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ir_measures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ir_measures import RR, R, nDCG
from safetensors.numpy import load_file, save_file

from tests.tiny_models import tiny_reranker
from tests.world import VOCABULARY, World, shardrank, write_lines

SETS = (
    "passages.part_size=16",
    "encoder.dtype=fp32",
    "encoder.pooling=mean",
    "search.k=6",
    "search.block_queries=4",
    "reranker.depth=4",
    "reranker.dtype=fp32",
)
RULE = "search.ignore_same_id=true"
QUERIES = 10
#: A word of some of the documents.
BREAKING = "flutter"
WORDS = [word for word in VOCABULARY if word != BREAKING]

pytestmark = pytest.mark.usefixtures("inline")

Said = Callable[[], str]
Ranked = dict[str, list[dict[str, Any]]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: " ".join("".join(capsys.readouterr()).split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    """As in ArguAna: each query is a document; its counterpart, which is nearest to it but for
    itself, is relevant."""
    root, rng = tmp_path_factory.mktemp("arguana"), random.Random(5)
    texts = {f"d{n:02d}": rng.choices(WORDS, k=20) for n in range(40)}
    for n in range(QUERIES):
        texts[f"d{n + 20:02d}"] = [word.title() for word in texts[f"d{n:02d}"]]
        texts[f"d{n + 10:02d}"].append(BREAKING)
    rows = [{"_id": name, "title": "a title", "text": " ".join(w)} for name, w in texts.items()]
    for row in rows[:QUERIES] + rows[20 : 20 + QUERIES]:
        row["title"] = ""
    write_lines(root / "corpus.jsonl", rows)
    # Another case and other white space: still the same text.
    asked = [{"_id": r["_id"], "text": f" {r['text'].upper()}\t"} for r in rows[:QUERIES]]
    write_lines(root / "queries.jsonl", asked)
    lines = [f"d{n:02d} 0 d{n + 20:02d} 1" for n in range(QUERIES)]
    (root / "qrels.tsv").write_text("\r\n".join(lines))
    return World(root, *models)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, world: World, inline: object) -> Path:
    folder = tmp_path_factory.mktemp("rules") / "index"
    assert shardrank(*world.index(folder, *SETS)) == 0
    return folder


def rankings_of(out: Path) -> Ranked:
    tables = [pq.read_table(path) for path in sorted((out / "rankings").glob("*.parquet"))]
    found: Ranked = {}
    for row in pa.concat_tables(tables).to_pylist():
        found.setdefault(row["query_id"], []).append(row)
    return found


def lines_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def metrics_of(out: Path) -> Any:
    return json.loads((out / "metrics.json").read_text())


def beir(world: World, ranked: Ranked, rank: str) -> Mapping[str, float]:
    """`EvaluateRetrieval.evaluate(ignore_identical_ids=True)`: a result with the query's id goes
    before anything is measured."""
    run: dict[str, dict[str, float]] = {}
    for query, rows in ranked.items():
        run[query] = {row["doc_id"]: -float(row[rank]) for row in rows if row["doc_id"] != query}
    qrels = list(ir_measures.read_trec_qrels(world.qrels))
    means = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10, R @ 100], qrels, run)
    names = {"nDCG@10": nDCG @ 10, "MRR@10": RR @ 10, "Recall@100": R @ 100}
    return {name: means[measure] for name, measure in names.items()}


# Queries that are documents.


@pytest.mark.parametrize("reranker", [True, False])
def test_beirs_rule(world: World, index: Path, tmp_path: Path, said: Said, reranker: bool) -> None:
    off = () if reranker else ("reranker.model=off",)
    sets, orders = (*SETS, *off), ["retrieved", "reranked"][: 1 + reranker]
    assert shardrank(*world.rank(index, tmp_path / "without", *sets)) == 0
    told = said()
    assert "10 queries have the document with the query's own id among the hits, 10 of them as" in (
        told
    )
    assert "(of 10 looked at, 10 with the query's text)" in told
    assert f"--set {RULE}" in told
    assert f"--set {RULE}" in (tmp_path / "without/report.html").read_text()
    assert shardrank(*world.rank(index, tmp_path / "with", *sets, RULE)) == 0
    assert "it was left out (search.ignore_same_id)" in said()
    without, found = rankings_of(tmp_path / "without"), rankings_of(tmp_path / "with")
    assert all(rows[0]["retrieval_rank"] <= 6 for rows in without.values())
    more = (*SETS, *off, "search.k=7")
    assert shardrank(*world.rank(index, tmp_path / "more", *more)) == 0
    for query, rows in rankings_of(tmp_path / "more").items():
        by_rank = sorted(rows, key=lambda row: row["retrieval_rank"])
        expected = [row["doc_id"] for row in by_rank if row["doc_id"] != query]
        mine = sorted(found[query], key=lambda row: row["retrieval_rank"])
        assert [row["doc_id"] for row in mine] == expected
        assert [row["retrieval_rank"] for row in mine] == [1, 2, 3, 4, 5, 6]
        assert sum(row["rerank_score"] is not None for row in mine) == 4 * reranker
    for name, rank in zip(orders, ["retrieval_rank", "rank"], strict=False):
        assert metrics_of(tmp_path / "with")[name] == pytest.approx(beir(world, found, rank))
        assert (
            metrics_of(tmp_path / "without")[name]["nDCG@10"] < beir(world, found, rank)["nDCG@10"]
        )
    assert metrics_of(tmp_path / "with")["retrieved"]["nDCG@10"] == 1.0
    assert metrics_of(tmp_path / "without")["retrieved"]["nDCG@10"] == pytest.approx(
        0.6309, abs=1e-4
    )


def test_evaluate_has_the_rule_too(world: World, index: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "out"
    assert shardrank(*world.rank(index, out, *SETS)) == 0
    said()
    assert shardrank("evaluate", str(out), world.qrels, "--set", RULE) == 0
    told = said()
    for name, rank in (("retrieved", "retrieval_rank"), ("reranked", "rank")):
        values = beir(world, rankings_of(out), rank)
        assert values["nDCG@10"] > metrics_of(out)[name]["nDCG@10"]
        assert f"{values['nDCG@10']:.4f}" in told
    assert "it was left out" in told
    assert shardrank("evaluate", str(out), world.qrels) == 0
    told = said()
    assert "(of 10 looked at, 10 with the query's text)" in told
    assert f"--set {RULE}" in told


def test_numbers_that_only_collide_lose_nothing(
    world: World, index: Path, tmp_path: Path, said: Said
) -> None:
    """As in Cranfield: query d01 is not document d01."""
    texts = [row["text"] for row in lines_of(world.queries)]
    asked = [{"_id": f"d{(n + 1) % 10:02d}", "text": text} for n, text in enumerate(texts)]
    other = replace(world, root=tmp_path)
    write_lines(tmp_path / "queries.jsonl", asked)
    (tmp_path / "qrels.tsv").write_text(Path(world.qrels).read_text())
    deep = (*SETS, "search.k=40", "reranker.model=off")
    assert shardrank(*other.rank(index, tmp_path / "out", *deep)) == 0
    told = said()
    assert "(of 10 looked at, 0 with the query's text)" in told
    assert "these seem to be other documents of the same number" in told
    assert RULE not in told
    assert {len(rows) for rows in rankings_of(tmp_path / "out").values()} == {40}
    assert shardrank(*other.rank(index, tmp_path / "left", *deep, RULE)) == 0
    assert "Are these ids of one namespace?" in said()
    assert {len(rows) for rows in rankings_of(tmp_path / "left").values()} == {39}


def test_an_approximate_index_gives_k_others(world: World, tmp_path: Path) -> None:
    rng = random.Random(6)
    more = ({"_id": f"m{n}", "text": " ".join(rng.choices(WORDS, k=9))} for n in range(600))
    command = world.index(tmp_path / "index", *SETS, "index.kind=ivfpq", "index.pq_bits=4")
    command[1] = write_lines(tmp_path / "corpus.jsonl", [*lines_of(world.corpus), *more])
    sets = ("passages.part_size=512", "index.nlist=2", "audit.target=0", "audit.queries=8")
    assert shardrank(*command, *(word for value in sets for word in ("--set", value))) == 0
    probed = (*SETS, "search.nprobe=2", "search.depth=1", "reranker.model=off", RULE)
    assert shardrank(*world.rank(tmp_path / "index", tmp_path / "out", *probed)) == 0
    for query, rows in rankings_of(tmp_path / "out").items():
        assert len(rows) == 6
        assert query not in {row["doc_id"] for row in rows}


# Labels of such queries.


def rows_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.parquet")):
        found += pq.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize("name", ["triplets", "soft-labels", "pointwise", "listwise"])
@pytest.mark.parametrize("positives", ["qrels", "teacher"])
def test_the_query_itself_is_nobodys_example(
    world: World, index: Path, tmp_path: Path, said: Said, name: str, positives: str
) -> None:
    """Without the rule it is recognised by its text, wherever it comes from."""
    assert shardrank(*world.rank(index, tmp_path / "out", *SETS)) == 0
    sets = [f"label.positives={positives}", "label.random_negatives=3", "label.negatives=1"]
    words = [w for v in (*SETS, *sets, f"reranker.model={world.reranker}") for w in ("--set", v)]
    labels = tmp_path / "labels"
    said()
    command = ("label", str(tmp_path / "out"), str(labels), "-f", name, "--qrels", world.qrels)
    assert shardrank(*command, *words) == 0
    told = said()
    for row in rows_of(labels / "about" / name / "ids"):
        assert row["query_id"] not in row["doc_id"]
    counts = json.loads((labels / "about" / name / "manifest.json").read_text())["counts"]
    itself = [row for row in rows_of(labels / "scores") if row["query_id"] == row["doc_id"]]
    assert counts["itself"] == len(itself) == QUERIES
    assert counts["candidates"] == counts["usable"] + counts["not_finite"] + counts["itself"]
    assert f"{counts['usable']:,} usable + 0 without a finite score + 10 the query itself" in told
    assert "the query itself" in (labels / "about" / name / "report.html").read_text()
    if name == "pointwise":
        assert counts["rows"] == counts["usable"]


def test_draws_and_judgements_obey_the_rule(world: World, index: Path, tmp_path: Path) -> None:
    """A document that has the query's id and another text: only the rule can tell."""
    asked = [{**row, "text": "wing flow heat shock"} for row in lines_of(world.queries)]
    other = replace(world, root=tmp_path)
    write_lines(tmp_path / "queries.jsonl", asked)
    judged = [f"d{n:02d} 0 d{n:02d} 1\nd{n:02d} 0 d{n + 20:02d} 1" for n in range(QUERIES)]
    (tmp_path / "qrels.tsv").write_text("\n".join(judged))
    drawn = ("label.random_negatives=38", "reranker.model=off", "label.teachers=retrieval")
    counted = []
    for ranked, rule in ((), ()), ((RULE,), ()), ((), (RULE,)):
        out, labels = (tmp_path / f"{kind}{len(counted)}" for kind in ("out", "labels"))
        assert shardrank(*other.rank(index, out, *SETS, drawn[1], *ranked)) == 0
        words = [word for value in (*SETS, *drawn, *rule) for word in ("--set", value)]
        command = ("label", str(out), str(labels), "-f", "triplets", "--qrels", other.qrels)
        assert shardrank(*command, *words) == 0
        pairs = {
            (r["query_id"], d) for r in rows_of(labels / "about/triplets/ids") for d in r["doc_id"]
        }
        counted.append(sum(query == doc for query, doc in pairs))
    assert counted == [QUERIES, 0, 0]


# Scores that are not finite.


def broken_reranker(folder: Path, name: str, row: int | None = None) -> Path:
    """A reranker in whose weights NaN stands: everywhere in one array, or in one row of it."""
    tiny_reranker(folder, "bert")
    weights = load_file(folder / "model.safetensors")
    weights[name][slice(None) if row is None else row] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_a_reranker_that_gives_only_nan_is_refused(
    world: World, index: Path, tmp_path: Path, said: Said
) -> None:
    model = broken_reranker(tmp_path / "model", "classifier.bias")
    command = world.rank(index, tmp_path / "out", *SETS, f"reranker.model={model}")
    for _ in range(2):  # what it scored is not taken for done
        assert shardrank(*command) == 2
        message = said()
        assert f"The reranker '{model}' in fp32 gives no finite score: those of all 40" in message
        assert "heck its weights" in message
        assert not (tmp_path / "out/manifest.json").exists()
        assert not (tmp_path / "out/run.trec").exists()
        assert not list((tmp_path / "out/units/rerank").glob("*.json"))


def test_a_teacher_that_gives_only_nan_is_refused(
    world: World, index: Path, tmp_path: Path, said: Said
) -> None:
    model = broken_reranker(tmp_path / "model", "classifier.bias")
    assert shardrank(*world.rank(index, tmp_path / "out", *SETS)) == 0
    words = [w for v in (*SETS, f"label.teachers={model}") for w in ("--set", v)]
    command = ("label", str(tmp_path / "out"), str(tmp_path / "labels"), "-f", "pointwise")
    assert shardrank(*command, *words) == 2
    assert f"The reranker '{model}' in fp32 gives no finite score" in said()
    assert not (tmp_path / "labels/about/pointwise/manifest.json").exists()


def test_pairs_without_a_finite_score_are_counted(
    world: World, index: Path, tmp_path: Path, said: Said
) -> None:
    """One word breaks its passages."""
    vocabulary = json.loads((world.reranker / "tokenizer.json").read_text())["model"]["vocab"]
    table = "bert.embeddings.word_embeddings.weight"
    model = broken_reranker(tmp_path / "model", table, vocabulary[BREAKING])
    out = tmp_path / "out"
    assert shardrank(*world.rank(index, out, *SETS, f"reranker.model={model}")) == 0
    texts = {row["_id"]: row["text"] for row in lines_of(world.corpus)}
    lost = 0
    for rows in rankings_of(out).values():
        reached = [row for row in rows if row["retrieval_rank"] <= 4]
        for row in reached:
            broken = BREAKING in texts[row["doc_id"]]
            assert (row["rerank_score"] is None) == broken
            lost += broken
        tail = [row["retrieval_rank"] for row in rows if row["rerank_score"] is None]
        assert tail == sorted(tail), "they keep their retrieval order"
        heads = [row["rank"] for row in rows if row["rerank_score"] is not None]
        assert heads == list(range(1, len(heads) + 1)), "below all that were reranked"
    assert 0 < lost < 40
    assert json.loads((out / "manifest.json").read_text())["pairs"] == {
        "scored": 40 - lost,
        "not_finite": lost,
    }
    line = f"40 = {40 - lost} reranked + {lost} without a finite score"
    assert line in said()
    page = " ".join((out / "report.html").read_text().split())
    assert line in page
    assert f"{40 - lost} pairs reranked, {lost} pairs without a finite score" in page


def test_an_encoder_that_gives_only_nan_is_refused(
    world: World, tmp_path: Path, said: Said
) -> None:
    model = tmp_path / "encoder"
    shutil.copytree(world.encoder, model)
    weights = load_file(model / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][:] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    command = world.index(tmp_path / "index", *SETS, f"encoder.model={model}")
    assert shardrank(*command) == 2
    assert f"The encoder '{model}' in fp32 gives no finite vector: those of all 16" in said()
    assert not (tmp_path / "index/manifests").exists()


# Queries and judgements.


def test_queries_add_up(world: World, index: Path, tmp_path: Path, said: Said) -> None:
    lines = Path(world.queries).read_text().splitlines()
    bad = [
        '{"_id": "d00", "text": "again"}',
        '{"_id": "empty", "text": " "}',
        '{"_id": "nothing", "text": "\\u200b"}',
        '{"_id": 1.5, "text": "wing"}',
        "{",
    ]
    other = replace(world, root=tmp_path)
    (tmp_path / "qrels.tsv").write_text(Path(world.qrels).read_text())
    write_lines(tmp_path / "queries.jsonl", [*lines, *bad, '{"_id": 7, "text": "wing"}'])
    out = tmp_path / "out"
    assert shardrank(*other.rank(index, out, *SETS)) == 0
    told = said()
    assert (
        "16 = 11 ranked + 1 rejected (duplicate_id) + 1 rejected (empty_text) + 1 rejected "
        "(id_not_text) + 1 rejected (malformed_json) + 1 rejected (no_tokens)"
    ) in told
    assert "7" in rankings_of(out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["queries"], manifest["queries_rejected"]) == (11, 5)
    [aside] = [r for r in rows_of(out / "rejected") if r["reason"] == "no_tokens"]
    path, at = Path(aside["source"]), aside["row"]
    assert json.loads(path.read_bytes()[at:].splitlines()[0])["_id"] == "nothing"


def test_judgements_that_meet_nothing_are_told(
    world: World, index: Path, tmp_path: Path, said: Said
) -> None:
    other = replace(world, root=tmp_path)
    write_lines(tmp_path / "queries.jsonl", lines_of(world.queries))
    lines = ["query-id\tcorpus-id\tscore", "d00\tdoc-20\t1", "d01\tdoc-21\t1", "q9\td03\t1"]
    data = gzip.compress("\r\n".join(lines).encode())
    (tmp_path / "qrels.tsv").write_bytes(data)
    assert shardrank(*other.rank(index, tmp_path / "out", *SETS)) == 0
    told = said()
    assert "2 judged documents not in the index" in told
    assert "Not ranked: 1 of 3 judged queries, which count as 0." in told
    assert "8 ranked queries without judgements: left out." in told
    assert "All metrics are 0: no relevant document was found. The judgements name" in told
    page = (tmp_path / "out/report.html").read_text()
    assert "2 judged documents not in the index" in page
    assert "All metrics are 0" in page
    assert shardrank("evaluate", str(tmp_path / "out"), other.qrels) == 0
    told = said()
    assert "documents such as 'doc-20', the rankings such as 'd" in told
    assert "8 ranked queries without judgements" in told


def test_grades_that_differ_are_refused(
    world: World, index: Path, tmp_path: Path, said: Said
) -> None:
    other = replace(world, root=tmp_path)
    write_lines(tmp_path / "queries.jsonl", lines_of(world.queries))
    (tmp_path / "qrels.tsv").write_text("d00 0 d20 1\nd00 0 d20 0\n")
    assert shardrank(*other.rank(index, tmp_path / "out", *SETS)) == 2
    assert "lines 1 and 2: query 'd00' and document 'd20' are judged 1 and 0" in said()
