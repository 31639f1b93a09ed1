"""Attention in float32, in machine code: products, softmax and values of a few queries at a time,
which stay in a core's innermost caches (as Dao et al. 2022, arXiv:2205.14135, have it on GPUs)."""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.instructions import fetch
from shardrank.kernels.tiles import COLUMNS, multiply_tile
from shardrank.kernels.vector_loops import copy_row, hide, highest, raise_two, transpose
from shardrank.kernels.vectors import LANES, ROWS


class Runs(NamedTuple):
    """Neighbouring tokens that ask, and the neighbouring tokens that any of them may see.

    Attributes:
        asked, asked_sizes: int64[n], the first that asks of each run, and how many there are.
        seen, seen_sizes: int64[n], the first that is seen, and how many there are.
        places: int64[n], which of the seen ones the first that asks is.
        before, behind: how many tokens before and behind its own place one sees.
    """

    asked: Int64
    asked_sizes: Int64
    seen: Int64
    seen_sizes: Int64
    places: Int64
    before: int
    behind: int


class Heads(NamedTuple):
    """Numbers of tokens in their heads, flat.

    Attributes:
        numbers: float32, number i of a token's head at token · step + head · width + i.
        step: from a token to the next.
        heads: of a token.
        width: of a head.
    """

    numbers: Float32
    step: int
    heads: int
    width: int


class _Places(NamedTuple):
    """Where things stand in the room for one head of one run, and how large they are.

    It is one array, since each array that goes from hand to hand is counted, which takes longer
    than a product.

    Attributes:
        queries, found: ROWS · width numbers.
        few: LANES · width, keys as they come.
        keys: seen · width, COLUMNS keys side by side.
        values: seen · width.
        scores: ROWS · seen.
        width: of a token in here, whole vectors.
        seen: tokens, whole tiles.
    """

    queries: int
    found: int
    few: int
    keys: int
    values: int
    scores: int
    end: int
    width: int
    seen: int


class Attention(NamedTuple):
    """What attends, and to what.

    Attributes:
        queries: of t tokens.
        keys, values: of s tokens; neighbouring heads of queries share theirs.
        out: of t tokens, to be filled.
    """

    queries: Heads
    keys: Heads
    values: Heads
    out: Heads


class _Span(NamedTuple):
    """One run: see `Runs`."""

    asked: int
    asked_size: int
    seen: int
    seen_size: int
    place: int
    before: int
    behind: int


@compiled
def attend_runs(given: Attention, runs: Runs, scale: float) -> None:
    """out = softmax(scale · q·kᵀ)·v of each head, each query among the tokens that it sees.

    A query's result depends on nothing but itself and what it sees.

    Args:
        given: what there is.
        runs: who sees whom.
        scale: of the products.
    """
    keys = given.keys
    places = _places(runs.seen_sizes.max(), keys.width)
    room = np.zeros(places.end, np.float32)
    shared = given.queries.heads // keys.heads
    factor = np.float32(scale * 1.4426950408889634)  # e^x = 2^(x / ln 2)
    for run in range(len(runs.asked)):
        span = _Span(
            runs.asked[run],
            runs.asked_sizes[run],
            runs.seen[run],
            runs.seen_sizes[run],
            runs.places[run],
            runs.before,
            runs.behind,
        )
        for head in range(keys.heads):
            _lay_keys(keys, span, head, room, places)
            _lay_values(given.values, span, head, room, places)
            for mine in range(head * shared, (head + 1) * shared):
                _attend_head(given, span, mine, factor, room, places)


@compiled
def _places(seen: int, width: int) -> _Places:
    width = (width + LANES - 1) // LANES * LANES
    seen = (seen + COLUMNS - 1) // COLUMNS * COLUMNS
    found = ROWS * width
    few = 2 * found
    keys = few + LANES * width
    values = keys + seen * width
    scores = values + seen * width
    return _Places(0, found, few, keys, values, scores, scores + ROWS * seen, width, seen)


