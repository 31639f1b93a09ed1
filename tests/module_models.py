"""Small encoders that sentence-transformers itself puts together and saves, by family.

static: a table of token vectors. model2vec: one with a mapping and factors. dense: linear maps of
three kinds after the pooling. concatenated, max, weightedmean, mean_sqrt_len: poolings. router: a
table for queries, a transformer for documents. t5: the encoder alone. t5-whole:
as transformers saves it, with a decoder. gemma3-dense: of tokens that attend both ways, by windows
shorter than most texts in the first layer, as EmbeddingGemma. qwen3-last: as Qwen3-Embedding.
All have 32 components.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from transformers import T5Config, T5EncoderModel, T5Model

from tests.family_models import save_encoder
from tests.tiny_models import save, tiny_encoder, tiny_tokeniser

DIM = 32
#: How many rows a model2vec table shares among its tokens.
_SHARED = 60


def module_encoder(folder: Path, family: str) -> Path:
    """Save a random encoder of the family into `folder`; equal arguments give equal files."""
    torch.manual_seed(5)
    if family == "t5-whole":
        save(folder, T5Model(_t5_config()), tiny_tokeniser())
        return folder
    with TemporaryDirectory() as spare:
        SentenceTransformer(modules=_MAKE[family](Path(spare)), device="cpu").save(str(folder))
    if family == "model2vec":
        _as_model2vec(folder)
    return folder


def bert(spare: Path, dim: int = DIM) -> Transformer:
    """The first module of most."""
    return Transformer(str(tiny_encoder(spare / "bert", "bert", dim)))


def static(dim: int = DIM) -> StaticEmbedding:
    tokeniser = tiny_tokeniser()
    rows = torch.randn(tokeniser.get_vocab_size(), dim)
    return StaticEmbedding(tokeniser, embedding_weights=rows)


def _dense(spare: Path) -> list[torch.nn.Module]:
    return [
        bert(spare),
        Pooling(DIM, "mean"),
        Dense(DIM, 48),
        Dense(48, 48, bias=False, activation_function=torch.nn.Identity(), use_residual=True),
        Dense(48, DIM, activation_function=torch.nn.GELU(), use_residual=True),
        Normalize(),
    ]


def _pooled(*modes: str) -> Callable[[Path], list[torch.nn.Module]]:
    dim = DIM // len(modes)
    return lambda spare: [bert(spare, dim), Pooling(dim, modes)]


def _router(spare: Path) -> list[torch.nn.Module]:
    routes = Router.for_query_document([static()], [bert(spare), Pooling(DIM, "mean")])
    return [routes, Normalize()]


def _t5_config() -> T5Config:
    return T5Config(
        vocab_size=tiny_tokeniser().get_vocab_size(),
        d_model=DIM,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
    )


def _t5(spare: Path) -> list[torch.nn.Module]:
    save(spare / "t5", T5EncoderModel(_t5_config()), tiny_tokeniser())
    return [Transformer(str(spare / "t5")), Pooling(DIM, "mean")]


def _gemma3(spare: Path) -> list[torch.nn.Module]:
    folder = save_encoder(spare / "gemma3", "gemma3_text", use_bidirectional_attention=True)
    return [
        Transformer(str(folder)),
        Pooling(DIM, "mean"),
        Dense(DIM, 48, bias=False, activation_function=torch.nn.Identity()),
        Dense(48, DIM, bias=False, activation_function=torch.nn.Identity()),
        Normalize(),
    ]


def _qwen3(spare: Path) -> list[torch.nn.Module]:
    folder = save_encoder(spare / "qwen3", "qwen3")
    return [Transformer(str(folder)), Pooling(DIM, "lasttoken"), Normalize()]


_MAKE: Mapping[str, Callable[[Path], list[torch.nn.Module]]] = {
    "static": lambda spare: [static(), Normalize()],
    "model2vec": lambda spare: [static()],
    "dense": _dense,
    "concatenated": _pooled("max", "cls", "mean", "lasttoken"),
    "max": _pooled("max"),
    "weightedmean": _pooled("weightedmean"),
    "mean_sqrt_len": _pooled("mean_sqrt_len_tokens"),
    "router": _router,
    "t5": _t5,
    "gemma3-dense": _gemma3,
    "qwen3-last": _qwen3,
}
MODULE_FAMILIES = (*_MAKE, "t5-whole")


def _as_model2vec(folder: Path) -> None:
    """Rewrite a table as model2vec saves one whose tokens share rows (no model2vec is needed)."""
    path = next(folder.rglob("model.safetensors"))
    rows = load_file(path)["embedding.weight"]
    tensors = {
        "embeddings": rows[:_SHARED].half(),
        "mapping": torch.arange(len(rows)) % _SHARED,
        "weights": torch.linspace(0.1, 2, len(rows), dtype=torch.float64),
    }
    save_file(tensors, path)
