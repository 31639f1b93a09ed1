"""Small sparse encoders that sentence-transformers itself puts together and saves, by family.

bert, roberta, xlm-roberta, distilbert: our own forward pass. bert-untied: a decoder of its own.
modernbert, electra, mobilebert: by transformers; mobilebert's decoder is not its last step.
bert-sum: pooled by sum, two logarithms, prompts, max_active_dims. bert-plain: as transformers saves
it. router: a table of weights for queries.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import (
    MLMTransformer,
    SparseStaticEmbedding,
    SpladePooling,
)
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tests.family_models import tiny_config
from tests.tiny_models import byte_tokeniser, save, tiny_tokeniser

QUERY_PROMPT, DOCUMENT_PROMPT = "query: ", "text: "


def save_masked(folder: Path, family: str, **more: Any) -> Path:
    """A random masked language model of a model type, as transformers saves it.

    Weights are moved a little, so that none is zero and says nothing; logits are of both signs.
    """
    torch.manual_seed(3)
    words = family in ("bert", "distilbert", "electra", "mobilebert")
    tokeniser = tiny_tokeniser() if words else byte_tokeniser()
    config = tiny_config(family)
    config.vocab_size = max(tokeniser.get_vocab_size(), 0 if words else 400)
    config.pad_token_id = 0 if words else 1
    for name, value in more.items():
        setattr(config, name, value)
    model = AutoModelForMaskedLM.from_config(config).eval().float()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        model.get_input_embeddings().weight[config.pad_token_id] = 0  # which never learns
    save(folder, model, tokeniser)
    return folder


def sparse_encoder(folder: Path, family: str) -> Path:
    """Save a random sparse encoder of the family into `folder`; equal arguments, equal files."""
    if family == "bert-plain":
        return save_masked(folder, "bert")
    with TemporaryDirectory() as spare:
        _MAKE[family](Path(spare)).save(str(folder))
    return folder


def splade(raw: Path, pooling: SpladePooling | None = None, **more: Any) -> SparseEncoder:
    """A masked language model's folder with SpladePooling."""
    masked = Transformer(str(raw), transformer_task="fill-mask")
    return SparseEncoder(modules=[masked, pooling or SpladePooling("max")], device="cpu", **more)


def _of(family: str, **more: Any) -> Callable[[Path], SparseEncoder]:
    return lambda spare: splade(save_masked(spare, family, **more))


def _summed(spare: Path) -> SparseEncoder:
    prompts = {"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}
    pooling = SpladePooling("sum", "log1p_relu", chunk_size=3)
    raw = save_masked(spare, "bert")
    masked = MLMTransformer(str(raw))
    return SparseEncoder(
        modules=[masked, pooling], device="cpu", prompts=prompts, max_active_dims=9
    )


def _router(spare: Path) -> SparseEncoder:
    raw = save_masked(spare, "bert")
    tokeniser = AutoTokenizer.from_pretrained(raw)
    weight = torch.rand(len(tokeniser.get_vocab()))
    weight[::3] = 0
    queries = [SparseStaticEmbedding(tokeniser, weight=weight, frozen=True)]
    documents = [MLMTransformer(str(raw)), SpladePooling("max")]
    routes = Router.for_query_document(query_modules=queries, document_modules=documents)
    return SparseEncoder(modules=[routes], device="cpu")


_MAKE: Mapping[str, Callable[[Path], SparseEncoder]] = {
    "bert": _of("bert"),
    "bert-untied": _of("bert", tie_word_embeddings=False),
    "roberta": _of("roberta", type_vocab_size=1),
    "xlm-roberta": _of("xlm-roberta", type_vocab_size=1),
    "distilbert": _of("distilbert"),
    "modernbert": _of("modernbert"),
    "mobilebert": _of("mobilebert"),
    "bert-sum": _summed,
    "router": _router,
}
SPARSE_FAMILIES = (*_MAKE, "bert-plain")
