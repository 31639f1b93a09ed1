"""The report's charts: each function returns one inline SVG with its text kept as text.

Colours: Okabe and Ito, "Color Universal Design" (2008), which hold for the colour-blind. The SVGs
are deterministic: fixed salt for ids, no metadata. The page's style sheet sets the font.
"""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from shardrank.report import figures as formats
from shardrank.report.data import AuditCurve, Histogram, StageTime

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, MUTED, FAINT, BEFORE = "#1f2933", "#5f6b7a", "#e4e8ed", "#a9b4c0"
#: Of the bars of retrievers alone.
_SHADES = (0.9, 0.55, 0.3)
_ORDERS = {"retrieved": BEFORE, "reranked": BLUE}
FLOW_COLOURS = {"index": GREEN, "rank": BLUE}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "shardrank",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": BEFORE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "legend.frameon": False,
}


def recall_curve(audit: AuditCurve) -> str:
    """Recall@k against nprobe, one line a refine depth; the target and the chosen point marked."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(700, 340)
        _depth_lines(axes, audit)
        axes.axhline(audit.target, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        nprobes = sorted({point.nprobe for point in audit.points})
        axes.annotate(
            f"target {audit.target:g}",
            (nprobes[0], audit.target),
            xytext=(0, 4),
            textcoords="offset points",
        )
        _mark_chosen(axes, audit)
        axes.set_xscale("log", base=2)
        ticks = _apart(nprobes)
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("nprobe (lists searched)")
        axes.set_ylabel(f"Recall@{audit.k}")
        axes.legend(title="refine depth", loc="center left", bbox_to_anchor=(1.01, 0.5))
        return _svg(figure, f"Recall@{audit.k} against nprobe")


def _apart(nprobes: Sequence[int]) -> list[int]:
    """The values that are labelled: the last, and those not too close to the next one labelled."""
    kept: list[int] = []
    for nprobe in reversed(nprobes):
        if not kept or 1.4 * nprobe <= kept[-1]:
            kept.append(nprobe)
    return kept


def _depth_lines(axes: Axes, audit: AuditCurve) -> None:
    """Deeper is darker: depth is ordered, so its colours are shades of one hue."""
    depths = sorted({point.depth for point in audit.points}, reverse=True)
    shades = LinearSegmentedColormap.from_list("blues", ["#08395e", BLUE, "#8fc7ea"])
    for place, depth in enumerate(depths):
        points = [point for point in audit.points if point.depth == depth]
        points.sort(key=lambda point: point.nprobe)
        axes.plot(
            [point.nprobe for point in points],
            [point.recall for point in points],
            color=shades(place / max(1, len(depths) - 1)),
            marker="o",
            markersize=4,
            linewidth=1.8,
            label=formats.count(depth),
        )


def _mark_chosen(axes: Axes, audit: AuditCurve) -> None:
    for point in audit.points:
        if (point.nprobe, point.depth) == audit.chosen:
            axes.plot(
                [point.nprobe],
                [point.recall],
                marker="o",
                markersize=12,
                markerfacecolor="none",
                markeredgecolor=VERMILLION,
                markeredgewidth=2.2,
                linestyle="none",
                label="chosen",
                zorder=5,
            )


def distribution(histogram: Histogram, value: str, unit: str, colour: str = BLUE) -> str:
    """A histogram: `value` names the horizontal axis, `unit` what is counted."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(460, 240)
        edges = np.asarray(histogram.edges)
        widths = np.diff(edges)
        axes.bar(edges[:-1], histogram.counts, widths * 0.9, align="edge", color=colour)
        median = histogram.quantile(0.5)
        axes.axvline(median, color=INK, linewidth=1.3, linestyle=(0, (4, 3)))
        axes.set_title(f"median {formats.figure(median)}", loc="right", fontsize=11, color=INK)
        axes.set_xlabel(value)
        axes.set_ylabel(unit)
        axes.grid(visible=False, axis="x")
        _count_axis(axes)
        return _svg(figure, f"Distribution of {value}")


def compared(
    first: Histogram, second: Histogram, names: tuple[str, str], value: str, unit: str
) -> str:
    """Two histograms of the same edges, each as shares of its own total, one over the other."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(460, 260)
        edges = np.asarray(first.edges)
        for histogram, name, colour in zip(
            (first, second), names, (GREEN, VERMILLION), strict=True
        ):
            shares = np.asarray(histogram.counts) / max(histogram.total, 1)
            label = f"{name} ({formats.count(histogram.total)})"
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.55, label=label)
        axes.set_xlabel(value)
        axes.set_ylabel(f"share of {unit}")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, borderaxespad=0)
        return _svg(figure, f"Distribution of {value}")


def _count_axis(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def metric_bars(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """One group of bars a metric: each retriever alone where there are several, as retrieved, and
    as reranked where there is such an order."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(460, 260)
        names = list(metrics["retrieved"])
        width = 0.8 / len(metrics)
        for place, (order, values) in enumerate(metrics.items()):
            at = np.arange(len(names)) + (place - (len(metrics) - 1) / 2) * width
            colour = _ORDERS.get(order, GREEN) if len(metrics) > 1 else BLUE
            shade = 1 if order in _ORDERS else _SHADES[place % len(_SHADES)]
            heights = [values[name] for name in names]
            bars = axes.bar(at, heights, width * 0.92, color=colour, alpha=shade, label=order)
            said = [f"{height:.3f}".lstrip("0") for height in heights]
            axes.bar_label(bars, said, padding=3, size=min(9, 30 / len(metrics)))
        axes.set_xticks(range(len(names)), names)
        axes.tick_params(axis="x", labelrotation=30 if len(names) > 4 else 0)
        highest = 1.15 * _highest(metrics)
        axes.set_ylim(0, (highest if highest > 1.15 else min(1.0, highest)) or 1.0)
        axes.set_ylabel("mean over judged queries")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="x")
        if len(metrics) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=4, borderaxespad=0)
        return _svg(figure, "Metrics before and after reranking")


def _highest(metrics: Mapping[str, Mapping[str, float]]) -> float:
    return max(value for values in metrics.values() for value in values.values())


def stage_bars(stages: Sequence[StageTime]) -> str:
    """Wall seconds of each stage as horizontal bars, in order; the colour says which flow."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(460, 70 + 26 * len(stages))
        seconds = [stage.seconds for stage in stages]
        colours = [FLOW_COLOURS[stage.flow] for stage in stages]
        bars = axes.barh(range(len(stages)), seconds, 0.7, color=colours)
        axes.bar_label(bars, [formats.duration(s) for s in seconds], padding=4, color=INK)
        axes.set_yticks(range(len(stages)), [stage.stage for stage in stages], color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, (max(seconds) or 1.0) * 1.22)
        axes.set_xlabel("wall seconds")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="y")
        return _svg(figure, "Wall seconds of each stage")


def _canvas(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure whose SVG is width × height CSS pixels: SVG counts 72 units an inch."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, label: str) -> str:
    """The figure as an `<svg>` element for HTML: no prolog, metadata, namespaces, group ids."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'(<svg[^>]*) width="[^"]*pt"', r"\1", text)
    text = re.sub(r'(<svg[^>]*) height="[^"]*pt"', r"\1", text)
    opening = f'<svg role="img" aria-label="{escape(label)}"'
    return opening + text[text.index("<svg") + len("<svg") :]
