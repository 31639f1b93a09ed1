"""The card of a column of a cross-encoder's scores, read without loading the model: as
`shardrank.models.cards`. Imports no torch."""

from pathlib import Path

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.cards import AnchorCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint, sha256_hex
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_reranker_card
from shardrank.models.complete import check_reranker

#: Of how anchors are drawn and scores become vectors: counted up where results change.
_REVISION = 1
#: Passages that are drawn for each that is needed: some have no text, or another's.
_SPARE = 1.25


def cross_settings(settings: AnchorSettings) -> CrossSettings:
    """Those of the cross-encoder alone, as a [[reranker]] has them."""
    same = ("model", "revision", "max_tokens", "dtype", "trust_remote_code", "batch_tokens")
    return CrossSettings.model_validate({name: getattr(settings, name) for name in same})


def read_anchor_card(settings: AnchorSettings) -> AnchorCard:
    """The card of the scores that the settings ask for.

    Raises:
        InputError: there is no such model, it is no cross-encoder, or its files say something that
            is not understood.
        SettingsError: a setting asks for more than the model has, or names no file of queries.
    """
    return _card(settings, "" if settings.queries is None else _file_sha256(settings.queries))


def read_anchors_again(settings: AnchorSettings, made: AnchorCard) -> AnchorCard:
    """As `read_anchor_card`, of an encoder whose anchors a version has: the file that they were
    drawn from may be gone."""
    return _card(settings, made.queries_sha256)


def _card(settings: AnchorSettings, asked: str) -> AnchorCard:
    cross = cross_settings(settings)
    check_reranker(cross)
    card = read_reranker_card(cross)
    counts = [settings.anchor_queries, settings.anchor_passages]
    return AnchorCard(
        name=settings.model,
        fingerprint=fingerprint(
            ["anchors", _REVISION, card.fingerprint, counts, asked, settings.stored]
        ),
        model=card.fingerprint,
        weights_sha256=card.weights_sha256,
        tokeniser_fingerprint=card.tokeniser_fingerprint,
        dim=settings.anchor_queries,
        anchor_passages=settings.anchor_passages,
        queries_sha256=asked,
        max_tokens=card.max_tokens,
        dtype=card.dtype,
        stored=settings.stored,
    )


def sampled_for_anchors(settings: AnchorSettings, card: AnchorCard) -> int:
    """How many passages are drawn from the index."""
    queries = settings.anchor_queries if settings.queries is None else 0
    return int(_SPARE * (settings.anchor_passages + queries)) + 8


def _file_sha256(path: str) -> str:
    try:
        return sha256_hex(Path(path).expanduser().read_bytes())
    except OSError as error:
        raise SettingsError(
            f"The file {path!r} of anchor queries cannot be read: {error.strerror}.",
            "Set encoder's queries to a file on this machine, or to none.",
        ) from error
