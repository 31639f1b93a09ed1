"""Indexes with columns of every family, and rankings by them: the same bytes on Ray with any number
of actors, and without Ray."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from shardrank.core.pools import Resources
from tests.every_column import (
    COLUMNS,
    NO_CODEBOOKS,
    SETS,
    PicturedWorld,
    columns_of,
    pictured_world,
    retrievers,
)
from tests.inline import installed
from tests.on_ray import run_on_ray
from tests.ray.test_flows import ON_RAY, Run, differing, run_inline
from tests.world import make_world, shardrank, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]

#: The columns that are made and searched together. Each pool of a stage starts processes, which
#: take seconds each: all columns at once would take many minutes where CPUs are few.
TOGETHER = {
    "vectors": ("int8", "bits", "bits2", "anchors", "document"),
    "words": ("bm25", "sparse", "own", "image"),
    "tokens": ("late", "late4", "muvera"),
    "codes": ("late1", "pooled2", "learned"),
    "written": ("written", "words", "terms", "mean", "views"),
}
#: A column of codes that are fitted by a model, one of them, and one of words.
FEW = ("bm25", "late4", "muvera")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> PicturedWorld:
    root = tmp_path_factory.mktemp("world")
    return pictured_world(make_world(root, models, documents=40, queries=6))


def test_two_actors_make_some_columns(
    world: PicturedWorld, cluster: Resources, tmp_path: Path
) -> None:
    sets = settings(world, FEW, tmp_path)
    with installed():
        inline = (*sets, "cluster.executor=inline")
        assert shardrank(*world.index(tmp_path / "inline", *inline)) == 0
    two = (ON_RAY, "cluster.actors=2")
    assert shardrank(*world.index(tmp_path / "ray", *sets, *two)) == 0
    assert snapshot(tmp_path / "ray") == snapshot(tmp_path / "inline")


def test_no_column_is_left_out() -> None:
    assert sorted(chain.from_iterable(TOGETHER.values())) == sorted(COLUMNS)


def settings(world: PicturedWorld, names: Sequence[str], models: Path) -> tuple[str, ...]:
    """Of columns and of what searches them; tokens and terms rerank, behind a cross-encoder."""
    codebooks = NO_CODEBOOKS if "muvera" in names else ()
    made = columns_of(models, world, names)
    return (*SETS, *made, *codebooks, *retrievers(names), *_rerankers(names))


def _rerankers(names: Sequence[str]) -> tuple[str, ...]:
    if "late4" in names:
        return ("reranker.depth=4", "reranker.maxsim.of=late4", "reranker.maxsim.depth=3")
    if "own" in names:
        return ("reranker.depth=4", "reranker.terms.of=own", "reranker.terms.depth=2")
    return ("reranker.model=off",)


@pytest.mark.slow
@pytest.mark.parametrize("together", TOGETHER)
def test_any_number_of_actors(world: PicturedWorld, tmp_path: Path, together: str) -> None:
    """One, two and four, on a Ray that believes in four CPUs."""
    sets = settings(world, TOGETHER[together], tmp_path)
    whole = run_inline(world, tmp_path / "inline", *sets)
    found = [Run(tmp_path / str(actors), {}) for actors in (1, 2, 4)]
    commands = [
        words
        for each in found
        for size in [(*sets, ON_RAY, f"cluster.actors={each.root.name}")]
        for words in (world.index(each.index, *size), world.rank(each.index, each.out, *size))
    ]
    run_on_ray(commands, cpus=4, timeout=1200)
    for each in found:
        assert differing(Run(each.root, snapshot(each.index, each.out)), whole) == []
