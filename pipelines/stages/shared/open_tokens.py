"""Shards of token vectors as search and audit want them: their parts, and what centroids say."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from shardrank.core.arrays import Int32
from shardrank.core.files import FileRef
from shardrank.core.token_vectors import TokenVectors, one_array
from shardrank.index.blocks import PartBlock
from shardrank.models.forward.products import int8_product
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.column_encoders import read_codec
from shardrank.stages.shared.open_shards import SearchedShard
from shardrank.stages.shared.part_blocks import PartColumn, live_positions, read_bitmap

if TYPE_CHECKING:
    from shardrank.index.documents import DocumentSearch
    from shardrank.index.token_parts import TokenPart


def read_tokens(workspace: Workspace, files: Sequence[FileRef]) -> TokenVectors:
    """Queries of some files, file behind file."""
    columns = [one_array(workspace.read_table(ref, ["vector"])["vector"]) for ref in files]
    return TokenVectors.of(pa.concat_arrays(columns))


def load_token_parts(index: Workspace, shard: SearchedShard) -> "Iterator[TokenPart]":
    """A shard's parts in order; only one is held at a time."""
    codec = read_codec(index, shard.codec)
    return (load_token_part(index, part, codec) for part in shard.parts)


def load_token_part(index: Workspace, part: PartColumn, codec: bytes | None) -> "TokenPart":
    """A part's documents and token vectors. Raises IntegrityError where a file is not as vouched
    for."""
    from shardrank.index.token_parts import TokenPart  # brings numba

    keys = index.read_table(part.keys, ["doc_id", "row", "rows"])
    live = ~read_bitmap(index, part.deleted, part.rows)
    column = one_array(index.read_table(part.values, ["vector"])["vector"])
    return TokenPart(PartBlock.without_vectors(part.ordinal, keys, live, part.rows), column, codec)


def open_plaid(index: Workspace, shard: SearchedShard, documents: Int32) -> "DocumentSearch":
    """A shard of kind plaid, to be searched on one thread; `documents` are its
    `document_numbers`."""
    from shardrank.index.documents import DocumentSearch  # brings numba
    from shardrank.index.plaid import CentroidLists, PlaidShard
    from shardrank.kernels.residual_codes import ResidualCodec

    use_threads(1)
    assert shard.file
    assert shard.codec
    lists = CentroidLists.load(index.storage.read_checked(shard.file))
    codec = ResidualCodec.of(index.storage.read_checked(shard.codec))
    loaded = PlaidShard(lists, codec.centroids, int8_product)
    return DocumentSearch(loaded, documents, live_positions(index, shard.parts))
