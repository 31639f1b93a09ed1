"""The built-in corpus: what is a passage, what a query, and which modules are for testing."""

import csv
import json
from pathlib import Path

import pytest

from shardrank.corpus.stdlib import (
    StdlibPassage,
    demo_queries,
    held_out,
    known_item_queries,
    stdlib_documents,
    write_demo,
)


@pytest.fixture(scope="module")
def passages() -> list[StdlibPassage]:
    return stdlib_documents()


def test_documents_are_many_ordered_and_unique(passages: list[StdlibPassage]) -> None:
    ids = [passage.doc_id for passage in passages]
    assert len(ids) > 3000
    assert ids == sorted(set(ids))
    assert all(passage.text.strip() for passage in passages)
    assert not any(part in ("test", "tests") for name in ids for part in name.split(".")[:1])


def test_a_query_does_not_occur_in_its_document(passages: list[StdlibPassage]) -> None:
    texts = {passage.doc_id: " ".join(passage.text.split()).casefold() for passage in passages}
    queries = demo_queries(passages)
    assert 200 < len(queries) <= 240
    for query in queries:
        assert query.text.casefold() not in texts[query.doc_id]
        assert len(query.text.split()) >= 3


def test_training_and_test_queries_share_no_module(passages: list[StdlibPassage]) -> None:
    test = {query.doc_id.partition(".")[0] for query in known_item_queries(passages, test=True)}
    training = {
        query.doc_id.partition(".")[0] for query in known_item_queries(passages, test=False)
    }
    assert test
    assert training
    assert not test & training


def test_the_split_is_the_same_on_every_machine() -> None:
    assert [held_out(name) for name in ("unittest", "unittest.mock", "inspect")] == [True] * 3
    assert [held_out(name) for name in ("asyncio.queues", "email", "tkinter")] == [False] * 3
    assert held_out("_pydatetime") == held_out("datetime")


def test_a_docstring_is_split_after_its_first_sentence_or_kept_whole(tmp_path: Path) -> None:
    source = '''"""Frobnicate a widget.  The widget must have been opened before, or it raises."""
try:
    def put(): "Only one sentence here, nothing follows it."
except ImportError:
    class Box:
        @property
        def lid(self): "First wins.  It has more to say than the setter has."
        @lid.setter
        def lid(self, value): "Second loses.  It comes after the getter of this name."
'''
    (tmp_path / "widgets").mkdir()
    (tmp_path / "widgets" / "__init__.py").write_text(source, "utf-8")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_widgets.py").write_text(source, "utf-8")
    (tmp_path / "python2.py").write_text("print 'no'", "utf-8")
    module, lid, put = stdlib_documents(tmp_path)
    assert (module.doc_id, module.summary) == ("widgets", "Frobnicate a widget.")
    assert module.text == "The widget must have been opened before, or it raises."
    assert (lid.doc_id, lid.text) == ("widgets.Box.lid", "It has more to say than the setter has.")
    assert (put.text, put.summary) == ("Only one sentence here, nothing follows it.", "")


def test_ambiguous_sentences_are_no_queries(tmp_path: Path) -> None:
    source = '"""Do the right thing.  Whatever it is that {} considers right."""'
    for name in ("ant", "bee"):
        (tmp_path / f"{name}.py").write_text(source.format(name), "utf-8")
    passages = stdlib_documents(tmp_path)
    assert len(passages) == 2
    assert known_item_queries(passages, test=True) + known_item_queries(passages, test=False) == []


def test_the_demo_is_written_in_beir_layout_and_twice_the_same(tmp_path: Path) -> None:
    counts = [write_demo(tmp_path / name) for name in ("one", "two")]
    files = ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]
    one, two = (
        [(tmp_path / name / file).read_bytes() for file in files] for name in ("one", "two")
    )
    assert one == two
    assert counts[0] == counts[1]
    corpus = {json.loads(line)["_id"] for line in one[0].splitlines()}
    queries = {json.loads(line)["_id"] for line in one[1].splitlines()}
    qrels = list(csv.DictReader(one[2].decode().splitlines(), delimiter="\t"))
    assert (len(corpus), len(queries)) == counts[0]
    assert {row["query-id"] for row in qrels} == queries
    assert {row["corpus-id"] for row in qrels} <= corpus
