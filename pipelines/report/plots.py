"""The report's charts: each function returns one inline SVG with its text kept as text.

Colours: Okabe and Ito, "Color Universal Design" (2008), which hold for the colour-blind. Equal data
give equal bytes. The page's style sheet sets the font.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardrank.report import figures as formats
from shardrank.report.data import AuditCurve, Histogram, StageTime
from shardrank.report.svg import (
    AXIS,
    FONT,
    INK,
    Area,
    Scale,
    dot,
    drawing,
    line,
    rectangle,
    ring,
    round_values,
    shape,
    text,
    width_of,
)

BLUE, VERMILLION, GREEN, BEFORE = "#0072B2", "#D55E00", "#009E73", AXIS
#: Of the bars of retrievers alone.
_SHADES = (0.9, 0.55, 0.3)
_ORDERS = {"retrieved": BEFORE, "reranked": BLUE}
FLOW_COLOURS = {"index": GREEN, "rank": BLUE}
#: The darkest, of the deepest refinement, to the lightest.
_BLUES = ((0x08, 0x39, 0x5E), (0x00, 0x72, 0xB2), (0x8F, 0xC7, 0xEA))
#: Pixels for the labels and the name of the axis below, of the axis on the left, and beside it.
_BELOW, _NAME, _MARGIN = 44, 24, 12
#: Keys of a legend in a row, and pixels of a row.
_IN_A_ROW, _ROW = 4, 18

Range = tuple[float, float]
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class _Key:
    """What a legend says of a colour."""

    label: str
    colour: str
    opacity: float = 1.0


def recall_curve(audit: AuditCurve) -> str:
    """Recall@k against nprobe, one line a refine depth; the target and the chosen point marked."""
    nprobes = sorted({point.nprobe for point in audit.points})
    recalls = [*(point.recall for point in audit.points), audit.target]
    low, high = min(recalls), max(recalls)
    space = 0.06 * (high - low) or 0.01
    size, values = (700, 340), (low - space, high + space)
    ticks = _ticks(values, 6)
    area = _area((size[0] - 96, size[1]), (nprobes[0], nprobes[-1]), values, ticks, log=True)
    at = [(float(n), str(n)) for n in _apart(nprobes)]
    pieces = [
        *area.rows(ticks, f"Recall@{audit.k}"),
        *area.columns(at, "nprobe (lists searched)", lines=True),
        area.ground(),
        area.level(audit.target),
        text(area.left, area.y.at(audit.target) - 4, f"target {audit.target:g}",
             anchor="start", colour=INK),
        *_depth_lines(area, audit),
    ]  # fmt: skip
    return drawing(size, f"Recall@{audit.k} against nprobe", pieces)


def _apart(nprobes: Sequence[int]) -> list[int]:
    """The values that are labelled: the last, and those not too close to the next one labelled."""
    kept: list[int] = []
    for nprobe in reversed(nprobes):
        if not kept or 1.4 * nprobe <= kept[-1]:
            kept.append(nprobe)
    return kept


def _depth_lines(area: Area, audit: AuditCurve) -> Iterator[str]:
    """Deeper is darker: depth is ordered, so its colours are shades of one hue. With the legend."""
    depths = sorted({point.depth for point in audit.points}, reverse=True)
    beside, y = area.right + 16, (area.top + area.bottom) / 2 - 9 * (len(depths) + 1)
    yield text(beside, y, "refine depth", anchor="start", colour=INK)
    for place, depth in enumerate(depths):
        colour = _shade(place / max(1, len(depths) - 1))
        points = [p for p in audit.points if p.depth == depth]
        points.sort(key=lambda point: point.nprobe)
        pixels = [(area.x.at(p.nprobe), area.y.at(p.recall)) for p in points]
        y += _ROW
        yield line(pixels, colour, 1.8)
        yield from (dot(at, colour) for at in pixels)
        yield line([(beside, y - 4), (beside + 20, y - 4)], colour, 1.8)
        yield text(beside + 26, y, formats.count(depth), anchor="start", colour=INK)
    for point in audit.points:
        if (point.nprobe, point.depth) == audit.chosen:
            yield ring((area.x.at(point.nprobe), area.y.at(point.recall)), VERMILLION)
            yield ring((beside + 10, y + _ROW - 4), VERMILLION)
            yield text(beside + 26, y + _ROW, "chosen", anchor="start", colour=INK)


def _shade(share: float) -> str:
    """Between the three blues, from 0 to 1."""
    place = min(int(2 * share), 1)
    part = 2 * share - place
    pairs = zip(_BLUES[place], _BLUES[place + 1], strict=True)
    return "#" + "".join(f"{round(one + part * (other - one)):02x}" for one, other in pairs)


def distribution(histogram: Histogram, value: str, unit: str, colour: str = BLUE) -> str:
    """A histogram: `value` names the horizontal axis, `unit` what is counted."""
    size, edges, highest = (460, 240), histogram.edges, max(*histogram.counts, 1)
    counted = [at for at in round_values(0, highest, 4) if at == int(at)]
    ticks = [(at, formats.count(int(at))) for at in counted]
    area = _area(size, (edges[0], edges[-1]), (0, 1.05 * highest), ticks, above=24)
    median = histogram.quantile(0.5)
    said = f"median {formats.figure(median)}"
    bars = zip(edges, edges[1:], histogram.counts, strict=False)
    pieces = [
        *area.rows(ticks, unit),
        *area.columns(_ticks((edges[0], edges[-1]), 7), value),
        *(area.bar((a, a + 0.9 * (b - a)), (0, n), colour) for a, b, n in bars if n),
        area.ground(),
        area.upright(median),
        text(area.right, area.top - 8, said, anchor="end", colour=INK),
    ]
    return drawing(size, f"Distribution of {value}", pieces)


def compared(
    first: Histogram, second: Histogram, names: tuple[str, str], value: str, unit: str
) -> str:
    """Two histograms of the same edges, each as shares of its own total, one over the other."""
    size, edges, both = (460, 260), first.edges, (first, second)
    shares = [[count / max(one.total, 1) for count in one.counts] for one in both]
    highest = max(map(max, shares)) or 1.0
    ticks = _ticks((0, highest), 5)
    area = _area(size, (edges[0], edges[-1]), (0, 1.05 * highest), ticks, above=28)
    keys = [
        _Key(f"{name} ({formats.count(one.total)})", colour, 0.55)
        for name, one, colour in zip(names, both, (GREEN, VERMILLION), strict=True)
    ]
    pieces = [
        *area.rows(ticks, f"share of {unit}"),
        *area.columns(_ticks((edges[0], edges[-1]), 7), value),
        *(_stairs(area, edges, s, key) for s, key in zip(shares, keys, strict=True)),
        area.ground(),
        *_legend(area, keys),
    ]
    return drawing(size, f"Distribution of {value}", pieces)


def _stairs(area: Area, edges: Sequence[float], heights: Sequence[float], key: _Key) -> str:
    sides = [area.x.at(edge) for edge in edges]
    tops = [area.y.at(height) for height in heights]
    steps = zip(sides, sides[1:], tops, strict=False)
    outline = [corner for a, b, y in steps for corner in ((a, y), (b, y))]
    closed = [(sides[0], area.bottom), *outline, (sides[-1], area.bottom)]
    return shape(closed, key.colour, key.opacity)


def metric_bars(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """One group of bars a metric: each retriever alone where there are several, as retrieved, and
    as reranked where there is such an order."""
    names = list(metrics["retrieved"])
    size, slanted = (460, 260), len(names) > 4
    highest = 1.15 * max(value for values in metrics.values() for value in values.values())
    top = (highest if highest > 1.15 else min(1.0, highest)) or 1.0
    ticks = _ticks((0, top), 5)
    rows = -(-len(metrics) // _IN_A_ROW) if len(metrics) > 1 else 0
    above, below = _MARGIN + _ROW * rows, _BELOW + 12 * slanted
    area = _area(size, (-0.5, len(names) - 0.5), (0, top), ticks, above=above, below=below)
    keys = [_key(order, place, len(metrics)) for place, order in enumerate(metrics)]
    pieces = [
        *area.rows(ticks, "mean over judged queries"),
        *_groups(area, metrics, keys),
        area.ground(),
        *(_group_name(area, group, name, slanted) for group, name in enumerate(names)),
        *(_legend(area, keys) if rows else ()),
    ]
    return drawing(size, "Metrics before and after reranking", pieces)


def _group_name(area: Area, group: int, name: str, slanted: bool) -> str:
    x, y = area.x.at(group), area.bottom + 17
    return text(x, y, name, anchor="end", turned=-30) if slanted else text(x, y, name)


def _key(order: str, place: int, several: int) -> _Key:
    colour = _ORDERS.get(order, GREEN) if several > 1 else BLUE
    return _Key(order, colour, 1 if order in _ORDERS else _SHADES[place % len(_SHADES)])


def _groups(
    area: Area, metrics: Mapping[str, Mapping[str, float]], keys: Sequence[_Key]
) -> Iterator[str]:
    width = 0.8 / len(metrics)
    for place, (values, key) in enumerate(zip(metrics.values(), keys, strict=True)):
        for group, height in enumerate(values.values()):
            middle = group + (place - (len(metrics) - 1) / 2) * width
            sides = middle - 0.46 * width, middle + 0.46 * width
            yield area.bar(sides, (0, height), key.colour, key.opacity)
            said, size = f"{height:.3f}".lstrip("0"), min(9, 30 / len(metrics))
            yield text(area.x.at(middle), area.y.at(height) - 4, said, colour=INK, size=size)


def stage_bars(stages: Sequence[StageTime]) -> str:
    """Wall seconds of each stage as horizontal bars, in order; the colour says which flow."""
    size = (460, 70 + 26 * len(stages))
    most = (max(stage.seconds for stage in stages) or 1.0) * 1.22
    left = 2 * _MARGIN + max(width_of(stage.stage) for stage in stages)
    across = Scale((0, most), (left, size[0] - _MARGIN))
    area = Area(across, Scale((-0.5, len(stages) - 0.5), (_MARGIN, size[1] - _BELOW)))
    pieces = [*area.columns(_ticks((0, most), 5), "wall seconds", lines=True)]
    for row, stage in enumerate(stages):
        colour, y = FLOW_COLOURS[stage.flow], area.y.at(row) + 4
        pieces += [
            area.bar((0, stage.seconds), (row - 0.35, row + 0.35), colour),
            text(left - 6, y, stage.stage, anchor="end", colour=INK),
            text(across.at(stage.seconds) + 4, y, formats.duration(stage.seconds),
                 anchor="start", colour=INK),
        ]  # fmt: skip
    return drawing(size, "Wall seconds of each stage", [*pieces, area.ground()])


def _area(
    size: tuple[int, int], x: Range, y: Range, ticks: Ticks, *, above: int = _MARGIN,
    below: int = _BELOW, log: bool = False,
) -> Area:  # fmt: skip
    """The area that labels leave: of axis y on the left, and what stands above and below."""
    left = _NAME + max(width_of(said) for _, said in ticks)
    return Area(Scale(x, (left, size[0] - _MARGIN), log), Scale(y, (size[1] - below, above)))


def _ticks(values: Range, most: int) -> Ticks:
    """Round values with as many digits as tell them apart."""
    at = round_values(*values, most)
    step = at[1] - at[0] if len(at) > 1 else abs(at[0]) or 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(value, f"{value:,.{digits}f}".replace("-", "−")) for value in at]


def _legend(area: Area, keys: Sequence[_Key]) -> Iterator[str]:
    """Above the area, from the left."""
    x, y = area.left, area.top - _ROW * -(-len(keys) // _IN_A_ROW) + 4
    for number, key in enumerate(keys):
        if number and number % _IN_A_ROW == 0:
            x, y = area.left, y + _ROW
        yield rectangle((x, y - 9), (10, 10), key.colour, key.opacity)
        yield text(x + 15, y, key.label, anchor="start", colour=INK)
        x += 15 + width_of(key.label) + FONT
