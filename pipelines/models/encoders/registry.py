"""Families of encoders: how each is read, checked, fitted and loaded. A new one is a file and a row
here.

A family comes from `family =` in the settings, never from a model's name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import ColumnCard
from shardrank.core.model_settings import ColumnSettings
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder, check_image, check_late, check_sparse
from shardrank.models.encoders.anchor_cards import (
    cross_settings,
    read_anchor_card,
    read_anchors_again,
    sampled_for_anchors,
)
from shardrank.models.encoders.bit_cards import read_bits_card, sampled_vectors
from shardrank.models.encoders.bm25 import read_bm25_card
from shardrank.models.encoders.document_cards import read_document_card
from shardrank.models.encoders.late_sample import sampled_texts
from shardrank.models.encoders.learned_cards import read_learned_card, sampled_passages
from shardrank.models.encoders.looks import (
    Looked,
    asked_late,
    look_anchors,
    look_dense,
    look_image,
    look_late,
    look_sparse,
    look_words,
)
from shardrank.models.encoders.muvera_cards import read_muvera_card
from shardrank.models.image_cards import read_image_card
from shardrank.models.late_cards import read_late_card
from shardrank.models.size import (
    Sides,
    cross_size,
    encoder_sides,
    image_sides,
    late_sides,
    sparse_sides,
)
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
        rows: settings, card → how many passages are drawn; 0: nothing is fitted.
        make: a sample → the codec: safetensors bytes that depend on nothing but it.
        asked: settings → the queries that are read beside the sample; none: there are none.
    """

    rows: Callable[[Any, Any], int]
    make: Callable[[Fitting], bytes]
    asked: Callable[[Any], Asked | None] = lambda settings: None


@dataclass(frozen=True)
class Reads:
    """How much a family takes of texts, known without running it: for forecasts.

    Attributes:
        look: settings, card, texts → what is read and kept of them.
        sides: settings → the sizes of the models that documents and queries go through; none: no
            model runs.
        asked: settings, card, tokens of a query → those that a model reads of it, and as many
            vectors as it has where each has one.
    """

    look: Callable[[Any, Any, Sequence[str]], Looked]
    sides: Callable[[Any], Sides] | None = None
    asked: Callable[[Any, Any, float], float] = lambda settings, card, tokens: tokens + 2


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
        reads: how much it takes of texts; none: it reads another column.
        read_again: settings, a version's card → the card of what is here, where files that only the
            codec was made with may be gone; none: as `read`.
    """

    read: Callable[[Any, ColumnCard | None], ColumnCard]
    load: Callable[[Any, str, Any, Codecs], ColumnEncoder]
    runs_a_model: bool
    fit: Fit | None = None
    reads: Reads | None = None
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


def families() -> list[str]:
    """The names of all, as the settings and cards have them."""
    return list(_FAMILIES)


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


def _read_bits(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return read_bits_card(settings, source)


def _load_bits(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.bits import load_bits  # brings numba

    return load_bits(card, codecs)


def _fit_bits(given: Fitting) -> bytes:
    from shardrank.models.encoders.bit_fitting import fit_bits  # brings numba

    return fit_bits(matrix(pa.chunked_array([given.sample])), given.settings)


def _read_late(settings: Any, source: ColumnCard | None) -> ColumnCard:
    check_late(settings)
    return read_late_card(settings, halve=multiplies_bf16())


def _load_late(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.late import load_column  # brings torch: a second

    return load_column(settings, device, card, codecs.own)


def _fit_late(fitting: Fitting) -> bytes:
    from shardrank.models.encoders.late_fit import fit_late  # brings torch: a second

    return fit_late(fitting.settings, fitting.card, fitting.device, fitting.sample)


def _load_muvera(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.muvera import Muvera  # brings numba

    return Muvera(settings, card.width, codecs.source)


def _load_learned(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.learned import Learned, LearnedCodec  # brings numba

    assert codecs.own is not None
    return Learned(LearnedCodec.of(codecs.own), codecs.source)


def _fit_learned(fitting: Fitting) -> bytes:
    from shardrank.kernels.residual_codes import token_vectors
    from shardrank.models.encoders.learned_fit import fit_learned  # brings torch: a second

    sample = token_vectors(fitting.sample, fitting.source)
    return fit_learned(sample, fitting.settings).to_bytes()


def _load_document(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.documents import DocumentMeans

    return DocumentMeans(card)


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


def _anchor_sides(settings: Any) -> Sides:
    size = cross_size(cross_settings(settings))
    return Sides(size, size)


def _read_image(settings: Any, source: ColumnCard | None) -> ColumnCard:
    check_image(settings)
    return read_image_card(settings)


def _load_image(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.image import load_image  # brings torch: a second

    return load_image(settings, device, card)


_FAMILIES = {
    "dense": Family(
        _read_dense, _load_dense, runs_a_model=True, reads=Reads(look_dense, encoder_sides)
    ),
    "bm25": Family(_read_bm25, _load_bm25, runs_a_model=False, reads=Reads(look_words)),
    "sparse": Family(
        _read_sparse, _load_sparse, runs_a_model=True, reads=Reads(look_sparse, sparse_sides)
    ),
    "bits": Family(
        _read_bits,
        _load_bits,
        runs_a_model=False,
        fit=Fit(lambda _, card: sampled_vectors(card.dim), _fit_bits),
    ),
    "late": Family(
        _read_late,
        _load_late,
        runs_a_model=True,
        fit=Fit(sampled_texts, _fit_late),
        reads=Reads(look_late, late_sides, asked_late),
    ),
    "muvera": Family(read_muvera_card, _load_muvera, runs_a_model=False),
    "learned": Family(
        read_learned_card,
        _load_learned,
        runs_a_model=False,
        fit=Fit(lambda settings, card: sampled_passages(settings), _fit_learned),
    ),
    "document": Family(read_document_card, _load_document, runs_a_model=False),
    "anchors": Family(
        _read_anchors,
        _load_anchors,
        runs_a_model=True,
        fit=Fit(sampled_for_anchors, _fit_anchors, _anchor_queries),
        reads=Reads(look_anchors, _anchor_sides),
        read_again=read_anchors_again,
    ),
    "image": Family(
        _read_image, _load_image, runs_a_model=True, reads=Reads(look_image, image_sides)
    ),
}
