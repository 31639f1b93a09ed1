"""Running a model over many inputs: batches by token budget, one copy back at the end."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import SettingsError
from shardrank.core.progress import tell
from shardrank.core.tally import spend
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.limits import pad_id
from shardrank.models.forward.batch import Batch, send
from shardrank.models.forward.memory import give_back_freed_memory, keep_freed_memory
from shardrank.models.forward.token_budget import plan_batches

#: Seconds of the CPU after which its freed memory goes back to the kernel: to have it cleared again
#: costs 1% of them at most, whatever the model and its type.
_GIVEN_BACK = 0.5


@dataclass(frozen=True)
class ModelInputs:
    """Inputs of a model, special tokens included, made row by row where a batch needs them.

    Attributes:
        lengths: int32[n], tokens of each input.
        row: the ids of input i, int32[lengths[i]].
        types: the token types of input i, likewise; none where the model has just one.
        seen: int32[n], as `Batch.seen`.
    """

    lengths: Int32
    row: Callable[[int], Int32]
    types: Callable[[int], Int32] | None = None
    seen: Int32 | None = None


@dataclass(frozen=True)
class Runner:
    """How batches are cut and where they run: tokens in one, the id for padding, the device."""

    batch_tokens: int
    pad_id: int
    device: torch.device

    @torch.inference_mode()
    def run(self, inputs: ModelInputs, step: Callable[[Batch], Tensor], dim: int) -> Float32:
        """Apply `step`, which gives float32[b, dim], to all inputs.

        Returns:
            float32[n, dim] in the order of the inputs. Nothing waits for a GPU before the last
            batch is queued. On a CPU a batch leaves nothing behind: small pieces between large
            ones would keep those from being used again.
        """
        results = np.empty((len(inputs.lengths), dim), np.float32)
        if self.device.type == "cpu":
            for batch in self.batches(inputs):
                results[batch.rows] = step(batch).numpy()
            return results
        done = [(batch.rows, step(batch)) for batch in self.batches(inputs)]
        if done:
            found = torch.cat([vectors for _, vectors in done])
            results[np.concatenate([rows for rows, _ in done])] = found.cpu().numpy()
        return results

    def batches(self, inputs: ModelInputs) -> Iterator[Batch]:
        """All inputs, by token budget, the longest first; tells how far they are."""
        total, done = max(1, int(inputs.lengths.sum())), 0
        kept_since = time.thread_time()
        for rows in plan_batches(inputs.lengths, self.batch_tokens):
            yield self._batch(inputs, rows)
            if self.device.type == "cpu" and time.thread_time() - kept_since > _GIVEN_BACK:
                give_back_freed_memory()
                kept_since = time.thread_time()
            tokens = int(inputs.lengths[rows].sum())
            done += tokens
            spend("tokens", tokens)
            tell(done / total)

    def _batch(self, inputs: ModelInputs, rows: Int64) -> Batch:
        sizes = np.maximum(inputs.lengths[rows].astype(np.int64), 1)
        ids = self._tokens(inputs.row, rows, self.pad_id)
        types = None if inputs.types is None else self._tokens(inputs.types, rows, 0)
        seen = None if inputs.seen is None else inputs.seen[rows].astype(np.int64)
        return Batch(rows, sizes, ids, types, seen)

    def _tokens(self, row: Callable[[int], Int32], rows: Int64, fill: int) -> Tensor:
        """int64[t]; an input without tokens has one of padding, so that it has a vector."""
        empty = np.array([fill], np.int32)
        tokens = [row(int(number)) for number in rows]
        flat = np.concatenate([ids if len(ids) else empty for ids in tokens])
        return send(flat.astype(np.int64), self.device)


def make_runner(layout: Layout, batch_tokens: int | None, device: str, dtype: str) -> Runner:
    """How a model of that folder runs.

    Small batches stay in a CPU core's cache (1,024 tokens beat 4,096 by 16% there); a GPU wants
    many. The padding id is the model's own, since some number positions by it, else 0.

    Args:
        layout: the model's folder.
        batch_tokens: the setting; none: what was fastest on such a device.
        device: torch's name of a device, such as "cpu" or "cuda".
        dtype: of the forward pass.

    Raises:
        SettingsError: 8 bits, but the device is no CPU.
    """
    if dtype == "int8" and device != "cpu":
        raise SettingsError(
            f"dtype = int8 runs on CPUs only; this worker has {device!r}.",
            "Set dtype = bf16, or cluster.gpu = never.",
        )
    if device == "cpu":
        keep_freed_memory()
    tokens = batch_tokens or (1024 if device == "cpu" else 65_536)
    return Runner(tokens, pad_id(layout.config), torch.device(device))
