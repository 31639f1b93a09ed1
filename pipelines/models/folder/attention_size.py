"""By how many components a token is compared with others, by a model's config.json alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.models.folder.decoder_size import HEADS, LAYERS, WIDTH, said
from shardrank.models.folder.modern import ModernShape, is_modern
from shardrank.models.folder.packable import is_packable, sizes
from shardrank.models.folder.plain_decoder import DecoderShape, is_plain_decoder


@dataclass(frozen=True)
class AttentionSize:
    """Components of all layers' heads together by which a token is compared with each other one.

    Attributes:
        far: of layers where a token sees a whole input; of causal ones, where it sees half of it
            on average, half of them.
        near: of layers where it sees those around it.
        reach: how many these are, on both sides together.
    """

    far: int = 0
    near: int = 0
    reach: int = 0


#: Of a model that compares no tokens.
NO_ATTENTION = AttentionSize()


def attention_size(config: Mapping[str, Any]) -> AttentionSize:
    """All zero where config.json does not say it."""
    if is_packable(config):
        return AttentionSize(sizes(config).layers * sizes(config).width)
    if is_modern(config):
        return _modern(config)
    if is_plain_decoder(config):
        shape = DecoderShape.of(config)
        width = shape.layers * shape.heads * shape.head_width
        return AttentionSize(width if shape.both else width // 2)
    heads = said(config, HEADS)
    width = said(config, ("head_dim",)) * heads or said(config, WIDTH)
    return AttentionSize(said(config, LAYERS) * width)


def _modern(config: Mapping[str, Any]) -> AttentionSize:
    shape, width = ModernShape.of(config), said(config, WIDTH)
    near = sum(reach is not None for reach in shape.reaches)
    return AttentionSize((len(shape.reaches) - near) * width, near * width, 2 * shape.reach)
