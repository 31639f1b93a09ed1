"""Queries that are parts of others are blocks of their own: they are encoded and searched like all,
and what they find is merged into the lists of the queries that they are parts of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int32
from shardrank.core.files import FileRef
from shardrank.core.schemas import QUERIES
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.queries import QueryBatch
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.encode import KEY, QueryBlock, cut_blocks


@dataclass(frozen=True)
class BlockOfParts:
    """Parts of one block's queries: its number, and the parts as a block."""

    of: int
    parts: QueryBlock


@dataclass(frozen=True)
class WrittenParts:
    """Files of parts, each with some of those of one block's queries, and the blocks' numbers."""

    files: Sequence[FileRef]
    blocks: Sequence[int]


def write_parts(
    workspace: Workspace, blocks: Sequence[QueryBlock], parts: QueryBatch, block_queries: int
) -> WrittenParts:
    """The parts (QUERIES) by the blocks of their queries, in the same order, at most
    `block_queries` in a file; beside each the row of its query in the block, and which of that
    query's parts it is. `query_id` is the query's here: its own document is none of theirs."""
    files, numbers = [], []
    named = parts.table.set_column(0, QUERIES.field("query_id"), parts.table["parent"])
    for number, block in enumerate(blocks):
        ids = workspace.read_table(block.queries, ["query_id"])["query_id"].combine_chunks()
        row = pc.index_in(named["query_id"], value_set=ids)
        mine = named.drop_columns("parent").append_column("row", row).filter(row.is_valid())
        mine = mine.append_column("number", pa.array(_numbers(mine["row"].to_numpy())))
        for some in cut_blocks(mine, block_queries) if mine.num_rows else ():
            files.append(workspace.write_content(KEY, encode_table(some), some.num_rows))
            numbers.append(number)
    return WrittenParts(files, numbers)


def places_of(workspace: Workspace, parts: FileRef) -> tuple[Int32, Int32]:
    """int32[p], int32[p]: of each part its query's row, and which of that query's it is."""
    table = workspace.read_table(parts, ["row", "number"])
    return table["row"].to_numpy(), table["number"].to_numpy()


def _numbers(rows: Int32) -> Int32:
    """int32[p]: the place of each in its run of equal rows."""
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    sizes = np.diff(begins, append=len(rows))
    return (np.arange(len(rows)) - np.repeat(begins, sizes)).astype(np.int32)
