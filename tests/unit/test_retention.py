from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.protocols import Entry
from shardrank.stages.run.records import SUCCEEDED
from shardrank.version.retention import Retention, garbage, kept_versions

DAY = 86_400.0


def test_the_newest_and_what_was_read_within_the_grace_stay() -> None:
    made = {1: 0.0, 2: 10 * DAY, 3: 19 * DAY, 4: 20 * DAY}
    # Version 2 was what readers saw until day 19.
    assert kept_versions(made, Retention(1, 7 * DAY), 22 * DAY) == {2, 3, 4}
    assert kept_versions(made, Retention(1, 0), 22 * DAY) == {4}
    assert kept_versions(made, Retention(3, 0), 22 * DAY) == {2, 3, 4}


@given(times=st.lists(st.integers(0, 100), min_size=1), keep=st.integers(1, 5))
def test_the_latest_is_never_taken(times: list[int], keep: int) -> None:
    made = {n: float(at) for n, at in enumerate(sorted(times), 1)}
    assert set(list(made)[-keep:]) <= kept_versions(made, Retention(keep, 0), 1e9)


def test_garbage_is_old_and_needed_by_nobody() -> None:
    keys = [
        "parts/a/passages.parquet",
        "parts/b/passages.parquet",
        "parts/c/passages.parquet",
        "manifests/000001.json",
        "runs/lock",
        "runs/kept/stages/embed.json",
        "runs/gone/stages/embed.json",
        f"{SUCCEEDED}/index.json",
        "units/embed/1.json",
    ]
    old = [Entry(key, 1, "v", modified=1.0) for key in keys]
    old[2] = Entry(keys[2], 1, "v", modified=100.0)
    found = garbage(old, live={keys[0]}, runs={"kept"}, oldest=50.0)
    assert [e.key for e in found] == [keys[1], keys[6], "units/embed/1.json"]
