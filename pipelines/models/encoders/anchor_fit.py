"""The anchors of a column of a cross-encoder's scores, drawn from a sample of passages and from
queries, if there are some."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.arrays import Float32
from shardrank.core.cards import AnchorCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.models.encoders.anchor_codec import AnchorCodec
from shardrank.models.encoders.anchors import all_scores, load_cross
from shardrank.models.encoders.cur import cross_factor

#: Of the draw: what is fitted is kept as long as its encoder, so there is nothing to vary.
_SEED = 0
#: Words of a passage, title first, that serve as a query where there is no file of these.
FIRST_WORDS = 12


@dataclass(frozen=True)
class Anchors:
    """Texts, all of them different in each of the two."""

    queries: Sequence[str]
    passages: Sequence[str]


def fit_anchors(
    settings: AnchorSettings,
    card: AnchorCard,
    device: str,
    sample: pa.Array,
    asked: pa.Array | None,
) -> bytes:
    """The codec, as bytes of a safetensors file; equal samples give equal bytes.

    Args:
        settings, card: of the encoder.
        device: torch's name of a device.
        sample: strings, title and text of passages in one.
        asked: strings, the queries of the file that the settings name; none: they name none.

    Raises:
        InputError: as loading the cross-encoder; or it gives scores that are not finite, or the
            same for all pairs.
        SettingsError: there are fewer texts than the settings want anchors.
    """
    anchors = draw_anchors(settings, sample, asked)
    model = load_cross(settings, device, card)
    crossing = all_scores(model, anchors.queries, anchors.passages)
    _refuse_useless(crossing, card)
    factor = cross_factor(crossing)
    codec = AnchorCodec(anchors.queries, anchors.passages, factor, np.empty((0, 0), np.float32))
    return AnchorCodec(
        anchors.queries, anchors.passages, factor, codec.vectors(crossing)
    ).to_bytes()


def draw_anchors(settings: AnchorSettings, sample: pa.Array, asked: pa.Array | None) -> Anchors:
    """Anchor passages from the sample; anchor queries from those asked, or else from the first
    words of other passages of the sample.

    Raises:
        SettingsError: there are fewer texts than the settings want anchors.
    """
    wanted, texts = settings.anchor_passages, _distinct(sample.to_pylist())
    _refuse_few("anchor_passages", wanted, len(texts), "passages with different texts")
    passages, others = texts[:wanted], texts[wanted:]
    heads = [_first_words(text) for text in others] if asked is None else asked.to_pylist()
    found = _distinct(heads)
    what = "different queries in the file" if asked is not None else "passages beside the anchors"
    _refuse_few("anchor_queries", settings.anchor_queries, len(found), what)
    return Anchors(found[: settings.anchor_queries], passages)


def _distinct(texts: Sequence[str]) -> list[str]:
    """Those that are not blank, each once, in an order that is random and the same again."""
    found = list(dict.fromkeys(text for text in texts if text.strip()))
    order = np.random.default_rng(_SEED).permutation(len(found))
    return [found[n] for n in order]


def _first_words(text: str) -> str:
    return " ".join(text.split()[:FIRST_WORDS])


def _refuse_few(name: str, wanted: int, found: int, what: str) -> None:
    if found < wanted:
        raise SettingsError(
            f"The encoder's {name} = {wanted:,}, and there are {found:,} {what} to draw from.",
            f"Set {name} lower, or index more.",
        )


def _refuse_useless(crossing: Float32, card: AnchorCard) -> None:
    broken = crossing.size - int(np.isfinite(crossing).sum())
    if broken:
        raise InputError(
            f"The cross-encoder {card.name!r} in {card.dtype} gives {broken:,} of "
            f"{crossing.size:,} scores of anchors that are NaN or infinite.",
            "Run it in fp32, or check its weights.",
        )
    if not crossing.any():
        raise InputError(
            f"The cross-encoder {card.name!r} scores all pairs of anchors 0.",
            "Check its weights.",
        )
