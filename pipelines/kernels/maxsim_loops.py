"""MaxSim of queries and passages of many vectors, as machine code; see `index/maxsim.py`."""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Float32, Int64, UInt16
from shardrank.kernels.compiled import compiled, compiled_bare, inlined
from shardrank.kernels.maxsim_tiles import HEIGHT, PAIR, tile_of_one, tile_of_two, widen
from shardrank.kernels.residual_loops import Coded, decode_tokens
from shardrank.kernels.vector_loops import transpose
from shardrank.kernels.vectors import LANES


class Asked(NamedTuple):
    """Queries, laid as tiles read them.

    Attributes:
        numbers: float32, flat: two vectors of LANES tokens at a time, component after component;
            one, where no more are left of a query. Where a token is missing stand zeros.
        begins: int64[q], where each query begins.
        tokens: int64[q], how many it has.
        depth: components of a token.
    """

    numbers: Float32
    begins: Int64
    tokens: Int64
    depth: int


class Pairs(NamedTuple):
    """What is scored: int64[m] queries and passages, passage after passage."""

    left: Int64
    right: Int64


@compiled
def lay_queries(vectors: Float32, begins: Int64, tokens: Int64, depth: int) -> Asked:
    """Those that have so many tokens from these on, of float32[t · depth]."""
    sizes = (tokens + (LANES - 1)) // LANES * LANES * depth
    places = np.cumsum(sizes) - sizes
    numbers = np.zeros(sizes.sum(), np.float32)
    for query in range(len(tokens)):
        for token in range(0, tokens[query], LANES):
            pair = token // PAIR * PAIR
            width = PAIR if tokens[query] - pair > LANES else LANES
            to = places[query] + pair * depth + token - pair
            at, few = (begins[query] + token) * depth, min(LANES, tokens[query] - token)
            _lay(vectors, at, few, depth, numbers, to, width)
    return Asked(numbers, places, tokens, depth)


@compiled_bare
def _lay(
    vectors: Float32, at: int, few: int, depth: int, numbers: Float32, to: int, width: int
) -> None:
    """At most LANES tokens from `at` on, side by side, one component `width` behind another."""
    whole = depth // LANES * LANES if few == LANES else 0
    for k in range(0, whole, LANES):
        transpose(vectors, at + k, depth, numbers, to + k * width, width)
    for k in range(whole, depth):
        for i in range(few):
            numbers[to + k * width + i] = vectors[at + i * depth + k]


@compiled
def score_floats(asked: Asked, vectors: Float32, ends: Int64, pairs: Pairs, out: Float32) -> None:
    """out[i] = Σ over the tokens of pair i's query, in their order and in float64, of the largest
    product with a token of its passage; NaN where a product is not finite, and where either has no
    token.

    Args:
        asked: the queries.
        vectors: float32[t · depth], of which passage n has the tokens ends[n] to ends[n + 1].
        ends: int64[passages + 1].
        pairs: which ones.
        out: float32[m], filled.
    """
    depth = asked.depth
    few, best = np.empty(HEIGHT * depth, np.float32), np.empty(2 * PAIR, np.float32)
    for pair in range(len(out)):
        begin, tokens = _span(ends, pairs.right[pair])
        after = ends[pairs.right[min(pair + 1, len(out) - 1)]] * depth
        query = pairs.left[pair]
        if 0 < tokens < HEIGHT:
            few[: tokens * depth] = vectors[begin * depth : (begin + tokens) * depth]
            _repeat(few, tokens, depth)
            out[pair] = _score(asked, query, few, 0, HEIGHT, best, vectors, after)
        else:
            out[pair] = _score(asked, query, vectors, begin, tokens, best, vectors, after)


@compiled
def score_halves(asked: Asked, vectors: UInt16, ends: Int64, pairs: Pairs, out: Float32) -> None:
    """As `score_floats`, of passages in fp16, as its bits; each is widened once for neighbouring
    pairs."""
    depth, most = asked.depth, max(HEIGHT, (ends[1:] - ends[:-1]).max())
    wide, best = np.empty(most * depth, np.float32), np.empty(2 * PAIR, np.float32)
    for pair in range(len(out)):
        passage = pairs.right[pair]
        begin, tokens = _span(ends, passage)
        if pair == 0 or passage != pairs.right[pair - 1]:
            widen(vectors, begin * depth, tokens * depth, wide)
            _repeat(wide, tokens, depth)
        after = ends[pairs.right[min(pair + 1, len(out) - 1)]] * depth
        height = max(tokens, HEIGHT) if tokens else 0
        out[pair] = _score(asked, pairs.left[pair], wide, 0, height, best, vectors, after)


