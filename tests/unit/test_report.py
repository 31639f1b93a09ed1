"""The page is safe, self-contained, complete and deterministic, with all data and with none."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.evaluation import Coverage
from shardrank.report import figures as formats
from shardrank.report import plots
from shardrank.report.data import (
    AuditCurve,
    Example,
    Histogram,
    Line,
    ReportCounts,
    ReportData,
    StageTime,
    even_edges,
)
from shardrank.report.figures import snippet
from shardrank.report.page import render
from shardrank.report.queries import Effect, QueryList, QueryRow, QueryTable
from shardrank.version.recall import AuditPoint

HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>'\"&{{ 7*7 }}"
SECTIONS = ["stages", "audit", "data", "scores", "metrics", "queries", "examples", "settings"]
VOID = {"meta", "img", "br", "link", "input"}


def minimal() -> ReportData:
    """An index run over an exact index: no queries, no judgements, no reranking."""
    return ReportData(
        title="Corpus",
        created="2026-11-21",
        command="shardrank index corpus index",
        versions={},
        settings={},
        counts=ReportCounts(10, 10, 0, 10, 10, 0, 0, 0),
        audit=AuditCurve(100, 0.95, (), None, "exact"),
    )


def full(text: str = "a title") -> ReportData:
    line = Line(1, text, text, text, 0.5, True, 0)
    edges = even_edges(0.0, 1.0, 4)
    points = tuple(AuditPoint(n, d, 1 - 1 / (n * d), n * d) for n in (1, 4) for d in (10, 100))
    metrics = {"nDCG@10": 0.4, "MRR@10": 0.5, "Recall@100": 0.8}
    return ReportData(
        title=text,
        created="2026-11-21",
        command=text,
        versions={"ray": text},
        settings={"encoder.model": text},
        counts=ReportCounts(12, 10, 2, 10, 20, 3, 5, 50),
        stages=(
            StageTime("index", "embed", 4, 1, 20, 2.5),
            StageTime("rank", "rerank", 2, 0, 50, 1.5),
        ),
        audit=AuditCurve(100, 0.95, points, (4, 100), "ivfpq"),
        lengths=Histogram.of([3, 5, 200], even_edges(3, 200)),
        retrieval_scores=Histogram.of([0.1, 0.9], edges),
        rerank_logits=Histogram.of([0.1, 0.9], edges),
        metrics={"retrieved": metrics, "reranked": {**metrics, "nDCG@10": 0.5, "MRR@10": 0.45}},
        coverage=Coverage(judged=6, ranked=5, both=4),
        rejected_by_reason={text: 2},
        examples=(Example(text, text, (line,), (replace(line, moved=3, relevant=None),)),),
        queries=table_of(text),
    )


def table_of(text: str) -> QueryTable:
    """Two queries, one of which reranking raises."""
    row = QueryRow(text, text, (0.25, 0.5), (0.75, 0.5), 2.5, 1)
    lists = (QueryList("Highest nDCG@10", (row,)),)
    effects = (Effect("nDCG@10", 1, 1, 0), Effect("MRR@10", 0, 2, 0))
    rows = (row, replace(row, query_id="q2", after=(0.25, 0.5)))
    return QueryTable(("nDCG@10", "MRR@10"), True, rows, 2, lists, effects)


class Page(HTMLParser):
    """Collects what a browser would see: open elements, attributes, texts, unbalanced tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def full_html() -> str:
    return render(full())


