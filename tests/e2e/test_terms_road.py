"""Exact-term reranking over stored sparse columns, from the command to the rankings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.inline import installed
from tests.own_term_models import own_term_model
from tests.world import World, make_world, shardrank, tiny_models

DEPTH = 7
SETS = ("passages.max_tokens=40", "passages.part_size=20", "search.k=20", "index.kind=exact")


@dataclass(frozen=True)
class Setting:
    """An index with columns of terms."""

    root: Path
    world: World

    def run(self, command: str, *words: str) -> int:
        """The exit code of a command, after whose words come --set's."""
        given = (f"encoder.model={self.world.encoder}", *SETS)
        parted = [word for value in given for word in ("--set", value)]
        return shardrank(command, *words, *parted)

    def rank(self, name: str, retriever: str, *sets: str) -> int:
        told = (f"retriever.{retriever}.index={retriever}", f"reranker.depth={DEPTH}", *sets)
        words = [word for value in ("reranker.family=terms", *told) for word in ("--set", value)]
        folders = (str(self.root / "index"), self.world.queries, str(self.root / name))
        return self.run("rank", *folders, *words)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Of the documents that were reranked."""
        files = sorted((self.root / name / "rankings").iterdir())
        found = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
        return [row for row in found if row["rerank_score"] is not None]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    root = tmp_path_factory.mktemp("terms")
    world = make_world(root / "world", tiny_models(root / "models"), documents=60, queries=9)
    made = Setting(root, world)
    own = own_term_model(root / "own", "tilde")
    columns = ("encoder.bm25.family=bm25", "encoder.own.family=sparse", f"encoder.own.model={own}")
    words = [word for value in columns for word in ("--set", value)]
    with installed() as patch:
        patch.setattr("shardrank.flows.report.write_report", lambda *given: None)
        assert made.run("index", world.corpus, str(root / "index"), *words) == 0
        yield made


@pytest.mark.parametrize("column", ["bm25", "own"])
def test_scores_are_those_of_searching_the_column(setting: Setting, column: str) -> None:
    """To the last bit; another k1 gives others."""
    assert setting.rank(f"{column}-itself", column, f"reranker.of={column}") == 0
    found = setting.rows(f"{column}-itself")
    assert len(found) > 9
    assert all(row["rerank_score"] == row["retrieval_score"] > 0 for row in found)
    if column == "bm25":
        assert setting.rank("k1", column, "reranker.of=bm25", "reranker.k1=0.5") == 0
        assert any(row["rerank_score"] != row["retrieval_score"] for row in setting.rows("k1"))


def test_what_others_found_is_scored(setting: Setting) -> None:
    """In any cut into units; a passage without a term of its query has 0."""
    assert setting.rank("others", "dense", "reranker.of=own") == 0
    found = setting.rows("others")
    assert len(found) == 9 * DEPTH
    assert {row["rerank_score"] > 0 for row in found} == {True, False}
    assert min(row["rerank_score"] for row in found) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.stages.shared.pairs_by_part.pairs_per_unit", lambda pairs: 10)
        assert setting.rank("cut", "dense", "reranker.of=own", "search.block_queries=4") == 0
    assert setting.rows("cut") == found


def test_a_column_that_holds_no_terms(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    assert setting.rank("none", "dense", "reranker.of=dense") == 2
    assert setting.rank("none", "dense", "reranker.of=own", "reranker.b=0.1") == 2
    told = " ".join("".join(capsys.readouterr()).split())
    assert "names 'dense', and the index has a column of family dense" in told
    assert "Columns of terms: bm25, own." in told
    assert "sets b, and 'own' holds weights" in told
