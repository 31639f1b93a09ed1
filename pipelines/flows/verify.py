"""verify: read every file of a version, and hold it against what the manifest says of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from shardrank.core.arrow_columns import refuse_not_finite
from shardrank.core.errors import InputError, ShardrankError
from shardrank.core.files import FileRef
from shardrank.core.papers import files_in
from shardrank.corpus.part_keys import count, live_keys, part_keys
from shardrank.index.sizes import shard_size
from shardrank.stages.run.workspace import Workspace
from shardrank.version.indexes import Index, Shard
from shardrank.version.liveness import unpack
from shardrank.version.manifest import Version
from shardrank.version.parts import Part

#: Files read at once: reading and hashing both leave the interpreter's lock.
AT_ONCE = 4

Check = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Checked:
    """A part, shard or codec that was checked, and what is wrong with it."""

    name: str
    problems: tuple[str, ...]


def checks(version: Version) -> int:
    """How many pieces `verify` looks at."""
    return len(version.parts) + len(_shards(version)) + 1


def verify(workspace: Workspace, version: Version) -> Iterator[Checked]:
    """Check every piece of a version: sha256 of each file, rows, ids, live counts, finiteness."""
    pieces: list[tuple[str, Check]] = [
        *((f"part {p.id}", partial(_part, workspace, p)) for p in version.parts),
        *(
            (f"shard {n}", partial(_shard, workspace, *both, version))
            for n, both in enumerate(_shards(version))
        ),
        ("codec", partial(_codecs, workspace, version)),
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda piece: _run(*piece), pieces)


def _run(name: str, check: Check) -> Checked:
    problems: list[str] = []
    try:
        problems.extend(check())
    except ShardrankError as error:
        problems.append(error.message)
    return Checked(name, tuple(problems))


def _part(workspace: Workspace, part: Part) -> Iterator[str]:
    passages = workspace.read_table(part.passages)
    keys = workspace.read_table(part.keys)
    if passages.num_rows != part.rows:
        yield f"{passages.num_rows} passages, {part.rows} listed"
        return
    if not keys.equals(part_keys(passages)):
        yield "its keys are not those of its passages"
    deleted = np.zeros(part.rows, np.bool_)
    if part.deleted:
        deleted = unpack(workspace.storage.read_checked(part.deleted), part.rows)
    found = count(live_keys(keys, deleted))
    if found != part.live:
        yield f"{found} are live, {part.live} listed"
    if part.pictures and workspace.read_table(part.pictures).num_rows != part.rows:
        yield f"{part.pictures.rows} pictures or places of them, {part.rows} listed"
    for name, column in part.columns.items():
        yield from _column(workspace, part, name, column.file)


def _column(workspace: Workspace, part: Part, name: str, file: FileRef) -> Iterator[str]:
    vectors = workspace.read_table(file)["vector"]
    if len(vectors) != part.rows:
        yield f"{len(vectors)} vectors of the column {name}, {part.rows} listed"
    try:
        for chunk in vectors.chunks:
            refuse_not_finite(chunk, f"the column {name}", "passages")
    except InputError:
        yield f"the column {name} has vectors that are not finite"


def _shards(version: Version) -> list[tuple[Shard, Index]]:
    """Of all indexes."""
    indexes = [version.indexes[name] for name in sorted(version.indexes)]
    return [(shard, index) for index in indexes for shard in index.shards]


def _shard(workspace: Workspace, shard: Shard, index: Index, version: Version) -> Iterator[str]:
    if shard.file is None:
        return
    size = shard_size(index.plan.kind, workspace.storage.read_checked(shard.file))
    rows = sum(version.parts[n].rows for n in shard.parts)
    live = sum(version.parts[n].live.passages for n in shard.parts)
    if not live <= size <= rows:
        yield f"{size} vectors, for {live} live of {rows} passages"


def _codecs(workspace: Workspace, version: Version) -> Iterator[str]:
    """Of columns, of the map and of indexes; and what words are weighted by."""
    fitted = [encoder.codec for encoder in version.columns.values()]
    others = [(index.codec, index.counts) for index in version.indexes.values()]
    for file in files_in([fitted, others, version.mapped]):
        workspace.storage.read_checked(file)
    yield from ()
