"""Candidates that are the query: a student must not learn that they are wrong, or anything else.

Where queries are documents (ArguAna, Quora) the query is among its own hits, and first by every
teacher: it would be mined as the hardest negative, or taken for the positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Bool
from shardrank.core.same_ids import is_own_text, is_piece_of


@dataclass(frozen=True)
class Candidate:
    """A query and a passage by their ids and texts; `relevant` where it was judged to be."""

    query_id: str
    query: str
    doc_id: str
    title: str
    text: str
    relevant: bool


def itself(candidates: Sequence[Candidate], ignore_same_id: bool) -> Bool:
    """bool[n]: those whose passage is the query's text, or, of the document with the query's id, a
    piece of it; with `ignore_same_id` every passage of that document.

    What somebody judged to be relevant stays, unless its id says that it is the query.
    """
    return np.array([_is_itself(c, ignore_same_id) for c in candidates], np.bool_)


def _is_itself(found: Candidate, ignore_same_id: bool) -> bool:
    same = found.query_id == found.doc_id
    if same and ignore_same_id:
        return True
    if found.relevant:
        return False
    if same and is_piece_of(found.query, found.text):
        return True
    return is_own_text(found.query, found.title, found.text)
