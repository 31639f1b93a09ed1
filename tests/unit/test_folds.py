"""Documents by several of their passages, against plain Python."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shardrank.core.arrays import Float32, Int64
from shardrank.core.errors import SettingsError
from shardrank.core.fold_grid import Weights, fold_grid, fold_set
from shardrank.core.folds import MOST
from shardrank.core.passage_scores import PassageScores, refolded, with_passages
from shardrank.core.rank_settings import SearchSettings
from shardrank.core.schemas import HITS

WEIGHTS: list[Weights] = [(1.0,), (), (1.0, 1.0), (1.0, 0.5, 0.25), (3.0, 0.0, 1.0)]


def plain(scores: list[float], weights: Weights) -> float:
    best = sorted(scores, reverse=True)
    both = list(zip(best, weights or (1.0,) * len(best), strict=False))
    return sum(w * s for s, w in both) / sum(w for _, w in both)


def drawn(seed: int, documents: int = 9, most: int = 30) -> tuple[Float32, Int64]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most, documents)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return rng.normal(size=ends[-1]).round(2).astype(np.float32), ends


@given(st.integers(0, 2**31), st.sampled_from(WEIGHTS))
def test_a_document_is_the_weighted_mean_of_its_passages(seed: int, weights: Weights) -> None:
    scores, ends = drawn(seed)
    each = [scores[a:b].tolist() for a, b in pairwise(ends)]
    found = PassageScores.of(scores, ends).folded(weights)
    assert found.tolist() == pytest.approx([plain(s, weights) for s in each], abs=1e-6)
    alone = [PassageScores.of(np.float32(s), np.array([0, len(s)])).folded(weights) for s in each]
    assert np.array_equal(found, np.concatenate(alone)), "whatever it is folded with"


def test_the_best_passage_alone_keeps_its_bits() -> None:
    scores, ends = drawn(3)
    best = np.maximum.reduceat(scores, ends[:-1])
    assert np.array_equal(PassageScores.of(scores, ends).folded((1.0,)), best)
    single = PassageScores.of(scores, np.arange(len(scores) + 1))
    for weights in WEIGHTS:
        assert np.array_equal(single.folded(weights), scores), "a document of one passage"


@pytest.mark.parametrize("weights", WEIGHTS)
def test_hits_are_folded_again_from_what_is_kept(weights: Weights) -> None:
    scores, ends = drawn(7, most=2 * MOST)
    documents = len(ends) - 1
    hits = pa.table(
        {
            "query": np.zeros(documents, np.int32),
            "doc_id": [f"d{n}" for n in range(documents)],
            "passage": np.zeros(documents, np.int32),
            "score": np.maximum.reduceat(scores, ends[:-1]),
            "part": np.zeros(documents, np.int32),
            "row": np.arange(documents, dtype=np.int32),
        },
        schema=HITS,
    )
    whole = PassageScores.of(scores, ends)
    table = refolded(with_passages(hits, whole), weights)
    wanted = dict(zip(hits["doc_id"].to_pylist(), whole.folded(weights).tolist(), strict=True))
    order = sorted(wanted, key=lambda name: (-wanted[name], name))
    assert table["doc_id"].to_pylist() == order
    assert table["score"].to_pylist() == [wanted[name] for name in order]
    half = table.slice(3)
    assert refolded(half, (1.0,))["doc_id"].to_pylist() == sorted(
        half["doc_id"].to_pylist(), key=lambda name: (-max(_own(scores, ends, name)), name)
    )
    assert refolded(table.slice(0, 0), weights).num_rows == 0


def _own(scores: Float32, ends: Int64, name: str) -> list[float]:
    number = int(name[1:])
    found: list[float] = scores[ends[number] : ends[number + 1]].tolist()
    return found


def test_each_fold_of_the_grid_is_set_by_what_is_printed() -> None:
    own = (1.0, 0.42)
    grid = fold_grid(own)
    assert grid[0] == own
    assert len({*grid}) == len(grid) > 25
    assert min(each for weights in grid for each in weights) >= 0.01
    for weights in grid:
        fold = SearchSettings(**fold_set(weights)).folded(7)
        assert (fold.weights if fold else (1.0,)) == weights
        assert fold is None or fold.documents == 14


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fold_top": 3}, "fold_top tells nothing where search.fold = max"),
        ({"fold": "mean", "fold_weights": [1]}, "fold_weights tells nothing"),
        ({"fold": "weights"}, "needs search.fold_weights"),
        ({"fold": "weights", "fold_weights": [0, 1]}, "the first must be"),
        ({"fold": "weights", "fold_weights": [1, -1]}, "none may be negative"),
        ({"fold": "mean", "fold_documents": 99}, "less than search.k"),
    ],
)
def test_what_cannot_be_folded_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises((SettingsError, ValidationError), match=said):
        SearchSettings.model_validate(given)