@compiled
def _lay_keys(keys: Heads, span: _Span, head: int, room: Float32, places: _Places) -> None:
    """Component after component of COLUMNS keys at a time; behind the last key zeros."""
    numbers, step, width = keys.numbers, keys.step, places.width
    for key in range(0, span.seen_size, LANES):
        to = places.keys + key // COLUMNS * COLUMNS * width + key % COLUMNS
        at, count = (span.seen + key) * step + head * keys.width, min(LANES, span.seen_size - key)
        if width == keys.width and count == LANES:
            for j in range(0, width, LANES):
                transpose(numbers, at + j, step, room, to + j * COLUMNS, COLUMNS)
            continue
        room[places.few : places.keys] = 0
        for i in range(count):
            few = places.few + i * width
            copy_row(numbers, at + i * step, room, few, keys.width, np.float32(1))
        for j in range(0, width, LANES):
            transpose(room, places.few + j, width, room, to + j * COLUMNS, COLUMNS)


@compiled
def _lay_values(values: Heads, span: _Span, head: int, room: Float32, places: _Places) -> None:
    """One after another."""
    numbers, first = values.numbers, span.seen * values.step + head * values.width
    for i in range(span.seen_size):
        at, to = first + i * values.step, places.values + i * places.width
        copy_row(numbers, at, room, to, values.width, np.float32(1))


@compiled
def _attend_head(
    given: Attention, span: _Span, head: int, factor: np.float32, room: Float32, places: _Places
) -> None:
    """All queries of a run, a few at a time."""
    out, numbers = given.out, given.out.numbers
    tops, totals = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    for begin in range(0, span.asked_size, ROWS):
        count, place = min(ROWS, span.asked_size - begin), span.place + begin
        low = max(0, place - span.before) // LANES * LANES
        high = min(span.seen_size, place + count + span.behind)
        end = low + (high - low + LANES - 1) // LANES * LANES
        _ask(given, span, head, begin, count, factor, room, places)
        _score(room, places, low, high)
        for i in range(count):
            own, row = place + i, places.scores + i * places.seen
            hide(room, row, low, max(0, own - span.before))
            hide(room, row, min(span.seen_size, own + span.behind + 1), end)
        highest(room, places.scores + low, places.seen, end - low, tops)
        raise_two(room, places.scores + low, places.seen, end - low, tops, totals)
        _gather(room, places, low, high)
        first = (span.asked + begin) * out.step + head * out.width
        for i in range(count):
            mine, one = places.found + i * places.width, np.float32(1)
            copy_row(room, mine, numbers, first + i * out.step, out.width, one / totals[i])


@compiled
def _ask(
    given: Attention,
    span: _Span,
    head: int,
    begin: int,
    count: int,
    factor: np.float32,
    room: Float32,
    places: _Places,
) -> None:
    """The next queries; meanwhile those rows of the next head come nearer, which lie far apart:
    what has no next head is not there, and fetched by no one."""
    queries, keys, values, out = given.queries, given.keys, given.values, given.out
    asking, asked, seen, found = queries.numbers, keys.numbers, values.numbers, out.numbers
    width, shared = queries.width, queries.heads // keys.heads
    for i in range(begin, begin + count):
        at = (span.asked + i) * queries.step + head * width
        copy_row(asking, at, room, places.queries + (i - begin) * places.width, width, factor)
        fetch(asking, at + width, width)
        theirs = (head // shared + 1) * width
        fetch(asked, (span.seen + i) * keys.step + theirs, width)
        fetch(seen, (span.seen + i) * values.step + theirs, width)
        fetch(found, (span.asked + i) * out.step + (head + 1) * width, width)


@compiled
def _score(room: Float32, places: _Places, low: int, high: int) -> None:
    """The queries' products with the keys from low to high."""
    width = places.width
    for key in range(low // COLUMNS * COLUMNS, high, COLUMNS):
        first, last = max(key, low), min(key + COLUMNS, high)
        vectors = (last - first + LANES - 1) // LANES
        panel = places.keys + key * width + first - key
        multiply_tile(
            room, places.queries, width, room, panel, COLUMNS, width, vectors,
            room, places.scores + first, places.seen,
        )  # fmt: skip


@compiled
def _gather(room: Float32, places: _Places, low: int, high: int) -> None:
    """The values, by the queries' powers of them."""
    width = places.width
    for column in range(0, width, COLUMNS):
        vectors = min(COLUMNS, width - column) // LANES
        multiply_tile(
            room, places.scores + low, places.seen, room, places.values + low * width + column,
            width, high - low, vectors, room, places.found + column, width,
        )  # fmt: skip
