"""Times of day, all in UTC, as people and programs read them."""

import time
from datetime import UTC, datetime


def utc_now() -> str:
    """2026-11-29T10:20:05Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def utc_moment() -> str:
    """Now, to the millisecond: 2026-11-29T10:20:05.123+00:00."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def clock(at: float) -> str:
    """Seconds since 1970 as 2026-11-29 10:20:05."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
