from dataclasses import replace
from typing import Any

import faiss
import numpy as np
import pytest

from shardrank.core.errors import InputError, SettingsError
from shardrank.core.index_settings import IndexSettings
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.codec import _rotation, code_error, train_codec
from shardrank.index.prefix import Prefix
from shardrank.index.shard import LoadedShard, build_shard, use_threads
from shardrank.models.forward.products import int8_product
from shardrank.version.codec_sizes import estimate
from shardrank.version.sizing import CodecPlan, plan_codec

DIM, ROWS = 16, 3000
SELECTOR = CompiledSelector(int8_product)
SCALAR = CodecPlan("ivfsq8", nlist=16, pq_m=16, pq_bits=8, opq=False, train_rows=ROWS, seed=3)
RABITQ = CodecPlan("ivfrabitq", 16, pq_m=16, pq_bits=2, opq=False, train_rows=ROWS, seed=3)
PLAN = CodecPlan("ivfpq", nlist=16, pq_m=8, pq_bits=4, opq=True, train_rows=ROWS, seed=3)


FIRST = replace(PLAN, pq_m=4, dim=8, unit=True)


def clustered(rows: Any) -> Any:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, DIM))
    vectors = centres[rng.integers(0, 40, rows)] + rng.normal(size=(rows, DIM)) * 0.4
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(ROWS)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    use_threads(1)
    yield
    use_threads(1)


@pytest.fixture(scope="module")
def codec() -> Any:
    use_threads(1)
    return train_codec(VECTORS, PLAN)


@pytest.fixture(scope="module")
def shard_bytes(codec: bytes) -> Any:
    return build_shard(codec, blocks())


def blocks() -> Any:
    for begin in range(0, ROWS, 1000):
        rows = np.arange(begin, begin + 1000)
        yield rows * 2, VECTORS[rows]  # positions have gaps where rows are not ok


@pytest.mark.parametrize("plan", [PLAN, SCALAR, FIRST])
def test_a_shard_is_what_faiss_would_fill(plan: CodecPlan) -> None:
    codec = train_codec(VECTORS, plan)
    filled: Any = faiss.deserialize_index(np.frombuffer(codec, np.uint8))
    for positions, vectors in blocks():
        filled.add_with_ids(vectors, positions)
    assert build_shard(codec, blocks()) == bytes(faiss.serialize_index(filled))


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, opq=False), SCALAR, RABITQ, FIRST])
@pytest.mark.parametrize("threads", [1, 2])
def test_training_gives_the_same_bytes_on_any_threads(plan: CodecPlan, threads: int) -> None:
    expected = train_codec(VECTORS, plan)
    use_threads(threads)
    assert train_codec(VECTORS, plan) == expected
    assert faiss.omp_get_max_threads() == threads


@pytest.mark.parametrize("rows", [5, ROWS])
def test_a_rotation_is_one_and_shares_out_the_variance(rows: int) -> None:
    sample = VECTORS[:rows] * np.linspace(1, 3, DIM, dtype=np.float32)
    rotation = _rotation(sample, 4)
    matrix = faiss.vector_to_array(rotation.A).reshape(DIM, DIM)
    assert np.allclose(matrix @ matrix.T, np.eye(DIM), atol=1e-5)
    assert np.allclose(rotation.apply(sample), sample @ matrix.T, atol=1e-4)
    shares = rotation.apply(sample).var(axis=0).reshape(4, -1).sum(axis=1)
    plain = sample.var(axis=0).reshape(4, -1).sum(axis=1)
    assert np.ptp(shares) < np.ptp(plain)


def test_the_seed_decides(codec: bytes) -> None:
    assert train_codec(VECTORS, replace(PLAN, seed=4)) != codec


def test_building_gives_the_same_bytes_on_any_threads(codec: bytes, shard_bytes: bytes) -> None:
    use_threads(2)
    assert build_shard(codec, blocks()) == shard_bytes


@pytest.mark.parametrize("plan", [PLAN, SCALAR, RABITQ, FIRST])
def test_sizes_are_as_estimated(plan: CodecPlan) -> None:
    codec, sizes = train_codec(VECTORS, plan), estimate(plan, ROWS, DIM, 10**6)
    assert abs(len(codec) - sizes.codec) < 1000
    assert abs(len(build_shard(codec, blocks())) - sizes.shard) < 1000


