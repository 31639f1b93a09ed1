"""Running a model over many inputs: batches by token budget, one copy back at the end."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipelines.core.batching import plan_batches
from pipelines.core.protocols import Float32, Int32, Int64


@dataclass(frozen=True)
class Inputs:
    """Inputs of a model, special tokens included, made row by row where a batch needs them.

    Attributes:
        lengths: int32[n], tokens of each input.
        row: the ids of input i, int32[lengths[i]].
    """

    lengths: Int32
    row: Callable[[int], Int32]


@dataclass(frozen=True)
class Batch:
    """A padded batch on the device: ids int64[b, t], lengths int64[b]; rows int64[b] on the CPU."""

    rows: Int64
    ids: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """int64[b, t]: 1 at real tokens, 0 at padding, which is on the right."""
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        return (places < self.lengths[:, None]).long()


@dataclass(frozen=True)
class Runner:
    """How batches are cut and where they run: padded tokens in one, the padding id, the device."""

    batch_tokens: int
    pad_id: int
    device: torch.device

    @torch.inference_mode()
    def run(self, inputs: Inputs, step: Callable[[Batch], Tensor], dim: int) -> Float32:
        """Apply `step`, which gives float32[b, dim], to all inputs.

        Returns:
            float32[n, dim] in the order of the inputs. Nothing waits for the device before the
            last batch is queued.
        """
        batches = plan_batches(inputs.lengths, self.batch_tokens)
        results = np.empty((len(inputs.lengths), dim), np.float32)
        if batches:
            found = torch.cat([step(self._batch(inputs, rows)) for rows in batches])
            results[np.concatenate(batches)] = found.cpu().numpy()
        return results

    def _batch(self, inputs: Inputs, rows: Int64) -> Batch:
        lengths = inputs.lengths[rows].astype(np.int64)
        ids = np.full((len(rows), max(1, int(lengths.max()))), self.pad_id, np.int64)
        for place, row in enumerate(rows):
            ids[place, : lengths[place]] = inputs.row(int(row))
        return Batch(rows, self.send(ids), self.send(np.maximum(lengths, 1)))

    def send(self, array: Int64) -> Tensor:
        """The array on the device; to a GPU it goes through pinned memory, without waiting."""
        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def batch_tokens(setting: int | None, device: str) -> int:
    """Padded tokens in one forward pass: the setting, else what was fastest on such a device.

    Small batches stay in a CPU core's cache (1,024 beat 4,096 by 16% there); a GPU wants many.
    """
    return setting or (1024 if device == "cpu" else 65_536)


def padding_id(config: object) -> int:
    """The id that fills short rows: the model's own, since some number positions by it, else 0."""
    found = getattr(config, "pad_token_id", None)
    return 0 if found is None else int(found)
