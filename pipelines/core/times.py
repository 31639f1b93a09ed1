"""Times as papers have them that people read."""

import time


def utc_now() -> str:
    """2026-11-29T10:20:05Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
