"""Benchmarks' files as they are published → queries, judgements, settings; and the tables of
docs/collections.md. The samples were written here, in the form of the files that their authors'
programs read."""

import gzip
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.benchmarks import BENCHMARKS, Benchmark, benchmark
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.overrides import parse_settings
from shardrank.corpus.collect import Collected, collect
from shardrank.corpus.qrels import read_qrels
from tests.world import shardrank, write_lines

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/collections.md").read_text("utf-8")


def tables() -> tuple[str, str]:
    """The rows of both tables as they should stand in docs/collections.md."""
    first = [
        f"| `{name}` | {each.split} | {', '.join(f'`{m}`' for m in each.metrics)} | {each.k:,} | "
        f"{each.differs} |"
        for name, each in BENCHMARKS.items()
    ]
    return "\n".join(first), "\n".join(_files(*each) for each in BENCHMARKS.items())


def _files(name: str, each: Benchmark) -> str:
    documents = f"`{each.documents.glob}`" if each.documents else "by hand"
    judged = each.judged.glob or each.judged.grade or each.judged.document
    parts = ", ".join(each.parts) + (" …" if each.parts else "—")
    by = each.scored_by or "not found"
    paper = f"[{each.paper}](https://arxiv.org/abs/{each.paper})"
    return (
        f"| `{name}` ({paper}) | {documents} | `{each.queries.glob}` | `{judged}` | {parts} | "
        f"{by} |"
    )


def test_the_tables_say_what_the_code_does() -> None:
    first, second = tables()
    assert first in TEXT, first
    assert second in TEXT, second


@pytest.mark.parametrize("name", BENCHMARKS)
def test_metrics_are_known(name: str) -> None:
    each = BENCHMARKS[name]
    parse_settings({"evaluate": {"metrics": list(each.metrics)}, "search": {"k": each.k}}, [])


# Samples.


