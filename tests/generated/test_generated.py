"""Folders and feeds that nobody listed: `make test-long`. SHARDRANK_EXAMPLES says how many of each.

Once nothing is wrong, faults are planted, and each must be found.
"""

import os

import pytest

from tests.generated.compared import compare_encoder, compare_reranker, tried
from tests.generated.encoder_folders import SPECS
from tests.generated.faults import ENCODER_FAULTS, FEED_FAULTS, RERANKER_FAULTS, Plant
from tests.generated.feeds import FEEDS, Feed, check_feed
from tests.generated.reranker_folders import RERANKERS

EXAMPLES = int(os.environ.get("SHARDRANK_EXAMPLES", "2000"))
#: Among so many a planted fault must be found.
SOON = 400

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def feed_is_right(feed: Feed) -> bool:
    check_feed(feed)
    return True


def test_encoders_are_run_right_or_refused() -> None:
    assert tried(SPECS, compare_encoder, EXAMPLES) > 0.05  # else nothing would be compared


def test_rerankers_are_run_right_or_refused() -> None:
    assert tried(RERANKERS, compare_reranker, EXAMPLES) > 0.05


def test_feeds_are_what_a_dictionary_says() -> None:
    assert tried(FEEDS, feed_is_right, 20 * EXAMPLES) == 1


@pytest.mark.parametrize("plant", ENCODER_FAULTS.values(), ids=ENCODER_FAULTS.keys())
def test_planted_faults_of_encoders_are_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        tried(SPECS, compare_encoder, SOON)


@pytest.mark.parametrize("plant", RERANKER_FAULTS.values(), ids=RERANKER_FAULTS.keys())
def test_planted_faults_of_rerankers_are_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        tried(RERANKERS, compare_reranker, SOON)


@pytest.mark.parametrize("plant", FEED_FAULTS.values(), ids=FEED_FAULTS.keys())
def test_planted_faults_of_feeds_are_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        tried(FEEDS, feed_is_right, 2000)
