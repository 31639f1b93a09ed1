"""The arithmetic of labels: properties over random blocks, and plain references beside it."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import SettingsError
from shardrank.core.overrides import parse_settings
from shardrank.core.settings import LabelSettings
from shardrank.flows.label_plan import OpenedRun, plan_teacher
from shardrank.labels.choose import (
    INCONSISTENT,
    INCONSISTENT_PAIR,
    NO_NEGATIVE,
    NO_POSITIVE,
    choose,
    suspects,
)
from shardrank.labels.curriculum import easiness, weigh_alone, weigh_pairs
from shardrank.labels.draw import draw
from shardrank.labels.ensemble import combine
from shardrank.labels.formats import FORMATS, SHORT_LIST, TOO_FEW, TrainingRows, get_format
from shardrank.labels.scored import Origin, Scored, mix
from shardrank.labels.sketch import similarity, sketch
from tests.tiny_models import tiny_reranker

#: All that filters is off.
PLAIN = LabelSettings(near_duplicate=None, depth=1000, negatives=1000)


def make_scored(rng: np.random.Generator, queries: int, most: int) -> Scored:
    """A random block: some queries without positives, ties among the scores, all origins."""
    sizes = rng.integers(1, most + 1, queries)
    query = np.repeat(np.arange(queries), sizes).astype(np.int32)
    n = len(query)
    origin = rng.choice([0, 0, 0, 1, 2, 3], n).astype(np.int8)
    rank = np.concatenate([np.arange(1, size + 1) for size in sizes]).astype(np.int32)
    positive = (origin == Origin.POSITIVE) | ((origin == Origin.RETRIEVED) & (rng.random(n) < 0.2))
    return Scored(
        query=query,
        query_key=mix(query.astype(np.uint64)),
        key=mix(np.arange(n, dtype=np.uint64) + np.uint64(1 << 40)),
        origin=origin,
        rank=np.where(origin == Origin.RETRIEVED, rank, 0).astype(np.int32),
        retrieval=rng.normal(size=n).astype(np.float32),
        positive=positive,
        judged=positive | (rng.random(n) < 0.1),
        weak=np.zeros(n, np.bool_),
        score=rng.choice(np.linspace(-3, 3, 13), n).astype(np.float32),
    )


blocks = st.builds(
    lambda seed, queries, most: make_scored(np.random.default_rng(seed), queries, most),
    st.integers(0, 2**32),
    st.integers(1, 8),
    st.integers(1, 12),
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "margin": st.floats(0, 3),
        "ratio": st.floats(0.05, 1),
        "ceiling": st.floats(-3, 3),
        "first_rank": st.integers(1, 5),
        "last_rank": st.integers(5, 12),
        "negatives": st.integers(1, 5),
        "pick": st.sampled_from(["hardest", "random"]),
        "consistency": st.integers(1, 6),
        "positives": st.sampled_from(["qrels", "teacher"]),
        "seed": st.integers(0, 9),
    },
)


def with_filters(values: dict[str, Any]) -> LabelSettings:
    return LabelSettings(**{**PLAIN.model_dump(), **values})


def build(name: str, scored: Scored, label: LabelSettings) -> TrainingRows:
    return get_format(name).build(scored, label)


def pairs_of(scored: Scored, label: LabelSettings) -> set[tuple[int, int]]:
    chosen = choose(scored, label)
    return set(zip(chosen.positive.tolist(), chosen.negative.tolist(), strict=True))


@given(blocks, filters)
def test_what_holds_of_all_chosen_pairs(scored: Scored, values: dict[str, Any]) -> None:
    label = with_filters(values)
    chosen = choose(scored, label)
    found = list(zip(chosen.positive.tolist(), chosen.negative.tolist(), strict=True))
    assert len(set(found)) == len(found), "no pair twice"
    drawn = (scored.origin == Origin.RANDOM) | (scored.origin == Origin.BATCH)
    less = scored.judged & ~scored.positive  # judged, and not relevant
    best = np.where(drawn | less, -np.inf, scored.score)
    if label.positives == "qrels":
        assert scored.positive[chosen.positive].all()
    for p in set(chosen.positive[~scored.positive[chosen.positive]].tolist()):
        assert best[p] == best[scored.query == scored.query[p]].max() > -np.inf
    assert not scored.positive[chosen.negative].any()
    assert (scored.query[chosen.positive] == scored.query[chosen.negative]).all()
    mined = Counter(p for p, n in found if scored.origin[n] == Origin.RETRIEVED)
    assert max(mined.values(), default=0) <= label.negatives


@given(blocks, filters)
def test_counts_reconcile(scored: Scored, values: dict[str, Any]) -> None:
    label = with_filters({**values, "positives": "qrels"})
    chosen = choose(scored, label)
    per_query = Counter(scored.query.tolist())
    positives = Counter(scored.query[scored.positive].tolist())
    assert chosen.pairs.total() == sum(n * (per_query[q] - n) for q, n in positives.items())
    assert chosen.pairs["chosen"] == len(chosen.positive)
    used = set(scored.query[chosen.positive].tolist())
    assert used | set(chosen.set_aside) == set(per_query)
    assert not used & set(chosen.set_aside)


@given(blocks, filters)
def test_a_query_does_not_depend_on_its_block(scored: Scored, values: dict[str, Any]) -> None:
    """So the number of workers, and how queries are cut into blocks, change nothing."""
    label = with_filters(values)
    together = pairs_of(scored, label)
    apart = set()
    for query in np.unique(scored.query):
        rows = np.flatnonzero(scored.query == query)
        columns = {n: v[rows] for n, v in vars(scored).items() if v is not None}
        apart |= {(rows[p], rows[n]) for p, n in pairs_of(Scored(**columns), label)}
    assert together == apart


@given(blocks, st.floats(0, 3), st.floats(0, 3))
def test_filters_are_monotone(scored: Scored, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert pairs_of(scored, with_filters({"margin": high})) <= pairs_of(
        scored, with_filters({"margin": low})
    )
    assert pairs_of(scored, with_filters({"ceiling": low})) <= pairs_of(
        scored, with_filters({"ceiling": high})
    )
    assert pairs_of(scored, with_filters({"ratio": (low + 0.1) / 4})) <= pairs_of(
        scored, with_filters({"ratio": (high + 0.1) / 4})
    )


@given(blocks, st.integers(1, 4), st.integers(1, 6))
def test_against_a_plain_reference(scored: Scored, negatives: int, consistency: int) -> None:
    label = with_filters({"negatives": negatives, "margin": 0.5, "consistency": consistency})
    expected = []
    for query in np.unique(scored.query):
        rows = np.flatnonzero(scored.query == query).tolist()
        order = sorted(rows, key=lambda r: (-scored.score[r], scored.key[r]))
        for p in [r for r in rows if scored.positive[r] and order.index(r) < consistency]:
            passed = [
                r
                for r in rows
                if not scored.positive[r] and scored.score[r] <= scored.score[p] - np.float32(0.5)
            ]
            mined = [r for r in passed if scored.origin[r] == Origin.RETRIEVED]
            drawn = [r for r in passed if scored.origin[r] != Origin.RETRIEVED]
            mined.sort(key=lambda r: (-scored.score[r], scored.key[r]))
            expected += [(p, n) for n in [*mined[:negatives], *drawn]]
    assert pairs_of(scored, label) == set(expected)


def test_reasons_for_setting_queries_aside() -> None:
    block = Scored(
        query=np.array([0, 1, 1, 2, 3, 3], np.int32),
        query_key=np.arange(6, dtype=np.uint64),
        key=np.arange(6, dtype=np.uint64),
        origin=np.zeros(6, np.int8),
        rank=np.array([1, 1, 2, 1, 1, 2], np.int32),
        retrieval=np.zeros(6, np.float32),
        positive=np.array([False, True, False, True, True, False]),
        judged=np.array([False, True, False, True, True, False]),
        weak=np.zeros(6, np.bool_),
        score=np.array([0, 0, 5, 1, 2, 1], np.float32),
    )
    label = with_filters({"consistency": 1})
    assert choose(block, label).set_aside == {0: NO_POSITIVE, 1: INCONSISTENT, 2: NO_NEGATIVE}
    rows, above = suspects(block, label)
    assert (rows.tolist(), above.tolist()) == ([2], [5.0])


@given(blocks, filters, st.floats(0.2, 5))
def test_every_format_names_rows_that_exist(
    scored: Scored, values: dict[str, Any], temperature: float
) -> None:
    label = with_filters({"negatives": 2, **values, "temperature": temperature})
    for name, form in FORMATS.items():
        rows = form.build(scored, label)
        assert rows.offsets[-1] == len(rows.passages), name
        assert len(rows.offsets) == len(rows.query) + 1 == len(rows.label_offsets)
        assert (scored.query[rows.passages] == np.repeat(rows.query, np.diff(rows.offsets))).all()
        assert not set(rows.query.tolist()) & set(rows.set_aside)
        if rows.labels is not None:
            assert np.isfinite(rows.labels).all()
            assert rows.label_offsets[-1] == len(rows.labels)


@given(blocks, st.floats(0.2, 5), st.integers(1, 3))
def test_distributions_sum_to_one(scored: Scored, temperature: float, negatives: int) -> None:
    label = with_filters({"temperature": temperature, "negatives": negatives})
    rows = build("listwise", scored, label)
    if len(rows.query):
        assert rows.labels is not None
        chances = np.exp(rows.labels.reshape(len(rows.query), -1).astype(np.float64))
        np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    rows = build("ranknet", scored, label)
    assert rows.labels is not None
    preferences = np.exp(rows.labels.reshape(-1, 2).astype(np.float64))
    np.testing.assert_allclose(preferences.sum(axis=1), 1, rtol=1e-5)


@given(blocks)
def test_margins_are_antisymmetric(scored: Scored) -> None:
    """Whoever calls the negatives positive gets the same margins with the other sign."""
    rows = build("margin-mse", scored, PLAIN)
    turned = build("margin-mse", replace(scored, positive=~scored.positive), PLAIN)

    def margins(found: Any) -> dict[tuple[int, int], float]:
        pairs = found.passages.reshape(-1, 2).tolist()
        return {(a, b): m for (a, b), m in zip(pairs, found.labels.tolist(), strict=True)}

    forward, backward = margins(rows), margins(turned)
    assert forward == {(a, b): -m for (b, a), m in backward.items()}


@given(blocks)
def test_partial_order_is_an_order(scored: Scored) -> None:
    rows = build("partial-order", scored, PLAIN)
    better, worse = rows.passages.reshape(-1, 2).T
    assert (scored.score[better] > scored.score[worse]).all()
    assert not scored.positive[rows.passages].any()


@given(blocks, st.sampled_from(["reciprocal-rank", "score-gap"]))
def test_weights_lie_between_0_and_1(scored: Scored, how: str) -> None:
    ease = easiness(scored, how)
    assert ((ease >= 0) & (ease <= 1)).all()
    every = np.arange(len(scored))
    both = weigh_pairs(ease, every, every[::-1]) + weigh_pairs(ease, every[::-1], every)
    np.testing.assert_allclose(both, 1, atol=1e-6)
    alone = weigh_alone(ease, scored.positive) + weigh_alone(ease, ~scored.positive)
    np.testing.assert_allclose(alone, 1, atol=1e-6)
    for name in FORMATS:
        label = with_filters({"curriculum": how, "negatives": 2})
        weight = build(name, scored, label).weight
        assert weight is not None
        assert ((weight >= 0) & (weight <= 1)).all()


def test_ensembles_by_hand() -> None:
    scores = np.array([[3, 1], [2, 9], [1, 5], [np.nan, 7], [4, 4]], np.float32)
    query, key = np.array([0, 0, 0, 0, 1], np.int32), np.arange(5, dtype=np.uint64)
    mean = combine(scores, query, key, "mean")
    np.testing.assert_array_equal(mean, np.array([2, 5.5, 3, np.nan, 4], np.float32))
    fused = combine(scores, query, key, "rrf")
    wanted = [1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62, np.nan, 2 / 61]
    np.testing.assert_allclose(fused, wanted, rtol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 600), st.integers(1, 30), st.integers(1, 8))
def test_draws(seed: int, queries: int, pool: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    keys = mix(rng.integers(0, 2**63, queries).astype(np.uint64))
    pool_keys = mix(np.arange(pool, dtype=np.uint64))
    banned = rng.random((queries, pool)) < 0.3
    query, row = draw(keys, pool_keys, banned, count)
    assert not banned[query, row].any()
    assert len(set(zip(query.tolist(), row.tolist(), strict=True))) == len(query)
    given_to = np.bincount(query, minlength=queries)
    assert (given_to == np.minimum(count, (~banned).sum(axis=1))).all()
    # The same for a query alone.
    one = rng.integers(queries)
    alone = draw(keys[one : one + 1], pool_keys, banned[one : one + 1], count)[1]
    assert sorted(alone.tolist()) == sorted(row[query == one].tolist())


def test_draws_are_spread_evenly() -> None:
    keys = mix(np.arange(4000, dtype=np.uint64))
    banned = np.zeros((4000, 10), np.bool_)
    _, row = draw(keys, mix(np.arange(100, 110, dtype=np.uint64)), banned, 3)
    counts = np.bincount(row, minlength=10)
    assert abs(counts - 1200).max() < 150, "five standard deviations"


def test_sketches_estimate_jaccard() -> None:
    rng = np.random.default_rng(0)
    passages = [rng.choice(5000, 100, replace=False).astype(np.int32) for _ in range(2)]
    for shared in (0, 50, 90, 100):
        mixed = np.concatenate([passages[0][:shared], passages[1][shared:]])
        exact = len(set(mixed) & set(passages[0])) / len(set(mixed) | set(passages[0]))
        sketches = sketch([passages[0], mixed])
        found = similarity(sketches, np.array([0]), np.array([1]))[0]
        assert abs(found - exact) < 0.14, "three standard deviations"
    assert (
        similarity(sketch([passages[0], passages[0][::-1]]), np.array([0]), np.array([1]))[0] == 1
    )


def test_near_duplicates_of_the_positive_are_left_out() -> None:
    block = Scored(
        query=np.zeros(3, np.int32),
        query_key=np.zeros(3, np.uint64),
        key=np.arange(3, dtype=np.uint64),
        origin=np.zeros(3, np.int8),
        rank=np.array([1, 2, 3], np.int32),
        retrieval=np.zeros(3, np.float32),
        positive=np.array([True, False, False]),
        judged=np.array([True, False, False]),
        weak=np.zeros(3, np.bool_),
        score=np.array([3, 2, 1], np.float32),
        sketch=sketch([np.arange(50), np.arange(50), np.arange(40, 90)]),  # type: ignore[list-item]
    )
    chosen = choose(block, LabelSettings())
    assert chosen.negative.tolist() == [2]
    assert chosen.pairs == {"near-duplicate of a positive": 1, "chosen": 1}
    # Also of a positive that is not its own, even of one that is not kept.
    two = replace(block, positive=np.array([True, False, True]), score=block.score[[2, 1, 0]])
    chosen = choose(two, LabelSettings(consistency=1))
    assert chosen.pairs == {"near-duplicate of a positive": 1, INCONSISTENT_PAIR: 1}


def test_documents_that_are_a_little_relevant_are_no_negatives() -> None:
    block = make_scored(np.random.default_rng(3), queries=4, most=9)
    weak = replace(block, weak=~block.positive)
    assert choose(weak, PLAIN).pairs.keys() == {"judged relevant, below label.min_grade"}


def test_lists_are_filled_with_mined_ones_where_draws_are_lacking() -> None:
    size = 9
    block = Scored(
        query=np.zeros(size, np.int32),
        query_key=np.zeros(size, np.uint64),
        key=np.arange(size, dtype=np.uint64),
        origin=np.array([0] * 8 + [Origin.RANDOM], np.int8),
        rank=np.array([*range(1, 9), 0], np.int32),
        retrieval=np.zeros(size, np.float32),
        positive=np.arange(size) == 0,
        judged=np.arange(size) == 0,
        weak=np.zeros(size, np.bool_),
        score=np.arange(size, 0, -1).astype(np.float32),
    )
    label = with_filters({"negatives": 3, "random_negatives": 2})
    rows = build("listwise", block, label)
    assert rows.passages.tolist() == [0, 1, 2, 3, 4, 8], "one random, and four mined ones"
    assert build("triplets", block, label).passages[1::2].tolist() == [1, 2, 3, 8]
    short = build("listwise", block, with_filters({"negatives": 9}))
    assert (len(short.query), short.set_aside) == (0, {0: TOO_FEW})
    assert short.pairs == {SHORT_LIST: 8}


def test_memory_is_that_of_a_block() -> None:
    """Blocks pass one after another: eight of them need what two do."""

    def peak(count: int) -> int:
        tracemalloc.start()
        for number in range(count):
            block = make_scored(np.random.default_rng(number), queries=300, most=20)
            build("margin-mse", block, PLAIN)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(8) < 1.2 * peak(2)


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="margin") as refused:
        get_format("margin")
    assert all(name in refused.value.hint for name in FORMATS)


def test_teachers_from_the_command_line() -> None:
    given_ = parse_settings({}, ["label.teachers=reranker, retrieval"])
    assert given_.label.teachers == ("reranker", "retrieval")


def test_code_is_trusted_for_the_reranker_alone(tmp_path: Path) -> None:
    teacher = str(tiny_reranker(tmp_path / "teacher", "bert"))
    trusting = parse_settings({}, ["reranker.trust_remote_code=true", "reranker.max_tokens=48"])
    version = SimpleNamespace(dense=SimpleNamespace(card=SimpleNamespace(dtype="fp32")), columns={})
    ranked = cast(OpenedRun, SimpleNamespace(version=version))
    reranker = plan_teacher(teacher, ranked, trusting).reranker
    assert reranker
    plan = reranker.settings
    assert plan.model == teacher
    assert (plan.max_tokens, plan.trust_remote_code) == (48, False)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["label.first_rank=6", "label.last_rank=3"], "label.first_rank = 6 lies behind"),
        (["label.first_rank=60"], "depth = 50"),
        (["label.ensemble=rrf", "label.margin=1"], "label.margin bounds a score"),
    ],
)
def test_settings_that_contradict_each_other(values: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_settings({}, values)
