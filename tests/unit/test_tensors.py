"""Bytes of safetensors, read against what they must hold."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from shardrank.core.errors import IntegrityError
from shardrank.core.tensors import Held, read_tensors

LAYOUT = {"rows": Held(2), "ends": Held(1, (np.int32, np.int64)), "more": Held(1, optional=True)}
GOOD: dict[str, Any] = {"rows": np.ones((2, 3), np.float32), "ends": np.arange(3, dtype=np.int64)}


def broken(what: str) -> IntegrityError:
    return IntegrityError(f"It {what}.", "Make it again.")


@pytest.mark.parametrize("more", [{}, {"more": np.zeros(1, np.float32)}])
def test_what_it_holds(more: dict[str, Any]) -> None:
    found = read_tensors(save({**GOOD, **more}), LAYOUT, broken)
    assert found.keys() == GOOD.keys() | more.keys()
    assert all(np.array_equal(found[name], value) for name, value in GOOD.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"less": np.zeros(1)}, r"It holds \['ends', 'less', 'rows'\], not"),
        ({"rows": np.ones(6, np.float32)}, "It has rows of 1 dimensions, float32"),
        ({"rows": np.ones((2, 3))}, "It has rows of 2 dimensions, float64"),
        ({"ends": np.arange(3, dtype=np.uint8)}, "It has ends of 1 dimensions, uint8"),
        ({"more": np.zeros(1)}, "It has more of 1 dimensions, float64"),
    ],
)
def test_what_it_must_not_hold(change: dict[str, Any], said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        read_tensors(save({**GOOD, **change}), LAYOUT, broken)


def test_what_is_left_out() -> None:
    with pytest.raises(IntegrityError, match="holds"):
        read_tensors(save({"rows": GOOD["rows"]}), LAYOUT, broken)


def bfloat16() -> bytes:
    """A sound file, of numbers that numpy has not."""
    head = json.dumps({"rows": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(2)


@pytest.mark.parametrize("data", [b"", b"none", save(GOOD)[:-1], bfloat16()])
def test_what_is_no_such_file(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="is no safetensors file"):
        read_tensors(data, LAYOUT, broken)
