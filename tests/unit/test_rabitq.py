"""RaBitQ: its rotation, codes, estimator and bound, and its lists, all against numpy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from shardrank.core.errors import InputError, IntegrityError
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.codec import code_error, train_codec
from shardrank.index.rabitq import _STEPS, Rabitq
from shardrank.index.rabitq_lists import RabitqLists
from shardrank.index.shard import LoadedShard, build_shard, shard_size
from shardrank.kernels.rabitq_loops import decode_rows, encode_rows, rotate, unpack_levels
from shardrank.models.forward.products import int8_product
from shardrank.version.sizing import CodecPlan
from tests.rabitq_pairs import exceeding, pairs, share_beyond

DIM, ROWS, NLIST = 24, 2000, 8
BITS = (1, 2, 4)
PLAN = CodecPlan("ivfrabitq", NLIST, DIM, 1, False, ROWS, 3)


def clustered(rows: int, dim: int = DIM, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(20, dim))
    vectors = centres[rng.integers(0, 20, rows)] + rng.normal(size=(rows, dim)) * 0.6
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(ROWS)


def rabitq(bits: int) -> Rabitq:
    return Rabitq.train(VECTORS, replace(PLAN, pq_bits=bits))


def signs(dim: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (4, dim))


def plain_rotation(turns: Any) -> Any:
    """float64[d, d]: what `rotate` multiplies columns with, put together step by step."""
    dim = turns.shape[1]
    width, half = 1 << (dim.bit_length() - 1), dim // 2
    hadamard = np.ones((1, 1))
    while len(hadamard) < width:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    walk = np.eye(dim)
    for i in range(half if width < dim else 0):
        pair = [i, dim - half + i]
        walk[np.ix_(pair, pair)] = np.sqrt(0.5) * np.array([[1, 1], [1, -1]])
    whole = np.eye(dim)
    for number, row in enumerate(turns):
        block, begin = np.eye(dim), 0 if number % 2 == 0 else dim - width
        block[begin : begin + width, begin : begin + width] = hadamard / np.sqrt(width)
        whole = walk @ block @ np.diag(row) @ whole
    return whole


@pytest.mark.parametrize("dim", [1, 2, 3, 16, 100, 384])
def test_the_rotation_is_one_row_by_row(dim: int) -> None:
    turns, rows = signs(dim), clustered(50, dim)
    out = np.empty_like(rows)
    rotate(rows, turns, out)
    matrix = plain_rotation(turns)
    assert np.allclose(matrix @ matrix.T, np.eye(dim), atol=1e-12)
    assert np.allclose(out, rows @ matrix.T, atol=2e-6)
    alone = np.empty_like(rows[7:8])
    rotate(rows[7:8], turns, alone)
    assert np.array_equal(alone[0], out[7])


def plain_codes(rows: Any, bits: int) -> Any:
    """float64[n, d]: of all scales the levels whose direction is the nearest; every scale at which
    a component's level changes is tried."""
    most = (1 << (bits - 1)) - 1
    found = []
    for row in rows.astype(np.float64):
        size = np.abs(row)
        scales = np.concatenate([[0.5 / size.max()], *(k / size for k in range(1, most + 1))])
        levels = np.minimum(np.floor(size * scales[:, None] * (1 + 1e-12)), most) + 0.5
        near = (levels @ size) / np.linalg.norm(levels, axis=1)
        found.append(levels[near.argmax()] * np.where(row >= 0, 1, -1))
    return np.array(found)


