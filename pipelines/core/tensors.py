"""Tensors in the bytes of a safetensors file, in which nothing is run: read, and held against what
they must be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from shardrank.core.errors import IntegrityError

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Held:
    """A tensor: its dimensions, the types that it may have, and whether it may be left out."""

    dims: int
    types: tuple[type[np.generic], ...] = (np.float32,)
    optional: bool = False


#: By name.
Layout = Mapping[str, Held]


def read_tensors(data: bytes, layout: Layout, broken: Callable[[str], IntegrityError]) -> Tensors:
    """The tensors of a file.

    Args:
        data: the file's bytes.
        layout: what they hold.
        broken: makes the error, of what is the matter with what the bytes stand for, such as
            "holds nothing".

    Raises:
        IntegrityError: they hold anything else.
    """
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: of a type that numpy has not
        raise broken(f"is no safetensors file: {error}") from error
    wanted = {name for name, held in layout.items() if not held.optional}
    if not wanted <= tensors.keys() <= layout.keys():
        raise broken(f"holds {sorted(tensors)}, not {sorted(layout)}")
    for name, tensor in tensors.items():
        if tensor.ndim != layout[name].dims or tensor.dtype not in layout[name].types:
            raise broken(f"has {name} of {tensor.ndim} dimensions, {tensor.dtype}")
    return tensors
