"""What codes of token vectors are of, fitted on the token vectors of a sample of texts."""

import numpy as np
import pyarrow as pa

from shardrank.core.cards import LateCard
from shardrank.core.late_settings import LateSettings
from shardrank.kernels.residual_fit import ResidualPlan, fit_residuals
from shardrank.models.encoders.late import load_late


def fit_late(settings: LateSettings, card: LateCard, device: str, sample: pa.Array) -> bytes:
    """The codec, as bytes of a safetensors file; equal samples give equal bytes.

    Args:
        settings, card: of the encoder, whose vectors are stored as codes.
        device: torch's name of a device.
        sample: strings, title and text of passages in one.

    Raises:
        InputError: as loading the encoder; or the sample has too few token vectors, or some that
            are not finite.
    """
    encoder = load_late(settings, device, card)
    # As fp16 would store them: half the memory, and what is lost is far below a code's error.
    found = encoder.documents(
        sample.to_pylist(), lambda x: x.astype(np.float16), np.float16, card.dim
    )
    live = ~found.broken.repeat(np.diff(found.ends))
    vectors = found.values[live].astype(np.float32)
    plan = ResidualPlan(card.bits, settings.centroids, card.normalised)
    return fit_residuals(vectors, plan).to_bytes()
