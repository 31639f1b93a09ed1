"""Attention by machine code of our own, against the formula in float64."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shardrank.models.forward.attention_fp32 import (
    EVERY,
    Sight,
    attend_behind_stem,
    attend_in_loops,
    attend_last,
)
from shardrank.models.forward.batch import Batch
from tests.unit.test_packed import batch


@dataclass(frozen=True)
class Problem:
    """Queries, keys and values of inputs, neighbouring numbers in memory as a model makes them."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    batch: Batch


def problem(lengths: list[int], heads: int, shared: int, width: int, seed: int = 0) -> Problem:
    made = batch(lengths)
    torch.manual_seed(seed)
    rows = torch.randn(len(made.ids), heads * shared + 2 * heads, width)
    return Problem(*rows.split([heads * shared, heads, heads], 1), made)


def expected(given: Problem, sight: Sight, single: bool, scale: float) -> Tensor:
    """Input by input, and of all tokens whose turn it is."""
    rows, ends = [], given.batch.ends.tolist()
    shared = given.queries.shape[1] // given.keys.shape[1]
    for begin, end in pairwise(ends):
        q, k, v = (x[begin:end].double() for x in (given.queries, given.keys, given.values))
        k, v = (x.repeat_interleave(shared, 1) for x in (k, v))
        places = torch.arange(end - begin)
        apart = places[None, :] - places[:, None]
        hidden = torch.zeros(apart.shape).bool()
        if sight.before is not None:
            hidden |= apart < -sight.before
        if sight.behind is not None:
            hidden |= apart > sight.behind
        logits = torch.einsum("qhd,khd->hqk", q, k) * scale
        weights = logits.masked_fill(hidden, -torch.inf).softmax(-1)
        found = torch.einsum("hqk,khd->qhd", weights, v)
        rows.append(found if not single else found[-1:] if sight.last else found[:1])
    return torch.cat(rows).float()


def asked(given: Problem, sight: Sight, single: bool) -> Tensor:
    ends = given.batch.ends
    if not single:
        return given.queries
    return given.queries[ends[1:] - 1 if sight.last else ends[:-1]]


Lengths = st.lists(st.integers(1, 90), min_size=1, max_size=5).map(lambda x: sorted(x)[::-1])
Reach = st.none() | st.integers(0, 70)
Sights = st.builds(Sight, Reach, Reach, st.booleans())


@given(
    Lengths,
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 7, 8, 16, 24, 32, 64, 80, 128]),
    Sights,
    st.booleans(),
    st.integers(0, 10**6),
)
@settings(max_examples=120, deadline=None)
def test_it_is_the_formula(
    lengths: list[int],
    heads: int,
    shared: int,
    width: int,
    sight: Sight,
    single: bool,
    seed: int,
) -> None:
    given, scale = problem(lengths, heads, shared, width, seed), 0.3
    queries = asked(given, sight, single)
    found = attend_in_loops(queries, given.keys, given.values, given.batch, sight, scale)
    wanted = expected(given, sight, single, scale)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)


