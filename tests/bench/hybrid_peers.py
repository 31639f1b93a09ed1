"""bm25s and ranx beside what shardrank found: the same words, the same lists, the same arithmetic.

Each runs in an environment of its own. Where that is not there, nothing is compared, and the reason
is said.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32
from shardrank.core.evaluation import Judgement
from shardrank.core.measured import evaluate
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.text import passage_text
from shardrank.models.encoders.bm25 import ENGLISH
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.ranked_runs import read_ranked
from shardrank.stages.shared.versions import open_version
from shardrank.storage import LocalStorage
from tests.hybrid import words

BM25S, RANX = (Path(f"build/{name}/bin/python") for name in ("bm25s", "ranx"))
#: Documents for each query.
K = 100
#: What scores may differ by, of themselves or of 1: they are kept in float32.
CLOSE = 1e-6
NORMS = {"min-max": "min-max", "z": "zmuv"}

#: Of each query its documents and their scores, the best first.
List = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Agreement:
    """How our lists and a peer's compare.

    Attributes:
        against: the peer, and what it computed.
        queries, hits: that were compared.
        difference: of two scores of a document, the largest, of the score or of 1.
        moved: places at which the peer has another document.
        wrong: those of them whose documents differ in score by more than CLOSE.
        unlike: queries with more or fewer hits than the peer's.
        sample: of what is wrong, a query with a place or a document.
    """

    against: str
    queries: int = 0
    hits: int = 0
    difference: float = 0.0
    moved: int = 0
    wrong: int = 0
    unlike: int = 0
    sample: str = ""

    @property
    def agrees(self) -> bool:
        return self.difference <= CLOSE and not self.wrong and not self.unlike


def agreement(against: str, ours: List, theirs: List, k: int) -> Agreement:
    """Ours are the peer's first k, but for what ties.

    Args:
        against: names the peer.
        ours: at most k documents of each query.
        theirs: all that the peer found, in any order; of each query that we have.
        k: documents for each query.
    """
    hits = moved = wrong = unlike = 0
    difference, sample = 0.0, ""
    for query, found in ours.items():
        peer = theirs[query]
        first = sorted(peer, key=lambda doc: (-peer[doc], doc.encode()))[:k]
        hits += len(found)
        unlike += len(found) != len(first)
        for rank, (doc, other) in enumerate(zip(found, first, strict=False), 1):
            far = apart(found[doc], peer.get(doc, -np.inf))
            bad = doc != other and apart(peer.get(doc, -np.inf), peer[other]) > CLOSE
            moved, wrong = moved + (doc != other), wrong + bad
            if (bad or far > CLOSE) and not sample:
                sample = f"query {query}, rank {rank}: {doc} {found[doc]}, {other} {peer[other]}"
            difference = max(difference, far)
    return Agreement(against, len(ours), hits, difference, moved, wrong, unlike, sample)


def apart(one: float, other: float) -> float:
    """How far two scores are from each other, of the second or of 1."""
    return abs(one - other) / max(1.0, abs(other))


@dataclass(frozen=True)
class Texts:
    """What an index holds, passage by passage, and the queries of a ranking over it."""

    documents: Sequence[str]
    passages: Sequence[Sequence[str]]
    query_ids: Sequence[str]
    queries: Sequence[str]

    @classmethod
    def of(cls, index: Path, ranked: Path) -> "Texts":
        documents, passages = [], []
        for doc, text in _passages(Workspace(LocalStorage(str(index)))):
            documents.append(doc)
            passages.append(_counted(text))
        out = Workspace(LocalStorage(str(ranked)))
        blocks = [out.read_table(block.queries) for block in read_ranked(out).blocks]
        asked = pa.concat_tables(blocks)
        return cls(documents, passages, asked["query_id"].to_pylist(), asked["text"].to_pylist())


def _passages(index: Workspace) -> Iterator[tuple[str, str]]:
    """The document and the text of each passage that is live."""
    for part in open_version(index).version.parts:
        rows = index.read_table(part.passages, ["doc_id", "title", "text"])
        live = ~read_bitmap(index, part.deleted, part.rows)
        for row in rows.filter(pa.array(live)).to_pylist():
            yield row["doc_id"], passage_text(row["title"], row["text"])


def _counted(text: str) -> list[str]:
    """A text's words, in their order, as the index counts them."""
    return [word for word in words(text) if word not in ENGLISH]


@dataclass(frozen=True)
class Bm25s:
    """What bm25s says.

    Attributes:
        words: our list beside its float32, by our words.
        exact: the same by its float64.
        metrics: of its own words and documents as they are.
    """

    words: Agreement
    exact: Agreement
    metrics: Mapping[str, float]