@compiled
def score_codes(asked: Asked, coded: Coded, ends: Int64, pairs: Pairs, out: Float32) -> int:
    """As `score_floats`, of passages in codes; each is decoded once for neighbouring pairs.

    Returns:
        As `decode_tokens`.
    """
    depth, most = asked.depth, max(HEIGHT, (ends[1:] - ends[:-1]).max())
    vectors, best = np.empty(most * depth, np.float32), np.empty(2 * PAIR, np.float32)
    for pair in range(len(out)):
        passage = pairs.right[pair]
        begin, tokens = _span(ends, passage)
        if pair == 0 or passage != pairs.right[pair - 1]:
            strange = decode_tokens(coded, begin, tokens, vectors)
            if strange >= 0:
                return strange
            _repeat(vectors, tokens, depth)
        height = max(tokens, HEIGHT) if tokens else 0
        # Its own vectors come nearer meanwhile, which are near: codes take few bytes to read.
        out[pair] = _score(asked, pairs.left[pair], vectors, 0, height, best, vectors, 0)
    return -1


@compiled
def largest_floats(asked: Asked, vectors: Float32, ends: Int64, out: Float32) -> None:
    """out[n, i] = the largest product of token i of the only query with a token of passage n, whose
    sums have the order of the components; NaN where one is not finite, 0 of a passage without
    tokens.

    Args:
        asked: one query of i tokens.
        vectors: float32[t · depth], of which passage n has the tokens ends[n] to ends[n + 1].
        ends: int64[passages + 1].
        out: float32[passages, i], filled.
    """
    depth = asked.depth
    few, best = np.empty(HEIGHT * depth, np.float32), np.empty(2 * PAIR, np.float32)
    for passage in range(len(out)):
        begin, tokens = _span(ends, passage)
        after = ends[passage + 1] * depth
        if 0 < tokens < HEIGHT:
            few[: tokens * depth] = vectors[begin * depth : (begin + tokens) * depth]
            _repeat(few, tokens, depth)
            _largest(asked, few, 0, HEIGHT, best, vectors, after, out[passage])
        else:
            _largest(asked, vectors, begin, tokens, best, vectors, after, out[passage])


@compiled_bare
def _largest(
    asked: Asked,
    vectors: Float32,
    begin: int,
    tokens: int,
    best: Float32,
    ahead: Float32,
    after: int,
    out: Float32,
) -> None:
    """As `_score`, of a passage with none or at least HEIGHT tokens, and not added up."""
    out[:] = 0
    for token in range(0, len(out) if tokens else 0, PAIR):
        width = PAIR if len(out) - token > LANES else LANES
        _tiles(asked, 0, token, width, vectors, begin, tokens, best, ahead, after)
        for i in range(min(width, len(out) - token)):
            out[token + i] = best[i] + best[width + i]


@compiled_bare
def _span(ends: Int64, passage: int) -> tuple[int, int]:
    """The passage's first token, and how many it has."""
    return ends[passage], ends[passage + 1] - ends[passage]


@compiled_bare
def _repeat(vectors: Float32, tokens: int, depth: int) -> None:
    """The last token until there are HEIGHT, where there is any: that changes no maximum."""
    for row in range(max(tokens, 1), HEIGHT if tokens else 0):
        for k in range(depth):
            vectors[row * depth + k] = vectors[(tokens - 1) * depth + k]


@compiled_bare
def _score(
    asked: Asked,
    query: int,
    vectors: Float32,
    begin: int,
    tokens: int,
    best: Float32,
    ahead: Float32 | UInt16,
    after: int,
) -> np.float32:
    """Of a query with `tokens` tokens from `begin` on, none or at least HEIGHT, while what stands
    in `ahead` from `after` on comes nearer."""
    total, asking = 0.0, asked.tokens[query]
    if tokens == 0 or asking == 0:
        return np.float32(np.nan)
    for token in range(0, asking, PAIR):
        width = PAIR if asking - token > LANES else LANES
        _tiles(asked, query, token, width, vectors, begin, tokens, best, ahead, after)
        for i in range(min(width, asking - token)):
            total += best[i] + best[width + i]
    return np.float32(total)


@inlined
def _tiles(
    asked: Asked,
    query: int,
    token: int,
    width: int,
    vectors: Float32,
    begin: int,
    tokens: int,
    best: Float32,
    ahead: Float32 | UInt16,
    after: int,
) -> None:
    """`best` becomes the largest products of a passage's tokens with those of a query from `token`
    on, as many as a tile has; see `maxsim_tiles`."""
    depth = asked.depth
    best[:width], best[width : 2 * width] = -np.inf, 0
    column = asked.begins[query] + token * depth
    for row in range(0, tokens, HEIGHT):
        # The last tile begins earlier instead of being smaller.
        first, next_one = min(row, tokens - HEIGHT), after + row * depth
        at = (begin + first) * depth
        if width == PAIR:
            tile_of_two(vectors, at, asked.numbers, column, depth, best, ahead, next_one)
        else:
            tile_of_one(vectors, at, asked.numbers, column, depth, best, ahead, next_one)
