"""Pictures from bytes, held to limits before a pixel is decoded.

Only decoders of plain raster formats are asked, each by its signature, and never through
`PIL.Image.open`: that warns, tries every plugin, and holds sizes to a limit that is one for the
process. Nothing here changes a setting of Pillow (https://pillow.readthedocs.io).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shardrank.pictures.webp_header import webp_size

#: uint8[height, width, 3]
Pixels = npt.NDArray[np.uint8]

#: Above it Pillow warns or refuses somewhere within its decoders, whatever is asked of it here.
MOST_PIXELS = 89_478_485
#: A longer edge over so many shorter ones is refused: at a model's shorter edge it would be a
#: picture of gigabytes.
MOST_NARROW = 256

_SIGNATURE = 16
_ORIENTATION = 0x0112
#: What EXIF says of how a picture lies (https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Pillow's modes of grey of 16 bits, and those of 8 bits at most. Of others, such as floating
#: numbers, the range is not known.
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class Fault(StrEnum):
    """Why a picture is none that can be used."""

    TOO_LARGE = "image_too_large"
    TOO_MANY_PIXELS = "image_too_many_pixels"
    UNKNOWN = "image_unknown"
    BROKEN = "image_broken"
    UNUSUAL = "image_unusual"


class BadPicture(Exception):
    """A picture that cannot be used, and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True)
class Bounds:
    """Bytes of a picture, and the pixels that its header may declare."""

    bytes: int
    pixels: int


#: Of pictures that were held to the settings' bounds when they were read.
READ = Bounds(1 << 62, MOST_PIXELS)


@dataclass(frozen=True)
class _Format:
    accepts: Callable[[bytes], bool]
    open: Callable[..., Image.Image]


_FORMATS = (
    _Format(lambda head: head.startswith(b"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    _Format(lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    _Format(
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", WebPImagePlugin.WebPImageFile
    ),
    _Format(lambda head: head[:6] in (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    _Format(lambda head: head.startswith(b"BM"), BmpImagePlugin.BmpImageFile),
    _Format(lambda head: head[:4] in (b"II*\0", b"MM\0*"), TiffImagePlugin.TiffImageFile),
)


def look(data: bytes, bounds: Bounds) -> Fault | None:
    """What is wrong with a picture as far as its header tells; nothing is decoded."""
    try:
        _opened(data, bounds)
    except BadPicture as error:
        return error.fault
    return None


def decoded(data: bytes, bounds: Bounds) -> Pixels:
    """uint8[height, width, 3]: a picture as people see it, in RGB.

    Of an animation its first frame; turned as EXIF says, where that can be read; what is
    transparent lies on white, as transformers 5.23 has it (`image_transforms.convert_to_rgb`); of
    grey of 16 bits the high bytes, where that library would clip at 255.

    Raises:
        BadPicture: it is larger than the bounds, in no format that is read, broken or cut short, of
            samples whose range nobody knows, or far too narrow.
    """
    image = _opened(data, bounds)

    def read() -> Pixels:
        image.load()
        return np.asarray(_rgb(_upright(image)), np.uint8)

    found: Pixels = _tried(read)
    return found


def _opened(data: bytes, bounds: Bounds) -> Image.Image:
    """The picture with its header read and held to the bounds."""
    if len(data) > bounds.bytes:
        raise BadPicture(Fault.TOO_LARGE)
    head = bytes(data[:_SIGNATURE])
    kind = next((each for each in _FORMATS if each.accepts(head)), None)
    if kind is None:
        raise BadPicture(Fault.UNKNOWN)
    if kind.open is WebPImagePlugin.WebPImageFile:  # takes memory for its pixels as it opens
        _check_size(_tried(lambda: webp_size(data)), bounds)
    image: Image.Image = _tried(lambda: kind.open(io.BytesIO(data), ""))
    _check_size(image.size, bounds)
    if image.mode not in (*_EIGHT_BITS, *_SIXTEEN_BITS):
        raise BadPicture(Fault.UNUSUAL)
    return image


def _tried(step: Callable[[], Any]) -> Any:
    """What a decoder gives; they raise whatever a broken file leads them to."""
    try:
        return step()
    except (BadPicture, MemoryError):
        raise
    except Exception as error:
        raise BadPicture(Fault.BROKEN) from error


def _check_size(size: tuple[int, int], bounds: Bounds) -> None:
    if min(size) <= 0:
        raise BadPicture(Fault.BROKEN)
    if size[0] * size[1] > min(bounds.pixels, MOST_PIXELS):
        raise BadPicture(Fault.TOO_MANY_PIXELS)
    if max(size) > MOST_NARROW * min(size):
        raise BadPicture(Fault.UNUSUAL)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF says nothing of the picture, which is whole
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        return _high_bytes(image).convert("RGB")
    if image.mode not in _EIGHT_BITS:
        raise BadPicture(Fault.UNUSUAL)
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, seen).convert("RGB")


def _high_bytes(image: Image.Image) -> Image.Image:
    """As Pillow reads colours of 16 bits."""
    values = np.asarray(image).astype(np.uint16)  # in this machine's order of bytes
    return Image.fromarray((values >> 8).astype(np.uint8))
