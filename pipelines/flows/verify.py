"""verify: read every file of a version, and hold it against what the manifest says of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from shardrank.core.errors import ShardrankError
from shardrank.corpus.part_keys import count, live_keys, part_keys
from shardrank.index.shard import shard_size
from shardrank.stages.run.workspace import Workspace
from shardrank.version.liveness import unpack
from shardrank.version.manifest import DENSE, Part, Shard, Version

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
    return len(version.parts) + len(version.index.shards) + 1


def verify(workspace: Workspace, version: Version) -> Iterator[Checked]:
    """Check every piece of a version: sha256 of each file, rows, ids, live counts, finiteness."""
    pieces: list[tuple[str, Check]] = [
        *((f"part {p.id}", partial(_part, workspace, p)) for p in version.parts),
        *(
            (f"shard {n}", partial(_shard, workspace, s, version))
            for n, s in enumerate(version.index.shards)
        ),
        ("codec", partial(_codec, workspace, version)),
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
    vectors = workspace.read_table(part.columns[DENSE].file)
    keys = workspace.read_table(part.keys)
    if not passages.num_rows == vectors.num_rows == part.rows:
        yield f"{passages.num_rows} passages, {vectors.num_rows} vectors, {part.rows} listed"
        return
    if not keys.equals(part_keys(passages)):
        yield "its keys are not those of its passages"
    deleted = np.zeros(part.rows, np.bool_)
    if part.deleted:
        deleted = unpack(workspace.storage.read_checked(part.deleted), part.rows)
    found = count(live_keys(keys, deleted))
    if found != part.live:
        yield f"{found} are live, {part.live} listed"
    values = vectors["vector"].combine_chunks().flatten().to_numpy()
    if not np.isfinite(values).all():
        yield "it has vectors that are not finite"


def _shard(workspace: Workspace, shard: Shard, version: Version) -> Iterator[str]:
    if shard.file is None:
        return
    size = shard_size(workspace.storage.read_checked(shard.file))
    rows = sum(version.parts[n].rows for n in shard.parts)
    live = sum(version.parts[n].live.passages for n in shard.parts)
    if not live <= size <= rows:
        yield f"{size} vectors, for {live} live of {rows} passages"


def _codec(workspace: Workspace, version: Version) -> Iterator[str]:
    if version.index.codec:
        workspace.storage.read_checked(version.index.codec.file)
    yield from ()
