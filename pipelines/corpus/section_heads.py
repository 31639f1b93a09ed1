"""What stands before the text of a section's passages: title and headings, and their tokens."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import Tokeniser
from shardrank.corpus.cut_rule import TITLE_CHARACTERS, CutRule
from shardrank.corpus.outline import BREADCRUMB, Sections
from shardrank.corpus.validate import Document


class Head(NamedTuple):
    """Title with headings, and its tokens as far as they are seen, int32[n]; `truncated`: less than
    all of it."""

    title: str
    tokens: Int32
    truncated: bool


def head_of(title: str, tokens: Int32, rule: CutRule) -> Head:
    """With half of a passage's room at most."""
    kept = tokens[: rule.room // 2]
    short = title[:TITLE_CHARACTERS]
    return Head(short, kept, len(kept) < len(tokens) or short != title)


def section_heads(
    documents: Sequence[Document], found: Sections, tokeniser: Tokeniser, rule: CutRule
) -> list[Head | None]:
    """Of each section; None: no words are above it, but the document's title."""
    paths = [found.paths[head] if head >= 0 else "" for head in found.heads.tolist()]
    both = zip(found.owners.tolist(), paths, strict=True)
    titles = [_joined(documents[owner].title, path) for owner, path in both if path]
    heads = iter(_heads(titles, tokeniser, rule))
    return [next(heads) if path else None for path in paths]


def _joined(title: str, path: str) -> str:
    return f"{title}{BREADCRUMB}{path}" if title else path


def _heads(titles: Sequence[str], tokeniser: Tokeniser, rule: CutRule) -> Iterator[Head]:
    spans = tokeniser.encode([rule.prompt + title for title in titles])
    return (head_of(title, span.ids, rule) for title, span in zip(titles, spans, strict=True))


def flat_tokens(heads: Sequence[Head]) -> Int32:
    """int32[n], those of all, one behind the other."""
    return np.concatenate([np.empty(0, np.int32), *(head.tokens for head in heads)])
