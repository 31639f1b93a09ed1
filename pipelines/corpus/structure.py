"""Cutting documents by what they are made of: sentences, paragraphs, sections, lines."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import Tokeniser, TokenSpans
from shardrank.corpus.cut_rule import TITLE_CHARACTERS, CutRule, Passage, full_text
from shardrank.corpus.html_text import read_html
from shardrank.corpus.markdown import read_markdown
from shardrank.corpus.outline import Outlines, Reader, Section, line_sections, sections
from shardrank.corpus.plain_text import read_plain
from shardrank.corpus.sentences import characters, sentence_marks
from shardrank.corpus.validate import Document
from shardrank.kernels.packing_loops import pack
from shardrank.kernels.sentence_loops import PARAGRAPH, SENTENCE, UInt8

#: What stands between a title and the headings below it.
BREADCRUMB = " > "

READERS: dict[str, Reader] = {
    "plain": read_plain,
    "markdown": read_markdown,
    "html": read_html,
}

#: The least piece that is kept whole where it fits.
_KEPT = {
    "sentences": SENTENCE,
    "paragraphs": PARAGRAPH,
    "headings": PARAGRAPH,
    "lines": SENTENCE,
}


class _Read(NamedTuple):
    """A document as it is cut: without its markup, and what is known of it."""

    document: Document
    spans: TokenSpans
    sections: Sequence[Section]
    marks: UInt8


class _Head(NamedTuple):
    """What stands before a section's text: title with headings, and its tokens as far as they are
    seen, int32[n]."""

    title: str
    tokens: Int32
    truncated: bool


def cut_by_structure(
    documents: Sequence[Document], tokeniser: Tokeniser, rule: CutRule
) -> Iterator[list[Passage]]:
    """The passages of each document, in order; [] where its text has no token.

    A passage of a section has the headings above it behind its title, each after BREADCRUMB.
    A document that fits and has no section is one passage, with exactly the tokens of `full_text`.
    """
    outlines = READERS[rule.markup]([d.text for d in documents], rule.by == "headings")
    plain = [d._replace(text=text) for d, text in zip(documents, outlines.texts, strict=True)]
    spans = tokeniser.encode([full_text(document, rule) for document in plain])
    reads = list(_reads(plain, spans, outlines, rule))
    heads = _heads(reads, tokeniser, rule)
    return (_cut(read, heads, rule) for read in reads)


def _reads(
    documents: Sequence[Document],
    spans: Sequence[TokenSpans],
    outlines: Outlines,
    rule: CutRule,
) -> Iterator[_Read]:
    marks, at = sentence_marks(characters("".join(outlines.texts)), outlines.blocks), 0
    for number, (document, tokens) in enumerate(zip(documents, spans, strict=True)):
        text = document.text
        if rule.by == "lines":
            found = line_sections(text)
        else:
            found = sections(text, outlines.headings.get(number, ()))
        yield _Read(document, tokens, found, marks[at : at + len(text)])
        at += len(text)


def _title(document: Document, section: Section) -> str:
    return BREADCRUMB.join([*([document.title] if document.title else []), *section.path])


def _heads(reads: Sequence[_Read], tokeniser: Tokeniser, rule: CutRule) -> Iterator[_Head]:
    """Of each section that has a path, in order."""
    titles = [_title(r.document, s) for r in reads for s in r.sections if s.path]
    spans = tokeniser.encode([rule.prompt + title for title in titles])
    for title, tokens in zip(titles, spans, strict=True):
        yield _head(title, tokens.ids, rule)


def _head(title: str, tokens: Int32, rule: CutRule) -> _Head:
    kept = tokens[: rule.room // 2]
    short = title[:TITLE_CHARACTERS]
    return _Head(short, kept, len(kept) < len(tokens) or short != title)


def _cut(read: _Read, heads: Iterator[_Head], rule: CutRule) -> list[Passage]:
    document, spans = read.document, read.spans
    own = [next(heads) if section.path else None for section in read.sections]
    before = len(full_text(document, rule)) - len(document.text)
    if spans.end <= before:
        return []
    if not any(own) and len(read.sections) == 1 and len(spans.ids) <= rule.room:
        return [Passage(document.title, document.text, spans.ids, False)]
    places = spans.places()
    # A token that begins with the space before the text belongs to the text.
    first = int(np.searchsorted(places.ends, before, side="right"))
    bare = _head(document.title, spans.ids[:first], rule)
    above = [head or bare for head in own]
    packed = pack(
        places.ends,
        places.words,
        read.marks,
        before,
        np.array([section.begin for section in read.sections], np.int64),
        np.array([section.end for section in read.sections], np.int64),
        np.array([rule.room - len(head.tokens) for head in above], np.int64),
        rule.overlap,
        _KEPT[rule.by],
    )
    starts, ends = places.starts, places.ends
    return [
        Passage(
            title=above[section].title,
            text=document.text[max(int(starts[one]) - before, 0) : int(ends[end - 1]) - before],
            tokens=np.concatenate([above[section].tokens, spans.ids[one:end]]),
            truncated=above[section].truncated,
        )
        for section, one, end in packed.tolist()
    ]
