"""Families of encoders: how each is read, checked and loaded. A new one is a file and a row here.

A family comes from `family =` in the settings, never from a model's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shardrank.core.cards import ColumnCard
from shardrank.core.model_settings import ColumnSettings
from shardrank.core.protocols import ColumnEncoder
from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder, check_sparse
from shardrank.models.encoders.bm25 import read_bm25_card
from shardrank.models.sparse_cards import read_sparse_card


@dataclass(frozen=True)
class Family:
    """A family of encoders.

    Attributes:
        read: settings → card. Raises InputError where the model is absent or not understood.
        load: settings, device, card → encoder.
        runs_a_model: on a pool of actors, and on a GPU where there is one.
    """

    read: Callable[[Any], ColumnCard]
    load: Callable[[Any, str, Any], ColumnEncoder]
    runs_a_model: bool


def family_of(settings: ColumnSettings) -> Family:
    """That of an encoder's settings."""
    return _FAMILIES[settings.family]


def _read_dense(settings: Any) -> ColumnCard:
    check_encoder(settings)
    return read_encoder_card(settings, halve=multiplies_bf16())


def _load_dense(settings: Any, device: str, card: Any) -> ColumnEncoder:
    from shardrank.models.encoders.dense import load_encoder  # brings torch: a second
    from shardrank.models.encoders.texts import TextVectors

    return TextVectors(load_encoder(settings, device, card), settings.stored)


def _load_bm25(settings: Any, device: str, card: Any) -> ColumnEncoder:
    from shardrank.models.encoders.word_counter import WordCounter  # brings numba

    return WordCounter(card)


def _read_sparse(settings: Any) -> ColumnCard:
    check_sparse(settings)
    return read_sparse_card(settings)


def _load_sparse(settings: Any, device: str, card: Any) -> ColumnEncoder:
    from shardrank.models.encoders.sparse import load_sparse  # brings torch: a second
    from shardrank.models.encoders.texts import TextTerms

    return TextTerms(load_sparse(settings, device, card))


_FAMILIES = {
    "dense": Family(_read_dense, _load_dense, runs_a_model=True),
    "bm25": Family(read_bm25_card, _load_bm25, runs_a_model=False),
    "sparse": Family(_read_sparse, _load_sparse, runs_a_model=True),
}
