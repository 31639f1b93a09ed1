"""What the parts of a query find, and the query itself, becomes one list (question decomposition:
Ammann et al. 2025, arXiv:2507.00355)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int32
from shardrank.core.fusion import fuse
from shardrank.core.rank_settings import FusionSettings, PartsBy
from shardrank.core.schemas import HITS
from shardrank.core.topk import fold_and_cut


@dataclass(frozen=True, eq=False)
class PartHits:
    """What some parts of queries find.

    Attributes:
        hits: HITS in the total order; `query` is the part's number here.
        parents: int32[p], of each part its query, ascending.
        numbers: int32[p], the number of each among its query's parts.
    """

    hits: pa.Table
    parents: Int32
    numbers: Int32


def with_parts(own: pa.Table, parts: Sequence[PartHits], how: PartsBy, k: int) -> pa.Table:
    """HITS: the k best documents of each query, by it and by its parts.

    Args:
        own: what queries find; HITS in the total order.
        parts: what their parts find, whose queries ascend from one to the next.
        how: "max": a document's best score counts; "rrf": the sum of its reciprocal ranks.
        k: documents kept.
    """
    moved = [_moved(each) for each in parts]
    if how == "max":
        return fold_and_cut(pa.concat_tables([own, *moved]), k)
    return fuse([own, *_lists(moved, parts)], FusionSettings(), k)


def _moved(parts: PartHits) -> pa.Table:
    """Hits of the queries that the parts are of."""
    query = pa.array(parts.parents).take(parts.hits["query"])
    return parts.hits.set_column(0, HITS.field("query"), query)


def _lists(moved: Sequence[pa.Table], parts: Sequence[PartHits]) -> Iterator[pa.Table]:
    """The hits of the first parts of all queries, of the second ones, and so on."""
    numbers = [pa.array(each.numbers).take(each.hits["query"]) for each in parts]
    most = max((int(each.numbers.max(initial=-1)) for each in parts), default=-1)
    for number in range(most + 1):
        both = zip(moved, numbers, strict=True)
        yield pa.concat_tables([hits.filter(pc.equal(mine, number)) for hits, mine in both])
