"""Noise that texts are drawn by, and which answers are written beside each other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.sampling import Sampling, draw_key
from shardrank.models.forward.kept import Kept
from shardrank.models.forward.lanes import Lanes
from shardrank.models.forward.writing import next_tokens, plan_rounds


def test_draws_follow_the_softmax() -> None:
    """Frequencies of 4,000 draws, within four standard errors."""
    logits, count, temperature = np.array([2.0, 0.0, 1.0, -1.0]), 4000, 0.5
    shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    sampling = Sampling(temperature, None, [draw_key(1, str(n), 0) for n in range(count)])
    rows = torch.tensor(logits, dtype=torch.float32).repeat(count, 1)
    drawn = next_tokens(rows, np.arange(count), 0, sampling)
    found = np.bincount(drawn, minlength=4) / count
    assert (np.abs(found - shares) < 4 * np.sqrt(shares * (1 - shares) / count)).all()


def test_noise_is_gumbels_and_hangs_on_every_part_of_its_key() -> None:
    keys = [draw_key(0, "a", 0), draw_key(1, "a", 0), draw_key(0, "b", 0), draw_key(0, "a", 1)]
    sampling = Sampling(1.0, None, keys)
    seen = [sampling.noise(row, step, 999) for row in range(4) for step in range(2)]
    assert len({noise.tobytes() for noise in seen}) == 8
    assert sampling.noise(2, 5, 7).tobytes() == sampling.of([2]).noise(0, 5, 7).tobytes()
    every = np.concatenate(seen)
    assert np.isfinite(every).all()
    assert every.mean() == pytest.approx(np.euler_gamma, abs=0.06)
    assert every.var() == pytest.approx(np.pi**2 / 6, rel=0.1)


def test_logits_that_are_no_numbers_end_an_answer() -> None:
    logits = torch.tensor([[1.0, torch.nan, 3.0], [torch.nan] * 3, [-torch.inf, -torch.inf, 0.0]])
    assert next_tokens(logits, np.arange(3), 0, None).tolist() == [2, -1, 2]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 90),
)
def test_rounds_hold_every_answer_once_and_little_else(
    own: list[int], samples: int, most: int, room: int
) -> None:
    which = np.repeat(np.arange(len(own)), samples)
    sizes = np.array(own, np.int64)[which]
    rounds = plan_rounds(sizes, which, most, room)
    assert sorted(np.concatenate(rounds).tolist()) == list(range(len(which)))
    lengths = [sizes[answers] for answers in rounds]
    assert all(len(each) == 1 or len(each) * (each.max() + most) <= room for each in lengths)
    assert np.diff(np.concatenate(lengths)).max(initial=0) <= 0


@given(st.lists(st.booleans(), min_size=1, max_size=8).filter(any))
def test_lanes_that_go_on_keep_what_is_theirs(going: list[bool]) -> None:
    count = len(going)
    lanes = Lanes(Kept(0), np.arange(1, count + 1), room=count + 1)
    values = torch.arange(count, dtype=torch.float32)[:, None, None].expand(count, 2, 3)
    runs = values.repeat_interleave(torch.arange(1, count + 1), 0)
    lanes.put(0, (runs, -runs), [np.array([n]) for n in range(count)], np.arange(1, count + 1))
    order = lanes.keep(np.flatnonzero(going))
    assert sorted(order.tolist()) == np.flatnonzero(going).tolist()
    assert lanes.lengths.tolist() == [n + 1 for n in order]
    more = torch.full((len(order), 2, 3), 7.0)
    keys, held = lanes.append(0, (more, -more), torch.from_numpy(lanes.lengths))
    for lane, n in enumerate(order.tolist()):
        assert (keys[lane, :, : n + 1] == n).all()
        assert (keys[lane, :, n + 1] == 7).all()
        assert (held[lane, :, : n + 2] == -keys[lane, :, : n + 2]).all()
