"""Pictures from bytes: what is seen of each kind, and why others are refused."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from shardrank.core.fingerprint import content_hash
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.rows import Elsewhere, SourceRow
from shardrank.corpus.validate import Document, check
from shardrank.pictures.opening import BadPicture, Bounds, decoded, look
from shardrank.version.folding import PICTURE_BYTES, Limits, Size, plan_rewrites

BOUNDS = Bounds(1 << 20, 1 << 20)
_RNG = np.random.default_rng(3)
PIXELS = _RNG.integers(0, 256, (21, 34, 4), dtype=np.uint8)
COLOURS = Image.fromarray(PIXELS[..., :3].copy())
WHOLE = {
    "jpeg": ("JPEG", {}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "webp-animated": ("WEBP", {"save_all": True, "append_images": [Image.new("RGB", (34, 21))]}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
}


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


@pytest.mark.parametrize("name", WHOLE)
def test_formats_and_their_ends(name: str) -> None:
    kind, how = WHOLE[name]
    data = saved(COLOURS, kind, **how)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decoded(data, BOUNDS), expected)
    for length in (20, len(data) // 2):
        with pytest.raises(BadPicture, match="image_broken"):
            decoded(data[:length], BOUNDS)


def test_what_is_transparent_lies_on_white() -> None:
    clear = Image.fromarray(np.dstack([PIXELS[..., :3], np.zeros((21, 34), np.uint8)]))
    assert (decoded(saved(clear, "PNG"), BOUNDS) == 255).all()
    palette = COLOURS.quantize(4)
    seen = decoded(saved(palette, "PNG", transparency=bytes([0, 255, 255, 255])), BOUNDS)
    assert (seen[np.asarray(palette) == 0] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits(kind: str) -> None:
    grey = PIXELS[..., 0].astype(np.uint16) * 256 + PIXELS[..., 1]
    found = decoded(saved(Image.fromarray(grey), kind), BOUNDS)
    np.testing.assert_array_equal(found, np.repeat(PIXELS[..., :1], 3, axis=2))


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_turns_pictures(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(COLOURS, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decoded(data, BOUNDS), np.asarray(expected))


def test_broken_exif_is_passed_over() -> None:
    data = saved(COLOURS, "JPEG", exif=b"Exif\0\0nothing of use")
    assert decoded(data, BOUNDS).shape == (21, 34, 3)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        summed = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + summed

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def webp_bomb() -> bytes:
    """A canvas of 268 million pixels, for which Pillow would take memory as it opens it."""
    edge = (16_382).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + edge + edge
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "image_unknown"),
        (b"https://example.org/cat.png", "image_unknown"),
        (b"<svg/>", "image_unknown"),
        (bytes((1 << 20) + 1), "image_too_large"),
        (bomb(12_000, 8_000), "image_too_many_pixels"),  # over Pillow's own bound, which warns
        (bomb(60_000, 60_000), "image_too_many_pixels"),
        (bomb((1 << 31) - 1, (1 << 31) - 1), "image_too_many_pixels"),
        (webp_bomb(), "image_too_many_pixels"),
        (bomb(0, 4), "image_broken"),
        (bomb(700, 2), "image_unusual"),
        (saved(Image.new("F", (3, 3)), "TIFF"), "image_unusual"),
    ],
)
def test_what_a_header_tells_is_refused_undecoded(data: bytes, why: str) -> None:
    assert look(data, BOUNDS) == why
    with pytest.raises(BadPicture, match=why):
        decoded(data, BOUNDS)


def judged(text: Any, picture: Any) -> Any:
    return check(SourceRow(3, "d", None, text, picture=picture), CorpusSettings(image="image"))


def test_documents_of_pictures() -> None:
    picture = saved(COLOURS, "PNG")
    assert judged("x", picture) == Document(3, "d", "", "x", picture=picture)
    assert judged(None, picture) == judged(" ", picture) == Document(3, "d", "", "", "", picture)
    assert judged("x", None) == Document(3, "d", "", "x")
    assert judged(None, None) == "missing_text"
    assert judged("x", Elsewhere()) == "image_is_path"
    assert judged("x", b"no picture") == "image_unknown"
    assert judged(3, picture) == "text_not_text"


def test_a_picture_is_content() -> None:
    hashes = [content_hash("t", "x"), content_hash("t", "x", b""), content_hash("t", "x", b"a")]
    assert len({*hashes, content_hash("t", "xa")}) == 4


def test_parts_are_folded_by_the_bytes_of_their_pictures_too() -> None:
    limits = Limits(512, 0.9, 2)
    heavy = [Size(10, 10, PICTURE_BYTES // 2 + 1)] * 4
    assert plan_rewrites(heavy, limits) == []
    light = [Size(10, 10, PICTURE_BYTES // 3)] * 4
    assert plan_rewrites(light, limits) == [[0, 1, 2]]
