"""What parts of queries take, and rounds before the last: their stages, and the arithmetic."""

from dataclasses import replace

import pytest

from shardrank.core.errors import SettingsError
from shardrank.core.model_settings import DENSE
from shardrank.core.settings import Settings
from shardrank.forecast.cluster_time import forecast
from shardrank.forecast.columns import Column, Cost, Takes
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import FirstRound, Searching, Work
from shardrank.jobs.columns import expected_searches
from shardrank.version.sizing import CodecPlan
from tests.unit.test_forecast import MINILM, cluster, named, work

PLAIN = Searching(DENSE, 100, 0, 0)
MOVED = replace(PLAIN, first=FirstRound(10))
WORDS = Searching("bm25", 100, 0, 0)
GUIDED = replace(PLAIN, name="led", first=FirstRound(20, "bm25", 25))
BM25 = Column(
    "bm25",
    "bm25",
    "",
    Takes(0, 50, 6, 400, Cost(counted=100), Cost(counted=6)),
    0,
    CodecPlan.without("inverted", 0),
    1_000_000,
)


def searching(*searches: Searching, parts: int = 0) -> Work:
    return work(
        10**6,
        1_000,
        "exact",
        searches=searches,
        query_parts=parts,
        columns=(BM25,),
        rerankers=(),
    )


def stages(some: Work) -> list[str]:
    return [each.need.stage for each in forecast(some, cluster(), Rates()).of("rank")]


def test_a_guided_retriever_comes_behind_its_guide() -> None:
    assert stages(searching(GUIDED, WORDS, MOVED)) == [
        *("encode", "encode-bm25", "search-bm25"),
        *("first", "first_merge", "values", "feedback", "search"),
        *("first-led", "pool-led", "values-led", "guided-led", "search-led"),
        *("merge", "collate", "deliver"),
    ]


def test_parts_are_encoded_apart_and_searched_beside_their_queries() -> None:
    alone, parted, more = (
        forecast(some, cluster(), Rates())
        for some in (
            searching(PLAIN),
            searching(PLAIN, parts=3_000),
            replace(searching(PLAIN), queries=4_000),
        )
    )
    assert named(parted, "encode").need == named(alone, "encode").need
    assert named(parted, "search").need == named(more, "search").need
    encoded = named(parted, "encode_parts").need
    assert encoded.flops == pytest.approx(3 * named(alone, "encode").need.flops)
    merged = [named(each, "merge").need for each in (alone, parted)]
    assert merged[0].units == merged[1].units
    assert merged[1].bytes > 3 * merged[0].bytes
    assert merged[1].work_s > 4 * merged[0].work_s, "four lists, which become one"
    assert named(parted, "collate").need == named(alone, "collate").need


def test_a_first_round_searches_for_few() -> None:
    found = forecast(searching(MOVED), cluster(), Rates())
    first, second = (named(found, name).need for name in ("first", "search"))
    assert second == named(forecast(searching(PLAIN), cluster(), Rates()), "search").need
    assert (first.units, first.files) == (second.units, second.files)
    assert first.bytes < second.bytes
    assert named(found, "first_merge").need.bytes < named(found, "merge").need.bytes


def test_values_and_steps_by_hand() -> None:
    """Of each query 20 documents of its own and 20 of the guide, of 384 components in fp16."""
    rates = Rates(
        part_bytes_per_core_s=1e30,
        scattered_numbers_per_core_s=1e30,
        guided_products_per_core_s=1e9,
        unit_s=0.0,
        request_s=0.0,
    )
    found = forecast(searching(GUIDED, WORDS), cluster(1, 2), rates)
    guided, values = (named(found, f"{name}-led").need for name in ("guided", "values"))
    assert (guided.units, guided.runner) == (1, "task")
    assert guided.work_s == pytest.approx(2 * 26 * 1_000 * 40 * 384 / 1e9)
    assert values.units * values.bytes > 1_000 * 40 * 768
    assert guided.bytes == pytest.approx(1_000 * 40 * 768 + 2 * 1_000 * 384 * 4)


def test_codes_are_scored_by_what_they_are_of() -> None:
    """So what moves a query is a vector of the first column."""
    bits = Column(
        "bits",
        "bits",
        DENSE,
        Takes(384, 1, 1, 50, Cost(), Cost(MINILM)),
        0,
        replace(CodecPlan.without("binary", 0), nlist=1),
        1_000_000,
    )
    over = replace(searching(replace(MOVED, column="bits", depth=100)), columns=(bits,))
    found = forecast(over, cluster(), Rates())
    plain = forecast(searching(MOVED), cluster(), Rates())
    assert named(found, "feedback-bits").need.bytes == named(plain, "feedback").need.bytes


def test_plan_cluster_counts_the_retrievers_that_are_asked_for() -> None:
    some = searching()
    given = Settings.model_validate(
        {"retriever": [{"guide": "words", "guide_steps": 9}, {"index": "bm25", "name": "words"}]}
    )
    assert expected_searches(some, given, 64) == (
        replace(PLAIN, nprobe=64, depth=100, name="dense", first=FirstRound(50, "words", 9)),
        replace(WORDS, depth=100, name="words"),
    )
    every = expected_searches(some, Settings(), 64)
    assert [each.called for each in every] == ["dense", "bm25"]
    other = Settings.model_validate({"retriever": [{"index": "late"}]})
    with pytest.raises(SettingsError, match="'late', and no index is called so"):
        expected_searches(some, other, 64)
