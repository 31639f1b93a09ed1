"""From documents to passages, by whichever rule."""

from collections.abc import Iterable, Sequence

from shardrank.core.protocols import Tokeniser
from shardrank.corpus.cut_rule import CutRule, Passage, full_text
from shardrank.corpus.passages import cut_document
from shardrank.corpus.validate import Document


def cut_documents(
    documents: Sequence[Document], tokeniser: Tokeniser, rule: CutRule
) -> Iterable[list[Passage]]:
    """The passages of each document, in order; [] where its text has no token."""
    if rule.by != "tokens":
        from shardrank.corpus.structure import cut_by_structure  # parsers, which windows want not

        return cut_by_structure(documents, tokeniser, rule)
    plain = _without_tags(documents) if rule.markup == "html" else documents
    spans = tokeniser.encode([full_text(document, rule) for document in plain])
    return (cut_document(d, tokens, rule) for d, tokens in zip(plain, spans, strict=True))


def _without_tags(documents: Sequence[Document]) -> list[Document]:
    from shardrank.corpus.html_text import read_html

    texts = read_html([document.text for document in documents], False).texts
    return [d._replace(text=text) for d, text in zip(documents, texts, strict=True)]
