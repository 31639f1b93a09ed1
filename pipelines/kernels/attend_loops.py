"""Attention in float32, in machine code: products, softmax and values of a few queries at a time,
which stay in a core's innermost caches (as Dao et al. 2022, arXiv:2205.14135, have it on GPUs)."""

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.kernels.attend_parts import (
    Attention,
    Heads,
    Lines,
    Places,
    Runs,
    Span,
    Sums,
    Turn,
)
from shardrank.kernels.compiled import compiled, compiled_bare
from shardrank.kernels.instructions import fetch
from shardrank.kernels.tiles import COLUMNS, Rows, multiply_tile
from shardrank.kernels.vector_loops import add_row, copy_row, hide, highest, raise_two, transpose
from shardrank.kernels.vectors import LANES, ROWS

#: Queries that share a way through keys and values which lie beyond the inner caches, as those of
#: so many bytes do, and how many values at once: they stay in the innermost.
_MANY, _LARGE, _DEPTH = 4 * ROWS, 1 << 19, 128

#: e^x = 2^(x · this).
_TO_TWO = 1.4426950408889634


@compiled
def attend_runs(given: Attention, lines: Lines, runs: Runs, scale: float) -> None:
    """out = softmax(scale · q·kᵀ + line)·v of each head, each query among the tokens that it sees.

    A query's result depends on nothing but itself and what it sees.

    Args:
        given: what there is.
        lines: what is added.
        runs: who sees whom.
        scale: of the products.
    """
    keys = given.keys
    places = _places(runs, 0, keys.width)
    room, sums = np.zeros(places.end, np.float32), _sums(places)
    factor = np.float32(scale * _TO_TWO)
    for run in range(len(runs.asked)):
        span = _span(runs, run, 0)
        for head in range(keys.heads):
            _attend_key_head(given, lines, span, head, factor, room, places, sums)


@compiled
def attend_behind(stem: Attention, size: int, given: Attention, runs: Runs, scale: float) -> None:
    """As `attend_runs`, where the tokens of a stem stand before those of each run, and are seen,
    too, where a query's reach ends not before. (Sums are taken in another order.)

    Args:
        stem: its keys and values; its queries and out are not looked at.
        size: tokens of the stem.
        given, runs: of the tokens behind it, which see those of their own run.
        scale: as there.
    """
    keys = given.keys
    begin = (size + LANES - 1) // LANES * LANES
    places = _places(runs, begin, keys.width)
    room, sums = np.zeros(places.end, np.float32), _sums(places)
    factor = np.float32(scale * _TO_TWO)
    before, lines = Span(0, 0, 0, size, 0, 0, 0, 0, 0), Lines(np.empty(0, np.float32), 0, 0)
    for head in range(keys.heads):
        _lay_keys(stem.keys, before, head, room, places)
        _lay_values(stem.values, before, head, room, places)
        room[places.values + size * places.width : places.values + begin * places.width] = 0
        for run in range(len(runs.asked)):
            span = _span(runs, run, size)
            _attend_key_head(given, lines, span, head, factor, room, places, sums)


@compiled_bare
def _span(runs: Runs, run: int, stem: int) -> Span:
    at = (stem + LANES - 1) // LANES * LANES
    return Span(
        runs.asked[run],
        runs.asked_sizes[run],
        runs.seen[run],
        runs.seen_sizes[run],
        at,
        at - stem,
        at + runs.places[run],
        runs.before,
        runs.behind,
    )


@compiled_bare
def _attend_key_head(
    given: Attention,
    lines: Lines,
    span: Span,
    head: int,
    factor: np.float32,
    room: Float32,
    places: Places,
    sums: Sums,
) -> None:
    """All heads of queries that share a head of keys."""
    shared = given.queries.heads // given.keys.heads
    _lay_keys(given.keys, span, head, room, places)
    _lay_values(given.values, span, head, room, places)
    for mine in range(head * shared, (head + 1) * shared):
        _attend_head(given, lines, span, mine, factor, room, places, sums)


@compiled
def _places(runs: Runs, stem: int, width: int) -> Places:
    """Of runs behind the places of a stem."""
    width = (width + LANES - 1) // LANES * LANES
    seen = (stem + runs.seen_sizes.max() + COLUMNS - 1) // COLUMNS * COLUMNS
    large = 8 * width * min(seen, runs.before + runs.behind) >= _LARGE
    rows = _MANY if large else ROWS
    found = rows * width
    few = 2 * found
    keys = few + LANES * width
    values = keys + seen * width
    scores = values + seen * width
    end = scores + rows * seen
    return Places(0, found, few, keys, values, scores, end, width, seen, rows)


@compiled
def _sums(places: Places) -> Sums:
    tops, few = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    return Sums(tops, few, np.empty(places.rows, np.float32))


@compiled_bare
def _lay_keys(keys: Heads, span: Span, head: int, room: Float32, places: Places) -> None:
    """Component after component of COLUMNS keys at a time; behind the last key zeros."""
    numbers, step, width = keys.numbers, keys.step, places.width
    for key in range(0, span.seen_size, LANES):
        own = span.at + key
        to = places.keys + own // COLUMNS * COLUMNS * width + own % COLUMNS
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


