"""One vector for many: as the paper's section 2 has it, text by text and cell by cell."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import Bm25Card, LateCard
from shardrank.core.errors import SettingsError
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.token_vectors import vector_lists
from shardrank.models.encoders.muvera import Muvera, Space
from shardrank.models.encoders.muvera_cards import read_muvera_card

WIDTH = 12


def lists(sizes: list[int], seed: int = 0) -> pa.Array:
    """Texts of so many tokens, as they are stored."""
    vectors = np.random.default_rng(seed).standard_normal((sum(sizes), WIDTH)).astype(np.float16)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3)
    return vector_lists(np.concatenate([[0], np.cumsum(sizes)]), vectors)


def muvera(**told: Any) -> Muvera:
    return Muvera(
        MuveraSettings(**{"repetitions": 2, "planes": 2, "inner": 4, **told}), WIDTH, None
    )


def texts(array: pa.Array) -> list[npt.NDArray[np.float32]]:
    flat = np.array(array.flatten().flatten(), np.float32).reshape(-1, WIDTH)
    return [flat[begin:end] for begin, end in pairwise(array.offsets.to_pylist())]


def cell(space: Space, token: npt.NDArray[np.float32]) -> int:
    return sum(1 << j for j in range(space.planes.shape[1]) if token @ space.planes[:, j] > 0)


def plain(made: Muvera, tokens: npt.NDArray[np.float32], passage: bool) -> list[float]:
    """The vector of one text, before any second projection."""
    found: list[float] = []
    for space in made.spaces:
        cells = [cell(space, token) for token in tokens]
        for number in range(1 << space.planes.shape[1]):
            mine = [t for t, c in zip(tokens, cells, strict=True) if c == number]
            value = np.sum(mine, axis=0) if mine else np.zeros(WIDTH)
            if passage and mine:
                value = value / len(mine)
            if passage and not mine and len(tokens):
                value = tokens[int(np.argmin([(c ^ number).bit_count() for c in cells]))]
            found += (value if space.projection is None else value @ space.projection).tolist()
    return found


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from([None, 4]))
def test_texts_are_as_the_paper_has_them(sizes: list[int], inner: int | None) -> None:
    made, column = muvera(inner=inner), lists(sizes)
    passages = matrix(pa.chunked_array([made.column(column)]))
    queries = matrix(pa.chunked_array([made.queries(column)]))
    for row, tokens in enumerate(texts(column)):
        assert passages[row] == pytest.approx(plain(made, tokens, passage=True), abs=4e-3)
        assert queries[row] == pytest.approx(plain(made, tokens, passage=False), abs=1e-5)


def test_without_planes_it_is_the_product_of_sum_and_mean() -> None:
    made, column = muvera(planes=0, repetitions=1, inner=None), lists([3, 5])
    [passage, _] = matrix(pa.chunked_array([made.column(column)]))
    assert passage == pytest.approx(texts(column)[0].mean(axis=0), abs=1e-3)


def test_projections_are_unbiased_and_as_scattered_as_signs_are() -> None:
    """Over many seeds the product of what is projected has the mean of what is not; its variance is
    that of random signs, (|x|²|y|² + (x·y)² - 2 Σ x²y²) / p (Achlioptas 2003, lemma 5.2), summed
    over cells."""
    column, seeds, inner = lists([7, 6], seed=3), 1500, 4
    products, expected, variance = [], [], []
    for seed in range(seeds):
        made = muvera(seed=seed, repetitions=1, inner=inner)
        space = made.spaces[0]
        wide = muvera(seed=seed, repetitions=1, inner=None)
        wide.__dict__["spaces"] = [Space(space.planes, None)]
        query, passage = (_both(wide, column)[0][0], _both(wide, column)[1][1])
        x, y = query.reshape(-1, WIDTH), passage.reshape(-1, WIDTH)
        each = (x**2).sum(1) * (y**2).sum(1) + (x * y).sum(1) ** 2 - 2 * (x**2 * y**2).sum(1)
        variance.append(each.sum() / inner + 2 * _shared(x, y) / inner)
        expected.append(float(query @ passage))
        asked, stored = _both(made, column)
        products.append(float(asked[0] @ stored[1]))
    off = np.array(products) - expected
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(seeds)
    assert off.var() == pytest.approx(np.mean(variance), rel=0.15)


def _shared(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """Cells share one projection: the covariances of their products, for each pair of cells."""
    total = 0.0
    for i in range(len(x)):
        for j in range(i):
            a, b = np.outer(x[i], y[i]), np.outer(x[j], y[j])
            both = ((a + a.T) * b).sum() - 2 * (np.diag(a) * np.diag(b)).sum()
            total += both
    return total


def _both(made: Muvera, column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    queries = matrix(pa.chunked_array([made.queries(column)])).astype(np.float64)
    return queries, matrix(pa.chunked_array([made.column(column)])).astype(np.float64)


def test_more_spaces_come_nearer_to_the_largest_products() -> None:
    """Ranks of passages by MaxSim and by the vectors' products agree better with more of them."""
    queries, passages = lists([8] * 20, seed=1), lists([20] * 60, seed=2)
    exact = np.array(
        [[(q @ p.T).max(axis=1).sum() for p in texts(passages)] for q in texts(queries)]
    )
    agree = []
    for repetitions in (1, 32):
        made = muvera(repetitions=repetitions, planes=4, inner=None)
        asked = matrix(pa.chunked_array([made.queries(queries)]))
        near = asked @ matrix(pa.chunked_array([made.column(passages)])).T
        agree.append(np.corrcoef(near.ravel(), exact.ravel())[0, 1])
    assert agree[1] > max(0.5, agree[0] + 0.1)


