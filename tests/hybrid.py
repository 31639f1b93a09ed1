"""What a hybrid ranking must be, in plain Python from the contract: BM25, dense, and their fusion.

BM25 is Lucene's formula: each word of a query that a passage has adds, as often as the query has
it, idf · tf / (tf + k1 · (1 - b + b · length / average)), where idf = ln(1 + (N - df + .5) / (df +
.5)), over all live passages.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.ranked_runs import read_ranked
from shardrank.storage.local import LocalStorage

#: A word is at least two letters, digits or underscores, and these are left out on request.
STOP_WORDS = {
    "english": frozenset(
        "a an and are as at be but by for if in into is it no not of on or such that the their "  # noqa: SIM905
        "then there these they this to was will with".split()
    ),
    "none": frozenset[str](),
}


def words(text: str) -> list[str]:
    """Letters, digits and underscores, and behind the first of them the marks that follow."""
    found, word = [], ""
    for character in unicodedata.normalize("NFC", text.lower()) + " ":
        mark = unicodedata.category(character).startswith("M")
        if character.isalnum() or character == "_" or (mark and word):
            word += character
        else:
            found.append(word)
            word = ""
    return [word for word in found if len(word) > 1]


Words = Sequence[str]
#: The passages of each document.
Documents = Mapping[str, Sequence[Words]]


@dataclass(frozen=True)
class Hit:
    """A document of a list, by its best passage."""

    doc_id: str
    passage: int
    score: float


@dataclass(frozen=True)
class Fusing:
    """How lists are fused."""

    how: str = "rrf"
    norm: str = "min-max"
    weights: tuple[float, ...] | None = None
    rank_constant: int = 60


class Bm25Oracle:
    """Scores of passages, from statistics over all of them."""

    def __init__(self, documents: Documents, stop_words: str, k1: float, b: float) -> None:
        self._left_out, self._k1, self._b = STOP_WORDS[stop_words], k1, b
        passages = [self.counted(words) for cut in documents.values() for words in cut]
        self.passages = len(passages)
        self.words = sum(counts.total() for counts in passages)
        self.held = Counter(word for counts in passages for word in counts)

    def counted(self, words: Words) -> Counter[str]:
        lowered = (word.lower() for word in words)
        return Counter(w for w in lowered if len(w) > 1 and w not in self._left_out)

    def score(self, query: Words, passage: Words) -> float:
        counts = self.counted(passage)
        average = self.words / self.passages or 1.0
        norm = self._k1 * (1 - self._b + self._b * counts.total() / average)
        asked = self.counted(query)
        return math.fsum(
            times * self._idf(word) * counts[word] / (counts[word] + norm)
            for word, times in asked.items()
            if counts[word]
        )

    def _idf(self, word: str) -> float:
        df = self.held[word]
        return math.log(1 + (self.passages - df + 0.5) / (df + 0.5))


def ordered(hits: Sequence[Hit]) -> list[Hit]:
    """The best first; equal ones by the bytes of their ids."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.doc_id.encode()))


def fused(lists: Sequence[Sequence[Hit]], how: Fusing) -> list[Hit]:
    """All documents of the lists; each list is in its order."""
    weights = how.weights or (1.0,) * len(lists)
    terms: dict[str, list[float]] = {}
    best: dict[str, tuple[int, int, int]] = {}
    for number, (weight, hits) in enumerate(zip(weights, lists, strict=True)):
        for rank, (hit, term) in enumerate(zip(hits, _terms(hits, how), strict=True), 1):
            terms.setdefault(hit.doc_id, []).append(weight * term)
            place = (rank, number, hit.passage)
            best[hit.doc_id] = min(best.get(hit.doc_id, place), place)
    return ordered([Hit(doc, best[doc][2], math.fsum(each)) for doc, each in terms.items()])


def _terms(hits: Sequence[Hit], how: Fusing) -> list[float]:
    scores = [hit.score for hit in hits]
    if how.how == "rrf":
        return [1 / (how.rank_constant + rank) for rank in range(1, len(hits) + 1)]
    if not scores:
        return []
    if how.norm == "min-max":
        low, spread = min(scores), max(scores) - min(scores)
    else:
        low = math.fsum(scores) / len(scores)
        spread = math.sqrt(math.fsum((score - low) ** 2 for score in scores) / len(scores))
    return [(score - low) / max(spread, 1e-9) for score in scores]


def check_list(found: Sequence[Hit], scores: Mapping[str, Sequence[float]], k: int) -> None:
    """A list is right: the k best of all documents, by their best passages, but for ties.

    Args:
        found: the list.
        scores: of each document that has a hit: its passages' scores, without those of no hit at
            all, which are -inf.
        k: documents that it should hold.
    """
    best = {doc: max(each) for doc, each in scores.items() if max(each) > -math.inf}
    assert len({hit.doc_id for hit in found}) == len(found) == min(k, len(best))
    assert list(found) == ordered(found)
    for hit, wanted in zip(found, sorted(best.values(), reverse=True), strict=False):
        assert close(hit.score, wanted)
        assert close(hit.score, best[hit.doc_id])
        assert close(hit.score, scores[hit.doc_id][hit.passage])


def check_fused(found: Sequence[Hit], lists: Sequence[Sequence[Hit]], how: Fusing, k: int) -> None:
    """A fused list is right: documents, passages and scores, but for ties."""
    wanted = {hit.doc_id: hit for hit in fused(lists, how)}
    scores = {doc: [-math.inf] * hit.passage + [hit.score] for doc, hit in wanted.items()}
    check_list(found, scores, k)
    assert all(hit.passage == wanted[hit.doc_id].passage for hit in found)


def lists_of(out: Path) -> dict[str, list[list[Hit]]]:
    """What each retriever of a ranking found, by the query; the ranking itself where there is
    one."""
    found: dict[str, list[list[Hit]]] = {}
    for block in read_ranked(Workspace(LocalStorage(str(out)))).blocks:
        ids = pq.read_table(out / block.queries.key)["query_id"].to_pylist()
        refs = block.lists or (block.hits,)
        for query_id in ids:
            found[query_id] = [[] for _ in refs]
        for number, ref in enumerate(refs):
            for row in pq.read_table(out / ref.key).to_pylist():
                hit = Hit(row["doc_id"], row["passage"], row["score"])
                found[ids[row["query"]]][number].append(hit)
    return found


def close(one: float, other: float) -> bool:
    """Equal but for what float32 leaves."""
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
