"""From documents to passages, by whichever rule."""

from collections.abc import Iterable, Sequence

from shardrank.core.protocols import SentenceVectors, Tokeniser
from shardrank.corpus.cut_rule import CutRule, Passage, full_text
from shardrank.corpus.passages import cut_document
from shardrank.corpus.validate import Document


def cut_documents(
    documents: Sequence[Document],
    tokeniser: Tokeniser,
    rule: CutRule,
    sentences: SentenceVectors | None = None,
) -> Iterable[list[Passage]]:
    """The passages of each document, in order: one, of a picture without text; none, where a text
    has no token and there is no picture. `sentences` are compared where the rule says so."""
    if rule.by == "tokens":
        return _windows(documents, tokeniser, rule)
    from shardrank.corpus.structure import cut_by_structure  # parsers, which windows want not

    cut = cut_by_structure(documents, tokeniser, rule, sentences)
    both = zip(documents, cut, strict=True)
    return (found or _picture(document, tokeniser, rule) for document, found in both)


def _windows(
    documents: Sequence[Document], tokeniser: Tokeniser, rule: CutRule
) -> Iterable[list[Passage]]:
    plain = _without_tags(documents) if rule.markup == "html" else documents
    spans = tokeniser.encode([full_text(document, rule) for document in plain])
    return (cut_document(d, tokens, rule) for d, tokens in zip(plain, spans, strict=True))


def _picture(document: Document, tokeniser: Tokeniser, rule: CutRule) -> list[Passage]:
    """The picture of a document without text, under its title; [] where it has none."""
    alone = document._replace(text="")
    return [found for each in _windows([alone], tokeniser, rule) for found in each]


def _without_tags(documents: Sequence[Document]) -> list[Document]:
    from shardrank.corpus.html_text import read_html

    texts = read_html([document.text for document in documents], False).texts
    return [d._replace(text=text) for d, text in zip(documents, texts, strict=True)]
