"""The cross-encoder as the library transformers has it: what is trained, and judged here."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from shardrank.models.folder.layout import read_layout
from shardrank.models.forward.adapter import load_adapter
from shardrank.models.forward.state import State, read_state


def classifier(base: Path) -> BertForSequenceClassification:
    """A one-logit classifier over the base encoder's weights; its head is still random."""
    return _filled(base, read_state(read_layout(base, plain=True)))


def adapted(folder: Path, base: Path) -> BertForSequenceClassification:
    """Base and adapter merged, in evaluation mode."""
    return _filled(base, load_adapter(folder, read_layout(base, plain=True))).eval()


def _filled(base: Path, state: State) -> BertForSequenceClassification:
    model = BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=1))
    wrong = model.load_state_dict(_full_names(state), strict=False)
    missing = [name for name in wrong.missing_keys if not name.startswith("classifier.")]
    if missing or wrong.unexpected_keys:
        raise SystemExit(f"{base} is no BERT encoder: {missing + wrong.unexpected_keys}.")
    return model


def _full_names(state: State) -> dict[str, Tensor]:
    return {
        name if name.startswith("classifier.") else f"bert.{name}": tensor
        for name, tensor in state.items()
        if not name.endswith("position_ids")  # a constant that old versions of transformers saved
    }
