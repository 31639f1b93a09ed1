from collections.abc import Iterator, Sequence
from math import fsum, sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from shardrank.core import topk
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.fusion import fuse
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.schemas import HITS
from shardrank.core.topk import fold_and_cut

#: Of each list: the scores of a query's documents, by query.
Lists = Sequence[dict[int, dict[str, float]]]

IDS = ["a", "b", "z", "é", "\uffff", "\U0001f600", "", "aa"]
#: Some are equal, some nearly so, some are far apart.
SCORES = [-7.5, -0.0, 0.0, 1e-12, 1.0, float(np.nextafter(np.float32(1), np.float32(2))), 2e30]

score = st.sampled_from(SCORES) | st.floats(-100, 100, width=32)
a_list = st.dictionaries(st.integers(0, 3), st.dictionaries(st.sampled_from(IDS), score))
several = st.lists(a_list, min_size=1, max_size=4)
ways = st.builds(
    FusionSettings,
    how=st.sampled_from(["rrf", "scores"]),
    norm=st.sampled_from(["min-max", "z"]),
    rank_constant=st.sampled_from([0, 1, 60]),
)
weighings = st.lists(st.sampled_from([0.0, 0.1, 1.0, 3.0]), min_size=4, max_size=4)
EVERYTHING = 100


def tables(lists: Lists) -> list[Any]:
    """As retrievers give them; passage, part and row name the hit: they differ between lists."""
    return [
        fold_and_cut(
            pa.Table.from_pylist(
                [
                    {"query": q, "doc_id": d, "score": s, "passage": number, "part": at, "row": q}
                    for q, docs in one.items()
                    for at, (d, s) in enumerate(docs.items())
                ],
                schema=HITS,
            ),
            EVERYTHING,
        )
        for number, one in enumerate(lists)
    ]


def weighed(how: FusionSettings, weights: list[float], lists: Lists) -> FusionSettings:
    """With a weight for each list, or none where they are all 0."""
    mine = weights[: len(lists)]
    return FusionSettings(**{**how.model_dump(), "weights": mine if any(mine) else None})


def terms(docs: dict[str, float], how: FusionSettings) -> dict[str, float]:
    """What each document of one list adds for one query, before the weight."""
    n, scores = len(docs), docs.values()
    if how.how == "rrf":
        order = sorted(docs, key=lambda d: (-docs[d], d.encode()))
        return {d: 1 / (how.rank_constant + rank) for rank, d in enumerate(order, 1)}
    if how.norm == "min-max":
        low, spread = min(scores), max(scores) - min(scores)
    else:
        low = fsum(scores) / n
        spread = sqrt(fsum((s - low) ** 2 for s in scores) / n)
    return {d: (s - low) / max(spread, 1e-9) for d, s in docs.items()}


def oracle(lists: Lists, how: FusionSettings) -> dict[int, dict[str, float]]:
    weights = how.weights or [1.0] * len(lists)
    found: dict[int, dict[str, float]] = {}
    for weight, one in zip(weights, lists, strict=True):
        for query, docs in one.items():
            for doc, term in terms(docs, how).items() if docs else ():
                mine = found.setdefault(query, {})
                mine[doc] = mine.get(doc, 0.0) + weight * term
    return found


def best_places(lists: Lists) -> dict[tuple[int, str], tuple[int, int, int]]:
    """(rank, list, place in it) of the hit that stands for a document."""
    found: dict[tuple[int, str], tuple[int, int, int]] = {}
    for number, one in enumerate(lists):
        for query, docs in one.items():
            order = sorted(docs, key=lambda d: (-docs[d], d.encode()))
            for at, doc in enumerate(docs):
                place = (order.index(doc), number, at)
                found[query, doc] = min(found.get((query, doc), place), place)
    return found


def scores(fused: Any) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for row in fused.to_pylist():
        found.setdefault(row["query"], {})[row["doc_id"]] = row["score"]
    return found


@given(several, ways, weighings)
@example([{}, {}], FusionSettings(), [1.0] * 4)
@example([{1: {"a": 3.0, "b": 1.0}}, {1: {"b": 9.0}}], FusionSettings(how="scores"), [1.0] * 4)
@example([{0: {"a": 1.0}}, {0: {}, 1: {"a": 2.0}}], FusionSettings(how="scores"), [1.0] * 4)
def test_it_is_the_oracle(lists: Any, how: FusionSettings, weights: list[float]) -> None:
    how = weighed(how, weights, lists)
    fused = fuse(tables(lists), how, EVERYTHING)
    assert fused.schema == HITS
    found, wanted = scores(fused), oracle(lists, how)
    assert found.keys() == wanted.keys()
    for query, docs in wanted.items():
        assert found[query] == pytest.approx(docs, rel=1e-6, abs=1e-6)
    places = best_places(lists)
    for row in fused.to_pylist():
        _, number, at = places[row["query"], row["doc_id"]]
        assert (row["passage"], row["part"], row["row"]) == (number, at, row["query"])


