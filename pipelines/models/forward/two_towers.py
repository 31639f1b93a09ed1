"""CLIP and SigLIP as the library transformers has them: a tower of pictures and one of texts."""

from typing import Any

import torch
import transformers
from torch import Tensor

from shardrank.core.arrays import Float32, Int64
from shardrank.models.folder.image_folder import ImageFolder
from shardrank.models.forward.linear import DTYPES
from shardrank.models.forward.padded import load_weights, missing_and_besides, move

_CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel"}


class TwoTowers:
    """A model on its device."""

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._model, self._device, self._dtype = model, device, dtype

    def images(self, pixels: Float32) -> Tensor:
        """[n, dim] of float32[n, 3, height, width]; not normalised."""
        given = torch.from_numpy(pixels).to(self._device, self._dtype)
        found: Tensor = self._model.get_image_features(pixel_values=given).pooler_output
        return found

    def texts(self, ids: Int64, real: Int64 | None) -> Tensor:
        """[n, dim] of int64[n, t] ids and masks, which may be none; not normalised."""
        given = torch.from_numpy(ids).to(self._device)
        mask = None if real is None else torch.from_numpy(real).to(self._device)
        found: Tensor = self._model.get_text_features(
            input_ids=given, attention_mask=mask
        ).pooler_output
        return found


def load_two_towers(folder: ImageFolder, dtype: str, device: str) -> TwoTowers:
    """The model of a folder on the device; raises as `load_weights`."""
    kind = getattr(transformers, _CLASSES[folder.family])
    model = load_weights(kind, folder.layout.transformer, dtype, False, ())
    move(model, torch.device(device))
    return TwoTowers(model, torch.device(device), DTYPES[dtype])


def tower_report(folder: ImageFolder) -> tuple[list[str], list[str]]:
    """The weights that the files lack, and those that they hold besides; from headers."""
    kind = getattr(transformers, _CLASSES[folder.family])
    return missing_and_besides(kind, folder.layout.transformer, False)
