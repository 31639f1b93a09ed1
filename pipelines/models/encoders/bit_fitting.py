"""What a column of binary codes learns of a sample: its mean, a rotation, and steps."""

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.core.bit_codes import BitsCodec, code_values, packed
from shardrank.core.bits_settings import BitsSettings
from shardrank.core.errors import InputError
from shardrank.kernels.rotation_loops import centred

#: Rounds of ITQ: Gong and Lazebnik find that 50 are enough.
_ITQ_ROUNDS = 50

#: Rounds in which steps of two bits settle.
_STEP_ROUNDS = 20

#: Of random rotations.
_SEED = 0


def fit_bits(sample: Float32, settings: BitsSettings) -> bytes:
    """The codec of float32[n, d]; the same sample and settings give the same bytes.

    Raises:
        InputError: the sample is not finite, or has fewer vectors than ITQ needs.
    """
    _check(sample, settings)
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    axes = _axes(sample - mean, settings)
    unit = BitsCodec(mean, axes, np.zeros_like(mean), settings.bits, settings.asked == "codes")
    return _with_steps(unit, centred(sample, mean, axes)).to_bytes()


def _check(sample: Float32, settings: BitsSettings) -> None:
    rows, dim = sample.shape
    wrong = np.flatnonzero(~np.isfinite(sample).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {rows} vectors that {settings.name!r} is fitted on are not finite, "
            f"first {wrong[0]}.",
            f"Look at the encoder {settings.of!r} and its dtype.",
        )
    least = dim if settings.rotation == "itq" else 1
    if rows < least:
        raise InputError(
            f"The column {settings.name!r} is fitted on {rows} vectors; of {dim} components "
            f"rotation = {settings.rotation} needs {least} at least.",
            "Set rotation = random or none." if rows else "Index some passages first.",
        )


def _axes(centred_sample: Float32, settings: BitsSettings) -> Float32 | None:
    if settings.rotation == "none":
        return None
    axes = _random_axes(centred_sample.shape[1])
    return axes if settings.rotation == "random" else _itq(centred_sample, axes)


def _random_axes(dim: int) -> Float32:
    """Orthonormal rows, of normal numbers by Gram and Schmidt, in float64 without BLAS: on
    every machine the same."""
    drawn = np.random.default_rng(_SEED).standard_normal((dim, dim))
    for i, row in enumerate(drawn):
        shares = (drawn[:i] * row).sum(axis=1)
        row -= (shares[:, None] * drawn[:i]).sum(axis=0)
        row /= np.sqrt(np.square(row).sum())
    return drawn.astype(np.float32)


def _itq(centred_sample: Float32, axes: Float32) -> Float32:
    """Iterative quantisation (Gong and Lazebnik, Iterative Quantization: A Procrustean Approach to
    Learning Binary Codes, CVPR 2011, section 3.2): in turn B = sign(V·R), and the R that brings V·R
    nearest to B, which is Ŝ·Sᵀ for the singular vectors of Bᵀ·V = S·Ω·Ŝᵀ. All components are kept,
    so that the paper's PCA would only be another rotation to begin with.

    By torch, which the caller keeps to one thread: its products then have one order.
    """
    import torch

    vectors, rotation = torch.from_numpy(centred_sample), torch.from_numpy(axes.T.copy())
    for _ in range(_ITQ_ROUNDS):
        signs = torch.where(vectors @ rotation >= 0, 1.0, -1.0)
        left, _, right = torch.linalg.svd((signs.T @ vectors).double())
        rotation = (left @ right).T.float()
    found: Float32 = np.ascontiguousarray(rotation.T.numpy())
    return found


def _with_steps(codec: BitsCodec, values: Float32) -> BitsCodec:
    """With the steps s that lose the least of |y - s·c|²: for one bit s = E|y| at once; for two, s
    and codes c settle in turn, as in Lloyd's quantiser."""
    steps = np.abs(values).mean(axis=0, dtype=np.float64).astype(np.float32)
    for _ in range(_STEP_ROUNDS if codec.bits == 2 else 0):
        made = BitsCodec(codec.mean, codec.axes, steps, codec.bits, codec.symmetric)
        codes = code_values(packed(values, made), codec.dim, codec.bits) * np.float32(0.5)
        both = np.square(codes, dtype=np.float64).sum(axis=0)
        steps = ((values * codes).sum(axis=0, dtype=np.float64) / both).astype(np.float32)
    return BitsCodec(codec.mean, codec.axes, np.maximum(steps, 0), codec.bits, codec.symmetric)