def test_hostile_text_is_shown_and_never_becomes_markup() -> None:
    page = Page(render(full(HOSTILE)))
    assert page.tags == Page(render(full())).tags
    assert not {"img", "iframe", "object", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    # title, h1, command, version, setting, reason, query and its id, two lines of title,
    # snippet and id, and of the list of queries a text and an id: all of it is there, as text.
    assert page.text.count(HOSTILE) == 16


def test_rows_in_the_page_are_the_ones_that_were_given() -> None:
    """No text ends the element of JSON, and the script that reads it is the only one allowed."""
    harmless = "</script><b>harmless</b><!-- <script> \u2028 & é"
    html = render(full(harmless))
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 2
    rows = json.loads(scripts[0])
    assert rows["text"] == [harmless, harmless]
    assert rows["id"] == [harmless, "q2"]
    assert (rows["before"], rows["after"]) == ([[0.25] * 2, [0.5] * 2], [[0.75, 0.25], [0.5] * 2])
    digest = base64.b64encode(hashlib.sha256(scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "script-src" not in render(minimal())


@pytest.mark.parametrize(
    ("metrics", "reranked", "words"),
    [
        (("AP",), True, "30,000 queries that are judged and ranked those 2 are in the table below "
                        "of which reranking changed AP most."),
        (("AP",), False, "with the lowest AP."),
        ((), True, "Of 30,000 ranked queries those 2 are in the table below of which reranking "
                   "moved the first 10 documents furthest."),
    ],
)  # fmt: skip
def test_queries_that_are_left_out_of_the_table_are_told(
    metrics: tuple[str, ...], reranked: bool, words: str
) -> None:
    table = replace(table_of("x"), metrics=metrics, reranked=reranked, total=30_000, lists=())
    assert words in render(replace(minimal(), queries=table))


def test_all_that_the_script_looks_for_is_in_the_page() -> None:
    html = render(full())
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)[0]
    markup = html.replace(script, "")
    for name in re.findall(r'"[#.]([a-z]+)', script):
        assert re.search(rf'(id|class)="[^"]*\b{name}\b', markup), name
    keys = re.findall(r'data-key="(\w+)"', markup)
    assert keys == ["query", "before", "after", "change", "moved", "fresh"]
    assert all(f"    {key}: (n) =>" in script for key in keys)


@pytest.mark.parametrize("data", [minimal(), full(), full(HOSTILE)])
def test_nothing_is_loaded_from_anywhere(data: ReportData) -> None:
    html = render(data)
    page = Page(html)
    targets = [value or "" for name, value in page.attributes if name in LOADING]
    assert [target for target in targets if not target.startswith("#")] == []
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html


LOADING = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"}


@pytest.mark.parametrize("data", [minimal(), full()])
def test_every_section_is_there(data: ReportData) -> None:
    page = Page(render(data))
    assert [value for name, value in page.attributes if name == "id" and value in SECTIONS] == (
        SECTIONS
    )


def test_missing_data_is_said_and_not_drawn() -> None:
    html = render(minimal())
    assert "<svg" not in html
    for sentence in (
        "This run recorded no stages.",
        "The index is exact",
        "No row was rejected.",
        "Nothing was reranked",
        "No judgements were given",
        "This run recorded no examples.",
        "Nothing was judged or reranked, so no query stands out.",
    ):
        assert sentence in html


def test_full_data_are_drawn_and_said(full_html: str) -> None:
    assert full_html.count("<svg") == 6
    text = re.sub(r"\s+", " ", Page(full_html).text)
    for words in (
        "0.400 → 0.500 +25.0 % by reranking",
        "−10.0 %",
        "±0 %",
        "▲ 3",
        "✓ relevant",
        "✓ adds up",
        "3 passages (15.0 %) exceed",
        "Not ranked: 2 of 6 judged queries, which count as 0.",
        "1 ranked query without judgements: left out.",
        "Reranking lowers MRR@10: shardrank tune",
        "nprobe 4 and refine depth 100: of the 100 documents",
        "Each query costs 100.0 % of what the dearest setting tried costs.",
        "target 0.95",
    ):
        assert words in text


def test_only_retrieved_metrics_are_shown_without_a_change() -> None:
    data = full()
    assert data.metrics is not None
    html = render(replace(data, metrics={"retrieved": data.metrics["retrieved"]}))
    assert "by reranking" not in html
    assert "Nothing was reranked." in html


def test_counts_that_do_not_reconcile_are_pointed_out() -> None:
    html = render(replace(full(), counts=ReportCounts(13, 10, 2, 10, 20, 3, 5, 50)))
    assert "does not add up" in html


def test_an_audit_that_missed_its_target_shows_the_best_point() -> None:
    points = (AuditPoint(1, 10, 0.3, 1.0), AuditPoint(8, 10, 0.7, 2.0))
    html = render(replace(full(), audit=AuditCurve(10, 0.9, points, None, "ivfpq")))
    assert "No setting reached a Recall@10 of 0.9" in html
    assert "the best was 0.700, with nprobe 8 and refine depth 10" in re.sub(r"\s+", " ", html)


def test_equal_data_give_equal_bytes(full_html: str) -> None:
    assert render(full()) == full_html


def test_charts_carry_no_dates_ids_or_namespaces() -> None:
    svg = plots.stage_bars(full().stages)
    assert svg.startswith('<svg role="img" aria-label="Wall seconds of each stage"')
    assert "http" not in svg
    assert "<metadata" not in svg
    assert "<g id=" not in svg


def test_a_last_nprobe_next_to_a_power_of_two_takes_its_label() -> None:
    points = tuple(AuditPoint(n, 10, 0.5, 1.0) for n in (256, 512, 1024, 1100))
    svg = plots.recall_curve(AuditCurve(100, 0.9, points, None, "ivfpq"))
    assert [n for n in (256, 512, 1024, 1100) if f">{n}</text>" in svg] == [256, 512, 1100]


def test_text_in_charts_is_escaped_and_is_no_formula() -> None:
    svg = plots.stage_bars((StageTime("index", "<b>$x^2$", 1, 0, 1, 1.0),))
    assert ">&lt;b&gt;$x^2$</text>" in svg


numbers = st.lists(st.floats(-50, 50), min_size=1, max_size=50)


@given(numbers, numbers)
def test_histograms_add_like_their_values(left: list[float], right: list[float]) -> None:
    edges = even_edges(-50.0, 50.0, 7)
    both = Histogram.of(left, edges) + Histogram.of(right, edges)
    assert both == Histogram.of(left + right, edges)
    assert both.total == len(left) + len(right)


def test_histograms_with_different_edges_do_not_add() -> None:
    with pytest.raises(ValueError, match="different edges"):
        Histogram((0.0, 1.0), (1,)) + Histogram((0.0, 2.0), (1,))


def test_quantile_interpolates_within_a_bin() -> None:
    histogram = Histogram((0.0, 1.0, 3.0), (2, 2))
    assert [histogram.quantile(q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0, 0.5, 1, 2, 3]


def test_constant_values_still_have_a_histogram() -> None:
    assert Histogram.of([0.5, 0.5], even_edges(0.5, 0.5, 3)).total == 2


def test_snippet_is_one_short_line() -> None:
    assert snippet("two\n words") == "two words"
    assert snippet("alpha beta gamma", 12) == "alpha beta…"
    assert snippet("x" * 50, 10) == "x" * 10 + "…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.06, "0.06 s"),
        (9.999, "10.0 s"),
        (59.97, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_never_show_sixty_of_anything(seconds: float, words: str) -> None:
    assert formats.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.06, "0.1 s"),
        (20.5, "20 s"),
        (119.4, "119 s"),
        (119.6, "2.0 min"),
        (7169, "119 min"),
        (7171, "2.0 h"),
        (9.96 * 3600, "10 h"),
        (9 * 86_400, "9.0 days"),
        (1e9, "11,574 days"),
    ],
)
def test_guesses_are_coarse(seconds: float, words: str) -> None:
    assert formats.coarse(seconds) == words


def test_small_numbers_are_formatted_honestly() -> None:
    assert formats.change(0.0, 0.5) == "–"
    assert formats.change(0.5, 0.5001) == "±0 %"
    assert formats.rate(10, 0.0) == "–"
    assert formats.share(0, 0) == "0.0 %"
    assert formats.figure(-4.618) == "−4.62"
    assert formats.figure(12345.6) == "12,346"
    assert [formats.size(n) for n in (9, 999.4e3, 999.6e3, 2.5e9, 4e15)] == [
        "0.009 kB",
        "999 kB",
        "1 MB",
        "2.5 GB",
        "4,000 TB",
    ]
