"""Whether documents with a query's own id are the queries: a few of them are looked at."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from shardrank.core.same_ids import SameIds, is_own_text, is_piece_of
from shardrank.core.units import Done
from shardrank.stages.rank.merge import Merged
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.encode import QueryBlock
from shardrank.version.manifest import Version

#: Parts that are read to compare texts, and hits in each: this is done by one process.
PARTS = 4
HITS = 16


@dataclass(frozen=True)
class SearchedBatch:
    """What was searched, and where the queries lie."""

    out: Workspace
    index: Workspace
    version: Version


def count_same_ids(
    searched: SearchedBatch,
    blocks: Sequence[QueryBlock],
    merged: Sequence[Done[Merged]],
    ignored: bool,
) -> SameIds:
    """Over all blocks; texts are compared in the first parts that hold such a hit."""
    told = [done.made.same_id for done in merged]
    asked: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for block, found in enumerate(told):
        for place in found.places:
            asked[place.part].append((block, place.query, place.row))
    looked = equal = 0
    for part, hits in islice(asked.items(), PARTS):
        near = hits[:HITS]
        looked, equal = looked + len(near), equal + _equal(searched, blocks, part, near)
    queries, first = sum(found.queries for found in told), sum(found.first for found in told)
    return SameIds(queries, first, looked, equal, ignored)


def _equal(
    searched: SearchedBatch,
    blocks: Sequence[QueryBlock],
    part: int,
    hits: list[tuple[int, int, int]],
) -> int:
    """How many of a part's hits (block, query, row) are their query's text, or a piece of it."""
    ref = searched.version.parts[part].passages
    passages = searched.index.read_table(ref, ["title", "text"])
    passages = passages.take([row for _, _, row in hits])
    equal = 0
    for (block, query, _), found in zip(hits, passages.to_pylist(), strict=True):
        texts = searched.out.read_table(blocks[block].queries, ["text"])["text"]
        asked = texts[query].as_py()
        equal += is_own_text(asked, **found) or is_piece_of(asked, found["text"])
    return equal
