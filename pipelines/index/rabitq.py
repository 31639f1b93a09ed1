"""RaBitQ: codes of a few bits a component whose errors are bounded.

Gao & Long, RaBitQ (SIGMOD 2024, arXiv 2405.12497), and of several bits Gao et al., Practical and
Asymptotically Optimal Quantization (SIGMOD 2025, arXiv 2409.09913). A vector x of a list with the
base c is turned at random, and of z = P(x - c) only the nearest direction g of a grid is kept, with
the factor f = |z|²/<g, z>. Then x̂ = Pc + f·g stands for Px:

    E<Pq, x̂> = <q, x>                                       (of all rotations; their eq. 9)
    |<Pq, x̂> - <q, x>| ≤ |q| · |x̂ - Px| · ε / √(d - 1)      (theorem 3.2)

the latter but for a share of all pairs that falls as e^(-ε²/2). For x̂ - Px is at right angles to z,
in a random direction. Their |x - c| · √((1 - <ō, o>²) / <ō, o>²) is |x̂ - Px|.

Other than there, c is the mean of a list's sample, not its centroid, which has length 1: measured
on 30,000 passages of Wikipedia by wordllama and on made vectors, codes of one bit lose .39 and .41
of the energy so, of .57 without a base (`docs/measured-speed.md`). The rotation is that of the
authors' library: signs, Hadamard transforms and Kac's walk, without a matrix.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int8, Int64
from shardrank.index.list_centroids import list_centroids
from shardrank.index.prefix import Prefix
from shardrank.kernels.k_means import means_of, nearest_centroids
from shardrank.kernels.rabitq_loops import encode_rows, rotate, unpack_levels
from shardrank.version.sizing import CodecPlan

UInt8 = npt.NDArray[np.uint8]

#: Rounds of signs and transforms.
_ROUNDS = 4

#: Steps between levels, inverted, in root mean squares: those of the uniform quantiser of a normal
#: variable that errs least (Max, Quantizing for Minimum Distortion, 1960), and about them, since
#: each row has its own. With one bit all are one.
_STEPS = {1: 1.0, 2: 1.0043, 4: 2.983}
_ABOUT = np.linspace(0.7, 1.3, 9)


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of n vectors.

    Attributes:
        lists: int64[n].
        codes: uint8[n, bytes]; see `shardrank.kernels.rabitq_loops`.
        factors: float32[n].
    """

    lists: Int64
    codes: UInt8
    factors: Float32


@dataclass(frozen=True, eq=False)
class Rabitq:
    """What codes are made by.

    Attributes:
        prefix: what it sees of a vector.
        bits: of a component: 1, 2 or 4.
        signs: int8[rounds, d], the rotation.
        centroids: float32[nlist, d], turned, of length 1: a vector's list is that of the largest
            inner product.
        bases: float32[nlist, d], turned: the means of lists.
    """

    prefix: Prefix
    bits: int
    signs: Int8
    centroids: Float32
    bases: Float32

    @classmethod
    def train(cls, sample: Float32, plan: CodecPlan) -> "Rabitq":
        """From float32[n, d], finite; the same sample and plan give the same."""
        prefix = Prefix(plan.searched(sample.shape[1]), plan.unit)
        random = np.random.default_rng(plan.seed)
        signs = random.choice(np.array([-1, 1], np.int8), (_ROUNDS, prefix.dim))
        rows = _turned(prefix.of(sample), signs)
        centroids = list_centroids(rows, plan)
        return cls(prefix, plan.pq_bits, signs, centroids, _bases(rows, centroids))

    @property
    def code_bytes(self) -> int:
        """Of a vector's code, without its factor."""
        return -(-self.prefix.dim * self.bits // 8)

    def turned(self, vectors: Float32) -> Float32:
        """float32[n, d'] of float32[n, d]: what the codes are of. A row's bits depend on no other
        row."""
        return _turned(self.prefix.of(vectors), self.signs)

    def encode(self, turned: Float32) -> Codes:
        """Of what `turned` gives."""
        lists = nearest_centroids(turned, self.centroids)
        codes = np.empty((len(turned), self.code_bytes), np.uint8)
        factors = np.empty(len(turned), np.float32)
        tries = _STEPS[self.bits] * (_ABOUT if self.bits > 1 else np.ones(1))
        rest = turned - self.bases[lists]
        encode_rows(rest, self.bits, tries.astype(np.float32), codes, factors)
        return Codes(lists, codes, factors)

    def decode(self, codes: Codes) -> Float32:
        """float32[n, d']: rows x̂ whose inner products with turned queries are the estimates."""
        levels = np.empty((len(codes.lists), self.prefix.dim), np.float32)
        unpack_levels(codes.codes, self.bits, levels)
        rows: Float32 = self.bases[codes.lists] + codes.factors[:, None] * levels
        return rows


def _turned(vectors: Float32, signs: Int8) -> Float32:
    out = np.empty(vectors.shape, np.float32)
    rotate(np.ascontiguousarray(vectors, np.float32), signs, out)
    return out


def _bases(rows: Float32, centroids: Float32) -> Float32:
    """float32[nlist, d]: the mean of each list's rows; of a list without any its centroid."""
    bases = centroids.copy()
    filled, means = means_of(rows, nearest_centroids(rows, centroids), len(centroids))
    bases[filled] = means
    return bases