def tsv(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def bright(root: Path) -> None:
    parquet(
        root / "documents/biology-00000-of-00001.parquet",
        [{"id": f"a/b_{n}.txt", "content": f"passage {n}"} for n in range(4)],
    )
    example = {"reasoning": "", "gold_ids_long": ["a/b"], "gold_answer": ""}
    parquet(
        root / "examples/biology-00000-of-00001.parquet",
        [
            example
            | {"id": "0", "query": "what?", "gold_ids": ["a/b_0.txt"], "excluded_ids": ["N/A"]},
            example
            | {
                "id": "1",
                "query": "why?",
                "gold_ids": ["a/b_1.txt"],
                "excluded_ids": ["a/b_2.txt"],
            },
        ],
    )


def t2ranking(root: Path) -> None:
    tsv(root / "collection.tsv", [["pid", "text"], [0, '说 "引号" 开'], [1, "二\t三"], [2, "四"]])
    tsv(root / "queries.dev.tsv", [["qid", "text"], [7, "问"], [8, "答"]])
    pairs = [[7, 0, 0, 3], [7, 0, 1, 1], [8, 0, 2, 1]]
    tsv(root / "qrels.dev.tsv", [["qid", "-", "pid", "rel"], *pairs])


def multi_cpr(root: Path) -> None:
    tsv(root / "ecom/corpus.tsv", [[1, "尼康z62"], [2, "海神"]])
    tsv(root / "ecom/dev.query.txt", [[200000, "nikon"], [200001, "sea"]])
    tsv(root / "ecom/qrels.dev.tsv", [[200000, 0, 1, 1]])


def miracl(root: Path) -> None:
    folder = root / "miracl-corpus-v1.0-yo"
    folder.mkdir(parents=True)
    row = {"docid": "39#0", "title": "Albedo", "text": "Albedo is"}
    (folder / "docs-0.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    topics = "miracl-v1.0-yo/topics/topics.miracl-v1.0-yo-dev.tsv"
    tsv(root / topics, [["10020#0", "Odun wo?"], ["10118#0", "Ibo?"]])
    qrels = root / "miracl-v1.0-yo/qrels/qrels.miracl-v1.0-yo-dev.tsv"
    tsv(qrels, [["10020#0", "Q0", "39#0", 1], ["10118#0", "Q0", "39#0", 0]])


def loco(root: Path) -> None:
    documents = [
        {"dataset": "qmsum", "pid": "p1", "passage": "long"},
        {"dataset": "qmsum", "pid": "p2", "passage": None},
        {"dataset": "other", "pid": "p3", "passage": "not mine"},
    ]
    queries = [
        {"dataset": "qmsum", "qid": "q1", "query": "what", "answer_pids": ["p1"]},
        {"dataset": "qmsum", "qid": "q2", "query": "no text", "answer_pids": ["p2"]},
        {"dataset": "other", "qid": "q3", "query": "not mine", "answer_pids": ["p3"]},
    ]
    for name, rows in (("Documents", documents), ("Queries", queries)):
        folder = root / f"LoCoV1-{name}"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("# about")
        write_lines(folder / "test.jsonl", rows)


def beir(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_lines(root / "corpus.jsonl", [{"_id": "d-0", "title": "", "text": "Sarah"}])
    write_lines(
        root / "queries.jsonl", [{"_id": "q-0", "text": "who"}, {"_id": "q-1", "text": "?"}]
    )
    for name in ("test", "topic_level"):
        tsv(root / f"qrels/{name}.tsv", [["query-id", "corpus-id", "score"], ["q-0", "d-0", 1]])
    (root / "instruction.txt").write_text("Given a sentence, find the entity.")


def inquire(root: Path) -> None:
    folder = root / "inquire"
    folder.mkdir(parents=True)
    (folder / "inquire_queries_test.csv").write_text(
        ',query_id,query_text,supercategory\n83,109,"a grouse, male",Appearance\n84,110,x,y\n'
    )
    (folder / "inquire_annotations.csv").write_text(
        "query_id,image_path\n109,train/1/a.jpg\n109,train/2/b.jpg\n7,train/1/a.jpg\n"
    )


def inquire_rerank(root: Path) -> None:
    def row(query: str, image: int, relevant: int) -> dict[str, Any]:
        picture = {"bytes": bytes([image]), "path": None}
        return {"image": picture, "query": query, "relevant": relevant, "inat24_image_id": image}

    rows = [row("a grouse", 1, 1), row("a grouse", 2, 0), row("a moth", 2, 1), row("a moth", 3, 0)]
    parquet(root / "data/test-00000-of-00001.parquet", rows)


SAMPLES = {
    "bright": (bright, "biology"),
    "t2ranking": (t2ranking, ""),
    "multi-cpr": (multi_cpr, "ecom"),
    "miracl": (miracl, "yo"),
    "loco": (loco, "qmsum"),
    "rar-b": (beir, ""),
    "rar-b-instructed": (beir, ""),
    "fincprg": (beir, "topic_level"),
    "inquire": (inquire, ""),
    "inquire-rerank": (inquire_rerank, ""),
}
QUERIES: Mapping[str, list[dict[str, Any]]] = {
    "bright": [
        {"_id": "0", "text": "what?", "exclude": []},
        {"_id": "1", "text": "why?", "exclude": ["a/b_2.txt"]},
    ],
    "t2ranking": [{"_id": "7", "text": "问"}, {"_id": "8", "text": "答"}],
    "multi-cpr": [{"_id": "200000", "text": "nikon"}],
    "miracl": [{"_id": "10020#0", "text": "Odun wo?"}, {"_id": "10118#0", "text": "Ibo?"}],
    "loco": [{"_id": "q1", "text": "what"}],
    "rar-b": [{"_id": "q-0", "text": "who"}],
    "rar-b-instructed": [{"_id": "q-0", "text": "Given a sentence, find the entity. who"}],
    "fincprg": [{"_id": "q-0", "text": "who"}],
    "inquire": [{"_id": "109", "text": "a grouse, male"}],
    "inquire-rerank": [{"_id": "q0000", "text": "a grouse"}, {"_id": "q0001", "text": "a moth"}],
}
JUDGED = {
    "bright": [("0", "a/b_0.txt", 1), ("1", "a/b_1.txt", 1)],
    "t2ranking": [("7", "0", 3), ("7", "1", 1), ("8", "2", 1)],
    "multi-cpr": [("200000", "1", 1)],
    "miracl": [("10020#0", "39#0", 1), ("10118#0", "39#0", 0)],
    "loco": [("q1", "p1", 1)],
    "inquire": [("109", "train/1/a.jpg", 1), ("109", "train/2/b.jpg", 1)],
    "inquire-rerank": [("q0000", "1", 1), ("q0000", "2", 0), ("q0001", "2", 1), ("q0001", "3", 0)],
}
DOCUMENTS = {
    "t2ranking": [("0", '说 "引号" 开'), ("1", "二\t三"), ("2", "四")],
    "multi-cpr": [("1", "尼康z62"), ("2", "海神")],
    "loco": [("p1", "long")],
}


def collected(name: str, root: Path) -> tuple[Collected, Path]:
    write, part = SAMPLES[name]
    write(root / "source")
    known, out = benchmark(name), root / "out"
    return collect(known, root / "source", out, part, known.split), out


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_published_is_read(name: str, tmp_path: Path) -> None:
    found, out = collected(name, tmp_path)
    rows = [json.loads(line) for line in (out / "queries.jsonl").read_text("utf-8").splitlines()]
    assert rows == QUERIES[name]
    path = out / f"qrels/{BENCHMARKS[name].split}.tsv"
    pairs = [(j.query_id, j.doc_id, j.relevance) for j in read_qrels(path.read_bytes(), str(path))]
    assert pairs == JUDGED.get(name, [("q-0", "d-0", 1)])
    assert (found.queries, found.judgements) == (len(rows), len(pairs))
    assert found.excluded == sum(len(row.get("exclude", [])) for row in rows)
    assert found.unjudged == (name not in ("bright", "t2ranking", "miracl", "inquire-rerank"))
    for settings in ("index", "rank"):
        parse_settings(tomllib.loads((out / f"{settings}.toml").read_text("utf-8")), [])


@pytest.mark.parametrize("name", SAMPLES)
def test_documents_are_written_where_they_cannot_be_read(name: str, tmp_path: Path) -> None:
    found, out = collected(name, tmp_path)
    if name in DOCUMENTS:
        rows = [json.loads(line) for line in Path(found.corpus).read_text("utf-8").splitlines()]
        assert [(row["_id"], row["text"]) for row in rows] == DOCUMENTS[name]
        assert found.documents == len(rows)
    elif name == "inquire-rerank":
        table = pq.read_table(found.corpus).to_pylist()
        assert table == [{"_id": str(n), "image": bytes([n])} for n in (1, 2, 3)]
    else:
        assert found.documents is None
        assert not list(out.glob("corpus*"))


def test_settings_name_the_columns(tmp_path: Path) -> None:
    _, out = collected("miracl", tmp_path)
    settings = parse_settings(tomllib.loads((out / "index.toml").read_text("utf-8")), [])
    corpus = settings.corpus
    assert (corpus.id, corpus.title, corpus.text) == ("docid", "title", "text")
    _, out = collected("bright", tmp_path / "bright")
    settings = parse_settings(tomllib.loads((out / "rank.toml").read_text("utf-8")), [])
    assert (settings.search.k, settings.search.exclude) == (1000, "exclude")
    assert settings.evaluate.metrics == BENCHMARKS["bright"].metrics


# What is refused.


def test_no_such_benchmark() -> None:
    with pytest.raises(SettingsError, match="no benchmark 'msmarco'"):
        benchmark("msmarco")


@pytest.mark.parametrize(("name", "part"), [("bright", ""), ("t2ranking", "yo")])
def test_a_part_where_there_are_parts(name: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--part"):
        collect(benchmark(name), tmp_path, tmp_path / "out", part, "test")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no documents/law-\*\.parquet in"):
        collect(benchmark("bright"), tmp_path, tmp_path / "out", "law", "test")


@pytest.mark.parametrize(
    ("name", "file", "data", "said"),
    [
        ("t2ranking", "collection.tsv", b"0\n", r"collection\.tsv, line 1: expected pid, text"),
        ("t2ranking", "queries.dev.tsv", b"7\t\xff\n", "cannot be read"),
        ("t2ranking", "qrels.dev.tsv", b"7\t0\t0\n", r"qrels\.dev\.tsv, line 1: expected query"),
        ("miracl", "miracl-v1.0-yo/qrels/qrels.miracl-v1.0-yo-dev.tsv", b"x 0 y 1\n", "no query"),
        ("inquire", "inquire/inquire_queries_test.csv", b"id,text\n", "no column 'query_id'"),
        ("loco", "LoCoV1-Queries/test.jsonl", b"{]\n", "cannot be read"),
        ("loco", "LoCoV1-Documents/test.jsonl", b'{"pid": 1}\n', "no column 'passage'"),
        ("bright", "examples/biology-00000-of-00001.parquet", b"PAR1", "cannot be read"),
        ("rar-b", "queries.jsonl", b'{"_id": null, "text": "x"}\n', "_id is None in a row"),
        ("rar-b", "queries.jsonl", b'{"_id": "q-0", "text": 3}\n', "text is 3 in a row"),
    ],
)
def test_files_that_are_not_as_published(
    name: str, file: str, data: bytes, said: str, tmp_path: Path
) -> None:
    write, part = SAMPLES[name]
    write(tmp_path)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError, match=said):
        collect(benchmark(name), tmp_path, tmp_path / "out", part, benchmark(name).split)


def test_a_part_that_no_row_is_of(tmp_path: Path) -> None:
    loco(tmp_path)
    with pytest.raises(InputError, match="The files hold no documents of 'law'"):
        collect(benchmark("loco"), tmp_path, tmp_path / "out", "law", "test")


def test_a_query_that_excludes_what_is_relevant(tmp_path: Path) -> None:
    bright(tmp_path)
    path = tmp_path / "examples/biology-00000-of-00001.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[1]["excluded_ids"] = ["a/b_1.txt"]
    parquet(path, rows)
    with pytest.raises(InputError, match=r"'1' excludes 'a/b_1\.txt', which is judged"):
        collect(benchmark("bright"), tmp_path, tmp_path / "out", "biology", "test")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bright(tmp_path / "source")
    source, out = str(tmp_path / "source"), str(tmp_path / "out")
    assert shardrank("collect", "bright", source, out, "--part", "biology") == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "2 = 2 judged" in said
    assert "judgements 2 = 2 of grade 1" in said
    assert f"shardrank index '{source}/documents/biology-*.parquet' {out}/index" in said
    assert f"--qrels {out}/qrels/test.tsv --config {out}/rank.toml" in said
    assert shardrank("collect", "bright", source, source, "--part", "biology") == 2


def test_a_split_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="this benchmark has one split: test"):
        collect(BENCHMARKS["loco"], tmp_path, tmp_path / "out", "q", "train")
