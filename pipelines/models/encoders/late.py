"""A model of token vectors on one device: texts → a vector for each token (Khattab & Zaharia 2020,
ColBERT, arXiv:2004.12832; Santhanam et al. 2022, ColBERTv2, arXiv:2112.01488)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from safetensors import safe_open
from torch.nn.functional import linear

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.cards import LateCard
from shardrank.core.errors import IntegrityError
from shardrank.core.late_settings import LateSettings
from shardrank.core.token_vectors import TokenVectors, lists, vector_lists
from shardrank.kernels.residual_codes import ResidualCodec
from shardrank.models.cards import check_fingerprint, settled
from shardrank.models.encoders.dense import load_transformer
from shardrank.models.encoders.late_inputs import (
    LateSide,
    document_side,
    late_inputs,
    query_side,
)
from shardrank.models.encoders.steps import Finish, Step, make_step
from shardrank.models.encoders.token_embedder import TokenEmbedder
from shardrank.models.encoders.token_pooling import pooled, pooled_sizes
from shardrank.models.folder.late_folder import LateFolder, read_late_folder
from shardrank.models.folder.late_modules import LINEAR, LateTower
from shardrank.models.folder.modules import Dense
from shardrank.models.folder.weights import find_weights
from shardrank.models.forward.batches import make_runner
from shardrank.models.late_cards import read_late_card
from shardrank.models.text.tokens import load_tokeniser

#: How vectors float32[t, d] are kept: [t, width] of any type.
Keep = Callable[[Float32], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Kept:
    """Token vectors of texts as they are stored.

    Attributes:
        ends: int64[n + 1], where each text's begin.
        values: [t, width], vectors or codes.
        broken: bool[n], texts of which a vector is not finite; theirs are zeros.
    """

    ends: Int64
    values: npt.NDArray[Any]
    broken: Bool


class LateEncoder:
    """Texts → the vectors of their tokens that count.

    Equal input lists give equal bytes on one machine and thread count. The vectors of one text may
    differ in the last bits between two lists, since the size of a product orders its sums.
    """

    def __init__(self, folder: LateFolder, card: LateCard, embedder: TokenEmbedder) -> None:
        self.card = card
        self._folder, self._embedder = folder, embedder

    def documents(self, texts: Sequence[str], keep: Keep, kind: npt.DTypeLike, width: int) -> Kept:
        """The vectors of texts (title and text of a passage in one), as `keep` makes them.

        Args:
            texts: without the prompt, which is put before them here.
            keep: makes [t, width] in the type `kind` of float32[t, dim].
            kind, width: of what is kept.
        """
        inputs = late_inputs(self._embedder.tokeniser, texts, self._document_side)
        sizes = pooled_sizes(inputs.counted, self._folder.tower.pooling)
        found = _room(sizes, kind, width)
        for some in self._embedder.embed(inputs):
            broken = _broken(some.vectors, some.sizes)
            found.broken[some.rows] = broken
            vectors = np.where(broken.repeat(some.sizes)[:, None], np.float32(0), some.vectors)
            fewer = self._pooled(vectors, some.sizes)
            found.values[_places(found.ends, some.rows, sizes)] = keep(fewer)
        return found

    def queries(self, texts: Sequence[str]) -> TokenVectors:
        """The vectors of queries, which may be NaN or infinite; in float32, as no query is
        pooled."""
        inputs = late_inputs(self._embedder.tokeniser, texts, self._query_side)
        sizes = inputs.counted
        found = _room(sizes, np.float32, self.card.dim)
        for some in self._embedder.embed(inputs):
            found.values[_places(found.ends, some.rows, sizes)] = some.vectors
        return TokenVectors(found.ends, found.values)

    def _pooled(self, vectors: Float32, sizes: Int64) -> Float32:
        tower = self._folder.tower
        done = tower.normalised and tower.pooling.factor == 1
        return pooled(vectors, sizes, tower.pooling, tower.pooling.normalise and not done)

    @cached_property
    def _document_side(self) -> LateSide:
        card, tokeniser = self.card, self._embedder.tokeniser
        return document_side(self._folder, tokeniser, card.max_tokens, card.document_prompt)

    @cached_property
    def _query_side(self) -> LateSide:
        card, tokeniser = self.card, self._embedder.tokeniser
        return query_side(self._folder, tokeniser, card.query_max_tokens, card.query_prompt)


class TokenColumn:
    """Texts → their token vectors as they are stored (protocol: ColumnEncoder)."""

    def __init__(self, encoder: LateEncoder, codec: ResidualCodec | None) -> None:
        self._encoder, self._codec = encoder, codec

    def column(self, read: pa.Array) -> pa.Array:
        """List<FixedSizeList<fp16>[dim]>, or List<FixedSizeBinary[width]> of codes, a row a text;
        null where the model gives a number that is not finite."""
        texts, codec = read.to_pylist(), self._codec
        if codec is None:
            found = self._encoder.documents(texts, _halved, np.float16, self._encoder.card.dim)
            return vector_lists(found.ends, found.values, found.broken)
        found = self._encoder.documents(texts, codec.encode, np.uint8, codec.width)
        kind, held = pa.binary(codec.width), pa.py_buffer(found.values)
        values = pa.FixedSizeBinaryArray.from_buffers(kind, len(found.values), [None, held])
        return lists(found.ends, values, found.broken)

    def queries(self, read: pa.Array) -> pa.Array:
        """List<FixedSizeList<fp32>[dim]>, a row a text."""
        return self._encoder.queries(read.to_pylist()).array(pa.float32())


def load_column(
    settings: LateSettings, device: str, planned: LateCard, codec: bytes | None
) -> TokenColumn:
    """What makes the column that the settings ask for; raises as `load_late`.

    Args:
        settings, device, planned: as there.
        codec: what codes are of, where the card says that they are stored.

    Raises:
        IntegrityError: the codec is none, or of vectors of another width.
    """
    encoder = load_late(settings, device, planned)
    if not planned.bits:
        return TokenColumn(encoder, None)
    held = ResidualCodec.of(codec or b"")
    if (held.dim, held.bits) != (planned.dim, planned.bits):
        raise IntegrityError(
            f"The codes of {settings.model!r} are of {held.dim} components of {held.bits} bits, "
            f"not {planned.dim} of {planned.bits}.",
            "Index again.",
        )
    return TokenColumn(encoder, held)


def load_late(settings: LateSettings, device: str, planned: LateCard | None = None) -> LateEncoder:
    """Load the model of token vectors that the settings name.

    Args:
        settings: a table [[encoder]] with family = "late".
        device: torch's name of a device, such as "cpu" or "cuda".
        planned: the card that the run was planned with, as which the model here must be.

    Raises:
        InputError: the model is absent, incomplete or unsupported.
        IntegrityError: the model here is another one.
        SettingsError: a setting asks for more than the model has.
    """
    settings = settled(settings, planned)
    card = read_late_card(settings)
    check_fingerprint(settings.model, (planned or card).fingerprint, card.fingerprint)
    folder = read_late_folder(settings)
    source = folder.tower.source
    runner = make_runner(source, settings.batch_tokens, device, card.dtype)
    network = load_transformer(source, card.dtype, settings.trust_remote_code, runner)
    finish = Finish(_steps(folder.tower, runner.device), card.dim, card.dim, normalise=False)
    embedder = TokenEmbedder(network, load_tokeniser(source), finish, runner)
    return LateEncoder(folder, card, embedder)


def _steps(tower: LateTower, device: torch.device) -> tuple[Step, ...]:
    def made(step: Any) -> Step:
        inner = tower.inner and isinstance(step, Dense)
        return _inner(tower.source.transformer, device) if inner else make_step(step, device)

    return tuple(made(step) for step in tower.steps)


def _inner(folder: Path, device: torch.device) -> Step:
    """The map that lies among the transformer's weights."""
    for file in find_weights(folder).files:
        with safe_open(file, "pt") as tensors:
            if LINEAR in tensors.keys():  # noqa: SIM118  # no mapping
                return partial(linear, weight=tensors.get_tensor(LINEAR).float().to(device))
    raise AssertionError(folder)  # `read_late_tower` saw it


def _room(sizes: Int64, kind: npt.DTypeLike, width: int) -> Kept:
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return Kept(ends, np.empty((ends[-1], width), kind), np.zeros(len(sizes), np.bool_))


def _places(ends: Int64, rows: Int64, sizes: Int64) -> Int64:
    """int64[t]: where the vectors of some texts go."""
    mine = sizes[rows]
    begins = ends[rows] - (np.cumsum(mine) - mine)
    return np.arange(mine.sum()) + begins.repeat(mine)


def _broken(vectors: Float32, sizes: Int64) -> Bool:
    """bool[b]: whether a number of a text's vectors is not finite."""
    wrong = np.concatenate([[0], np.cumsum(~np.isfinite(vectors).all(axis=1))])
    ends = np.cumsum(sizes)
    found: Bool = wrong[ends] > wrong[ends - sizes]
    return found


def _halved(vectors: Float32) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):  # infinite: whoever asked refuses it
        return vectors.astype(np.float16)
