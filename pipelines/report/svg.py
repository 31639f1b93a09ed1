"""What charts are drawn of: scales, axes and shapes, each an SVG element as text.

Written by hand: five kinds of charts need a hundred lines of this, and to import and run a library
that draws anything takes a second, a tenth of a small ranking. Numbers have two digits behind the
point, so equal values give equal bytes; texts are escaped.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

INK, MUTED, FAINT, AXIS = "#1f2933", "#5f6b7a", "#e4e8ed", "#a9b4c0"
FONT = 11
#: A character's width on average, in sizes of the font: digits and lower case of sans-serif fonts.
_CHARACTER = 0.56
#: What round values are multiples of, times a power of ten.
_ROUND = (1.0, 2.0, 5.0, 10.0)

_Attributes = dict[str, str | float]


@dataclass(frozen=True)
class Scale:
    """Values on a line of pixels.

    Attributes:
        values: the first and the last; the same two: all stand in the middle.
        pixels: where these stand.
        log: by their logarithms.
    """

    values: tuple[float, float]
    pixels: tuple[float, float]
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        numbers = (*self.values, value)
        low, high, here = map(math.log2, numbers) if self.log else numbers
        start, end = self.pixels
        return start + (end - start) * ((here - low) / (high - low) if high > low else 0.5)


@dataclass(frozen=True)
class Area:
    """Where a chart shows its values: x from left to right, y from bottom to top."""

    x: Scale
    y: Scale

    @property
    def left(self) -> float:
        return self.x.pixels[0]

    @property
    def right(self) -> float:
        return self.x.pixels[1]

    @property
    def top(self) -> float:
        return min(self.y.pixels)

    @property
    def bottom(self) -> float:
        return max(self.y.pixels)

    def bar(
        self, x: tuple[float, float], y: tuple[float, float], colour: str, opacity: float = 1
    ) -> str:
        """A filled rectangle between two values of either axis."""
        left, right = sorted(map(self.x.at, x))
        top, bottom = sorted(map(self.y.at, y))
        return rectangle((left, top), (right - left, bottom - top), colour, opacity)

    def upright(self, value: float) -> str:
        """A dashed line at a value of x."""
        at = self.x.at(value)
        return line([(at, self.top), (at, self.bottom)], INK, 1.3, dashed=True)

    def level(self, value: float) -> str:
        """A dashed line at a value of y."""
        at = self.y.at(value)
        return line([(self.left, at), (self.right, at)], INK, 1, dashed=True)

    def rows(self, ticks: Sequence[tuple[float, str]], name: str) -> Iterator[str]:
        """Lines at values of y with their labels, and the axis' name, turned."""
        for value, said in ticks:
            at = self.y.at(value)
            yield line([(self.left, at), (self.right, at)], FAINT, 0.8)
            yield text(self.left - 6, at + 4, said, anchor="end")
        yield text(FONT, (self.top + self.bottom) / 2, name, turned=-90)

    def columns(
        self, ticks: Sequence[tuple[float, str]], name: str, lines: bool = False
    ) -> Iterator[str]:
        """Labels at values of x, the axis and its name; and lines."""
        for value, said in ticks:
            at = self.x.at(value)
            if lines:
                yield line([(at, self.top), (at, self.bottom)], FAINT, 0.8)
            yield text(at, self.bottom + 17, said)
        yield text((self.left + self.right) / 2, self.bottom + 37, name)

    def ground(self) -> str:
        """The line of the axis x."""
        return line([(self.left, self.bottom), (self.right, self.bottom)], AXIS, 0.8)


def line(
    points: Iterable[tuple[float, float]], colour: str, width: float, dashed: bool = False
) -> str:
    """A line through pixels."""
    how: _Attributes = {"fill": "none", "stroke": colour, "stroke-width": width}
    if dashed:
        how["stroke-dasharray"] = "5 4"
    return _element("polyline", how | {"points": _pixels(points)})


def rectangle(
    at: tuple[float, float], size: tuple[float, float], colour: str, opacity: float
) -> str:
    """A filled rectangle, by its upper left corner, its width and its height."""
    how: _Attributes = {"x": at[0], "y": at[1], "width": size[0], "height": size[1]}
    return _element("rect", how | {"fill": colour, "fill-opacity": opacity})


def shape(points: Iterable[tuple[float, float]], colour: str, opacity: float) -> str:
    """What a line through pixels encloses."""
    how: _Attributes = {"points": _pixels(points), "fill": colour, "fill-opacity": opacity}
    return _element("polygon", how)


def dot(at: tuple[float, float], colour: str, radius: float = 2.5) -> str:
    """A filled circle."""
    return _element("circle", {"cx": at[0], "cy": at[1], "r": radius, "fill": colour})


def ring(at: tuple[float, float], colour: str) -> str:
    """A circle around something."""
    how: _Attributes = {"cx": at[0], "cy": at[1], "r": 6.5, "fill": "none"}
    return _element("circle", how | {"stroke": colour, "stroke-width": 2.2})


def text(
    x: float,
    y: float,
    said: str,
    *,
    anchor: str = "middle",
    colour: str = MUTED,
    size: float = FONT,
    turned: float = 0,
) -> str:
    """A line of text; `turned` by degrees around its anchor."""
    how: _Attributes = {"x": x, "y": y, "text-anchor": anchor, "fill": colour, "font-size": size}
    if turned:
        how["transform"] = f"rotate({_number(turned)} {_number(x)} {_number(y)})"
    return _element("text", how, escape(said))


def width_of(said: str) -> float:
    """About as wide as a text is."""
    return len(said) * FONT * _CHARACTER


def round_values(low: float, high: float, most: int) -> list[float]:
    """Ascending round values from low to high: as many as there are, in at most `most` steps."""
    rough = (high - low) / most
    if not rough > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in _ROUND if part * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def drawing(size: tuple[int, int], label: str, pieces: Iterable[str]) -> str:
    """The `<svg>` of so many CSS pixels, as wide as the page lets it be."""
    opening = f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {size[0]} {size[1]}">'
    return "\n".join([opening, *pieces, "</svg>"])


def _element(name: str, attributes: _Attributes, content: str = "") -> str:
    given = "".join(
        f' {key}="{value if isinstance(value, str) else _number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def _pixels(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _number(value: float) -> str:
    said = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if said == "-0" else said
