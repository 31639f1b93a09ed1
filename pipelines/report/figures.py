"""Numbers and texts as a reader wants them."""

_BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def count(number: int) -> str:
    """1234567 → 1,234,567."""
    return f"{number:,}"


def figure(value: float) -> str:
    """A measured value to three digits, but never fewer than its whole part has."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """0.84 s, 12.3 s, 3 min 20 s, 2 h 05 min: about three digits."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def coarse(seconds: float) -> str:
    """A guess, to about two digits: 0.8 s, 12 s, 3.3 min, 45 min, 2.1 h, 9.0 days."""
    for unit, length, most in (("s", 1, 119.5), ("min", 60, 7170), ("h", 3600, 3 * 86_400)):
        if seconds < most:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds / 86_400)} days"


def _two_digits(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"


def size(bytes_: float) -> str:
    """Bytes in the decimal unit (kB, MB, GB) that leaves 1 to 999 of it, to three digits."""
    unit = next((unit for unit in ("kB", "MB", "GB") if bytes_ < 999.5 * _BYTES[unit]), "TB")
    return f"{figure(bytes_ / _BYTES[unit])} {unit}"


def signed(value: float, digits: int = 3) -> str:
    """A change with its sign, to so many digits: +0.012, −0.100, ±0.000."""
    rounded = round(value, digits)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else '±'}{abs(rounded):.{digits}f}"


def rate(rows: int, seconds: float) -> str:
    """Rows in a second: two digits below 10, else whole; a dash where no time was taken."""
    if seconds <= 0:
        return "–"
    speed = rows / seconds
    return f"{speed:.1f}" if speed < 10 else f"{speed:,.0f}"


def share(part: float, whole: float) -> str:
    """A part in percent with one decimal; 0 % of nothing."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def change(before: float, after: float) -> str:
    """The relative change: +9.9 %, −1.2 %, ±0 %; a dash where it started from 0."""
    if before == 0:
        return "–"
    percent = f"{100 * (after - before) / before:+.1f}"
    return "±0 %" if percent in ("+0.0", "-0.0") else f"{percent} %".replace("-", "−")


def snippet(text: str, limit: int = 180) -> str:
    """The start of a text on one line: `limit` characters at most, cut at a space if it can."""
    line = " ".join(text[: 4 * limit].split())
    if len(line) <= limit:
        return line
    head = line[:limit]
    return (head.rsplit(" ", 1)[0] if " " in head else head) + "…"
