"""What became of a batch's queries and of the pairs that were scored, as counts that add up."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RankCounts:
    """queries = ranked + without a hit + parts + rejected, and pairs = scored + not finite.

    Attributes:
        queries: rows that were read, and parts of queries that were written.
        ranked: queries with a ranking.
        hitless: queries for which nothing was found.
        parts: queries that helped to find another one's documents, as they were read or written.
        rejected: reason → queries that were set aside.
        pairs: what the reranker was given.
        not_finite: pairs with a NaN or infinite score: their documents were not reranked.
        truncated: pairs of which the reranker saw less than the whole.
        told: how often the last reranker was asked, and what it did; see `ListScores`.
        written: of a model that writes about queries: "texts", and see `Written`; empty: none does.
    """

    queries: int
    ranked: int
    hitless: int
    rejected: Mapping[str, int]
    pairs: int
    not_finite: int
    truncated: int
    told: Mapping[str, int] = field(default_factory=dict)
    parts: int = 0
    written: Mapping[str, int] = field(default_factory=dict)

    @property
    def reranked(self) -> int:
        """Pairs that have a score."""
        return self.pairs - self.not_finite

    def lines(self) -> list[str]:
        """Two equations; kinds of which there are none are left out."""
        hitless = [f"{self.hitless:,} without a hit"] if self.hitless else []
        aside = [f"{count:,} rejected ({why})" for why, count in sorted(self.rejected.items())]
        parts = [f"{self.parts:,} parts of these"] if self.parts else []
        queries = " + ".join([f"{self.ranked:,} ranked", *hitless, *parts, *aside])
        lost = [f"{self.not_finite:,} without a finite score"] if self.not_finite else []
        pairs = " + ".join([f"{self.reranked:,} reranked", *lost])
        found = [f"  queries    {self.queries:,} = {queries}"]
        if self.written:
            words = (_in_words(n, self.written[n]) for n in _WRITTEN if self.written.get(n))
            found.append(f"  written    {', '.join(words)}")
        if self.pairs:
            found.append(f"  pairs      {self.pairs:,} = {pairs}; {self.truncated:,} truncated")
        if self.told:
            words = (_in_words(name, self.told[name]) for name in _TOLD if name in self.told)
            found.append(f"  model      {', '.join(words)}")
        return found


#: What a language model did, in the order in which it is told: of one, and of several.
_TOLD = {
    "calls": ("call", "calls"),
    "generated": ("token written", "tokens written"),
    "mended": ("answer mended", "answers mended"),
    "unparsed": ("answer that cannot be read", "answers that cannot be read"),
    "too_long": ("query too long", "queries too long"),
}


#: What was written about queries, likewise; kinds of which there are none are left out.
_WRITTEN = {
    "texts": ("text about the queries", "texts about the queries"),
    "generated": ("token written", "tokens written"),
    "truncated": ("answer cut", "answers cut"),
    "empty": ("answer empty", "answers empty"),
    "repeated": ("text left out that was there", "texts left out that were there"),
    "shortened": ("query cut to fit its prompt", "queries cut to fit their prompt"),
    "unfit": ("query that does not fit", "queries that do not fit"),
}


def _in_words(name: str, count: int) -> str:
    """Such as "3 answers mended"."""
    return f"{count:,} {(_TOLD | _WRITTEN)[name][count != 1]}"
