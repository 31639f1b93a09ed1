"""Queries that are parts of others: each names the query whose documents it helps to find."""

from collections.abc import Mapping, Sequence

from shardrank.core.errors import InputError
from shardrank.corpus.rows import SourceRow
from shardrank.corpus.validate import Document


def parent_of(row: SourceRow) -> SourceRow:
    """The row with its parent's id as ids are written: a whole number as decimal digits."""
    whole = isinstance(row.title, int) and not isinstance(row.title, bool)
    return row._replace(title=str(row.title)) if whole else row


def split_parts(
    queries: Mapping[str, Document],
) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the queries that are whole; of those that are parts, in the order of the queries
    that they are parts of; and of those whose parent is no whole query here. A document's title is
    its parent's id, "" where it has none."""
    each = list(queries.values())
    whole = {query.doc_id: n for n, query in enumerate(each) if not query.title}
    parts = [n for n, query in enumerate(each) if query.title in whole]
    lost = [n for n, query in enumerate(each) if query.title and query.title not in whole]
    return list(whole.values()), sorted(parts, key=lambda n: whole[each[n].title]), lost


def require_parts(parent: str, found: Sequence[int]) -> None:
    """Raise InputError where no query is a part."""
    if not found:
        raise InputError(
            f"search.parent = {parent!r}, and no query names another one in such a column.",
            "Name the column that holds the id of the query of which a row is a part, or leave "
            "search.parent out.",
        )
