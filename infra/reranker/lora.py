"""A BERT classifier whose linear layers learn through low-rank differences (Hu et al. 2021,
arXiv:2106.09685).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from transformers import BertForSequenceClassification

WHOLE = (
    "pooler",
    "classifier",
    "token_type",
    "LayerNorm",
    "bias",
)  # cheap, and trained without a detour


class LoraLinear(nn.Module):
    """y = W·x + b + scale · B·(A·x), with W frozen. B starts at zero, so training starts from the
    base model.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., in] → float[..., out]."""
        weight = self.base.weight + self.scale * (self.lora_b @ self.lora_a)
        return nn.functional.linear(x, weight, self.base.bias)


def inject(model: BertForSequenceClassification, rank: int, scale: float) -> None:
    """Replace every linear layer inside the encoder, and freeze all but what is trained."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in WHOLE))
    for name, module in list(model.bert.encoder.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(
                model.bert.encoder.get_submodule(parent), child, LoraLinear(module, rank, scale)
            )


def adapter_tensors(model: BertForSequenceClassification) -> dict[str, torch.Tensor]:
    """Return what was trained, in half precision, under the names that
    ``shardrank.models.forward.adapter`` documents.
    """
    return {key: value.detach().half().contiguous().clone() for key, value in _trained(model)}


def restore(model: BertForSequenceClassification, tensors: dict[str, torch.Tensor]) -> None:
    """Set what is trained to what ``adapter_tensors`` saved of it."""
    with torch.no_grad():
        for key, value in _trained(model):
            value.copy_(tensors[key])


def _trained(model: BertForSequenceClassification) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in model.named_parameters():
        head, _, last = name.rpartition(".")
        if last in ("lora_a", "lora_b"):
            yield f"{last}.{head}", parameter
        elif parameter.requires_grad:
            yield f"full.{name.replace('.base.', '.')}", parameter
