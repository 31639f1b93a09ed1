"""The card of exact-term matching over a stored sparse column (Zhuang & Zuccon 2021, TILDEv2,
arXiv:2108.08513): what runs is `index/term_pairs.py`, and no model but the encoder of queries."""

from shardrank.core.cards import Bm25Card, ReadColumn, RerankerCard, SparseCard, weights_of
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.reranker_settings import TermsSettings
from shardrank.models.cards import own_or_set
from shardrank.models.rerankers.beside import Beside, HeldColumn

#: Cards of columns whose values are terms with weights, or counts of words.
_SPARSE = Bm25Card | SparseCard


def read_terms(settings: TermsSettings, beside: Beside) -> RerankerCard:
    """The card of the reranker that the settings name, by the card of its column; where that counts
    words, by their counts and the rule that weights them.

    Raises:
        SettingsError: there is no such column, or it holds no terms; or the rule is given for one
            that holds weights.
    """
    held = _column(settings, beside)
    card = held.card
    assert isinstance(card, _SPARSE)
    rule = [held.counts, settings.k1, settings.b] if isinstance(card, Bm25Card) else []
    return RerankerCard(
        name=f"terms of {settings.of}",
        fingerprint=fingerprint(["terms-1", card.fingerprint, *rule]),
        weights_sha256=weights_of(card),
        tokeniser_fingerprint=getattr(card, "tokeniser_fingerprint", ""),
        max_tokens=getattr(card, "max_tokens", 0),
        interpolation=float(own_or_set(settings.interpolation, 1.0)),
        prompt="",
        dtype="fp32",
        family=settings.family,
        sees="columns",
        reads=ReadColumn(settings.of, 0),
    )


def _column(settings: TermsSettings, beside: Beside) -> HeldColumn:
    """The column that is named."""
    column = beside.columns.get(settings.of)
    if column is not None and isinstance(column.card, _SPARSE):
        _refuse_rule(settings, column)
        return column
    lacks = "no such column" if column is None else f"a column of family {column.card.family}"
    names = (name for name, each in beside.columns.items() if isinstance(each.card, _SPARSE))
    held = ", ".join(names)
    raise SettingsError(
        f"[[reranker]] of family terms names {settings.of!r}, and the index has {lacks}.",
        f"Columns of terms: {held}."
        if held
        else "Give it terms: an [[encoder]] of family sparse or bm25, and index again.",
    )


def _refuse_rule(settings: TermsSettings, column: HeldColumn) -> None:
    given = settings.model_fields_set & {"k1", "b"}
    if given and isinstance(column.card, SparseCard):
        raise SettingsError(
            f"[[reranker]] of family terms sets {min(given)}, and {settings.of!r} holds weights, "
            "which no rule makes of counts.",
            "Leave it out, or name a column of family bm25.",
        )
