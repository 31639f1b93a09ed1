"""What attention's loops are given, and what they hold while they run; see `attend_loops.py`."""

from typing import NamedTuple

from shardrank.core.arrays import Float32, Int64


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


class Places(NamedTuple):
    """Where things stand in the room for one head of one run, and how large they are.

    It is one array, since each array that goes from hand to hand is counted, which takes longer
    than a product.

    Attributes:
        queries, found: rows · width numbers.
        few: LANES · width, keys as they come.
        keys: seen · width, COLUMNS keys side by side.
        values: seen · width.
        scores: rows · seen.
        width: of a token in here, whole vectors.
        seen: tokens, whole tiles.
        rows: queries at a time, whole ROWS.
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
    rows: int


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


class Lines(NamedTuple):
    """What is added to the scaled products of each head, by how far a key is from its query.

    Attributes:
        numbers: float32, flat; of none nothing is added.
        step: from a head's to the next's.
        middle: where distance 0 stands; so many distances there are below it, and LANES more than
            above it.
    """

    numbers: Float32
    step: int
    middle: int


class Span(NamedTuple):
    """One run, and where it stands in the room.

    Attributes:
        asked, asked_size: as in `Runs`.
        seen, seen_size: as in `Runs`.
        at: the place in the room of the first that is seen, whole vectors from its begin.
        gap: so many places before are nobody's.
        place: the place in the room of the first that asks.
        before, behind: as in `Runs`.
    """

    asked: int
    asked_size: int
    seen: int
    seen_size: int
    at: int
    gap: int
    place: int
    before: int
    behind: int


class Sums(NamedTuple):
    """Of each query whose turn it is.

    Attributes:
        tops, few: float32[ROWS], of those that are worked on: the largest product, and the sum of
            powers.
        totals: float32[rows], the sums of all.
    """

    tops: Float32
    few: Float32
    totals: Float32


class Turn(NamedTuple):
    """Some queries of a run and a head: from the `begin`-th on, at most `rows`."""

    head: int
    begin: int
    size: int
