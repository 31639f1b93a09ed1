"""Markdown, as CommonMark has it and markdown-it-py reads it: blocks and headings.

The text stays as it is; only the lines of headings are no part of passages, which carry their
words. Headings within lists and quotes are text of these. https://spec.commonmark.org/0.31.2/

A text of paragraphs and headings of # alone needs no parser: one expression finds its blocks.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from shardrank.corpus.outline import Outlines, Written, outlines_of
from shardrank.kernels.sentence_loops import TEXT, VERBATIM

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n|$)")
#: A line that may begin anything but a paragraph or a heading of #, or be the line under one; and
#: what else the parser reads in a way of its own.
_OTHER = re.compile(
    r"""^[ ]{0,3}(?: [-+*](?:[ \t]|$)           # an item
                  | [-_*=][-_*= \t]*$           # a rule, or what makes a heading of the line above
                  | \d{1,9}[.)](?:[ \t]|$)      # an item
                  | [><\[] | ``` | ~~~ )        # a quote, HTML, a definition, a fence
      | ^(?: [ ]{4} | [ ]{0,3}\t )             # code
      | [\r\0]""",
    re.MULTILINE | re.VERBOSE,
)
#: A heading: its marks and words; or a paragraph, up to a blank line or a heading.
_SIMPLE = re.compile(
    r"""^[ ]{0,3}(\#{1,6})(?![^ \t\n])(.*)$
      | ^[ \t]*[^ \t\n].*(?:\n(?![ ]{0,3}\#{1,6}(?:[ \t]|$))[ \t]*[^ \t\n].*)*""",
    re.MULTILINE | re.VERBOSE,
)
_LEAVES = {
    "paragraph_open": TEXT,
    "heading_open": TEXT,
    "html_block": TEXT,
    "fence": VERBATIM,
    "code_block": VERBATIM,
}


def read_markdown(texts: Sequence[str], headings: bool) -> Outlines:
    """The outlines of texts in Markdown, which stay as they are."""
    return outlines_of([_read(text, headings) for text in texts])


@cache
def _parser() -> MarkdownIt:
    """One that looks for blocks alone."""
    made = MarkdownIt("commonmark")
    made.core.ruler.enableOnly(["normalize", "block"])
    return made


def _read(text: str, headings: bool) -> Written:
    return (_parsed if _OTHER.search(text) else _simple)(text, headings)


def _simple(text: str, headings: bool) -> Written:
    """Of a text without anything but paragraphs and headings of #."""
    spans: list[tuple[int, int, int]] = []
    words: list[str] = []
    for found in _SIMPLE.finditer(text):
        begin, end = _stripped(text, *found.span())
        if begin >= end:
            continue
        marks, rest = found.groups()
        level = len(marks) if marks and headings else TEXT
        spans.append((begin, end, level))
        if level > 0:
            words.append(" ".join(_unclosed(rest).split()))
    return Written(text, spans, words)


def _unclosed(words: str) -> str:
    """A heading's words without the marks that close it, which white space is before."""
    words = words.rstrip(" \t")
    bare = words.rstrip("#")
    return bare if bare.endswith((" ", "\t")) else words


def _parsed(text: str, headings: bool) -> Written:
    lines = [0, *accumulate(len(line) for line in _LINE.findall(text))]
    spans: list[tuple[int, int, int]] = []
    words: list[str] = []
    tokens = _parser().parse(text)
    for n, token in enumerate(tokens):
        if token.map is None or token.type not in _LEAVES:
            continue
        begin, end = _stripped(text, lines[token.map[0]], lines[token.map[1]])
        if begin >= end or (spans and begin <= spans[-1][0]):
            continue
        level = _level(token) if headings else _LEAVES[token.type]
        spans.append((begin, end, level))
        if level > 0:
            words.append(" ".join(tokens[n + 1].content.split()))
    return Written(text, spans, words)


def _level(token: Token) -> int:
    heads = token.type == "heading_open" and token.level == 0
    return int(token.tag[1]) if heads else _LEAVES[token.type]


def _stripped(text: str, begin: int, end: int) -> tuple[int, int]:
    """The characters without white space around them."""
    piece = text[begin:end]
    left = begin + len(piece) - len(piece.lstrip())
    return left, begin + len(piece.rstrip())
