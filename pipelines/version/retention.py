"""What garbage collection may take: arithmetic over times and names, no I/O.

A version is kept while it is among the newest, or while a reader that pinned it may still be at
work: for a grace period after the next version took its place. Of everything else only what is
older than the grace period goes, so that a run under way keeps the files it has written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from shardrank.core.protocols import Entry

#: Written by nobody's version, and never garbage: a lock, which is a file here and a folder of
#: leases on S3, and when each flow last ended well, which grows old where nights are missed.
_KEPT = (["runs", "lock"], ["runs", "succeeded"])
#: Where shardrank writes what may become garbage; whatever else lies below INDEX is not ours.
_OURS = ("codecs/", "deletions/", "parts/", "runs/", "shards/", "terms/", "units/")


@dataclass(frozen=True)
class Retention:
    """How many of the newest versions are kept, at least one, and for how many seconds more."""

    versions: int
    grace: float


def kept_versions(made: Mapping[int, float], rule: Retention, now: float) -> set[int]:
    """The numbers of the versions that stay.

    Args:
        made: when each version was made, seconds since 1970.
        rule: what to keep.
        now: the time.
    """
    numbers = sorted(made)
    newest = set(numbers[-rule.versions :])
    superseded = ((old, made[new]) for old, new in pairwise(numbers))
    return newest | {old for old, at in superseded if now - at < rule.grace}


def garbage(entries: Iterable[Entry], live: set[str], runs: set[str], oldest: float) -> list[Entry]:
    """The files that no kept version needs and that were written before `oldest`.

    Args:
        entries: every file of the index.
        live: keys that kept versions list.
        runs: the runs that made the kept versions; their records stay.
        oldest: seconds since 1970.
    """
    return [
        entry
        for entry in entries
        if entry.key not in live
        and entry.key.split("/")[:2] not in _KEPT
        and entry.key.startswith(_OURS)
        and not _is_record_of(entry.key, runs)
        and entry.modified < oldest
    ]


def _is_record_of(key: str, runs: set[str]) -> bool:
    first, _, rest = key.partition("/")
    return first == "runs" and rest.partition("/")[0] in runs
