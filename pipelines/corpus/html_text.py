"""HTML as text, by Python's own parser: blocks, headings, and the words in them.

A text of plain tags alone is cut at them by one expression, which takes a fraction of the time.

White space is as a browser shows it, blocks lie between blank lines, and what no reader sees is
left out: scripts, styles, templates, comments and the title of the window.
"""

import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser

from shardrank.corpus.outline import Outlines, Written, outlines_of
from shardrank.kernels.sentence_loops import TEXT, VERBATIM

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "optgroup",
        "option",
        "p",
        "pre",
        "search",
        "section",
        "summary",
        "table",
        "tbody",
        "textarea",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_KEPT_LINES = frozenset({"pre", "textarea"})
_CELLS = frozenset({"td", "th"})
_UNSEEN = frozenset({"script", "style", "template", "title"})
#: Elements whose content no expression should cut.
_RAW = _UNSEEN | {"textarea", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"}
#: A tag: whether it ends an element, its name, and attributes without < and >.
_TAG = re.compile(
    r"""<(/?)([a-zA-Z][a-zA-Z0-9:-]*)
        (?:[ \t\n\r\f]+[a-zA-Z][-\w:.]*(?:=(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+))?)*
        [ \t\n\r\f]*/?>""",
    re.VERBOSE,
)
_BETWEEN = "\n\n"


def read_html(texts: Sequence[str], headings: bool) -> Outlines:
    """The outlines of texts in HTML, without their tags."""
    return outlines_of([_read(text, headings) for text in texts])


def _read(text: str, headings: bool) -> Written:
    found = _blocks(text)
    spans, at = [], 0
    for words, level in found:
        shown = level if headings or level < 0 else TEXT
        spans.append((at, at + len(words), shown))
        at += len(words) + len(_BETWEEN)
    heads = [words for words, level in found if headings and level > 0]
    return Written(_BETWEEN.join(words for words, _ in found), spans, heads)


def _blocks(text: str) -> list[tuple[str, int]]:
    """The words of each block, and its level."""
    pieces = _TAG.split(text)
    broken = any("<" in data for data in pieces[::3])
    if broken or not _RAW.isdisjoint(map(str.lower, pieces[2::3])):
        return _parsed(text)
    reader = _Reader()
    reader.feed_pieces(pieces)
    reader.end_block()
    return reader.found


def _parsed(text: str) -> list[tuple[str, int]]:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.end_block()
    return reader.found


class _Reader(HTMLParser):
    """Gathers `found`: the words of each block, and its level."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, int]] = []
        self._words: list[str] = []
        self._level = TEXT
        self._unseen = 0

    def feed_pieces(self, pieces: Sequence[str]) -> None:
        """What is between tags, whether the next one ends an element, and its name, in turn."""
        self._words.append(unescape(pieces[0]))
        for ends, name, data in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            if ends:
                self.handle_endtag(name.lower())
            else:
                self.handle_starttag(name.lower(), ())
            if data:
                self._words.append(unescape(data))

    def parse_html_declaration(self, i: int) -> int:
        """`<![` begins a comment, as in HTML 5; Python's parser raises where it is no CDATA."""
        if self.rawdata.startswith("<![", i):
            return self.parse_bogus_comment(i)
        return super().parse_html_declaration(i)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.end_block()
            self._unseen = 0 if tag == "body" else self._unseen
            self._level = VERBATIM if tag in _KEPT_LINES else _HEADINGS.get(tag, TEXT)
        elif tag == "br":
            self._words.append("\n")
        elif tag in _CELLS:
            self._words.append(" ")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        if tag not in _UNSEEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(self._unseen - 1, 0)
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.end_block()

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._words.append(data)

    def end_block(self) -> None:
        """Keep the block so far, if there is anything in it, and begin one of text."""
        words = "".join(self._words)
        kept = words.strip("\r\n") if self._level == VERBATIM else " ".join(words.split())
        if kept.strip():
            self.found.append((kept, self._level))
        self._words.clear()
        self._level = TEXT
