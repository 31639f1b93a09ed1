"""What the parts of a query find, and the query itself, becomes one list (question decomposition:
Ammann et al. 2025, arXiv:2507.00355)."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int32
from shardrank.core.fusion import fuse
from shardrank.core.rank_settings import FusionSettings, PartsBy
from shardrank.core.schemas import HITS
from shardrank.core.topk import fold_and_cut


def with_parts(
    own: pa.Table, parts: pa.Table, places: tuple[Int32, Int32], how: PartsBy, k: int
) -> pa.Table:
    """HITS: the k best documents of each query, by it and by its parts.

    Args:
        own: what queries find; HITS in the total order.
        parts: what parts find, likewise; `query` is the part's number.
        places: int32[p], of each part its query, ascending; and its number among that one's parts.
        how: "max": a document's best score counts; "rrf": the sum of its reciprocal ranks.
        k: documents kept.
    """
    parents, numbers = (pa.array(each) for each in places)
    moved = parts.set_column(0, HITS.field("query"), parents.take(parts["query"]))
    if how == "max":
        both = pa.concat_tables([own, moved]).sort_by("query")
        return fold_and_cut(both.combine_chunks(), k)
    return fuse([own, *_each(moved, numbers.take(parts["query"]))], FusionSettings(), k)


def _each(hits: pa.Table, number: pa.ChunkedArray) -> Sequence[pa.Table]:
    """The hits of the first parts of all queries, of the second ones, and so on."""
    most = pc.max(number).as_py()
    return [hits.filter(pc.equal(number, n)) for n in range(0 if most is None else most + 1)]
