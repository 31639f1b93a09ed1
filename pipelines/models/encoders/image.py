"""A model of pictures and texts on one device: both become vectors of one space (Radford et al.
2021, CLIP, arXiv:2103.00020; Zhai et al. 2023, SigLIP, arXiv:2303.15343)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import vector_column
from shardrank.core.cards import ImageCard
from shardrank.core.image_settings import ImageSettings
from shardrank.core.pictured import Pictured
from shardrank.core.progress import tell
from shardrank.models.cards import check_fingerprint
from shardrank.models.encoders.image_inputs import PicturePixels, TextIds, text_ids
from shardrank.models.folder.image_folder import read_image_folder
from shardrank.models.forward.two_towers import TwoTowers, load_two_towers
from shardrank.models.image_cards import read_image_card

_BATCH, _GPU_BATCH = 8, 128
_BATCH_TEXTS = 64


class ImageEncoder:
    """Pictures and texts → vectors of length 1.

    Equal input lists give equal bytes on one machine and thread count, batch size included. The
    vector of one picture may differ in the last bits between two lists.
    """

    def __init__(
        self, card: ImageCard, towers: TwoTowers, inputs: tuple[PicturePixels, TextIds], batch: int
    ) -> None:
        self.card = card
        self._towers, self._batch = towers, batch
        self._pixels, self._ids = inputs

    def pictures(self, pictures: Sequence[bytes]) -> Float32:
        """float32[n, dim]: one vector per picture. Raises InputError for one that is none."""

        def step(batch: Sequence[bytes]) -> Tensor:
            return self._towers.images(self._pixels(batch))

        return self._run(pictures, self._batch, step)

    def texts(self, texts: Sequence[str]) -> Float32:
        """float32[n, dim]: one vector per text, cut where it is too long."""

        def step(batch: Sequence[str]) -> Tensor:
            return self._towers.texts(*self._ids(batch))

        return self._run(texts, _BATCH_TEXTS, step)

    @torch.inference_mode()
    def _run(
        self, given: Sequence[Any], size: int, step: Callable[[Sequence[Any]], Tensor]
    ) -> Float32:
        found = np.empty((len(given), self.card.dim), np.float32)
        for start in range(0, len(given), size):
            batch = given[start : start + size]
            found[start : start + len(batch)] = step(batch).float().cpu().numpy()
            tell((start + len(batch)) / len(given))
        return unit(found)


class ImageColumn:
    """Passages' texts and pictures → vectors as they are stored (protocol: ColumnEncoder)."""

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder
        self._kind = np.float16 if encoder.card.stored == "fp16" else np.float32

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp16 or fp32>[dim]: a row a passage, of strings, or of texts with
        pictures."""
        vectors = self._mixed(read, self._encoder.card.document_prompt)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: whoever asked refuses it
            return vector_column(vectors.astype(self._kind))

    def queries(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp32>[dim], a row a query, likewise."""
        return vector_column(self._mixed(read, self._encoder.card.query_prompt))

    def _mixed(self, read: pa.Array, prompt: str) -> Float32:
        given = Pictured.of(read)
        shown = np.array([each is not None for each in given.pictures], np.bool_)
        told = ~shown
        if self._encoder.card.mix == "mean":
            told |= np.array([bool(text.strip()) for text in given.texts], np.bool_)
        vectors = np.zeros((len(read), self._encoder.card.dim), np.float32)
        pictures = [picture for picture in given.pictures if picture is not None]
        texts = [prompt + text for text, wanted in zip(given.texts, told, strict=True) if wanted]
        vectors[shown] += self._encoder.pictures(pictures)
        vectors[told] += self._encoder.texts(texts)
        both = shown & told
        vectors[both] = unit(vectors[both])
        return vectors


def unit(vectors: Float32) -> Float32:
    """Rows divided by their length; 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    found: Float32 = (vectors / lengths).astype(np.float32)
    return found


def load_image(settings: ImageSettings, device: str, planned: ImageCard) -> ImageColumn:
    """What makes the column that the settings ask for.

    Args:
        settings: a table [[encoder]] with family = "image".
        device: torch's name of a device, such as "cpu" or "cuda".
        planned: the card that the run was planned with, as which the model here must be.

    Raises:
        InputError: the model is absent, incomplete or unsupported.
        IntegrityError: the model here is another one.
    """
    card = read_image_card(settings.model_copy(update={"dtype": planned.dtype}))
    check_fingerprint(settings.model, planned.fingerprint, card.fingerprint)
    folder = read_image_folder(settings)
    towers = load_two_towers(folder, card.dtype, device)
    inputs = PicturePixels(folder.pictures), text_ids(folder)
    batch = settings.batch_images or (_BATCH if device == "cpu" else _GPU_BATCH)
    return ImageColumn(ImageEncoder(card, towers, inputs, batch))
