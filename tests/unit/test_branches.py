"""Stems and passes, against what they say of themselves."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from shardrank.models.forward.branches import (
    Branches,
    common_prefix,
    pack,
    plan_passes,
    stem_pieces,
)
from shardrank.models.forward.distinct import distinct

Inputs = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=9)


def arrays(inputs: list[list[int]]) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [np.array(tokens, np.int32) for tokens in inputs]


@given(Inputs)
def test_the_common_prefix_is_the_longest(inputs: list[list[int]]) -> None:
    length = common_prefix(arrays(inputs))
    assert all(tokens[:length] == inputs[0][:length] for tokens in inputs)
    assert len({tuple(tokens[: length + 1]) for tokens in inputs}) > 1 or any(
        len(tokens) == length for tokens in inputs
    )


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(1, 40))
def test_passes_hold_every_branch_once_within_the_budget(sizes: list[int], budget: int) -> None:
    passes = plan_passes(np.array(sizes, np.int64), budget)
    rows = [int(row) for rows in passes for row in rows]
    assert sorted(rows) == list(range(len(sizes)))
    assert [sizes[row] for row in rows] == sorted(sizes, reverse=True)
    assert all(len(rows) == 1 or sum(sizes[row] for row in rows) <= budget for rows in passes)


@given(Inputs, st.integers(1, 12))
def test_packed_tokens_are_those_of_the_inputs(inputs: list[list[int]], budget: int) -> None:
    every = arrays(inputs)
    stem = min(common_prefix(every), min(map(len, every)) - 1)
    lasts = np.array([len(tokens) - 1 for tokens in inputs])
    seen: dict[int, list[int]] = {}
    for branches in pack(every, lasts, stem, budget, torch.device("cpu")):
        check_pass(branches, inputs, stem, seen)
    assert seen == {row: tokens[stem:] for row, tokens in enumerate(inputs)}


def check_pass(
    branches: Branches, inputs: list[list[int]], stem: int, seen: dict[int, list[int]]
) -> None:
    assert sum(count * length for count, length in branches.groups) == len(branches.ids)
    inner, outer = (bounds.tolist() for bounds in branches.bounds)
    held = np.arange(stem + len(branches.ids))[branches.with_stem.numpy()]
    for number, row in enumerate(branches.rows.tolist()):
        mine = slice(inner[number], inner[number + 1])
        seen[row] = branches.ids[mine].tolist()
        assert branches.places[mine].tolist() == list(range(stem, len(inputs[row])))
        assert branches.wanted[number] == mine.stop - 1
        own = held[outer[number] : outer[number + 1]].tolist()
        assert own == [*range(stem), *range(stem + mine.start, stem + mine.stop)]


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 3000))
def test_stems_are_cut_in_the_same_places(length: int, other: int, budget: int) -> None:
    pieces = stem_pieces(length, budget)
    assert [end for _, end in pieces[:-1]] == [begin for begin, _ in pieces[1:]]
    assert sum(end - begin for begin, end in pieces) == length
    assert all(end - begin <= budget for begin, end in pieces)
    shorter = min(length, other)
    assert [p for p in pieces if p[1] < shorter] == [
        p for p in stem_pieces(other, budget) if p[1] < shorter
    ]


@given(Inputs)
def test_equal_inputs_are_one(inputs: list[list[int]]) -> None:
    found, which = distinct(arrays(inputs))
    assert [found[number].tolist() for number in which] == inputs
    assert len({tuple(tokens) for tokens in inputs}) == len(found)
