"""Causal language models as the library transformers has them, one unpadded input at a time: those
whose layers mix tokens by more than an attention that is understood."""

import inspect
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)

from shardrank.core.arrays import Float32, Int32
from shardrank.core.errors import InputError
from shardrank.core.sampling import Sampling
from shardrank.core.tally import spend
from shardrank.models.forward.causal import chosen
from shardrank.models.forward.distinct import distinct
from shardrank.models.forward.library_log import quiet
from shardrank.models.forward.padded import load_weights, missing_and_besides, move
from shardrank.models.forward.writing import drawn


class _Drawing(LogitsProcessor):
    """Logits with the noise of an answer's draws, behind an input of so many tokens."""

    def __init__(self, answer: int, begun: int, sampling: Sampling | None) -> None:
        self._answer = np.array([answer])
        self._begun = begun
        self._sampling = sampling

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        step = input_ids.shape[1] - self._begun
        return drawn(scores, self._answer, step, self._sampling)


class SingleDecoder:
    """A causal language model of transformers (protocol: Decoder)."""

    def __init__(self, model: PreTrainedModel, way: str) -> None:
        self.way = way
        self._model = model
        # What the folder says of sampling, penalties and ends would be mixed in.
        model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        taken = inspect.signature(model.forward).parameters
        self._keeps = "logits_to_keep" in taken

    @torch.inference_mode()
    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        each, which = distinct(inputs)
        terms = torch.from_numpy(answers.astype(np.int64)).to(self._model.device)
        rows = [self._logits(tokens, 1)[0, terms].cpu().numpy() for tokens in each]
        return np.array(rows, np.float32).reshape(len(each), len(answers))[which]

    @torch.inference_mode()
    def logprobs(self, inputs: Sequence[Int32], begins: Sequence[int]) -> list[Float32]:
        return [self._told(ids, begin) for ids, begin in zip(inputs, begins, strict=True)]

    def _told(self, ids: Int32, begin: int) -> Float32:
        if begin == len(ids):
            return np.empty(0, np.float32)
        targets = torch.from_numpy(ids[begin:].astype(np.int64)).to(self._model.device)
        logits = self._logits(ids[:-1], len(targets))
        return chosen(logits, targets).cpu().numpy()

    @torch.inference_mode()
    def generate(
        self,
        inputs: Sequence[Int32],
        most: int,
        ends: frozenset[int],
        sampling: Sampling | None = None,
    ) -> list[Int32]:
        if most < 1:
            return [np.empty(0, np.int32)] * len(inputs)
        greedy = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, max_new_tokens=most, eos_token_id=sorted(ends) or None, pad_token_id=0
        )
        found = []
        for row, ids in enumerate(inputs):
            made = self._written(ids, greedy, _Drawing(row, len(ids), sampling))
            stops = np.flatnonzero(np.isin(made, list(ends)))
            found.append(made[: stops[0]] if len(stops) else made)
        return found

    def _written(self, ids: Int32, how: GenerationConfig, draws: "_Drawing") -> Int32:
        """int32: what follows an input, with the end if it has one."""
        rows = self._rows(ids)
        model: Any = self._model  # whose generate is no method, to mypy
        made = model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            generation_config=how,
            logits_processor=LogitsProcessorList([draws]),
        )
        found: Int32 = made[0, len(ids) :].cpu().numpy().astype(np.int32)
        return found

    @torch.inference_mode()
    def attended(self, input: Int32, asking: range) -> Float32:
        found = getattr(self._shown(self._rows(input)), "attentions", None) or ()
        layers = [layer for layer in found if layer is not None]
        if not layers or not self._shows_truly:
            raise InputError(
                f"{type(self._model).__name__} does not say how it attends.",
                "Use another model, or a reranker that needs no attention.",
            )
        mine = slice(asking.start, asking.stop)
        summed = sum(layer[0, :, mine].float().sum((0, 1)) for layer in layers)
        assert isinstance(summed, Tensor)
        return summed.cpu().numpy()

    @cached_property
    def _shows_truly(self) -> bool:
        """Whether attention that is shown is what is computed otherwise: Falcon counts its
        distances twice where it shows it (transformers 5.23)."""
        rows = torch.arange(1, 9, device=self._model.device)[None]
        usual = self._model(input_ids=rows, use_cache=False).logits.float()
        shown = self._shown(rows).logits.float()
        return bool((shown - usual).abs().max() <= 0.01 * usual.abs().max())

    def _shown(self, rows: Tensor) -> Any:
        """What the model gives where each layer shows its weights [1, heads, n, n], if it can."""
        usual = self._model.config._attn_implementation
        with quiet():
            self._model.set_attn_implementation("eager")
            found = self._model(input_ids=rows, output_attentions=True, use_cache=False)
            self._model.set_attn_implementation(usual)
        return found

    def _logits(self, ids: Int32, last: int) -> Tensor:
        """float32[last, v], behind the last tokens of an input."""
        kept = {"logits_to_keep": last} if self._keeps else {}
        logits: Tensor = self._model(input_ids=self._rows(ids), use_cache=False, **kept).logits
        return logits[0, -last:].float()

    def _rows(self, ids: Int32) -> Tensor:
        spend("tokens", len(ids))
        return torch.from_numpy(ids.astype(np.int64))[None].to(self._model.device)


def load_causal_model(
    folder: Path, dtype: str, trust_remote_code: bool, device: torch.device
) -> PreTrainedModel:
    """The causal language model of a folder on the device.

    Raises:
        InputError: as `load_weights` does, or its tokens attend to those behind them.
    """
    model = load_weights(AutoModelForCausalLM, folder, dtype, trust_remote_code, ())
    move(model, device)
    if _looks_ahead(model):
        raise InputError(
            f"{folder} is a {type(model).__name__} whose tokens attend to those behind them.",
            "Name a causal language model.",
        )
    return model


@torch.inference_mode()
def _looks_ahead(model: PreTrainedModel) -> bool:
    rows = torch.arange(1, 9, device=model.device)[None]
    whole, half = (model(input_ids=x, use_cache=False).logits for x in (rows, rows[:, :4]))
    differing: Tensor = (whole[:, :4] - half).abs().max()
    return bool(differing > 0.1 * half.abs().max())


def causal_report(folder: Path, trust_remote_code: bool) -> tuple[list[str], list[str]]:
    """The weights that a causal language model's files lack, and those that they hold besides;
    from headers."""
    return missing_and_besides(AutoModelForCausalLM, folder, trust_remote_code)
