"""How the next token of a text is drawn, so that no other text has a say in it.

Gumbel-max: the largest of logits / temperature + Gumbel noise is a draw from their softmax (Gumbel
1954; Maddison et al. 2014, arXiv:1411.0030). The noise comes from a counter-based generator
(Philox: Salmon et al., SC 2011) whose key is a hash of the seed, the input's text, the number of
the text that is drawn, and the step. So a text is the same in any batch, but for logits that differ
by rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from shardrank.core.arrays import Float32


@dataclass(frozen=True)
class Sampling:
    """Draws for several answers.

    Attributes:
        temperature: what logits are divided by, more than 0.
        top_k: only so many of the largest logits are drawn from; none: all.
        keys: of each answer, what its noise depends on: see `draw_key`.
    """

    temperature: float
    top_k: int | None
    keys: Sequence[bytes]

    def of(self, rows: Sequence[int]) -> "Sampling":
        """That of some of the answers."""
        return Sampling(self.temperature, self.top_k, [self.keys[row] for row in rows])

    def noise(self, row: int, step: int, terms: int) -> Float32:
        """float32[terms] of standard Gumbel noise, for the token number `step` of an answer."""
        key = sha256(self.keys[row] + step.to_bytes(8, "little")).digest()[:16]
        raw = np.random.Philox(key=np.frombuffer(key, "<u8")).random_raw((terms + 1) // 2)
        halves = np.asarray(raw, "<u8").view("<u4")[:terms]
        uniform = (halves + 0.5) * 2.0**-32  # strictly between 0 and 1
        found: Float32 = -np.log(-np.log(uniform)).astype(np.float32)
        return found


def draw_key(seed: int, text: str, number: int) -> bytes:
    """What the noise of an input's text `number` depends on: 32 bytes."""
    own = sha256(text.encode()).digest()
    return sha256(seed.to_bytes(8, "little") + own + number.to_bytes(8, "little")).digest()
