"""How positions turn queries and keys (Su et al. 2021, RoFormer, arXiv:2104.09864).

Numbers i and i + d/2 of a head are a point in a plane, which is turned by the token's position
times a frequency of its own. Longer inputs than those of training slow the frequencies: all alike
(Chen et al. 2023, arXiv:2306.15595), the slow ones only (Llama 3.1, arXiv:2407.21783), or by a ramp
between both (Peng et al. 2023, YaRN, arXiv:2309.00071).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Rope = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Turns:
    """Frequencies float32[d/2] on the device, and the factor of what they turn."""

    frequencies: Tensor
    factor: float

    @classmethod
    def of(cls, rope: Rope, width: int, device: torch.device) -> "Turns":
        """By what a config.json says (`rope_of`), of heads that wide."""
        halves = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        found, factor = _KINDS[rope["rope_type"]](1.0 / float(rope["rope_theta"]) ** halves, rope)
        return cls(found.to(device), factor)

    def at(self, places: Tensor) -> Tensor:
        """complex64[t, d/2]: the turn of each plane at the places int64[t]."""
        angles = places[:, None].float() * self.frequencies
        return torch.complex(angles.cos() * self.factor, angles.sin() * self.factor)


def paired(rows: Tensor, width: int) -> Tensor:
    """Rows [heads · d, …] of a map to queries or keys with i and i + d/2 of each head side by side,
    as complex numbers lie. Inner products of queries and keys stay what they were."""
    return rows.view(-1, 2, width // 2, *rows.shape[1:]).transpose(1, 2).flatten(0, 2)


def turn(x: Tensor, turns: Tensor) -> Tensor:
    """[t, heads, d] whose planes lie `paired`, turned: complex64[t, d/2] each; float32 in place."""
    planes = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(planes.mul_(turns[:, None])).flatten(-2).to(x.dtype)


def _default(frequencies: Tensor, rope: Rope) -> tuple[Tensor, float]:
    return frequencies, 1.0


def _linear(frequencies: Tensor, rope: Rope) -> tuple[Tensor, float]:
    return frequencies / rope["factor"], 1.0


def _llama3(frequencies: Tensor, rope: Rope) -> tuple[Tensor, float]:
    """What turns less than `low_freq_factor` times over the trained length is slowed, what turns
    more than `high_freq_factor` times is not, and between them it goes in proportion."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    rounds = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    kept = ((rounds - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / rope["factor"]), 1.0


def _yarn(frequencies: Tensor, rope: Rope) -> tuple[Tensor, float]:
    """As `_llama3`, but in proportion to a plane's number between those that turn `beta_slow` and
    `beta_fast` times; queries and keys grow a little, as softmax's temperature."""
    planes = len(frequencies)

    def plane(rounds: float) -> float:
        turned = rope["original_max_position_embeddings"] / (rounds * 2 * math.pi)
        return planes * math.log(turned) / math.log(rope["rope_theta"])

    first, last = plane(rope.get("beta_fast") or 32), plane(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * planes - 1)
    ramp = (torch.arange(planes).float() - first) / (last - first or 0.001)
    kept = 1 - ramp.clamp(0, 1)
    return frequencies * (kept + (1 - kept) / rope["factor"]), _temperature(rope)


def _temperature(rope: Rope) -> float:
    """YaRN's factor: as said, else 0.1 · ln(factor) + 1, or the quotient of two such."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    grown = math.log(max(rope["factor"], 1.0))
    above, below = (float(rope.get(name) or 0) for name in ("mscale", "mscale_all_dim"))
    if above and below:
        return (0.1 * above * grown + 1) / (0.1 * below * grown + 1)
    return 0.1 * grown + 1


_KINDS: Mapping[str, Callable[[Tensor, Rope], tuple[Tensor, float]]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
