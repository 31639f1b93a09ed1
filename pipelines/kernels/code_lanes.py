"""The innermost loop of decoding token vectors, in machine code: a register of components at a
time."""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.vectors import LANES, data, load, spread, store


def _decoding(bits: int) -> Any:
    """The function for codes of so many bits."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        from numba.core import cgutils  # `compiled` must import numba first

        tokens, centroids, levels, out = (
            data(context, builder, signature, given, n) for n in (0, 2, 4, 6)
        )
        codes, centre, to = (
            builder.gep(array, [given[n]]) for array, n in ((tokens, 1), (centroids, 3), (out, 7))
        )
        depth = given[5]
        whole = builder.and_(depth, depth.type(-LANES))
        with cgutils.for_range_slice(builder, depth.type(0), whole, depth.type(LANES)) as (k, _):
            place = builder.lshr(builder.mul(k, k.type(bits)), k.type(3))
            flags = _flags(builder, builder.gep(codes, [place]), bits)
            level = _chosen(builder, flags, _levels(builder, levels, depth, k, bits))
            middle = load(builder, builder.gep(centre, [k]))
            store(builder, builder.fadd(middle, level), builder.gep(to, [k]))
        return context.get_dummy_value()

    def typed(  # numba reads the names
        typing: Any,
        tokens: Any,
        at: Any,
        centroids: Any,
        centre: Any,
        levels: Any,
        depth: Any,
        out: Any,
        to: Any,
    ) -> Any:
        from numba.core import types  # `compiled` must import numba first

        size = types.int64
        return types.void(tokens, size, centroids, size, levels, size, out, size), write

    return written(typed)


#: out[to + k] = centroids[centre + k] + levels[c · depth + k], where c is code k of uint8 tokens
#: from `at` on, of 1, 2 or 4 bits, from the lowest of each byte up; of k below the largest multiple
#: of LANES that `depth` holds. All are flat arrays, the others of float32.
decode_ones, decode_twos, decode_fours = _decoding(1), _decoding(2), _decoding(4)


def _flags(builder: Any, codes: Any, bits: int) -> list[Any]:
    """Of each bit of a code, the lowest first, whether it is set, in LANES neighbouring codes."""
    held = LANES * bits
    wide = ir.IntType(max(32, held))
    word = builder.load(builder.bitcast(codes, ir.IntType(held).as_pointer()), align=1)
    word = spread(builder, word if held >= 32 else builder.zext(word, wide))
    kind = ir.VectorType(wide, LANES)
    return [
        builder.icmp_unsigned(
            "!=", builder.and_(word, ir.Constant(kind, _masks(bits, bit, wide.width))), kind(None)
        )
        for bit in range(bits)
    ]


def _masks(bits: int, bit: int, width: int) -> list[int]:
    """A bit of each code, as signed integers, which is how LLVM writes the highest one."""
    masks = (1 << (lane * bits + bit) for lane in range(LANES))
    return [mask - (1 << width) if mask >> (width - 1) else mask for mask in masks]


def _levels(builder: Any, levels: Any, depth: Any, k: Any, bits: int) -> list[Any]:
    """What stands for each code, of LANES components from k on."""
    places = (builder.add(k, builder.mul(depth, k.type(code))) for code in range(1 << bits))
    return [load(builder, builder.gep(levels, [place])) for place in places]


def _chosen(builder: Any, flags: list[Any], levels: list[Any]) -> Any:
    """Those of the codes: each bit halves what is left."""
    for flag in flags:
        pairs = zip(levels[::2], levels[1::2], strict=True)
        levels = [builder.select(flag, high, low) for low, high in pairs]
    return levels[0]
