"""Where texts part, against a plain implementation of Hearst's depth scores."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.arrays import Float32
from shardrank.corpus.cut_rule import CutRule
from shardrank.corpus.cutting import cut_documents
from shardrank.corpus.validate import Document
from shardrank.kernels.topic_loops import boundaries, depths, similarities
from tests.unit.test_passages import TinyTokeniser

WORDS = {"w": [1.0, 0.0], "v": [0.0, 1.0], "x": [0.7, 0.7]}


class Letters:
    """A sentence's vector is the mean of those of its letters (protocol: SentenceVectors)."""

    def vectors(self, texts: Sequence[str]) -> Float32:
        found = [[WORDS[c] for c in text if c in WORDS] or [[0.0, 0.0]] for text in texts]
        return np.array([np.mean(rows, axis=0) for rows in found], np.float32).reshape(-1, 2)


def cosine(left: Float32, right: Float32) -> float:
    both = np.linalg.norm(left) * np.linalg.norm(right)
    return float(left @ right / both) if both else 1.0


def plain_depths(vectors: Float32, window: int) -> list[float]:
    """Of one text, a gap before each sentence but the first."""
    gaps = range(1, len(vectors))
    alike = [
        cosine(
            vectors[max(0, g - window) : g].astype(float).sum(axis=0),
            vectors[g : g + window].astype(float).sum(axis=0),
        )
        for g in gaps
    ]
    found = []
    for at, own in enumerate(alike):
        left = right = own
        for value in reversed(alike[:at]):
            if value < left:
                break
            left = value
        for value in alike[at + 1 :]:
            if value < right:
                break
            right = value
        found.append(left + right - 2 * own)
    return found


@given(st.integers(0, 2**31), st.integers(1, 3))
def test_depths_are_hearsts_and_of_one_text_alone(seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 9, 4)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    vectors = rng.normal(size=(bounds[-1], 3)).astype(np.float32)
    found = depths(similarities(vectors, bounds, window), bounds)
    parting = boundaries(found, bounds, 0.5)
    for begin, end in pairwise(bounds.tolist()):
        wanted = plain_depths(vectors[begin:end], window)
        assert found[begin:end].tolist() == pytest.approx([0.0, *wanted][: end - begin], abs=1e-9)
        alone = np.array([0, end - begin])
        mine = depths(similarities(vectors[begin:end], alone, window), alone)
        assert np.array_equal(mine, found[begin:end])
        least = np.mean(wanted) - np.std(wanted) / 2 if wanted else 0
        for gap, depth in enumerate(wanted, begin + 1):
            if parting[gap]:
                assert depth > max(0, least - 1e-9)
        assert not parting[begin:end][:1].any()


def test_a_text_is_cut_where_it_turns_to_something_else() -> None:
    text = " ".join(["Www wwww."] * 4 + ["Vvv vvvv."] * 3 + ["Www wwww."] * 2)
    rule = CutRule(42, 0, True, "", 2, by="similarity", rules=1, sentences="letters")
    documents = [Document(0, "a", "", text), Document(1, "b", "", "Xxx."), Document(2, "c", "", "")]
    found = list(cut_documents(documents, TinyTokeniser(), rule, Letters()))
    assert [[p.text for p in passages] for passages in found] == [
        [" ".join(["Www wwww."] * 4), " ".join(["Vvv vvvv."] * 3 + ["Www wwww."] * 2)],
        ["Xxx."],
        [],
    ]
    [alone] = cut_documents(documents[:1], TinyTokeniser(), rule, Letters())
    assert [p.text for p in alone] == [p.text for p in found[0]]
