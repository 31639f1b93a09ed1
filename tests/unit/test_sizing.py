import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import IndexSettings
from shardrank.core.overrides import parse_settings
from shardrank.version.codec_sizes import estimate
from shardrank.version.sizing import (
    plan_codec,
    plan_shards,
    queries_at_once,
    query_bytes,
    refuse_misfits,
    shares,
)


def test_auto_is_exact_up_to_the_limit_and_ivfpq_above() -> None:
    settings = IndexSettings(exact_below=20_000)
    assert plan_codec(settings, 20_000, 384).kind == "exact"
    assert plan_codec(settings, 20_001, 384).kind == "ivfpq"
    assert plan_codec(IndexSettings(kind="exact"), 10**9, 384).kind == "exact"


def test_a_million_passages_of_384() -> None:
    plan = plan_codec(IndexSettings(), 1_000_000, 384)
    assert (plan.nlist, plan.pq_m, plan.code_bytes, plan.train_rows) == (4096, 48, 48, 262_144)
    assert plan.opq
    assert plan_codec(IndexSettings(bytes_per_vector=96), 1_000_000, 384).opq
    assert not plan_codec(IndexSettings(bytes_per_vector=192), 1_000_000, 384).opq
    assert plan_codec(IndexSettings(), 10**9, 384) == plan  # lists are counted for one shard


@pytest.mark.parametrize(
    ("settings", "passages", "words"),
    [
        ({"pq_m": 50}, 100_000, ("50", "384")),
        ({"nlist": 200_000}, 100_000, ("200000", "100000")),
        ({}, 9_983, ("9984", "9983")),
        ({"train_rows": 5_000, "nlist": 64}, 100_000, ("9984", "5000")),
        ({"bytes_per_vector": 1, "pq_bits": 8, "pq_m": 7}, 100_000, ("7", "384")),
    ],
)
def test_refusals_name_the_numbers(settings: Any, passages: int, words: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        plan_codec(IndexSettings(kind="ivfpq", **settings), passages, 384)
    assert all(word in refused.value.message for word in words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"pq_m": 50}, ("50", "384")), ({"shard_passages": 511}, ("511", "512"))],
)
@pytest.mark.parametrize("kind", ["auto", "ivfpq"])
def test_misfits_are_refused_ahead(kind: Any, settings: Any, words: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        refuse_misfits(IndexSettings(kind=kind, **settings), 384, 512)
    assert all(word in refused.value.message for word in words)


def test_scalar_codes_train_on_few_rows() -> None:
    """There is no k-means but that of the lists."""
    settings = IndexSettings(kind="ivfsq8", nlist=4)
    assert plan_codec(settings, 156, 384).train_rows == 156
    with pytest.raises(SettingsError, match="ivfsq8 with 4 lists"):
        plan_codec(settings, 155, 384)


def test_rabitq_codes_have_a_factor_beside_their_bits() -> None:
    settings = IndexSettings(kind="ivfrabitq", rabitq_bits=2, nlist=64)
    plan = plan_codec(settings, 12_000, 50)
    assert (plan.pq_m, plan.pq_bits, plan.code_bytes, plan.opq) == (50, 2, 13 + 4, False)
    assert plan.train_rows == 64 * 64
    sizes = estimate(plan, 12_000, 50, 10_000)
    assert sizes.shard == sizes.codec + 10_000 * (13 + 4 + 4)
    assert plan_codec(IndexSettings(kind="ivfrabitq"), 60_000, 384).code_bytes == 52


def test_bits_that_share_a_byte_unevenly_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"rabitq_bits = 3"):
        parse_settings({}, ["index.kind=ivfrabitq", "index.rabitq_bits=3"])
    [given] = parse_settings({}, ["index.rabitq_bits=4"]).index
    assert given.rabitq_bits == 4


