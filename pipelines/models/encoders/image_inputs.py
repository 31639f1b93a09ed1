"""Pictures and texts as a model of both takes them, equal to those of transformers to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.errors import InputError
from shardrank.models.folder.image_folder import ImageFolder
from shardrank.models.folder.picture_input import PictureInput
from shardrank.models.text.templates import Template
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from shardrank.pictures.framing import framed
from shardrank.pictures.opening import READ, BadPicture, decoded


class PicturePixels:
    """Pictures → a model's input.

    A byte of a colour has 256 values, so what becomes of each is looked up. (The library computes
    it: in float64, rounded to float32, times the scale; then in float32.)
    """

    def __init__(self, how: PictureInput) -> None:
        self._framing = how.framing
        scaled = (np.arange(256) * how.scale).astype(np.float32)[:, None]
        mean, std = np.array(how.mean, np.float32), np.array(how.std, np.float32)
        self._values = np.ascontiguousarray(((scaled - mean) / std).T)

    def __call__(self, pictures: Sequence[bytes]) -> Float32:
        """float32[n, 3, height, width]. Raises InputError for a picture that cannot be decoded."""
        height, width = self._framing.seen
        found = np.empty((len(pictures), 3, height, width), np.float32)
        for one, picture in zip(found, pictures, strict=True):
            pixels = framed(_decoded(picture), self._framing)
            for colour in range(3):
                one[colour] = self._values[colour][pixels[..., colour]]
        return found


@dataclass(frozen=True)
class TextIds:
    """Texts → ids, and which of them are real.

    Attributes:
        tokeniser: of the model.
        positions: a longer text is cut to it; its special tokens stay.
        filler: the id that texts are filled up with.
        whole: whether all are filled up to `positions`, or to the longest beside them.
        masked: whether the model is told what is real.
    """

    tokeniser: FastTokeniser
    positions: int
    filler: int
    whole: bool
    masked: bool

    def __call__(self, texts: Sequence[str]) -> tuple[Int64, Int64 | None]:
        """int64[n, t] ids, and as many ones where they are real; none: the model is not told."""
        template = self.tokeniser.single_template()
        room = self.positions - template.specials
        rows = [template.ids(each.ids[:room]) for each in self.tokeniser.encode(texts)]
        length = self.positions if self.whole else max(map(len, rows), default=0)
        ids = np.full((len(rows), length), self.filler, np.int64)
        real = np.zeros((len(rows), length), np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            real[number, : len(row)] = 1
        return ids, real if self.masked else None


def text_ids(folder: ImageFolder) -> TextIds:
    """How the model's texts are put in.

    Raises:
        InputError: its tokeniser puts no end token behind a text, where the model looks for one, or
            does not know the token that texts are filled up with.
    """
    tokeniser, how = load_tokeniser(folder.layout), folder.texts
    filler = _filler(folder, tokeniser)
    return TextIds(tokeniser, how.positions, filler, how.filler is not None, how.masked)


def _filler(folder: ImageFolder, tokeniser: FastTokeniser) -> int:
    """The id that texts are filled up with: where a text's vector is that of its first end token,
    it is that token again."""
    how = folder.texts
    if how.filler is None:
        return _end(folder, tokeniser.single_template(), tokeniser.largest_id)
    found = tokeniser.id_of(how.filler)
    if found is None:
        raise InputError(
            f"The tokeniser in {folder.layout.transformer} does not know its pad_token "
            f"{how.filler!r}.",
            "Fetch the model's folder again.",
        )
    return found


def _end(folder: ImageFolder, template: Template, largest: int) -> int:
    behind = template.around[-1]
    wanted = folder.texts.looked_for(largest)
    if not len(behind) or behind[-1] != wanted:
        raise InputError(
            f"The tokeniser in {folder.layout.transformer} does not end a text with the token "
            f"{wanted}, at which the model's vector of it is taken.",
            "Name a folder whose tokeniser and config.json belong together.",
        )
    return int(behind[-1])


def _decoded(picture: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    try:
        return decoded(picture, READ)
    except BadPicture as error:
        raise InputError(
            f"A picture that could be decoded when it was indexed cannot be now: {error.fault}.",
            "Use the same version of Pillow on all machines.",
        ) from error
