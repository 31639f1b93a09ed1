"""What somebody may have meant by a word that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

#: How alike two words are, from 0 to 1, that may be one misspelt.
_ALIKE = 0.6


def meant(word: str, known: Iterable[str], before: str = "") -> str:
    """ "Did you mean …? ", with `before` in front of the word; "" where nothing is like it."""
    lower = {name.lower().replace("-", "_"): name for name in known}
    found = get_close_matches(word.lower().replace("-", "_"), lower, n=1, cutoff=_ALIKE)
    return f"Did you mean {before}{lower[found[0]]}? " if found else ""
