"""Shards as search and audit want them: named, and opened with their documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.bit_codes import BitsCodec
from shardrank.core.errors import IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.selection import RowSelector
from shardrank.models.forward.products import int8_product
from shardrank.models.forward.threads import use_threads as use_torch_threads
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.part_blocks import PartColumn, live_positions
from shardrank.version.indexes import Shard
from shardrank.version.parts import Part
from shardrank.version.sizing import shares

if TYPE_CHECKING:
    from shardrank.index.documents import CodedShard, DocumentSearch
    from shardrank.index.nearest import Find


@dataclass(frozen=True)
class CodedColumn:
    """A column of codes by its name, and what they were made by."""

    name: str
    codec: FileRef


@dataclass(frozen=True)
class Codes:
    """The files of a shard's codes, in the order of its parts, and what they were made by."""

    files: tuple[FileRef, ...]
    codec: FileRef


@dataclass(frozen=True)
class SearchedShard:
    """A shard as search and audit want it.

    Attributes:
        file: None: exact search and search of codes, which have none.
        parts: in the shard's order, with the vectors that score what is found.
        least: documents that it gives every query at least.
        codes: that are searched; None: the file, or the vectors.
        codec: what codes of token vectors are of; None: the column holds none.
    """

    file: FileRef | None
    parts: tuple[PartColumn, ...]
    least: int
    codes: Codes | None = None
    codec: FileRef | None = None


def searched_shards(
    parts: Sequence[Part],
    column: str,
    shards: Sequence[Shard],
    k: int,
    coded: CodedColumn | None = None,
) -> list[SearchedShard]:
    """Each shard of an index, with its share of k documents (where it has neither file nor codes,
    all); its hits are scored by a column, and found by codes, if there are any."""
    least = shares(k, [sum(parts[n].live.documents for n in shard.parts) for shard in shards])
    return [
        SearchedShard(
            shard.file,
            tuple(PartColumn.of(n, parts[n], column) for n in shard.parts),
            wanted if shard.file or coded else k,
            _codes(parts, shard, coded) if coded else None,
        )
        for shard, wanted in zip(shards, least, strict=True)
    ]


def _codes(parts: Sequence[Part], shard: Shard, coded: CodedColumn) -> Codes:
    return Codes(tuple(parts[n].columns[coded.name].file for n in shard.parts), coded.codec)


def open_shard(
    index: Workspace, shard: SearchedShard, documents: Int32, device: str = "cpu"
) -> "DocumentSearch":
    """A shard that has a file or codes, to be searched on one thread, or on a GPU ("cuda");
    `documents` are its `document_numbers`."""
    from shardrank.index.documents import DocumentSearch  # brings numba

    use_torch_threads(1)
    loaded = _coded(index, shard.codes, device) if shard.codes else _filed(index, shard, device)
    return DocumentSearch(loaded, documents, live_positions(index, shard.parts))


def _filed(index: Workspace, shard: SearchedShard, device: str) -> "CodedShard":
    from shardrank.index.shard import LoadedShard  # brings faiss
    from shardrank.index.shard import use_threads as use_faiss_threads

    use_faiss_threads(1)
    assert shard.file
    return LoadedShard.load(index.storage.read_checked(shard.file), _selecting_on(device))


def _coded(index: Workspace, codes: Codes, device: str) -> "CodedShard":
    from shardrank.index.binary import BinaryShard  # brings numba

    codec = BitsCodec.of(index.storage.read_checked(codes.codec))
    columns = (index.read_table(file, ["vector"])["vector"] for file in codes.files)
    chunks = [chunk for column in columns for chunk in column.chunks]
    return BinaryShard(codec, chunks, _selecting_on(device))


def finding_on(device: str) -> "Find":
    """How exact search finds the pairs that it scores, on a CPU or a GPU."""
    from shardrank.index.nearest import by_device, by_products  # brings numba

    if device == "cpu":
        return by_products(int8_product)
    from shardrank.index.device_pairs import DeviceCandidates
    from shardrank.models.forward.select_pairs import TorchPairs  # brings torch

    return by_device(DeviceCandidates(TorchPairs(device)))


def _selecting_on(device: str) -> RowSelector:
    if device == "cpu":
        from shardrank.index.best_rows import CompiledSelector  # brings numba

        return CompiledSelector(int8_product)
    from shardrank.models.forward.select_rows import TorchSelector  # brings torch

    return TorchSelector(device)


def document_numbers(index: Workspace, parts: Sequence[PartColumn]) -> Int32:
    """int32[rows of the shard]: each row's document, numbered from 0 as they lie in the shard.

    Keys are read only of parts that have documents of several passages.

    Raises:
        IntegrityError: a part's keys are not of its passages.
    """
    rows = np.concatenate([np.empty(0, np.int32), *(_document_rows(index, p) for p in parts)])
    return np.repeat(np.arange(len(rows), dtype=np.int32), rows)


def _document_rows(index: Workspace, part: PartColumn) -> Int32:
    """int32[documents]: how many rows each has, in the order of the part."""
    keys, passages = part.keys, part.rows
    if keys.rows == passages:
        return np.ones(passages, np.int32)
    table = index.read_table(keys, ["row", "rows"])
    rows: Int32 = table["rows"].to_numpy()[np.argsort(table["row"].to_numpy())]
    if rows.sum() != passages:
        raise IntegrityError(
            f"Part {part.ordinal} has {passages} passages, its documents have {rows.sum()}.",
            "Its files do not belong together: index again.",
        )
    return rows


def passages_a_document(parts: Sequence[PartColumn]) -> int:
    """On average, rounded up: about as many hits as a query has for each document that it finds."""
    passages = sum(each.rows for each in parts)
    return -(-passages // max(1, sum(each.keys.rows for each in parts)))