def bm25s(
    python: Path, folder: Path, texts: Texts, corpus: Path, ours: List, judged: Sequence[Judgement]
) -> Bm25s:
    """Both comparisons, and bm25s at its defaults over whole documents.

    Args:
        python: of its environment.
        folder: for what passes between us.
        texts: what we have indexed and asked.
        corpus: JSON Lines, of which it indexes title and text.
        ours: the K documents that BM25 found here for each query.
        judged: the judgements.
    """
    rows = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
    given = {
        "passages": texts.passages,
        "queries": [_counted(query) for query in texts.queries],
        "documents": [passage_text(row.get("title", ""), row["text"]) for row in rows],
        "asked": texts.queries,
        "k": K,
    }
    _ask(python, "bm25s_worker.py", given, folder / "bm25s.npz")
    answer = np.load(folder / "bm25s.npz")
    words, exact = (
        agreement(f"bm25s, {dtype}", ours, _best(texts, answer[name], ours), K)
        for name, dtype in (("scores", "float32"), ("exact", "float64"))
    )
    ids = [row["_id"] for row in rows]
    found = zip(texts.query_ids, answer["found"], answer["found_scores"], strict=True)
    own = {q: [ids[n] for n, s in zip(docs, best, strict=True) if s > 0] for q, docs, best in found}
    return Bm25s(words, exact, evaluate([_rankings(own)], judged)["retrieved"])


def _best(texts: Texts, scores: Float32, ours: List) -> List:
    """Of each document the score of its best passage, where that has a word of the query."""
    found: dict[str, dict[str, float]] = {}
    for query, row in zip(texts.query_ids, scores, strict=True):
        best = found.setdefault(query, {})
        for place in np.flatnonzero(row > 0).tolist():
            doc, score = texts.documents[place], float(row[place])
            best[doc] = max(best.get(doc, 0.0), score)
    silent = [query for query in found.keys() - ours.keys() if found[query]]
    assert not silent, f"bm25s has hits for {silent[:3]}, and shardrank has none."
    return found


def _rankings(found: Mapping[str, Sequence[str]]) -> pa.Table:
    """What `evaluate` reads of RANKINGS."""
    rows = [(q, doc, rank) for q, docs in found.items() for rank, doc in enumerate(docs, 1)]
    query, doc, rank = zip(*rows, strict=True)
    table = {"query_id": query, "doc_id": doc, "retrieval_rank": rank}
    return pa.table({**table, "rerank_score": pa.nulls(len(rows), pa.float32())})


def ranx(
    python: Path,
    folder: Path,
    lists: Sequence[List],
    fused: Mapping[str, tuple[FusionSettings, List]],
) -> list[Agreement]:
    """One for each fusion that ranx knows: its rrf has no weights.

    Args:
        python: of its environment.
        folder: for what passes between us.
        lists: what each retriever found.
        fused: by a name, how they were fused, and the K documents that came of it for each query.
    """
    known = {name: _fusion(how, len(lists)) for name, (how, _) in fused.items() if _known(how)}
    # ranx wants every query in every list.
    shared = [query for query in lists[0] if all(query in each for each in lists)]
    given = {"lists": [{q: each[q] for q in shared} for each in lists], "fusions": known}
    _ask(python, "ranx_worker.py", given, folder / "ranx.json")
    answer = json.loads((folder / "ranx.json").read_text("utf-8"))
    return [
        agreement(f"ranx, {name}", {q: fused[name][1][q] for q in shared}, answer[name], K)
        for name in known
    ]


def _known(how: FusionSettings) -> bool:
    return how.how == "scores" or {*(how.weights or (1.0,))} == {1.0}


def _fusion(how: FusionSettings, lists: int) -> dict[str, Any]:
    """Arguments of `ranx.fuse`."""
    if how.how == "rrf":
        return {"norm": None, "method": "rrf", "params": {"k": how.rank_constant}}
    params = {"weights": how.weights or (1.0,) * lists}
    return {"norm": NORMS[how.norm], "method": "wsum", "params": params}


def _ask(python: Path, worker: str, given: dict[str, Any], answer: Path) -> None:
    asked = answer.with_suffix(".given")
    asked.write_text(json.dumps(given), "utf-8")
    command = [python, Path(__file__).with_name(worker), asked, answer]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked.unlink()


def stored_lists(ranked: Path) -> list[List]:
    """What each retriever of a ranking found, as OUT holds it."""
    out = Workspace(LocalStorage(str(ranked)))
    run = read_ranked(out)
    found: list[dict[str, dict[str, float]]] = [{} for _ in run.retrievers]
    for block in run.blocks:
        ids = out.read_table(block.queries)["query_id"].to_pylist()
        for number, ref in enumerate(block.lists):
            for row in out.read_table(ref).to_pylist():
                mine = found[number].setdefault(ids[row["query"]], {})
                mine[row["doc_id"]] = row["score"]
    return list(found)