def coded(rows: Any, bits: int) -> tuple[Any, Any, Any]:
    """Codes, factors and levels."""
    codes = np.empty((len(rows), -(-rows.shape[1] * bits // 8)), np.uint8)
    factors, levels = np.empty(len(rows), np.float32), np.empty_like(rows)
    tries = _STEPS[bits] * np.linspace(0.7, 1.3, 9) if bits > 1 else np.ones(1)
    encode_rows(rows, bits, tries.astype(np.float32), codes, factors)
    unpack_levels(codes, bits, levels)
    return codes, factors, levels


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dim", [13, 100, 384])
def test_codes_are_nearly_the_nearest_of_all(bits: int, dim: int) -> None:
    rows = np.random.default_rng(1).normal(size=(40, dim)).astype(np.float32)
    _, factors, levels = coded(rows, bits)
    best = plain_codes(rows, bits)
    ours, theirs = (
        (each * rows).sum(axis=1) / np.linalg.norm(each, axis=1) / np.linalg.norm(rows, axis=1)
        for each in (levels, best)
    )
    assert (ours > theirs - (2e-3 if dim > 50 else 2e-2)).all()
    assert bits > 1 or np.array_equal(levels, best)
    along = factors * (levels * rows).sum(axis=1)
    assert np.allclose(along, np.square(rows).sum(axis=1), rtol=1e-5)


@given(st.integers(0, 10**6), st.sampled_from(BITS), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_rows_are_decoded_to_the_nearest_whole_numbers(seed: int, bits: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (5, -(-dim * bits // 8))).astype(np.uint8)
    base = rng.integers(-20_000, 20_001, dim).astype(np.int16)
    heights = rng.integers(0, 12_512 // ((1 << bits) - 1) + 1, 5).astype(np.int16)
    levels, out = np.empty((5, dim), np.float32), np.empty((5, dim), np.int8)
    unpack_levels(codes, bits, levels)
    decode_rows(codes, heights, base, bits, out)
    exact = (base + 2 * levels * heights[:, None]) / 256
    assert np.array_equal(out, np.floor(exact + 0.5))


@pytest.mark.parametrize("bits", BITS)
def test_estimates_are_unbiased_and_their_errors_bounded(bits: int) -> None:
    """Of 16,000 pairs, each with 20 rotations. The mean of all estimates is the inner product."""
    made = pairs(bits, rows=200, queries=80, dim=96, rotations=20)
    assert abs(made.errors.mean()) < 4 * made.errors.std() / np.sqrt(made.errors.size)
    mean = made.errors.mean(axis=0) / (made.bounds.mean(axis=0) / np.sqrt(20))
    assert np.square(mean).mean() == pytest.approx(1, abs=0.1)  # what chance alone would leave
    for epsilon in (1, 1.9, 3):
        assert exceeding(made, epsilon) <= share_beyond(epsilon, 96) * 1.05 + 1e-4
    assert exceeding(made, 6) == 0


@pytest.mark.parametrize("bits", BITS)
def test_the_bound_holds_on_a_million_pairs(bits: int) -> None:
    made = pairs(bits, rows=1000, queries=1000, dim=384, rotations=1)
    for epsilon in (1.9, 2.5, 3):
        assert exceeding(made, epsilon) <= share_beyond(epsilon, 384) * 1.1
    assert exceeding(made, 4) <= 2 * share_beyond(4, 384)
    assert exceeding(made, 6) == 0


def blocks(step: int = 700) -> Any:
    for begin in range(0, ROWS, step):
        rows = np.arange(begin, min(begin + step, ROWS))
        yield rows * 2, VECTORS[rows]


@pytest.fixture(scope="module", params=BITS)
def shard(request: pytest.FixtureRequest) -> bytes:
    return build_shard(train_codec(VECTORS, replace(PLAN, pq_bits=request.param)), blocks())


def test_a_shard_is_read_as_it_was_written(shard: bytes) -> None:
    lists = RabitqLists.load(shard)
    assert lists.to_bytes() == shard
    assert shard_size(shard) == ROWS == lists.size
    assert sorted(lists.positions) == list(range(0, 2 * ROWS, 2))
    codec = train_codec(VECTORS, replace(PLAN, pq_bits=lists.rabitq.bits))
    assert build_shard(codec, blocks()) == shard


def test_rows_are_what_the_codes_say(shard: bytes) -> None:
    """To within an 8-bit unit, whose size is one for all rows."""
    lists = RabitqLists.load(shard)
    turned = lists.rabitq.turned(VECTORS)
    decoded = lists.rabitq.decode(lists.rabitq.encode(turned))
    seen = 0
    for number in range(NLIST):
        positions, rows = lists.rows(number, None)
        unit = np.float32(256) / lists._unit
        assert np.abs(rows * unit - decoded[positions // 2]).max() <= 0.6 * unit
        seen += len(rows)
        live = np.random.default_rng(number).random(2 * ROWS) < 0.5
        some, fewer = lists.rows(number, live)
        assert np.array_equal(some, positions[live[positions]])
        assert np.array_equal(fewer, rows[live[positions]])
    assert seen == ROWS


@pytest.mark.parametrize("depth", [1, 30, ROWS])
def test_searching_equals_plain_loops(shard: bytes, depth: int) -> None:
    lists = RabitqLists.load(shard)
    queries = clustered(20, seed=5)
    live = np.random.default_rng(4).random(2 * ROWS) < 0.7
    found = LoadedShard.load(shard, CompiledSelector(int8_product)).search(queries, 3, depth, live)
    for query, places in zip(lists.rotated(queries), found, strict=True):
        small = np.rint(query * (127 / np.abs(query).max())).astype(np.int32)
        near = np.argsort(-(lists.centroids.astype(np.int32) @ small), kind="stable")[:3]
        met = [lists.rows(int(number), live) for number in near]
        where = np.concatenate([positions for positions, _ in met])
        score = np.concatenate([rows.astype(np.int32) @ small for _, rows in met])
        best = where[np.lexsort((where, -score))][:depth]
        assert np.array_equal(places[: len(best)], best)
        assert (places[len(best) :] == -1).all()


@pytest.mark.parametrize(("bits", "least"), [(1, 0.38), (2, 0.55), (4, 0.85)])
def test_more_bits_find_more(bits: int, least: float) -> None:
    codec = train_codec(VECTORS, replace(PLAN, pq_bits=bits))
    loaded = LoadedShard.load(build_shard(codec, blocks()), CompiledSelector(int8_product))
    queries = clustered(60, seed=6)
    nearest = np.argsort(-(queries @ VECTORS.T), axis=1)[:, :20] * 2
    both = zip(nearest, loaded.search(queries, NLIST, 20), strict=True)
    assert np.mean([np.isin(wanted, found).mean() for wanted, found in both]) > least
    assert code_error(codec, VECTORS) < {1: 0.6, 2: 0.15, 4: 0.02}[bits]


def test_vectors_without_a_rest_or_a_direction_are_found() -> None:
    """Equal vectors have their list's mean for a base, and zeros have no direction."""
    same = np.repeat(VECTORS[:2], 200, axis=0)
    rows = np.concatenate([same, np.zeros((3, DIM), np.float32)])
    codec = train_codec(same, replace(PLAN, nlist=2))
    shard = build_shard(codec, [(np.arange(len(rows)), rows)])
    found = LoadedShard.load(shard, CompiledSelector(int8_product)).search(rows, 2, len(rows))
    assert (np.sort(found, axis=1) == np.arange(len(rows))).all()
    assert set(found[0, :200]) == set(range(200))
    nothing = train_codec(np.zeros((400, DIM), np.float32), replace(PLAN, nlist=2))
    empty = build_shard(nothing, [(np.arange(3), rows[-3:])])
    assert LoadedShard.load(empty, CompiledSelector(int8_product)).search(same[:1], 2, 3).min() == 0


def test_vectors_that_are_too_large_are_refused() -> None:
    codec = train_codec(VECTORS, PLAN)
    for size in (1e17, 3e38):
        huge = np.full((2, DIM), size, np.float32)
        with pytest.raises(InputError, match="positions 4 to 5 are too large"):
            build_shard(codec, [(np.array([4, 5]), huge)])


def changed(name: str, value: Any) -> bytes:
    tensors = load(build_shard(train_codec(VECTORS, PLAN), blocks()))
    return bytes(save({**tensors, name: value}))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("more", np.zeros(1), "holds"),
        ("codes", np.zeros((ROWS, 4), np.uint8), "codes of shape"),
        ("codes", np.zeros(ROWS, np.uint8), "codes of 1 dimensions"),
        ("factors", np.full(ROWS, np.nan, np.float32), "not finite"),
        ("factors", np.full(ROWS, 1, np.float64), "float64"),
        ("positions", np.full(ROWS, -1, np.int32), "negative"),
        ("ends", np.zeros(NLIST + 1, np.int64), "follow"),
        ("ends", np.zeros(NLIST, np.int64), "ends of shape"),
        ("seen", np.array([DIM, 0, 3]), "codes"),
        ("seen", np.array([DIM, 0]), "codes"),
        ("seen", np.array([DIM + 1, 0, 1]), "signs of shape"),
    ],
)
def test_a_damaged_shard_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        shard_size(changed(name, value))


def test_what_is_no_shard_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no safetensors file"):
        shard_size(bytes(100))
