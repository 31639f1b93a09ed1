"""Families of encoders: how each is read, checked, fitted and loaded. A new one is a file and a row
here.

A family comes from `family =` in the settings, never from a model's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardrank.core.cards import ColumnCard
from shardrank.core.model_settings import ColumnSettings
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder, check_sparse
from shardrank.models.encoders.anchor_cards import (
    read_anchor_card,
    read_anchors_again,
    sampled_passages,
)
from shardrank.models.encoders.bm25 import read_bm25_card
from shardrank.models.sparse_cards import read_sparse_card


@dataclass(frozen=True)
class Fitting:
    """What a codec is fitted with.

    Attributes:
        settings, card: of the encoder.
        device: torch's name of a device.
        source: the codec of the column that it is made of, if it has one.
        sample: passages drawn at random, as `ColumnEncoder.column` reads them.
        asked: strings, the queries of the file that the settings name; none: they name none.
    """

    settings: Any
    card: Any
    device: str
    source: bytes | None
    sample: pa.Array
    asked: pa.Array | None = None


@dataclass(frozen=True)
class Asked:
    """A file of queries, and how many different ones are needed."""

    path: str
    least: int


@dataclass(frozen=True)
class Fit:
    """How a family is fitted.

    Attributes:
        rows: settings, card → how many passages are drawn.
        make: a sample → the codec: safetensors bytes that depend on nothing but it.
        asked: settings → the queries that are read beside the sample; none: there are none.
    """

    rows: Callable[[Any, Any], int]
    make: Callable[[Fitting], bytes]
    asked: Callable[[Any], Asked | None] = lambda settings: None


@dataclass(frozen=True)
class Family:
    """A family of encoders.

    Attributes:
        read: settings, and the card of the column that it is made of (none: of texts) → card, whose
            fingerprint then holds that one's. Raises InputError where the model is absent or not
            understood, and where it cannot be made of such a column.
        load: settings, device, card, what was fitted → encoder.
        runs_a_model: on a pool of actors, and on a GPU where there is one.
        fit: what is learnt of a sample before any column is made; none: nothing is.
        read_again: settings, a version's card → the card of what is here, where files that only the
            codec was made with may be gone; none: as `read`.
    """

    read: Callable[[Any, ColumnCard | None], ColumnCard]
    load: Callable[[Any, str, Any, Codecs], ColumnEncoder]
    runs_a_model: bool
    fit: Fit | None = None
    read_again: Callable[[Any, Any], ColumnCard] | None = None


def read_again(settings: ColumnSettings, made: ColumnCard, source: ColumnCard | None) -> ColumnCard:
    """The card of the encoder here, for one that made a version's column. Raises as
    `Family.read`."""
    family = family_of(settings)
    if family.read_again is None:
        return family.read(settings, source)
    return family.read_again(settings, made)


def family_of(settings: ColumnSettings) -> Family:
    """That of an encoder's settings."""
    return _FAMILIES[settings.family]


def _read_dense(settings: Any, source: ColumnCard | None) -> ColumnCard:
    check_encoder(settings)
    return read_encoder_card(settings, halve=multiplies_bf16())


def _load_dense(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.dense import load_encoder  # brings torch: a second
    from shardrank.models.encoders.texts import TextVectors

    return TextVectors(load_encoder(settings, device, card), settings.stored)


def _read_bm25(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return read_bm25_card(settings)


def _load_bm25(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.word_counter import WordCounter  # brings numba

    return WordCounter(card)


def _read_sparse(settings: Any, source: ColumnCard | None) -> ColumnCard:
    check_sparse(settings)
    return read_sparse_card(settings)


def _load_sparse(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.sparse import load_sparse  # brings torch: a second
    from shardrank.models.encoders.texts import TextTerms

    return TextTerms(load_sparse(settings, device, card))


def _read_anchors(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return read_anchor_card(settings)


def _load_anchors(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.anchors import load_anchors  # brings torch: a second

    return load_anchors(settings, device, card, codecs.own)


def _fit_anchors(given: Fitting) -> bytes:
    from shardrank.models.encoders.anchor_fit import fit_anchors  # brings torch: a second

    return fit_anchors(given.settings, given.card, given.device, given.sample, given.asked)


def _anchor_queries(settings: Any) -> Asked | None:
    path: str | None = settings.queries
    return None if path is None else Asked(path, settings.anchor_queries)


_FAMILIES = {
    "dense": Family(_read_dense, _load_dense, runs_a_model=True),
    "bm25": Family(_read_bm25, _load_bm25, runs_a_model=False),
    "sparse": Family(_read_sparse, _load_sparse, runs_a_model=True),
    "anchors": Family(
        _read_anchors,
        _load_anchors,
        runs_a_model=True,
        fit=Fit(sampled_passages, _fit_anchors, _anchor_queries),
        read_again=read_anchors_again,
    ),
}
