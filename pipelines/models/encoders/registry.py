"""Families of encoders: how each is read, checked, fitted and loaded. A new one is a file and a row
here.

A family comes from `family =` in the settings, never from a model's name.
"""

from typing import Any

import pyarrow as pa

from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import ColumnCard, EncoderCard, SparseCard, own_card
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
from shardrank.models.encoders.beside_cards import beside_again, beside_written
from shardrank.models.encoders.bit_cards import read_bits_card, sampled_vectors
from shardrank.models.encoders.bm25 import read_bm25_card
from shardrank.models.encoders.expanded import ExpandedTexts
from shardrank.models.encoders.family import Asked, Family, Fit, Fitting, Reads
from shardrank.models.encoders.late_sample import sampled_texts
from shardrank.models.encoders.learned_cards import read_learned_card, sampled_passages
from shardrank.models.encoders.looks import (
    asked_late,
    look_anchors,
    look_dense,
    look_image,
    look_late,
    look_sparse,
    look_views,
    look_words,
    look_written,
)
from shardrank.models.encoders.muvera_cards import read_muvera_card
from shardrank.models.encoders.views_cards import bi_encoder, read_views_again, read_views_card
from shardrank.models.encoders.written_cards import (
    filter_settings,
    read_written_again,
    read_written_card,
    sampled_rivals,
)
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
from shardrank.models.writer_cards import writer_size


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
    return beside_written(_own_dense(settings), settings, source)


def _read_dense_again(settings: Any, made: Any) -> ColumnCard:
    return beside_again(_own_dense(settings), settings, made)


def _own_dense(settings: Any) -> EncoderCard:
    check_encoder(settings)
    return read_encoder_card(settings, halve=multiplies_bf16())


def _load_dense(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.averaged import AveragedVectors  # brings torch: a second
    from shardrank.models.encoders.dense import load_encoder
    from shardrank.models.encoders.texts import TextVectors

    encoder = load_encoder(settings, device, own_card(card))
    if card.beside:
        return AveragedVectors(encoder, settings)
    return TextVectors(encoder, settings.stored)


def _read_bm25(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return beside_written(read_bm25_card(settings), settings, source)


def _read_bm25_again(settings: Any, made: Any) -> ColumnCard:
    return beside_again(read_bm25_card(settings), settings, made)


def _load_bm25(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.word_counter import WordCounter  # brings numba

    counter = WordCounter(card)
    return ExpandedTexts(counter, settings.texts) if card.beside else counter


def _read_sparse(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return beside_written(_own_sparse(settings), settings, source)


def _read_sparse_again(settings: Any, made: Any) -> ColumnCard:
    return beside_again(_own_sparse(settings), settings, made)


def _own_sparse(settings: Any) -> SparseCard:
    check_sparse(settings)
    return read_sparse_card(settings)


def _load_sparse(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.sparse import load_sparse  # brings torch: a second
    from shardrank.models.encoders.texts import TextTerms

    terms = TextTerms(load_sparse(settings, device, own_card(card)))
    return ExpandedTexts(terms, settings.texts) if card.beside else terms


def _read_written(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return read_written_card(settings)


def _load_written(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.written import load_written  # brings torch: a second

    return load_written(settings, device, card, codecs.own)


def _fit_written(given: Fitting) -> bytes:
    from shardrank.models.encoders.consistency import fit_rivals  # brings torch: a second

    return fit_rivals(given.settings, given.card, given.device, given.sample)


def _written_sides(settings: Any) -> Sides:
    """Of the language model; no query is written about, so the other side is the filter's."""
    filter_ = filter_settings(settings)
    size = writer_size(settings)
    return Sides(size, encoder_sides(filter_).documents if filter_ else size)


def _read_views(settings: Any, source: ColumnCard | None) -> ColumnCard:
    return read_views_card(settings, source, halve=multiplies_bf16())


def _read_views_again(settings: Any, made: Any) -> ColumnCard:
    return read_views_again(settings, made, halve=multiplies_bf16())


def _load_views(settings: Any, device: str, card: Any, codecs: Codecs) -> ColumnEncoder:
    from shardrank.models.encoders.views import load_views  # brings torch: a second

    return load_views(settings, device, card)


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
        _read_dense,
        _load_dense,
        runs_a_model=True,
        reads=Reads(look_dense, encoder_sides),
        read_again=_read_dense_again,
    ),
    "bm25": Family(
        _read_bm25,
        _load_bm25,
        runs_a_model=False,
        reads=Reads(look_words),
        read_again=_read_bm25_again,
    ),
    "sparse": Family(
        _read_sparse,
        _load_sparse,
        runs_a_model=True,
        reads=Reads(look_sparse, sparse_sides),
        read_again=_read_sparse_again,
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
    "written": Family(
        _read_written,
        _load_written,
        runs_a_model=True,
        fit=Fit(sampled_rivals, _fit_written),
        reads=Reads(look_written, _written_sides),
        read_again=read_written_again,
        spares_deleted=True,
    ),
    "views": Family(
        _read_views,
        _load_views,
        runs_a_model=True,
        reads=Reads(look_views, lambda settings: encoder_sides(bi_encoder(settings))),
        read_again=_read_views_again,
    ),
}
