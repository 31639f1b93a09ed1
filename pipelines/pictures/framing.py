"""Pictures at the size that a model sees: resized and cut to a window, as transformers 5.23 does it
with Pillow (`image_processing_backends.PilBackend`); its torchvision backend differs in last bits
of the 8."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from shardrank.pictures.opening import Pixels


@dataclass(frozen=True)
class Framing:
    """How a picture is brought to one size, in pixels.

    Attributes:
        shortest: the shorter edge after resizing, the other in proportion; none: `size` is.
        size: height and width after resizing.
        resample: Pillow's number of the filter.
        crop: height and width of the window in the middle; none: the whole is seen.
    """

    shortest: int | None
    size: tuple[int, int] | None
    resample: int
    crop: tuple[int, int] | None

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of what the model sees; 0: they depend on the picture."""
        return self.crop or self.size or (0, 0)


def framed(pixels: Pixels, framing: Framing) -> Pixels:
    """uint8[height, width, 3] → uint8[framing.seen, 3]."""
    height, width = _resized(pixels.shape[0], pixels.shape[1], framing)
    filter_ = Image.Resampling(framing.resample)
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), resample=filter_)
    return _middle(np.asarray(image), framing.crop)


def _resized(height: int, width: int, framing: Framing) -> tuple[int, int]:
    if framing.shortest is None:
        assert framing.size is not None
        return framing.size
    longest = int(framing.shortest * max(height, width) / min(height, width))
    return (longest, framing.shortest) if width <= height else (framing.shortest, longest)


def _middle(pixels: Pixels, crop: tuple[int, int] | None) -> Pixels:
    """A window that lies within the picture."""
    if crop is None:
        return pixels
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape, crop, strict=False))
    return pixels[top : top + crop[0], left : left + crop[1]]
