"""What a WebP file's header declares (https://developers.google.com/speed/webp/docs/riff_container,
RFC 6386 section 9.1, RFC 9649)."""

import struct


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the picture, or of the canvas of an animation.

    Raises:
        ValueError, struct.error: the header is none, or cut short.
    """
    chunk = bytes(data[12:16])
    if chunk == b"VP8X":
        return _number(data[24:27]) + 1, _number(data[27:30]) + 1
    if chunk == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError(f"a first chunk {chunk!r}")


def _number(raw: bytes) -> int:
    if len(raw) != 3:
        raise ValueError("a canvas that is cut short")
    return int.from_bytes(raw, "little")
