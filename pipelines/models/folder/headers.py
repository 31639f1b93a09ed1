"""The headers of safetensors files: names, types and shapes of weights, without reading them.

A file is 8 bytes of the header's length, the header as JSON, and the tensors' bytes
(https://huggingface.co/docs/safetensors).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.reading import refuse_pointer

#: Types that hold a weight as it is; others are codes of quantised weights.
_FLOATS = ("F64", "F32", "F16", "BF16")
#: Types of buffers that say nothing of their own, such as position_ids.
_BUFFERS = ("I64", "I32", "BOOL", "U8")
_BUFFER_NAMES = ("position_ids", "token_type_ids", "relative_position_index", "attn.bias", "mask")
_HINT = "Download the model again, or save it again with save_pretrained(FOLDER)."


@dataclass(frozen=True)
class Header:
    """One tensor of a file: its type by safetensors' name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_headers(files: Iterable[Path]) -> dict[str, Header]:
    """The tensors of a model by name.

    Raises:
        InputError: a file is not whole, is no safetensors, holds quantised weights, or two of
            them hold a tensor of one name.
    """
    found: dict[str, Header] = {}
    for file in files:
        mine = read_header(file)
        _check_types(file, mine)
        twice = found.keys() & mine.keys()
        if twice:
            raise InputError(f"{file} holds {min(twice)} a second time.", _HINT)
        found |= mine
    return found


def parameters(headers: Mapping[str, Header]) -> int:
    """The parameters that each token is multiplied with: all matrices but embeddings, which are
    looked up."""
    return sum(
        math.prod(header.shape)
        for name, header in headers.items()
        if "embed" not in name and len(header.shape) > 1
    )


def read_header(file: Path) -> dict[str, Header]:
    """The tensors of one file by name, of whatever type.

    Raises:
        InputError: the file is absent, not whole, or no safetensors.
    """
    if not file.is_file():
        raise InputError(f"There is no {file}.", "Name a complete model folder.")
    size = file.stat().st_size
    with open(file, "rb") as stream:
        head = stream.read(64)
        refuse_pointer(file, head)
        length = int.from_bytes(head[:8], "little")
        if size < 8 or length > size - 8:
            raise InputError(f"{file} is no whole safetensors file: it has {size:,} bytes.", _HINT)
        stream.seek(8)
        raw = _parsed(file, stream.read(length))
    raw.pop("__metadata__", None)
    _check_size(file, raw, size - 8 - length)
    return {n: Header(str(t["dtype"]), tuple(t["shape"])) for n, t in raw.items()}


def _parsed(file: Path, header: bytes) -> dict[str, Any]:
    try:
        found = json.loads(header)
        if not isinstance(found, dict):
            raise ValueError("its header is no JSON object")
    except ValueError as error:
        raise InputError(f"{file} is no safetensors file: {error}.", _HINT) from error
    return found


def _check_size(file: Path, raw: Mapping[str, Any], held: int) -> None:
    wanted = max((tensor["data_offsets"][1] for tensor in raw.values()), default=0)
    if held != wanted:
        raise InputError(
            f"{file} is not whole: its tensors take {wanted:,} bytes, it holds {held:,}.", _HINT
        )


def _check_types(file: Path, headers: Mapping[str, Header]) -> None:
    for name, header in headers.items():
        buffer = header.dtype in _BUFFERS and name.endswith(_BUFFER_NAMES)
        if header.dtype not in _FLOATS and not buffer:
            raise InputError(
                f"{file} holds {name} as {header.dtype}: quantised weights, which must not be read "
                "as plain numbers.",
                "Name the model that it was made from, in float32, bfloat16 or float16.",
            )
