"""Whole feeds, written as files of all formats, against a plain dictionary."""

from hypothesis import given, settings

from tests.generated.feeds import FEEDS, Feed, check_feed


@settings(max_examples=150, deadline=None)
@given(feed=FEEDS)
def test_a_feed_is_what_a_dictionary_says(feed: Feed) -> None:
    check_feed(feed)
