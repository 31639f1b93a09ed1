from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.version.folding import Limits, Size, crowded, plan_folds, plan_rewrites

_sizes = st.lists(
    st.integers(1, 400).flatmap(lambda rows: st.builds(Size, st.just(rows), st.integers(0, rows))),
    max_size=40,
)
_limits = st.builds(
    Limits,
    part_size=st.integers(50, 400),
    max_deleted=st.sampled_from([0.0, 0.2, 0.5]),
    fold=st.sampled_from([2, 3, 8, None]),
)


@settings(max_examples=300, deadline=None)
@given(parts=_sizes, limits=_limits)
def test_rewrites_are_groups_that_fit(parts: list[Size], limits: Limits) -> None:
    groups = plan_rewrites(parts, limits)
    members = [n for group in groups for n in group]
    assert members == sorted(set(members))
    for group in groups:
        live = sum(parts[n].live for n in group)
        assert live <= limits.part_size or len(group) == 1
    too_sparse = {
        n for n, p in enumerate(parts) if not p.live or 1 - p.live / p.rows > limits.max_deleted
    }
    assert too_sparse <= set(members)


@settings(max_examples=300, deadline=None)
@given(parts=_sizes, limits=_limits)
def test_rewriting_again_finds_little_to_do(parts: list[Size], limits: Limits) -> None:
    """It never goes on for ever: each round leaves fewer parts, or none to rewrite."""
    for _ in range(len(parts) + 1):
        groups = plan_rewrites(parts, limits)
        if not groups:
            return
        chosen = {n for group in groups for n in group}
        live = [sum(parts[n].live for n in group) for group in groups]
        rest = [part for n, part in enumerate(parts) if n not in chosen]
        again = [*rest, *(Size(rows, rows) for rows in live if rows)]
        sparse = [n for n in chosen if parts[n].live < parts[n].rows]
        assert len(again) < len(parts) or sparse
        parts = again
    raise AssertionError("parts are rewritten for ever")


def test_a_night_of_few_changes_rewrites_nothing() -> None:
    limits = Limits(512, 0.2, 8)
    parts = [Size(512, 500)] * 60 + [Size(900, 900)]
    assert plan_rewrites(parts, limits) == []


def test_eight_small_parts_become_one() -> None:
    limits = Limits(512, 0.2, 8)
    parts = [Size(512, 512), *[Size(20, 20)] * 8]
    assert plan_rewrites(parts, limits) == [[*range(1, 9)]]
    assert plan_rewrites(parts[:-1], limits) == []


def test_a_dead_part_always_goes() -> None:
    assert plan_rewrites([Size(512, 0), Size(512, 512)], Limits(512, 0.9, 8)) == [[0]]


def test_full_shards_are_never_folded() -> None:
    assert plan_folds({0: 900, 1: 800, 2: 100, 3: 90}, 1000, 2) == {2, 3}


def test_smaller_ones_are_folded_along() -> None:
    assert crowded({0: 3, 1: 70, 2: 80, 3: 5000}, 2) == {0, 1, 2}
    assert crowded({0: 3, 1: 5000}, None) == {0, 1}
    assert crowded({0: 3}, None) == set()
