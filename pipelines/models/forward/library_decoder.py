"""Causal language models as the library transformers has them: all that llama.py does not know.

The library lets an attention function of one's own be registered. Ours is told the pass, and so any
model whose layers mix tokens by that function alone runs packed. Whether one does, it shows itself:
a packed example is held against the library's own forward pass when the model is loaded. Where they
differ (convolutions, recurrent states, attention of a kind that is not understood) inputs run one
by one.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from shardrank.core.arrays import Int32
from shardrank.models.forward.branch_attention import Rule
from shardrank.models.forward.branches import one_run, pack
from shardrank.models.forward.causal import Pass, Step, chosen
from shardrank.models.forward.kept import Kept
from shardrank.models.forward.library_log import quiet

#: What the library calls our attention.
_NAME = "shardrank"
#: What it may pass that changes nothing here.
_IDLE = frozenset({"dropout", "position_ids", "use_cache", "cache_position", "output_attentions",
                   "output_hidden_states", "output_router_logits", "logits_to_keep",
                   "return_dict", "is_causal"})  # fmt: skip
#: The largest share of the largest logit by which a packed example may differ.
_NEAR = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class _NotUnderstood(Exception):
    """A model asks for attention of a kind that is not known here."""


class _Running(threading.local):
    """The pass that this thread's model is in."""

    step: Step | None = None
    answers: Tensor | None = None


_RUNNING = _Running()


class _Window:
    """In the place of a mask: how many tokens one attends to, itself among them; none: all."""

    def __init__(self, size: int | None) -> None:
        self.size = size


def _mask(*, mask_function: Any, local_size: int | None = None, **_: Any) -> _Window:
    """What the library asks for where it would have a mask made: causal, or a sliding window."""

    def sees(place: int, key: int) -> bool:
        at, other = torch.tensor(place), torch.tensor(key)
        return bool(mask_function(0, 0, at, other))

    causal = sees(0, 0) and not sees(0, 1)
    if local_size is None and causal:
        return _Window(None)
    if local_size is not None and causal and _slides(sees, local_size):
        return _Window(local_size)
    raise _NotUnderstood("a mask that is no sliding window")


def _slides(sees: Callable[[int, int], bool], size: int) -> bool:
    return sees(size, 1) and not sees(size, 0) and sees(2 * size - 1, size)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: _Window | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention as the library calls it: [1, heads, t, d] → [1, t, heads, d]."""
    unknown = [n for n, asked in more.items() if asked is not None and n not in _IDLE]
    if unknown or not more.get("is_causal", getattr(module, "is_causal", True)):
        raise _NotUnderstood(f"attention with {', '.join(unknown) or 'no order'}")
    window = attention_mask.size if isinstance(attention_mask, _Window) else sliding_window
    if attention_mask is not None and not isinstance(attention_mask, _Window):
        raise _NotUnderstood("a mask of its own")
    step = _RUNNING.step
    assert step is not None
    rule = Rule(query.shape[-1] ** -0.5 if scaling is None else scaling, window, softcap, s_aux)
    new = key[0].transpose(0, 1), value[0].transpose(0, 1)
    return step.attend(id(module), query[0].transpose(0, 1), new, rule)[None], None


class _ChosenTerms(torch.nn.Module):
    """A last map that multiplies the wanted tokens of a pass by the terms that are asked for only.
    What the model does behind it, such as a factor or a cap, it does to those."""

    def __init__(self, head: torch.nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = head.weight, head.bias

    def forward(self, states: Tensor) -> Tensor:
        step, answers = _RUNNING.step, _RUNNING.answers
        if step is not None:
            states = states[:, step.wanted]
        if answers is None:
            return linear(states, self.weight, self.bias)
        bias = None if self.bias is None else self.bias[answers]
        return linear(states, self.weight[answers], bias)


class LibraryDecoder:
    """A causal language model of transformers (protocol: CausalModel)."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def logits(self, step: Step, answers: Tensor | None) -> Tensor:
        ids = step.ids[None]
        with _running(step, answers):
            found: Tensor = self._model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),  # without one, the library looks for its own
                position_ids=step.places[None],
                use_cache=False,
            ).logits
        return found[0].float()

    def logprobs(self, step: Step, targets: Tensor) -> Tensor:
        return chosen(self.logits(step, None), targets)


@contextmanager
def _running(step: Step, answers: Tensor | None) -> Iterator[None]:
    _RUNNING.step, _RUNNING.answers = step, answers
    try:
        yield
    finally:
        _RUNNING.step = _RUNNING.answers = None


def packed_decoder(model: PreTrainedModel) -> LibraryDecoder | None:
    """The model with our attention, where it gives what it gives with the library's; else none, and
    the model is as it was."""
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    name = next((name for name, module in model.named_modules() if module is head), "")
    if not isinstance(head, torch.nn.Linear) or not name or _depends_on_length(model):
        return None
    shown, wanted = model.config._attn_implementation, _examples(head.out_features)
    with torch.inference_mode(), quiet():
        expected = [_plainly(model, ids) for ids in wanted]
        model.set_submodule(name, _ChosenTerms(head))
        model.set_attn_implementation(_NAME)
        found = LibraryDecoder(model)
        if model.config._attn_implementation == _NAME and _agrees(found, wanted, expected):
            return found
        model.set_submodule(name, head)
        model.set_attn_implementation(shown)
    return None


def _depends_on_length(model: PreTrainedModel) -> bool:
    """Whether positions turn otherwise in a longer pass, so that a branch would see the others."""
    types = (getattr(module, "rope_type", None) for module in model.modules())
    every = (
        each for kind in types for each in (kind.values() if isinstance(kind, dict) else [kind])
    )
    return any(each in ("dynamic", "longrope") for each in every)


def _examples(vocabulary: int) -> list[Int32]:
    """Three inputs of one stem."""
    random = np.random.default_rng(0)
    stem, *branches = (random.integers(vocabulary, size=n, dtype=np.int32) for n in (5, 7, 3, 1))
    return [np.concatenate([stem, branch]) for branch in branches]


def _plainly(model: PreTrainedModel, ids: Int32) -> Tensor:
    """float32[v], the logits behind an input, by the library's own forward pass."""
    rows = torch.from_numpy(ids.astype(np.int64))[None].to(model.device)
    logits: Tensor = model(input_ids=rows, use_cache=False).logits
    return logits[0, -1].float()


def _agrees(model: LibraryDecoder, inputs: list[Int32], expected: list[Tensor]) -> bool:
    """Whether the model says the same of packed inputs."""
    try:
        found = _packed(model, inputs, expected[0].device)
    except Exception:  # whatever a model that was not made for this may raise
        return False
    wanted = torch.stack(expected)
    near = _NEAR[next(model._model.parameters()).dtype] * float(wanted.nan_to_num().abs().max())
    return torch.allclose(found, wanted, rtol=0, atol=near, equal_nan=True)


def _packed(model: LibraryDecoder, inputs: list[Int32], device: torch.device) -> Tensor:
    """float32[n, v]: the logits behind inputs, whose stem has five tokens."""
    stem, lengths = 5, np.array([len(ids) for ids in inputs])
    kept, found = Kept(stem), torch.empty(0)
    model.logits(Pass(one_run(inputs[0][:stem], 0, [], device), kept, keeps=True), None)
    kept.grow(stem)
    for branches in pack(inputs, lengths - 1, stem, 1 << 10, device):
        found = model.logits(Pass(branches, kept), None)
    return found


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
