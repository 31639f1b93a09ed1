"""What was read and what was left out, in words."""

from collections import Counter

from shardrank.core.source_files import Listing

_SHOWN = 100


def read_lines(listing: Listing) -> str:
    """The files read, one a line; of very many the first."""
    return _lines([entry.key for entry in listing.read])


def left_out_lines(listing: Listing) -> str:
    """The files left out, one a line with its reason; of very many the first."""
    return _lines([f"{one.address}: {one.reason}" for one in listing.left_out])


def left_out_line(listing: Listing) -> str:
    """How many files were left out, by reason, in one line."""
    reasons = Counter(one.reason for one in listing.left_out)
    return "; ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())


def _lines(lines: list[str]) -> str:
    rest = len(lines) - _SHOWN
    return "\n".join([*lines[:_SHOWN], *([f"… and {rest:,} more"] if rest > 0 else [])])
