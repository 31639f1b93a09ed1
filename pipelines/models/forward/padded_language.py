"""Masked language models as the library transformers has them, on padded rows."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel

from shardrank.models.forward.batch import Batch
from shardrank.models.forward.language_model import Decoder
from shardrank.models.forward.padded import (
    Padded,
    cells,
    load_weights,
    missing_and_besides,
    move,
    pad_id,
)

#: Ids that every vocabulary has.
_PROBE = [[0, 1, 2]]


class PaddedLanguageModel(Padded):
    """A masked language model of transformers (protocol: LanguageModel).

    Where its decoder is the last thing that it does, it stops before that, and logits are made of
    as many tokens as is asked for; else of a whole batch.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model, pad_id(model))
        self.decoder = _taken_off(model)
        self.vocabulary = int(model.config.vocab_size)

    def states(self, batch: Batch) -> Tensor:
        found: Tensor = self._run(batch).logits
        return found.flatten(0, 1)[cells(batch, self._left)]


def load_language_model(
    folder: Path, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedLanguageModel:
    """The masked language model of a folder on the device; raises as `load_weights` does."""
    model = load_weights(AutoModelForMaskedLM, folder, dtype, trust_remote_code, ())
    move(model, device)
    with torch.inference_mode():
        return PaddedLanguageModel(model)


def language_report(folder: Path, trust_remote_code: bool) -> tuple[list[str], list[str]]:
    """The weights that a masked language model's files lack, and those that they hold besides;
    from headers."""
    return missing_and_besides(AutoModelForMaskedLM, folder, trust_remote_code)


class _LeftOut(torch.nn.Module):
    """A decoder that gives back what it is given; its weights are there for who looks at them."""

    def __init__(self, decoder: torch.nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = decoder.weight, decoder.bias

    def forward(self, states: Tensor) -> Tensor:
        return states


def _taken_off(model: PreTrainedModel) -> Decoder | None:
    """The decoder, which the model then leaves out; none where that is not the last thing that
    it does (ESM adds a bias, MobileBERT multiplies by two matrices): the logits tell."""
    decoder: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    name = next((name for name, module in model.named_modules() if module is decoder), "")
    if isinstance(decoder, torch.nn.Linear) and name:
        probe = torch.tensor(_PROBE, device=decoder.weight.device)
        whole = model(input_ids=probe).logits
        model.set_submodule(name, _LeftOut(decoder))
        if _makes(model, decoder, probe, whole):
            return Decoder(decoder.weight, decoder.bias)
        model.set_submodule(name, decoder)
    return None


def _makes(model: PreTrainedModel, decoder: torch.nn.Linear, probe: Tensor, whole: Tensor) -> bool:
    """Whether the decoder makes the logits of what a model without it gives."""
    try:
        states = model(input_ids=probe).logits
    except RuntimeError:  # what comes behind the decoder cannot do with narrow states
        return False
    return states.shape[-1] == decoder.in_features and torch.equal(decoder(states), whole)
