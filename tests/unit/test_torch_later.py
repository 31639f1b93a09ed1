"""A command's process imports what torch has of shapes late, and whole; in a process of its own."""

import subprocess
import sys

import pytest

WORK = "a = torch.ones(4, 4); assert float(torch.nn.functional.gelu(a @ a).sum()) > 63\n"
LATER = """
import sys
from shardrank.core.torch_later import leave_shapes_out
leave_shapes_out()
import torch
def loaded(): return "torch._decomp" in sys.modules
"""
META = """
from torch.nn import Linear
with torch.device("meta"):
    made = Linear(3, 4)(torch.empty(2, 3))
assert made.shape == (2, 4) and torch.linalg.qr(torch.empty(3, 2, device="meta"))[1].shape == (2, 2)
assert torch._meta_registrations.activate_meta
"""


@pytest.mark.parametrize(
    "wanted", ["import transformers", "torch._meta_registrations.activate_meta"]
)
def test_shapes_come_with_their_user_or_when_they_are_looked_at(wanted: str) -> None:
    code = f"{LATER}{WORK}assert not loaded()\n{wanted}\nassert loaded()\n{META}{WORK}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