@given(several, ways, st.integers(1, 4))
def test_it_is_in_the_total_order_and_cut(lists: Any, how: FusionSettings, k: int) -> None:
    whole = fuse(tables(lists), how, EVERYTHING)
    assert whole.equals(fold_and_cut(whole, EVERYTHING))
    assert fuse(tables(lists), how, k).equals(fold_and_cut(whole, k))


@given(several, ways, weighings, st.data())
def test_the_order_of_the_lists_decides_no_score(
    lists: Any, how: FusionSettings, weights: list[float], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(lists))))
    how = weighed(how, weights, lists)
    mine = how.weights and [how.weights[number] for number in order]
    turned = FusionSettings(**{**how.model_dump(), "weights": mine})
    names = ["query", "doc_id", "score"]
    found = fuse(tables([lists[number] for number in order]), turned, 3)
    assert found.select(names).equals(fuse(tables(lists), how, 3).select(names))


@given(several, ways, st.integers(1, 40))
def test_how_many_queries_are_fused_at_once_decides_nothing(
    lists: Any, how: FusionSettings, at_once: int
) -> None:
    whole = fuse(tables(lists), how, 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(topk, "SORTED_AT_ONCE", at_once)
        assert fuse(tables(lists), how, 3).equals(whole)


@given(st.permutations(IDS), ways)
def test_documents_with_the_same_terms_tie_to_the_last_bit(ids: Any, how: FusionSettings) -> None:
    """Each has each rank once, in another list each: their sums must not differ by rounding."""
    turns = ([*ids[turn:], *ids[:turn]] for turn in range(len(ids)))
    lists = [{0: {d: -float(place) for place, d in enumerate(turn)}} for turn in turns]
    fused = fuse(tables(lists), how, EVERYTHING)
    assert len({*fused["score"].to_pylist()}) == 1
    assert fused["doc_id"].to_pylist() == sorted(ids, key=str.encode)


#: Three lists, and what ranx 0.3.21 makes of them: `fuse` with norm None and method "rrf", with
#: norm "min-max" or "zmuv" and method "sum", or "wsum" where there are weights. Queries 0 to 2 have
#: no equal scores in a list: ranx leaves open which of two equal hits has the better rank.
LISTS: Lists = [
    {
        0: {"c": 4.953125, "d": 3.375, "a": 0.625, "h": -0.15625},
        1: {"c": 5.6875, "b": 3.859375, "g": -0.25},
        2: {"a": 6.203125, "e": 5.8125, "h": 3.4375, "d": 3.390625, "g": -1.0},
        3: {"a": 2.5, "b": 2.5, "c": 2.5},
    },
    {
        0: {"d": 46.625, "f": 39.5, "h": 23.125, "a": 16.0, "c": -2.125},
        1: {},
        2: {"g": 39.875, "c": 28.0, "f": -5.25},
        3: {"a": -1.0, "b": 3.0, "d": 1.5},
    },
    {
        0: {"f": 296.0, "e": 65.0, "g": 51.0, "c": 9.0},
        1: {"a": 227.0, "f": 150.0, "c": 112.0, "b": -68.0, "g": -99.0},
        2: {"h": 0.75},
        3: {"b": 7.0, "d": 7.0},
    },
]
WEIGHTS = (1.0, 0.5, 2.0)
#: A line for each query: its documents, each with its score.
GOLDEN: list[tuple[dict[str, Any], str]] = [
    (
        {},
        """
a 0.03149802 c 0.04740306 d 0.03252247 e 0.01612903 f 0.03252247 g 0.01587302 h 0.03149802
a 0.01639344 b 0.03175403 c 0.03226646 f 0.01612903 g 0.03125763
a 0.01639344 c 0.01612903 d 0.015625 e 0.01612903 f 0.01587302 g 0.03177806 h 0.03226646
""",
    ),
    (
        {"rank_constant": 1},
        """
a 0.45 c 0.86666667 d 0.83333333 e 0.33333333 f 0.83333333 g 0.25 h 0.45
a 0.5 b 0.53333333 c 0.75 f 0.33333333 g 0.41666667
a 0.5 c 0.33333333 d 0.2 e 0.33333333 f 0.25 g 0.66666667 h 0.75
""",
    ),
    (
        {"how": "scores"},
        """
a 0.52470007 c 1.0 d 1.6911315 e 0.19512195 f 1.85384615 g 0.14634146 h 0.51794872
a 1.0 b 0.78719729 c 1.64723926 f 0.76380368 g 0.0
a 1.0 c 0.73684211 d 0.60954447 e 0.94577007 f 0.0 g 1.0 h 0.61605206
a 0.0 b 1.0 c 0.0 d 0.625
""",
    ),
    (
        {"how": "scores", "weights": WEIGHTS},
        """
a 0.33880263 c 1.0 d 1.1911315 e 0.3902439 f 2.42692308 g 0.29268293 h 0.25897436
a 2.0 b 0.88228931 c 2.29447853 f 1.52760736 g 0.0
a 1.0 c 0.36842105 d 0.60954447 e 0.94577007 f 0.0 g 0.5 h 0.61605206
a 0.0 b 0.5 c 0.0 d 0.3125
""",
    ),
    (
        {"how": "scores", "norm": "z"},
        """
a -1.26215399 c -1.06865577 d 1.84170117 e -0.35924347 f 2.5620357 g -0.48419771 h -1.22948593
a 1.28337247 b -0.73874721 c 1.41824799 f 0.67562536 g -2.63849861
a 1.0270366 c 0.373062 d -0.06944376 e 0.87474766 f -1.36789401 g -0.78633942 h -0.05116908
a -1.31319831 b 1.1111678 c 0.0 d 0.20203051
""",
    ),
    (
        {"how": "scores", "norm": "z", "weights": WEIGHTS},
        """
a -1.01296134 c -1.15485787 d 1.20607934 e -0.71848693 f 3.83477031 g -0.96839543 h -1.18614808
a 2.56674494 b -1.78375653 c 1.7939462 f 1.35125072 g -3.92818533
a 1.0270366 c 0.186531 d -0.06944376 e 0.87474766 f -0.683947 g -1.28375542 h -0.05116908
a -0.65659915 b 0.5555839 c 0.0 d 0.10101525
""",
    ),
]


@pytest.mark.parametrize(("how", "golden"), GOLDEN)
def test_it_is_what_ranx_gives(how: dict[str, Any], golden: str) -> None:
    found = scores(fuse(tables(LISTS), FusionSettings(**how), EVERYTHING))
    for query, words in enumerate(map(str.split, golden.strip().splitlines())):
        wanted = dict(zip(words[::2], map(float, words[1::2]), strict=True))
        assert found[query] == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_a_small_spread_does_not_divide() -> None:
    """Also by ranx 0.3.21."""
    lists = [{0: {"a": 3e-12, "b": 1e-12}}] * 2
    found = scores(fuse(tables(lists), FusionSettings(how="scores"), EVERYTHING))
    assert found[0] == pytest.approx({"a": 0.004, "b": 0.0}, rel=1e-6)


def test_no_score_is_a_negative_zero() -> None:
    how = FusionSettings(how="scores", norm="z", weights=(0.0, 1.0))
    found = scores(fuse(tables([{0: {"a": 1.0, "b": 3.0}}, {}]), how, EVERYTHING))
    assert str(found) == "{0: {'a': 0.0, 'b': 0.0}}"


def pyserini_rrf(lists: Lists, query: int, rrf_k: int) -> dict[str, float]:
    """`fusion.reciprocal_rank_fusion`: sums 1 / (rrf_k + the file's rank)."""
    found: dict[str, float] = {}
    for rows in ranked(lists, query):
        for rank, (doc, _) in enumerate(rows, 1):
            found[doc] = found.get(doc, 0.0) + 1 / (rrf_k + rank)
    return found


def pyserini_normalize(lists: Lists, query: int) -> dict[str, float]:
    """`fusion.normalize`: sums min-max, which is 1 where all scores of a list are equal."""
    found: dict[str, float] = {}
    for rows in ranked(lists, query):
        low, high = (f(s for _, s in rows) for f in (min, max))
        for doc, s in rows:
            scaled = (s - low) / (high - low) if high > low else 1.0
            found[doc] = found.get(doc, 0.0) + scaled
    return found


def pyserini_hybrid(
    dense: dict[str, float], sparse: dict[str, float], alpha: float
) -> dict[str, float]:
    """`HybridSearcher` with normalisation: alpha times sparse, plus dense."""

    def scaled(hits: dict[str, float], doc: str) -> float:
        low, high = (min(hits.values()), max(hits.values())) if hits else (0, 1)
        return (hits.get(doc, low) - (low + high) / 2) / (high - low)

    return {doc: alpha * scaled(sparse, doc) + scaled(dense, doc) for doc in {*dense, *sparse}}


def ranked(lists: Lists, query: int) -> Iterator[list[tuple[str, float]]]:
    """The rows of the lists that have hits for the query."""
    for one in lists:
        if one.get(query):
            yield sorted(one[query].items(), key=lambda hit: (-hit[1], hit[0].encode()))


PLAIN = st.floats(-100, 100, width=16)
unequal = st.dictionaries(st.sampled_from(IDS), PLAIN, max_size=8).filter(
    lambda docs: not docs or len({*docs.values()}) > 1
)


@given(several, st.integers(0, 60))
def test_rrf_is_that_of_pyserini(lists: Any, rank_constant: int) -> None:
    found = scores(fuse(tables(lists), FusionSettings(rank_constant=rank_constant), EVERYTHING))
    for query, docs in found.items():
        assert docs == pytest.approx(pyserini_rrf(lists, query, rank_constant), rel=1e-6)


@given(st.lists(unequal, min_size=1, max_size=4))
def test_min_max_is_that_of_pyserini_where_scores_differ(lists: Any) -> None:
    queries = [{0: docs} for docs in lists]
    found = scores(fuse(tables(queries), FusionSettings(how="scores"), EVERYTHING)).get(0, {})
    assert found == pytest.approx(pyserini_normalize(queries, 0), rel=1e-6, abs=1e-6)


def test_equal_scores_are_0_here_and_1_in_pyserini() -> None:
    found = scores(fuse(tables([{0: {"a": 7.0}}]), FusionSettings(how="scores"), EVERYTHING))
    assert found == {0: {"a": 0.0}}
    assert pyserini_normalize([{0: {"a": 7.0}}], 0) == {"a": 1.0}


@given(unequal, unequal, st.sampled_from([0.1, 1.0, 2.5]))
def test_min_max_is_that_of_pyserinis_hybrid_but_for_a_constant(
    dense: Any, sparse: Any, alpha: float
) -> None:
    how = FusionSettings(how="scores", weights=(1.0, alpha))
    found = scores(fuse(tables([{0: dense}, {0: sparse}]), how, EVERYTHING)).get(0, {})
    wanted = pyserini_hybrid(dense, sparse, alpha)
    moved = {doc: s + (1 + alpha) / 2 for doc, s in wanted.items()}
    assert found == pytest.approx(moved, rel=1e-6, abs=1e-6)


def test_no_lists_fuse_to_no_hits() -> None:
    assert fuse([], FusionSettings(), 3).equals(HITS.empty_table())


@pytest.mark.parametrize("norm", ["min-max", "z"])
@pytest.mark.parametrize("far", [np.inf, -np.inf])
def test_infinite_scores_have_a_rank_and_no_scale(norm: Any, far: float) -> None:
    given_ = tables([{0: {"a": far, "b": 1.0}}])
    assert fuse(given_, FusionSettings(), 3).num_rows == 2
    with pytest.raises(InputError, match=r"1 of 2 scores are not finite.*how = rrf"):
        fuse(given_, FusionSettings(how="scores", norm=norm), 3)


def test_there_is_a_weight_for_each_list() -> None:
    how = FusionSettings(weights=(1.0, 2.0, 3.0))
    with pytest.raises(SettingsError, match="has 3 weights for 2 retrievers"):
        fuse(tables([{}, {}]), how, 3)


@pytest.mark.parametrize("weights", [(0.0,), (0.0, 0.0), (1.0, -0.1), (1e7, 1.0), (1e-7, 0.0)])
def test_weights_that_cannot_be(weights: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match=r"fusion\.weights"):
        FusionSettings(weights=weights)


@pytest.mark.parametrize("weights", ["", "1,", "nan,1", "inf", (1.0, float("inf")), ()])
def test_weights_that_are_no_numbers(weights: Any) -> None:
    with pytest.raises(ValidationError, match="weights"):
        FusionSettings(weights=weights)


def test_weights_from_the_command_line() -> None:
    assert FusionSettings.model_validate({"weights": "1, 0.5"}).weights == (1.0, 0.5)
