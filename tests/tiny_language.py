"""Tiny causal language models with a chat template, and a plain forward pass to compare with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import decoders
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from shardrank.core.arrays import Float32, Int32
from shardrank.core.sampling import Sampling
from tests.tiny_models import byte_tokeniser, edit_json, save

#: In the manner of ChatML; special tokens of its own stand around each message.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|im_start|>", "<|im_end|>"]


def tiny_language(folder: Path, template: str | None = TEMPLATE, seed: int = 0) -> Path:
    """A folder with a random Llama of two layers."""
    tokeniser = byte_tokeniser()
    tokeniser.add_special_tokens(SPECIALS)
    tokeniser.decoder = decoders.ByteLevel()
    config = LlamaConfig(
        vocab_size=tokeniser.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=tokeniser.token_to_id("<|im_end|>"),
    )
    torch.manual_seed(seed)
    save(folder, LlamaForCausalLM(config), tokeniser)
    own = {} if template is None else {"chat_template": template}
    edit_json(folder / "tokenizer_config.json", model_max_length=2048, **own)
    return folder


class Plain:
    """A model as the library runs it, one input at a time (protocol: Decoder)."""

    def __init__(self, folder: Path) -> None:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
        self._model = model.eval()

    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        """See the protocol."""
        found = [self._logits(each)[-1, answers] for each in inputs]
        return np.array(found, np.float32).reshape(len(inputs), len(answers))

    def logprobs(self, inputs: Sequence[Int32], begins: Sequence[int]) -> list[Float32]:
        """See the protocol."""
        found = []
        for each, begin in zip(inputs, begins, strict=True):
            logs = torch.from_numpy(self._logits(each)).log_softmax(-1).numpy()
            places = np.arange(begin, len(each))
            found.append(logs[places - 1, each[begin:]])
        return found

    def generate(
        self,
        inputs: Sequence[Int32],
        most: int,
        ends: frozenset[int],
        sampling: Sampling | None = None,
    ) -> list[Int32]:
        """See the protocol."""
        return [self._written(row, ids, most, ends, sampling) for row, ids in enumerate(inputs)]

    def _written(
        self, row: int, ids: Int32, most: int, ends: frozenset[int], sampling: Sampling | None
    ) -> Int32:
        made: list[int] = []
        while len(made) < most:
            logits = self._logits(np.concatenate([ids, made]))[-1]
            if sampling is not None:
                noise = sampling.noise(row, len(made), len(logits))
                logits = logits / np.float32(sampling.temperature) + noise
            likeliest = int(logits.argmax())
            if likeliest in ends:
                break
            made.append(likeliest)
        return np.array(made, np.int32)

    @torch.inference_mode()
    def attended(self, input: Int32, asking: range) -> Float32:
        """See the protocol."""
        ids = torch.from_numpy(input.astype(np.int64))[None]
        layers = self._model(ids, output_attentions=True).attentions
        found = sum(layer[0, :, list(asking)].sum((0, 1)) for layer in layers)
        return np.asarray(found, np.float32)

    @torch.inference_mode()
    def _logits(self, input: Int32) -> Float32:
        ids = torch.from_numpy(np.asarray(input, np.int64))[None]
        found: Float32 = self._model(ids).logits[0].float().numpy()
        return found
