"""Which of several rows with one id counts: values of a column as texts that sort as they do."""

from decimal import Decimal
from typing import Any, NamedTuple

#: A longer text is none to sort by: it would be kept for every row.
_LONGEST = 512
#: Middle of the range of exponents, so that all have six digits.
_MIDDLE = 500_000
_COMPLEMENT = str.maketrans("0123456789", "9876543210")


class Instant(NamedTuple):
    """A date or time; of one without a zone the zone does not matter here."""

    nanoseconds: int


def order_key(value: Any) -> str | None:
    """A text whose UTF-8 sorts as the value does among values of its kind; exact for any size.

    Its first letter is the kind: n(umber), i(nstant) or t(ext). None where the value has no order:
    booleans, lists, NaN, infinity, and texts over 512 bytes.
    """
    if isinstance(value, Instant):
        return f"i{_number(Decimal(value.nanoseconds))}"
    if isinstance(value, str):
        return f"t{value}" if _is_short_utf8(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(value)
    return f"n{_number(number)}" if number.is_finite() else None


def _number(number: Decimal) -> str:
    """Sign, exponent and digits; those of negative numbers as complements, behind which a longer
    text sorts first."""
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    if not digits:
        return "1"
    if number > 0:
        return f"2{_MIDDLE + number.adjusted():06d}{digits}"
    return f"0{_MIDDLE - number.adjusted():06d}{digits.translate(_COMPLEMENT)}~"


def _is_short_utf8(text: str) -> bool:
    try:
        return len(text.encode("utf-8")) <= _LONGEST
    except UnicodeEncodeError:  # a lone surrogate
        return False
