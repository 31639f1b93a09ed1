"""The embedded encoder in OpenVINO, rounded to 8 bits: what sentence-transformers' backend of that
name runs.

That backend needs optimum-intel, which refuses transformers from 5.6 on (2.2.0, 2026-11-25), so
its steps stand here: conversion, post-training quantisation by NNCF with a model of type
transformer and 300 samples (`export_static_quantized_openvino_model`), batches of texts sorted by
length.
"""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoModel, AutoTokenizer

from shardrank.core.arrays import Float32
from shardrank.models.folder.resolve import resolve_model

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it calls home
SAMPLES, MAX_TOKENS = 300, 256

Arrays = dict[str, np.ndarray[Any, Any]]


class OpenVinoEncoder:
    """Texts → float32[n, 384] of length 1, on one thread."""

    def __init__(self, calibration: Sequence[str]) -> None:
        import nncf
        import openvino

        folder = resolve_model("embedded", None)
        self._tokeniser = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example = self._tokeniser(["one", "two words"], padding=True, return_tensors="pt")
            converted = openvino.convert_model(model, example_input=dict(example))
            samples = nncf.Dataset([self._inputs([text]) for text in calibration[:SAMPLES]])
            small = nncf.quantize(
                converted, samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=SAMPLES
            )
        hints = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self._run: Any = openvino.Core().compile_model(small, "CPU", hints)

    def encode(self, texts: Sequence[str], batch: int) -> Float32:
        """Sorted by characters, longest first, as `SentenceTransformer.encode` does."""
        order = np.argsort([-len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), 384), np.float32)
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            found[rows] = self._vectors([texts[row] for row in rows])
        return found

    def _vectors(self, texts: Sequence[str]) -> Float32:
        inputs = self._inputs(texts)
        mask = inputs["attention_mask"][:, :, None]
        mean = (self._run(inputs)[0] * mask).sum(axis=1) / mask.sum(axis=1)
        unit: Float32 = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit

    def _inputs(self, texts: Sequence[str]) -> Arrays:
        made = self._tokeniser(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="np"
        )
        return dict(made)