@given(
    Lengths,
    st.integers(0, 70),
    st.integers(1, 3),
    st.sampled_from([8, 24, 64]),
    Reach,
    st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_inputs_with_the_same_beginning_see_it(
    lengths: list[int], stem: int, shared: int, width: int, before: int | None, seed: int
) -> None:
    """As if each input were whole."""
    given, first = problem(lengths, 2, shared, width, seed), problem([stem or 1], 2, 1, width, seed)
    kept, sight = (first.keys[:stem], first.values[:stem]), Sight(before, 0)
    new = (given.keys, given.values)
    sizes, ends = given.batch.sizes, given.batch.ends.tolist()
    found = attend_behind_stem(given.queries, new, kept, sizes, sight, 0.3)
    for begin, end in pairwise(ends):
        queries = given.queries[begin:end]
        keys, values = (torch.cat([a, b[begin:end]]) for a, b in zip(kept, new, strict=True))
        padded = torch.cat([queries.new_zeros(stem, *queries.shape[1:]), queries])
        whole = Problem(padded, keys, values, batch([stem + end - begin]))
        wanted = expected(whole, sight, single=False, scale=0.3)[stem:]
        torch.testing.assert_close(found[begin:end], wanted, atol=2e-5, rtol=1e-5)
        last = attend_last(queries, keys, values, sight, 0.3)
        torch.testing.assert_close(last, wanted, atol=2e-5, rtol=1e-5)
        mine = tuple(x[begin:end] for x in new)
        alone = attend_behind_stem(queries, mine, kept, sizes[:1] * 0 + len(queries), sight, 0.3)
        assert torch.equal(alone, found[begin:end])


@pytest.mark.parametrize("sight", [EVERY, Sight(5, 5), Sight(None, 0)])
def test_what_is_added_by_distances(sight: Sight) -> None:
    given, longest = problem([70, 33, 33, 9, 1], 1, 2, 32), 70
    lines = torch.randn(2, 2 * longest - 1)
    queries, keys, values = given.queries, given.keys, given.values
    found = attend_in_loops(queries, keys, values, given.batch, sight, 0.3, lines)
    for begin, end in pairwise(given.batch.ends.tolist()):
        places = torch.arange(end - begin)
        bias = lines[:, longest - 1 + places[None, :] - places[:, None]]
        apart = places[None, :] - places[:, None]
        hidden = torch.zeros(apart.shape).bool()
        hidden |= False if sight.before is None else apart < -sight.before
        hidden |= False if sight.behind is None else apart > sight.behind
        logits = torch.einsum("qhd,kd->hqk", queries[begin:end], keys[begin:end, 0]) * 0.3 + bias
        weights = logits.masked_fill(hidden, -torch.inf).softmax(-1)
        wanted = torch.einsum("hqk,kd->qhd", weights, values[begin:end, 0])
        torch.testing.assert_close(found[begin:end], wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("sight", [EVERY, Sight(5, 5), Sight(None, 0)])
def test_an_input_has_the_same_bits_in_any_batch(sight: Sight) -> None:
    given = problem([70, 33, 33, 9, 1], 2, 2, 32)
    whole = attend_in_loops(given.queries, given.keys, given.values, given.batch, sight)
    ends = given.batch.ends.tolist()
    for begin, end in pairwise(ends):
        mine = (x[begin:end] for x in (given.queries, given.keys, given.values))
        assert torch.equal(attend_in_loops(*mine, batch([end - begin]), sight), whole[begin:end])


def test_a_token_has_the_same_bits_alone() -> None:
    given = problem([50, 20], 3, 1, 32)
    for sight in (Sight(last=False), Sight(last=True), Sight(None, 0, last=True)):
        every = attend_in_loops(given.queries, given.keys, given.values, given.batch, sight)
        queries = asked(given, sight, single=True)
        one = attend_in_loops(queries, given.keys, given.values, given.batch, sight)
        ends = given.batch.ends
        assert torch.equal(one, every[ends[1:] - 1 if sight.last else ends[:-1]])


@pytest.mark.parametrize("shift", [-3e4, 0.0, 3e4])
def test_equal_products_share_alike(shift: float) -> None:
    """However far they lie from 0: only the zeros behind the last key could be larger."""
    given = problem([21], 1, 1, 8)
    queries, keys = torch.full((21, 1, 8), shift), torch.ones(21, 1, 8)
    found = attend_in_loops(queries, keys, given.values, given.batch)
    mean = given.values.mean(0, keepdim=True)
    torch.testing.assert_close(found, mean.expand_as(found), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("what", ["queries", "keys", "values"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_in_its_input(what: str, wrong: float) -> None:
    given = problem([40, 30], 2, 1, 16)
    getattr(given, what)[45, 1, 3] = wrong
    found = attend_in_loops(given.queries, given.keys, given.values, given.batch)
    assert found[:40].isfinite().all()
    assert not found[40:, 1].isfinite().all()
    assert found[40:, 0].isfinite().all()
