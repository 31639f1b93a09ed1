"""Logits of causal language models: the one place where they are made.

What all inputs of a call begin with, the stem, is computed once, and each input goes on from there
as a branch of its own (branches.py). So a prompt and a query before many passages cost as much as
before one.
"""

from pathlib import Path

import torch

from shardrank.core.protocols import Decoder
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.plain_decoder import is_plain_decoder
from shardrank.models.forward.llama import LlamaDecoder
from shardrank.models.forward.memory import keep_freed_memory
from shardrank.models.forward.packed_decoder import PackedDecoder
from shardrank.models.forward.state import read_whole_state

#: How a model runs, for people.
OWN = "packed, by our own forward pass"
PACKED = "packed, by transformers' layers and our own attention"
SINGLY = "one input at a time, by transformers: its layers mix tokens by more than attention"


def load_decoder(
    folder: Path, dtype: str, trust_remote_code: bool, device: str, batch_tokens: int | None
) -> Decoder:
    """The causal language model of a folder.

    Args:
        folder: as `shardrank.models.folder.decoder_folder` has checked it.
        dtype: "fp32", "bf16" or "fp16".
        trust_remote_code: whether code in the folder may run.
        device: torch's name of a device, such as "cpu" or "cuda".
        batch_tokens: the most tokens of a pass; none: what was fastest on such a device.

    Raises:
        InputError: weights are missing, or the library does not know the model.
    """
    if device == "cpu":
        keep_freed_memory()
    layout, place = read_layout(folder, plain=True), torch.device(device)
    tokens = batch_tokens or (2048 if place.type == "cpu" else 16_384)
    if is_plain_decoder(layout.config):
        state = read_whole_state(layout).moved(place)
        own = LlamaDecoder(state, layout.config, dtype)
        return PackedDecoder(own, place, tokens, OWN)
    return _from_library(folder, dtype, trust_remote_code, place, tokens)


def _from_library(
    folder: Path, dtype: str, trusted: bool, device: torch.device, batch_tokens: int
) -> Decoder:
    # transformers takes seconds to import
    from shardrank.models.forward.library_decoder import packed_decoder
    from shardrank.models.forward.single_decoder import SingleDecoder, load_causal_model

    model = load_causal_model(folder, dtype, trusted, device)
    packed = packed_decoder(model)
    if packed is not None:
        return PackedDecoder(packed, device, batch_tokens, PACKED)
    return SingleDecoder(model, SINGLY)