@compiled_bare
def _lay_values(values: Heads, span: Span, head: int, room: Float32, places: Places) -> None:
    """One after another."""
    numbers, first = values.numbers, span.seen * values.step + head * values.width
    for i in range(span.seen_size):
        at, to = first + i * values.step, places.values + (span.at + i) * places.width
        copy_row(numbers, at, room, to, values.width, np.float32(1))


@compiled_bare
def _attend_head(
    given: Attention,
    lines: Lines,
    span: Span,
    head: int,
    factor: np.float32,
    room: Float32,
    places: Places,
    sums: Sums,
) -> None:
    """All queries of a run, a few at a time."""
    out, numbers, added = given.out, given.out.numbers, lines.numbers
    for begin in range(0, span.asked_size, places.rows):
        turn = Turn(head, begin, min(places.rows, span.asked_size - begin))
        low = _least(span, span.place + begin) // LANES * LANES
        high = min(span.at + span.seen_size, span.place + begin + turn.size + span.behind)
        _ask(given, span, turn, factor, room, places)
        _score(room, places, turn.size, low, high)
        for i in range(turn.size if len(added) else 0):
            line = head * lines.step + lines.middle + low - (span.place + begin + i)
            row = places.scores + i * places.seen + low
            add_row(added, line, room, row, high - low, np.float32(_TO_TWO))
        _weigh(room, places, span, turn, low, high, sums)
        _gather(room, places, turn.size, low, high)
        first = (span.asked + begin) * out.step + head * out.width
        for i in range(turn.size):
            mine, one = places.found + i * places.width, np.float32(1)
            copy_row(room, mine, numbers, first + i * out.step, out.width, one / sums.totals[i])


@compiled_bare
def _least(span: Span, place: int) -> int:
    """The first place that a query sees."""
    least = max(0, place - span.gap - span.before)
    return least if least < span.at - span.gap else least + span.gap


@compiled_bare
def _ask(
    given: Attention, span: Span, turn: Turn, factor: np.float32, room: Float32, places: Places
) -> None:
    """The queries whose turn it is.

    Meanwhile those rows of the next head come nearer, which lie far apart; behind the last head
    others do, or what is nowhere, which does nothing.
    """
    queries, keys, values, out = given.queries, given.keys, given.values, given.out
    asking, asked, seen, found = queries.numbers, keys.numbers, values.numbers, out.numbers
    width, next_key = queries.width, turn.head // (queries.heads // keys.heads) + 1
    for i in range(turn.size):
        own = span.asked + turn.begin + i
        at = own * queries.step + turn.head * width
        copy_row(asking, at, room, places.queries + i * places.width, width, factor)
        theirs = span.seen + turn.begin + i
        fetch(asking, at + width, width)
        fetch(asked, theirs * keys.step + next_key * width, width)
        fetch(seen, theirs * values.step + next_key * width, width)
        fetch(found, own * out.step + (turn.head + 1) * width, width)


@compiled_bare
def _score(room: Float32, places: Places, size: int, low: int, high: int) -> None:
    """The products of so many queries with the keys from low to high."""
    width = places.width
    for key in range(low // COLUMNS * COLUMNS, high, COLUMNS):
        first, last = max(key, low), min(key + COLUMNS, high)
        vectors = (last - first + LANES - 1) // LANES
        keys = Rows(places.keys + key * width + first - key, COLUMNS)
        for row in range(0, size, ROWS):
            queries = Rows(places.queries + row * width, width)
            scores = Rows(places.scores + row * places.seen + first, places.seen)
            multiply_tile(room, queries, room, keys, width, vectors, room, scores, False)


@compiled_bare
def _weigh(
    room: Float32,
    places: Places,
    span: Span,
    turn: Turn,
    low: int,
    high: int,
    sums: Sums,
) -> None:
    """The queries' products become powers, 0 of what a query does not see, and their sums."""
    end = low + (high - low + LANES - 1) // LANES * LANES
    for i in range(turn.size):
        own, row = span.place + turn.begin + i, places.scores + i * places.seen
        hide(room, row, low, _least(span, own))
        hide(room, row, max(low, span.at - span.gap), span.at)
        hide(room, row, min(span.at + span.seen_size, own + span.behind + 1), end)
    for row in range(0, turn.size, ROWS):
        at = places.scores + row * places.seen + low
        highest(room, at, places.seen, end - low, sums.tops)
        raise_two(room, at, places.seen, end - low, sums.tops, sums.few)
        for i in range(ROWS):
            sums.totals[row + i] = sums.few[i]


@compiled_bare
def _gather(room: Float32, places: Places, size: int, low: int, high: int) -> None:
    """The values, by the powers of so many queries of them."""
    width, depth = places.width, _DEPTH if places.rows > ROWS else high - low
    for column in range(0, width, COLUMNS):
        vectors = min(COLUMNS, width - column) // LANES
        for first in range(low, high, depth):
            values = Rows(places.values + first * width + column, width)
            count = min(depth, high - first)
            for row in range(0, size, ROWS):
                powers = Rows(places.scores + row * places.seen + first, places.seen)
                found = Rows(places.found + row * width + column, width)
                multiply_tile(room, powers, room, values, count, vectors, room, found, first > low)
