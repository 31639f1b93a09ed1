"""Cutting documents by what they are made of: sentences, paragraphs, sections, lines.

All documents of a call are cut together, by loops over arrays: a call of one of them, or an array
made, for each document would take as long as its tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shardrank.core.arrays import Int64
from shardrank.core.protocols import SentenceVectors, Tokeniser, TokenSpans
from shardrank.corpus.cut_rule import CutRule, Passage, full_text
from shardrank.corpus.html_text import read_html
from shardrank.corpus.markdown import read_markdown
from shardrank.corpus.outline import Reader, Sections, line_sections, sections
from shardrank.corpus.plain_text import read_plain
from shardrank.corpus.section_heads import Head, flat_tokens, head_of, section_heads
from shardrank.corpus.sentences import sentence_marks
from shardrank.corpus.topics import mark_topics
from shardrank.corpus.validate import Document
from shardrank.kernels.packing_loops import (
    CutSections,
    CutTokens,
    first_tokens,
    lay_tokens,
    pack,
)
from shardrank.kernels.sentence_loops import PARAGRAPH, SENTENCE, TOPIC, UInt8

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
    "similarity": TOPIC,
}


@dataclass(frozen=True, eq=False)
class _Read:
    """Documents as they are cut: without their markup, and what is known of them.

    Attributes:
        documents: n of them.
        spans: of each, the tokens of its `full_text`.
        before: int64[n], characters of that before its text.
        bounds: int64[n + 1], where their texts begin, as these lie one behind the other.
        marks: uint8[characters], what begins at each: see `sentence_marks`.
        sections: theirs.
        firsts: int64[n + 1], the first section of each.
        heads: of each section; None: its document's title.
    """

    documents: Sequence[Document]
    spans: Sequence[TokenSpans]
    before: Int64
    bounds: Int64
    marks: UInt8
    sections: Sections
    firsts: Int64
    heads: Sequence[Head | None]


def cut_by_structure(
    documents: Sequence[Document],
    tokeniser: Tokeniser,
    rule: CutRule,
    sentences: SentenceVectors | None = None,
) -> list[list[Passage]]:
    """The passages of each document, in order; [] where its text has no token.

    A passage of a section has the headings above it behind its title, each after BREADCRUMB.
    A document that fits and has no section is one passage, with exactly the tokens of `full_text`.
    """
    read = _read(documents, tokeniser, rule)
    uncut = [_uncut(read, number, rule) for number in range(len(documents))]
    asked = np.array([n for n, passages in enumerate(uncut) if passages is None], np.int64)
    if sentences is not None:
        _mark_topics(read, asked, sentences)
    cut = iter(_cut(read, asked, rule) if len(asked) else ())
    return [next(cut) if passages is None else passages for passages in uncut]


def _read(documents: Sequence[Document], tokeniser: Tokeniser, rule: CutRule) -> _Read:
    outlines = READERS[rule.markup]([d.text for d in documents], rule.by == "headings")
    plain = [d._replace(text=text) for d, text in zip(documents, outlines.texts, strict=True)]
    whole = [full_text(document, rule) for document in plain]
    found = line_sections(outlines) if rule.by == "lines" else sections(outlines)
    return _Read(
        documents=plain,
        spans=tokeniser.encode(whole),
        before=np.array([len(w) - len(d.text) for w, d in zip(whole, plain, strict=True)], int),
        bounds=outlines.bounds,
        marks=sentence_marks(outlines.codes, outlines.blocks),
        sections=found,
        firsts=np.searchsorted(found.owners, np.arange(len(plain) + 1)),
        heads=section_heads(plain, found, tokeniser, rule),
    )


def _uncut(read: _Read, number: int, rule: CutRule) -> list[Passage] | None:
    """The passages of a document that has none, or is one; None: it is to be cut."""
    document, spans = read.documents[number], read.spans[number]
    if spans.end <= read.before[number]:
        return []
    first, last = read.firsts[number : number + 2]
    if last - first == 1 and read.heads[first] is None and len(spans.ids) <= rule.room:
        return [Passage(document.title, document.text, spans.ids, False)]
    return None


def _mark_topics(read: _Read, asked: Int64, sentences: SentenceVectors) -> None:
    places = [read.bounds[number : number + 2].tolist() for number in asked.tolist()]
    texts = [read.documents[number].text for number in asked.tolist()]
    mark_topics(texts, [read.marks[begin:end] for begin, end in places], sentences)


def _cut(read: _Read, asked: Int64, rule: CutRule) -> list[list[Passage]]:
    """The passages of some documents."""
    tokens = _tokens(read, asked)
    heads, places = _sections(read, asked, tokens, rule)
    packed = pack(tokens, places, read.marks, rule.overlap, _KEPT[rule.by])
    bounds = np.empty(packed.shape[1] + 1, np.int64)
    ids = lay_tokens(tokens.ids, flat_tokens(heads), places.fronts, packed, bounds)
    texts = [read.documents[number].text for number in asked.tolist()]
    found: list[list[Passage]] = [[] for _ in texts]
    each = zip(*packed[[0, 1, 4, 5]].tolist(), pairwise(bounds.tolist()), strict=True)
    for section, owner, begin, end, (low, high) in each:
        head, text = heads[section], texts[owner][begin:end]
        found[owner].append(Passage(head.title, text, ids[low:high], head.truncated))
    return found


def _tokens(read: _Read, asked: Int64) -> CutTokens:
    spans = [read.spans[number] for number in asked.tolist()]
    places = [each.places() for each in spans]
    before = read.before[asked]
    return CutTokens(
        bounds=np.cumsum([0, *(len(each.ids) for each in spans)], dtype=np.int64),
        ids=np.concatenate([each.ids for each in spans]),
        starts=np.concatenate([each.starts for each in places]),
        ends=np.concatenate([each.ends for each in places]),
        words=np.concatenate([each.words for each in places]),
        before=before,
        moved=read.bounds[asked] - before,
    )


def _sections(
    read: _Read, asked: Int64, tokens: CutTokens, rule: CutRule
) -> tuple[list[Head], CutSections]:
    """Those of some documents, and what stands before each."""
    found = read.sections
    rows = np.flatnonzero(np.isin(found.owners, asked))
    owners = np.searchsorted(asked, found.owners[rows]).astype(np.int64)
    titles = _titles(read, asked, tokens, rule)
    both = zip(rows.tolist(), owners.tolist(), strict=True)
    heads = [read.heads[row] or titles[owner] for row, owner in both]
    fronts = np.cumsum([0, *(len(head.tokens) for head in heads)], dtype=np.int64)
    rooms = rule.room - np.diff(fronts)
    return heads, CutSections(owners, found.begins[rows], found.ends[rows], fronts, rooms)


def _titles(read: _Read, asked: Int64, tokens: CutTokens, rule: CutRule) -> list[Head]:
    """What stands before a section without headings above it: the document's title."""
    counts = first_tokens(tokens) - tokens.bounds[:-1]
    both = zip(asked.tolist(), counts.tolist(), strict=True)
    return [
        head_of(read.documents[number].title, read.spans[number].ids[:count], rule)
        for number, count in both
    ]
