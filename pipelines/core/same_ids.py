"""Queries that are documents: BEIR's rule, when it matters, and how to tell.

Where queries and documents have ids of one namespace (ArguAna, Quora), the document with the
query's id is the query itself, and BEIR leaves it out of the results
(`EvaluateRetrieval.evaluate(ignore_identical_ids=True)`,
https://github.com/beir-cellar/beir/blob/main/beir/retrieval/evaluation.py). Where both are only
numbered from 1 it is any document. An id cannot tell the two apart; texts can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.core.text import passage_text, plain, same_text

SETTING = "search.ignore_same_id"


@dataclass(frozen=True)
class SameIds:
    """How often a query's hits hold the document with the query's own id.

    Attributes:
        queries: ranked queries of which that is so.
        first: of these, those that retrieval put it first for.
        looked: of these, those whose texts were compared.
        equal: of these, those where the document's best passage is the query's text, or a piece.
        ignored: whether the documents were passed over.
    """

    queries: int
    first: int
    looked: int
    equal: int
    ignored: bool

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "SameIds":
        return cls(**value)


def is_own_text(query: str, title: str, text: str) -> bool:
    """Whether a passage is the query's text, but for case and white space."""
    return same_text(query, text) or (title != "" and same_text(query, passage_text(title, text)))


def is_piece_of(query: str, text: str) -> bool:
    """Whether a passage of a document that may be the query is a piece of the query's text."""
    return plain(text) in plain(query)


def notice(found: SameIds) -> str:
    """What there is to say and to do, in a sentence or two; "" where no id is shared."""
    if not found.queries:
        return ""
    share = f"{found.queries:,} {'query has' if found.queries == 1 else 'queries have'}"
    seen = f" (of {found.looked:,} looked at, {found.equal:,} with the query's text)"
    held = (
        f"{share} the document with the query's own id among the hits, {found.first:,} of them "
        f"as the first{seen if found.looked else ''}"
    )
    if found.ignored:
        doubt = " Are these ids of one namespace?" if found.looked and not found.equal else ""
        return f"{held}; it was left out ({SETTING}).{doubt}"
    if found.looked and not found.equal:
        return f"{held}; these seem to be other documents of the same number."
    return (
        f"{held}. If such a document is the query itself, as in ArguAna and Quora, leave it out as "
        f"BEIR does: --set {SETTING}=true."
    )
