"""Maps between two encoders' vectors, and which old parts are due."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.space_map import SpaceMap
from shardrank.models.encoders.space_fit import (
    Pairs,
    Way,
    fit_space,
    fit_way,
    map_recall,
    through,
)
from shardrank.version.mapped import due
from shardrank.version.parts import Counts, Part

ORTHOGONAL, AFFINE = Way("orthogonal"), Way("affine", 1e-9)


def turned(rows: int, dim: int, into: int) -> tuple[Pairs, Float32]:
    """Old vectors, turned, doubled and moved; and the matrix [into, dim] that did it."""
    rng = np.random.default_rng(dim * into)
    square = np.linalg.qr(rng.standard_normal((max(dim, into), max(dim, into))))[0]
    axes = 2 * square[:into, :dim]
    old = rng.standard_normal((rows, dim))
    new = old @ axes.T + rng.standard_normal(into)
    return Pairs(old.astype(np.float32), new.astype(np.float32)), axes.astype(np.float32)


@pytest.mark.parametrize(("dim", "into"), [(12, 12), (8, 20)])
def test_a_rotation_is_found_again(dim: int, into: int) -> None:
    pairs, axes = turned(300, dim, into)
    for way in (ORTHOGONAL, AFFINE):
        found = fit_way(pairs, way, unit=False)
        assert np.allclose(found.axes, axes, atol=1e-5)
        assert np.allclose(through(found, pairs.old), pairs.new, atol=1e-4)
        assert map_recall(found, pairs) == 1.0


def test_fewer_components_than_before() -> None:
    """The best of orthonormal columns cannot know which directions are gone; least squares can."""
    pairs, axes = turned(400, 20, 8)
    assert np.allclose(fit_way(pairs, AFFINE, unit=False).axes, axes, atol=1e-4)
    found = fit_way(pairs, ORTHOGONAL, unit=False).axes
    scale = np.linalg.norm(found[0])
    assert np.allclose(found @ found.T, scale**2 * np.eye(8), atol=1e-4)


def test_what_is_chosen_and_measured() -> None:
    pairs, _ = turned(400, 12, 12)
    found = fit_space(pairs, unit=False)
    assert (found.way, found.recall, found.measured) == (ORTHOGONAL, 1.0, 100), (
        "of equals the first"
    )
    asked = np.random.default_rng(5).standard_normal((30, 12)).astype(np.float32)
    assert fit_space(pairs, unit=False, asked=asked).recall == 1.0
    skewed = Pairs(pairs.old * np.linspace(0.1, 3, 12, dtype=np.float32), pairs.new)
    assert fit_space(skewed, unit=False).way.kind == "affine"
    noise = np.random.default_rng(6).standard_normal(pairs.new.shape).astype(np.float32)
    assert fit_space(Pairs(pairs.old, noise), unit=False).recall < 0.3
    assert fit_space(pairs, unit=True).map.to_bytes() == fit_space(pairs, unit=True).map.to_bytes()


def test_too_few_pairs_are_refused() -> None:
    pairs, _ = turned(159, 4, 4)
    with pytest.raises(InputError, match=r"there are 159; 160 are needed"):
        fit_space(pairs, unit=False)


def test_a_row_depends_on_nothing_beside_it() -> None:
    pairs, _ = turned(200, 12, 16)
    found = fit_way(pairs, AFFINE, unit=True)
    whole = through(found, pairs.old)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    pieces = [through(found, pairs.old[n : n + 7]) for n in range(0, 200, 7)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_bytes_and_back() -> None:
    pairs, _ = turned(50, 6, 9)
    made = fit_way(pairs, AFFINE, unit=True)
    back = SpaceMap.of(made.to_bytes())
    assert (back.kind, back.unit) == ("affine", True)
    assert np.array_equal(through(back, pairs.old), through(made, pairs.old))
    with pytest.raises(IntegrityError, match="damaged"):
        SpaceMap.of(made.to_bytes()[:-4])
    torn = SpaceMap("affine", made.mean[:3], made.axes, made.bias, unit=True)
    with pytest.raises(IntegrityError, match="do not belong together"):
        SpaceMap.of(torn.to_bytes())


def part(documents: int) -> Part:
    none = FileRef("", 0, "")
    return Part("", none, none, {}, None, Counts(documents, documents), ())


@given(st.lists(st.integers(0, 9)), st.floats(0, 1))
def test_what_is_due(sizes: Sequence[int], share: float) -> None:
    old = [(2 * n, part(size)) for n, size in enumerate(sizes)]
    chosen = due(old, sum(sizes), share)
    live = [n for n, each in old if each.live.documents]
    assert chosen == live[: len(chosen)], "the oldest, and none that is empty"
    held = sum(sizes[n // 2] for n in chosen)
    assert held >= share * sum(sizes) - 1e-9
    assert not chosen or held - sizes[chosen[-1] // 2] < share * sum(sizes)
    assert share or not chosen