@pytest.mark.parametrize("dim", [None, 7])
def test_a_text_is_the_same_beside_any_others(dim: int | None) -> None:
    made, column = muvera(dim=dim), lists([3, 0, 1, 9])
    together = made.column(column)
    for row in range(len(column)):
        alone = made.column(column.slice(row, 1))
        assert np.allclose(together[row].as_py(), alone[0].as_py(), atol=2e-3)
    assert not any(together[1].as_py())
    assert made.column(column).equals(together)


def test_the_second_projection_keeps_products_on_average() -> None:
    column = lists([6, 6], seed=5)
    whole = _both(muvera(inner=None), column)
    wanted = whole[0][0] @ whole[1][1]
    found = []
    for seed in range(300):
        made = muvera(inner=None, dim=64)
        other = muvera(inner=None, dim=64, seed=seed)
        made.__dict__["_sketch"] = other._sketch
        asked, stored = _both(made, column)
        found.append(asked[0] @ stored[1])
    assert np.mean(found) == pytest.approx(wanted, abs=4 * np.std(found) / np.sqrt(300))


LATE = LateCard("m", "f", "w", "t", WIDTH, 32, 8, "", "", "fp32", 1.0, "fp16", True)


def test_the_card_says_how_wide_it_is() -> None:
    settings = MuveraSettings(repetitions=3, planes=2, inner=4)
    card = read_muvera_card(settings, LATE)
    assert (card.width, card.dim) == (WIDTH, 3 * 4 * 4)
    assert read_muvera_card(settings.model_copy(update={"dim": 5}), LATE).dim == 5
    assert read_muvera_card(MuveraSettings(seed=1), LATE).fingerprint != card.fingerprint


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"inner": WIDTH + 1}, "encoder.inner = 13"),
        ({"inner": 4, "dim": 1 << 16}, "encoder.dim = 65536"),
        ({"repetitions": 256, "planes": 8, "inner": 4}, "262,144 components"),
    ],
)
def test_what_cannot_be_made_is_refused(told: dict[str, int], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_muvera_card(MuveraSettings(**told), LATE)


def test_it_is_made_of_token_vectors_alone() -> None:
    with pytest.raises(SettingsError, match="holds no token vectors"):
        read_muvera_card(MuveraSettings(of="bm25"), Bm25Card("bm25", "f", "none", "keep"))
