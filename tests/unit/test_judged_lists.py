"""Fusing again what each retriever found for judged queries."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from shardrank.core.evaluate_settings import DEFAULT_METRICS
from shardrank.core.evaluation import Judgement
from shardrank.core.fusion import fuse
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.schemas import HITS
from shardrank.flows.judged_lists import JudgedLists, ListedBlock, listed_blocks
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.ranked_runs import RankedBlock
from shardrank.storage.local import LocalStorage


def hits(found: Mapping[int, str]) -> pa.Table:
    """HITS: a letter is a document, the first the best."""
    rows = [
        {"query": query, "doc_id": doc, "passage": 0, "score": -at, "part": 0, "row": at}
        for query, docs in found.items()
        for at, doc in enumerate(docs)
    ]
    return pa.Table.from_pylist(rows, HITS)


def judged(*lists: Mapping[int, str], k: int = 3) -> JudgedLists:
    """Lists of queries 0 and 1, to each of which document a is relevant."""
    block = ListedBlock(pa.chunked_array([["q0", "q1"]]), [hits(each) for each in lists])
    judgements = [Judgement("q0", "a", 1), Judgement("q1", "a", 1)]
    return JudgedLists([block], judgements, DEFAULT_METRICS, k, False)


def test_a_retriever_is_cut_to_what_a_ranking_holds() -> None:
    lists = judged({0: "bcda", 1: "ab"}, {})
    assert lists.alone(0) == {"nDCG@10": 0.5, "MRR@10": 0.5, "Recall@100": 0.5}
    assert judged({0: "bcda", 1: "ab"}, {}, k=4).alone(0)["MRR@10"] == 0.625


def test_a_retriever_that_finds_nothing_gives_nothing() -> None:
    assert judged({0: "a"}, {}).alone(1) == dict.fromkeys(DEFAULT_METRICS, 0.0)


@pytest.mark.parametrize(("depth", "moved"), [(1, 1), (2, 2), (3, 1), (9, 1)])
def test_queries_count_whose_first_documents_differ(depth: int, moved: int) -> None:
    """The second query's three are the same in both lists, and so is its first."""
    lists = judged({0: "abc", 1: "abc"}, {0: "def", 1: "acb"})
    one, other = (FusionSettings(weights=weights) for weights in ((1, 0), (0, 1)))
    assert lists.moved(one, other, depth) == moved
    assert lists.moved(one, one, depth) == 0


def test_only_judged_queries_are_kept(tmp_path: Path) -> None:
    """They are numbered again, and what is fused of them is what was fused of all."""
    out = Workspace(LocalStorage(str(tmp_path)))
    names = ["x", "q1", "y", "q0"]
    found = [{0: "ab", 1: "ba", 3: "c"}, {1: "da", 2: "a", 3: "cb"}]
    tables = [hits(each) for each in found]
    queries = out.write_table("queries", pa.table({"query_id": names}))
    refs = tuple(out.write_table(f"list-{n}", table) for n, table in enumerate(tables))
    other = out.write_table("others", pa.table({"query_id": ["z"]}))
    blocks = [
        RankedBlock(other, other, refs[0], refs, ()),
        RankedBlock(queries, queries, refs[0], refs, ()),
    ]
    judgements = [Judgement("q0", "a", 1), Judgement("q1", "a", 1), Judgement("nobody", "a", 1)]
    [block] = listed_blocks(out, blocks, judgements)
    assert block.query_ids.to_pylist() == ["q1", "q0"]
    how = FusionSettings(how="scores")
    mine, whole = fuse(block.lists, how, 10).to_pylist(), fuse(tables, how, 10).to_pylist()
    wanted = [
        {**row, "query": {1: 0, 3: 1}[row["query"]]} for row in whole if row["query"] in (1, 3)
    ]
    assert mine == wanted
