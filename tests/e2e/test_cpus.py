"""A CPU without VNNI indexes and ranks, byte for byte as one that has it."""

from pathlib import Path
from typing import Any

import pytest

from tests.cpus import without_vnni
from tests.world import World, make_world, shardrank, snapshot

SETTINGS = (
    "index.kind=ivfsq8",
    "index.nlist=4",
    "audit.k=10",
    "audit.target=0.5",
    "encoder.dtype=int8",
    "reranker.dtype=int8",
    "passages.part_size=128",
    "index.shard_passages=200",
)


def test_what_is_found_does_not_depend_on_vnni(
    inline: pytest.MonkeyPatch, models: tuple[Path, Path], tmp_path: Path
) -> None:
    """8-bit models, audit and search: every file that a reader sees."""
    world = make_world(tmp_path / "world", models, documents=300, queries=12)
    first = made(world, tmp_path / "first")
    with without_vnni():
        assert made(world, tmp_path / "second") == first


def made(world: World, folder: Path) -> dict[str, Any]:
    """By one `shardrank index` and one `rank`."""
    index, out = folder / "index", folder / "out"
    assert shardrank(*world.index(index, *SETTINGS)) == 0
    assert shardrank(*world.rank(index, out, "search.k=20", *SETTINGS[5:6])) == 0
    return snapshot(index, out)
