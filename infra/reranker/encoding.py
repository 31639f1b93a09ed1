"""Exact retrieval with the bi-encoder the product retrieves with: it finds the hard negatives."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
TOKENS_PER_BATCH = 8192


class BiEncoder:
    """Mean-pooled, normalised embeddings of all-MiniLM-L6-v2 (its model card's recipe), cached on
    disk by content.
    """

    def __init__(self, base: Path, cache: Path | None, max_length: int, bf16: bool) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(base)
        self.model: Any = AutoModel.from_pretrained(base, dtype=torch.float32).eval()
        self.cache, self.max_length, self.bf16 = cache, max_length, bf16

    def __call__(self, texts: list[str]) -> Floats:
        """Return float32[len(texts), 384]."""
        if self.cache is None:
            return self._encode(texts)
        key = hashlib.sha256(repr((self.max_length, self.bf16, texts)).encode()).hexdigest()[:24]
        path = self.cache / f"{key}.npy"
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            np.save(path, self._encode(texts))
        return np.asarray(np.load(path), np.float32)

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> Floats:
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        vectors = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        for rows in length_batches([len(row) for row in ids], TOKENS_PER_BATCH):
            batch = self.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                hidden = self.model(**batch).last_hidden_state.float()  # float32[rows, tokens, 384]
            mask = batch["attention_mask"][..., None].float()
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors


def length_batches(lengths: list[int], budget: int) -> list[list[int]]:
    """Group row numbers, longest first, so that rows × longest stays within ``budget`` tokens."""
    batches: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batches[-1][0]] if batches[-1] else lengths[row]
        if batches[-1] and (len(batches[-1]) + 1) * longest > budget:
            batches.append([])
        batches[-1].append(row)
    return batches


def top_k(queries: Floats, documents: Floats, k: int) -> tuple[Ints, Floats]:
    """Return (rows int64[queries, k], cosines float32[queries, k]), best first, by exact search."""
    cosines = queries @ documents.T  # float32[queries, documents]
    k = min(k, len(documents))
    found = np.sort(np.argpartition(-cosines, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(cosines, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)