def test_scalar_codes_lose_little(codec: bytes) -> None:
    scalar = train_codec(VECTORS, SCALAR)
    assert code_error(scalar, VECTORS) < 1e-3 < code_error(codec, VECTORS)


def test_bad_samples_are_refused() -> None:
    with pytest.raises(InputError, match=r"623.*624"):
        train_codec(VECTORS[:623], PLAN)
    broken = VECTORS.copy()
    broken[7, 0] = np.nan
    with pytest.raises(InputError, match=r"1 of 3000 .* first 7"):
        train_codec(broken, PLAN)
    with pytest.raises(SettingsError, match="exact"):
        train_codec(VECTORS, plan_codec(IndexSettings(), 100, DIM))


def test_bad_blocks_are_refused(codec: bytes) -> None:
    with pytest.raises(InputError, match="4 to 5"):
        build_shard(codec, [(np.array([4, 5]), np.full((2, DIM), np.inf, np.float32))])


def test_a_codec_is_an_empty_shard(codec: bytes) -> None:
    shard = LoadedShard.load(build_shard(codec, []), SELECTOR)
    assert (shard.size, shard.nlist) == (0, 16)
    assert (shard.search(VECTORS[:3], 4, 5) == -1).all()


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, opq=False), SCALAR, RABITQ])
def test_searching_all_lists_finds_most_neighbours(plan: CodecPlan) -> None:
    shard = LoadedShard.load(
        build_shard(train_codec(VECTORS, plan), blocks()), CompiledSelector(int8_product)
    )
    assert shard.size == ROWS
    wanted = np.argsort(-(VECTORS[:20] @ VECTORS.T), axis=1)[:, :10] * 2
    few, all_lists, beyond = (shard.search(VECTORS[:20], n, 200) for n in (1, 16, 99))
    assert np.array_equal(all_lists, beyond)
    found = np.mean([np.isin(w, f).mean() for w, f in zip(wanted, all_lists, strict=True)])
    assert found > 0.9
    assert np.mean([np.isin(w, f).mean() for w, f in zip(wanted, few, strict=True)]) < found
    assert shard.search(VECTORS[:0], 4, 5).shape == (0, 5)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("plan", [FIRST, replace(FIRST, opq=False), replace(RABITQ, pq_m=8, dim=8)])
def test_a_codec_of_first_components_sees_no_others(plan: CodecPlan, unit: bool) -> None:
    """As one of vectors that were cut, and normalised where it is asked for, beforehand."""
    plan = replace(plan, unit=unit)
    first = Prefix(8, unit).of(VECTORS)
    whole, cut = train_codec(VECTORS, plan), train_codec(first, replace(plan, dim=0, unit=False))
    assert code_error(whole, VECTORS) == code_error(cut, first)
    shards = (
        build_shard(whole, blocks()),
        build_shard(cut, ((positions, Prefix(8, unit).of(rows)) for positions, rows in blocks())),
    )
    longer, shorter = (LoadedShard.load(each, SELECTOR) for each in shards)
    queries = VECTORS[:40] * np.float32(3)
    found = longer.search(queries, 3, 50)
    assert np.array_equal(found, shorter.search(Prefix(8, unit).of(queries), 3, 50))
    queries[:, 8:] = 99
    assert np.array_equal(found, longer.search(queries, 3, 50))


@pytest.mark.parametrize("unit", [True, False])
def test_a_prefix_is_cut_and_normalised(unit: bool) -> None:
    rows = np.concatenate([VECTORS[:5], np.zeros((1, DIM), np.float32)])
    first = Prefix(3, unit).of(rows)
    norms = np.linalg.norm(rows[:, :3].astype(np.float64), axis=1, keepdims=True)
    assert np.allclose(first, rows[:, :3] / np.where((norms == 0) | (not unit), 1, norms))
    assert first.dtype == np.float32


def test_too_few_candidates_are_padded(shard_bytes: bytes) -> None:
    found = LoadedShard.load(shard_bytes, SELECTOR).search(VECTORS[:5], 1, ROWS)
    assert (found[:, 0] >= 0).all()
    assert (found[:, -1] == -1).all()