@pytest.mark.parametrize("kind", ["ivfpq", "ivfsq8", "ivfrabitq"])
def test_the_first_components_alone_are_planned_for(kind: Any) -> None:
    plan = plan_codec(IndexSettings(kind=kind, dim=128), 60_000, 384, unit=True)
    assert (plan.dim, plan.unit, plan.searched(384)) == (128, True, 128)
    assert plan.pq_m == {"ivfpq": 32}.get(kind, 128)
    assert not plan_codec(IndexSettings(kind=kind, dim=128), 60_000, 384, unit=False).unit
    all_of_them = plan_codec(IndexSettings(kind=kind, dim=384), 60_000, 384)
    assert all_of_them == plan_codec(IndexSettings(kind=kind), 60_000, 384)
    assert (all_of_them.dim, all_of_them.unit) == (0, False)
    cut, whole = (estimate(each, 60_000, 384, 10**6) for each in (plan, all_of_them))
    assert cut.vectors == whole.vectors
    assert cut.codec < whole.codec
    assert cut.shard < whole.shard


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "auto", "dim": 385}, ("385", "384")),
        ({"kind": "ivfrabitq", "dim": 385}, ("385", "384")),
        ({"kind": "ivfpq", "dim": 100, "pq_m": 48}, ("48", "100", "index.dim")),
        ({"kind": "exact", "dim": 64}, ("index.dim = 64", "exact")),
    ],
)
def test_a_dim_that_cannot_be_is_refused_ahead(settings: Any, words: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        refuse_misfits(IndexSettings(**settings), 384, 512)
    assert all(word in refused.value.message for word in words)
    with pytest.raises(SettingsError):
        plan_codec(IndexSettings(**settings), 100_000, 384)


def test_what_fits_or_is_not_used_passes() -> None:
    refuse_misfits(IndexSettings(kind="ivfsq8", pq_m=50), 384, 512)
    refuse_misfits(IndexSettings(kind="ivfpq", pq_m=48, shard_passages=512), 384, 512)
    refuse_misfits(IndexSettings(kind="exact", pq_m=50, shard_passages=1), 384, 512)


@given(
    passages=st.integers(9_984, 10**10),
    dim=st.integers(1, 1024),
    shard=st.integers(1, 10**7),
    budget=st.integers(1, 128),
)
def test_what_is_planned_can_be_trained(passages: int, dim: int, shard: int, budget: int) -> None:
    settings = IndexSettings(kind="ivfpq", bytes_per_vector=budget, shard_passages=shard)
    plan = plan_codec(settings, passages, dim)
    assert dim % plan.pq_m == 0
    assert plan.code_bytes <= budget
    assert plan.nlist & (plan.nlist - 1) == 0
    assert 39 * max(plan.nlist, 256) <= plan.train_rows <= passages


def test_estimates_of_a_small_plan() -> None:
    settings = IndexSettings(kind="ivfpq", nlist=64, pq_m=16, opq=True)
    sizes = estimate(plan_codec(settings, 12_000, 64), 12_000, 64, 10_000)
    assert sizes.vectors == 12_000 * 64 * 2
    assert sizes.codec == (64 + 64 + 256) * 64 * 4
    assert sizes.shard == sizes.codec + 10_000 * (16 + 8)
    assert sizes.shards == 2
    scalar = plan_codec(IndexSettings(kind="ivfsq8", nlist=64), 12_000, 64)
    assert (scalar.code_bytes, scalar.opq, scalar.train_rows) == (64, False, 64 * 64)
    assert estimate(scalar, 12_000, 64, 10_000).codec == (64 + 2) * 64 * 4
    exact = estimate(plan_codec(IndexSettings(), 12_000, 64), 12_000, 64, 10_000, 4)
    assert (exact.vectors, exact.shard) == (12_000 * 64 * 4, 0)


@given(st.lists(st.integers(0, 50), max_size=9), st.integers(50, 150))
def test_shards_are_consecutive_few_and_balanced(rows: Any, limit: int) -> None:
    shards = plan_shards(rows, limit)
    assert list(itertools.chain(*shards)) == list(range(len(rows)))
    assert all(shards)
    sizes = [sum(rows[part] for part in shard) for shard in shards]
    feasible = [split for split in _splits(rows) if max(split, default=0) <= limit]
    best = min(feasible, key=lambda s: (len(s), max(s, default=0)))
    assert (len(sizes), max(sizes, default=0)) == (len(best), max(best, default=0))


def _splits(rows: Any) -> Any:
    """The shard sizes of every way to cut the list."""
    if not rows:
        return [[]]
    inner = range(1, len(rows))
    cuts = (c for n in range(len(rows)) for c in itertools.combinations(inner, n))
    edges = ([0, *cut, len(rows)] for cut in cuts)
    return [[sum(rows[a:b]) for a, b in itertools.pairwise(edge)] for edge in edges]


def test_a_part_over_the_limit_is_a_shard_alone() -> None:
    assert plan_shards([3, 11, 4, 5], 10) == [[0], [1], [2, 3]]


@given(st.integers(1, 300), st.lists(st.integers(0, 40), min_size=1, max_size=9))
def test_shards_give_k_documents_together_and_none_more_than_it_has(k: int, held: Any) -> None:
    given = shares(k, held)
    assert sum(given) >= min(k, sum(held))
    assert all(mine <= there for mine, there in zip(given, held, strict=True))
    assert sum(given) < min(k, sum(held)) + len(held)  # rounded up, no more


@pytest.mark.parametrize("hits", [0, 200, 2000])
def test_queries_searched_at_once_fit_their_memory(hits: int) -> None:
    some = queries_at_once(1 << 30, 100, hits, 384)
    assert 20_000 < some < 200_000
    assert queries_at_once(1 << 29, 100, hits, 384) == some // 2
    assert some * (4 * 384 + (20 * hits or 190 * 100)) <= 1 << 30
    assert (some + 1) * query_bytes(100, hits, 384) > 1 << 30
    assert queries_at_once(1 << 30, 10**9, hits, 10**9) == 1
