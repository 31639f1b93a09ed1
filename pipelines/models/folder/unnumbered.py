"""What a model's files lack beside its layers, as far as names alone say: tables of embeddings,
norms before and after the layers, and a classifier's head.

The names are those of transformers 5.23, each held against what the library itself refuses
(tests/contract/test_names_alone.py). What depends on more than a key or two of config.json is left
to the library.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.models.folder.families import CLASSIFIERS, ENCODERS
from shardrank.models.folder.numbered import is_numbered
from shardrank.models.folder.packable import todays_name

Config = Mapping[str, Any]


def _weights(listed: str) -> tuple[str, ...]:
    """Weights by the names of their modules, separated by blanks; a plus: and its bias."""
    found: list[str] = []
    for name in listed.split():
        module = name.removesuffix("+")
        found += [f"{module}.weight", *([f"{module}.bias"] if module != name else [])]
    return tuple(found)


def _by_family(table: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """From names of families, separated by blanks, and names as `_weights` takes them."""
    return {family: _weights(table[key]) for key in table for family in key.split()}


_WORDS = "embeddings.word_embeddings embeddings.LayerNorm+"
_TYPES = f"{_WORDS} embeddings.token_type_embeddings"
_PLACES = f"{_WORDS} embeddings.position_embeddings"
_BERT = f"{_TYPES} embeddings.position_embeddings"
_FACTORS = "encoder.embedding_hidden_mapping_in+"
_ENTITIES = " ".join(
    f"entity_embeddings.{name}"
    for name in ("entity_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm+")
)
_TABLES = (
    "embeddings.word_embeddings embeddings.token_type_embeddings embeddings.position_embeddings"
)
#: What most families have: a table, the layers, a norm.
_MOST = _weights("embed_tokens norm")
#: What the others have instead, whatever their config.json says.
_BESIDE = _by_family({
    "bert big_bird camembert data2vec-text electra ernie ibert longformer roberta": _BERT,
    "splinter squeezebert xlm-roberta": _BERT,
    "albert rembert": f"{_BERT} {_FACTORS}",
    "luke": f"{_BERT} {_ENTITIES}",
    "mobilebert": f"{_BERT} embeddings.embedding_transformation+",
    "megatron-bert": f"{_TABLES} encoder.ln+",
    "xlm-roberta-xl": f"{_TABLES} encoder.LayerNorm+",
    "roberta-prelayernorm": f"{_BERT} LayerNorm+",
    "bert-generation distilbert": _PLACES,
    "mpnet": f"{_PLACES} encoder.relative_attention_bias",
    "jina_embeddings_v3 nomic_bert": _TYPES,
    "roformer": f"{_TYPES} encoder.embed_positions",
    "deberta deberta-v2 gte": _WORDS,
    "esm": "embeddings.word_embeddings encoder.emb_layer_norm_after+",
    "modernbert modernbert-decoder": "embeddings.tok_embeddings embeddings.norm final_norm",
    "clip_text_model": "embeddings.token_embedding embeddings.position_embedding final_layer_norm+",
    "jais2 nemotron phimoe stablelm starcoder2": "embed_tokens norm+",
    "nanochat olmo hrm_text": "embed_tokens",
    "bamba falcon_h1 jamba zamba2": "embed_tokens final_layernorm",
    "persimmon phi": "embed_tokens final_layernorm+",
    "lfm2 lfm2_moe lfm3": "embed_tokens embedding_norm",
    "recurrent_gemma": "embed_tokens final_norm",
    "opt": "embed_tokens embed_positions",
    "m2m_100 xglm": "embed_tokens layer_norm+",
    "biogpt blenderbot pegasus": "embed_tokens embed_positions layer_norm+",
    "blenderbot-small": "embed_tokens embed_positions layernorm_embedding+",
    "marian": "embed_tokens embed_positions",
    "pegasus_x": "embed_tokens embed_global layer_norm+",
    "prophetnet": "word_embeddings position_embeddings embeddings_layer_norm+",
    "longt5 mt5 t5 umt5": "shared encoder.final_layer_norm",
    "gpt-sw3 gpt2 gpt_bigcode gpt_neo": "wte wpe ln_f+",
    "codegen gptj": "wte ln_f+",
    "gpt_neox gpt_neox_japanese": "embed_in final_layer_norm+",
    "openai-gpt": "tokens_embed positions_embed",
    "bloom": "word_embeddings word_embeddings_layernorm+ ln_f+",
    "falcon": "word_embeddings ln_f+",
    "mpt": "wte norm_f",
    "ctrl": "w layernorm+",
    "falcon_mamba mamba mamba2 nemotron_h": "embeddings norm_f",
    "rwkv": "embeddings ln_out+",
    "xlstm": "embeddings out_norm",
    "flaubert xlm": "embeddings position_embeddings layer_norm_emb+",
    "xlnet": "word_embedding",
})  # fmt: skip


@dataclass(frozen=True)
class _Where:
    """Weights that families have where their config.json says so."""

    families: str
    says: Callable[[Config], Any]
    weights: tuple[str, ...]


_WHERE = (
    _Where(
        "deberta deberta-v2",
        lambda config: config.get("position_biased_input", True),
        _weights("embeddings.position_embeddings"),
    ),
    _Where(
        "deberta deberta-v2",
        lambda config: (config.get("type_vocab_size") or 0) > 0,
        _weights("embeddings.token_type_embeddings"),
    ),
    _Where(
        "deberta deberta-v2",
        lambda config: config.get("relative_attention"),
        _weights("encoder.rel_embeddings"),
    ),
    _Where(
        "deberta-v2",
        lambda config: "layer_norm" in str(config.get("norm_rel_ebd")).lower().split("|"),
        _weights("encoder.LayerNorm+"),
    ),
    _Where(
        "deberta-v2",
        lambda config: config.get("conv_kernel_size"),
        _weights("encoder.conv.conv+ encoder.conv.LayerNorm+"),
    ),
    _Where(
        "electra",
        lambda config: config.get("embedding_size", 128) != config.get("hidden_size", 256),
        _weights("embeddings_project+"),
    ),
    _Where(
        "ernie",
        lambda config: config.get("use_task_id"),
        _weights("embeddings.task_type_embeddings"),
    ),
    _Where(
        "gte",
        lambda config: config.get("type_vocab_size", 1),
        _weights("embeddings.token_type_embeddings"),
    ),
    _Where(
        "esm",
        lambda config: config.get("position_embedding_type", "absolute") == "absolute",
        _weights("embeddings.position_embeddings"),
    ),
    _Where(
        "modernbert modernbert-decoder",
        lambda config: config.get("norm_bias"),
        ("embeddings.norm.bias", "final_norm.bias"),
    ),
    _Where(
        "opt",
        lambda config: (
            not config.get("_remove_final_layer_norm")
            and config.get("do_layer_norm_before", True)
            and config.get("layer_norm_elementwise_affine", True)
        ),
        _weights("decoder.final_layer_norm+"),
    ),
    _Where(
        "gemma4_text",
        lambda config: config.get("hidden_size_per_layer_input"),
        _weights("embed_tokens_per_layer per_layer_model_projection per_layer_projection_norm"),
    ),
)

#: The maps of a classifier's head where it is more than one map of the last token's state.
_HEADS = _by_family({
    "bert deberta deberta-v2 ernie gte luke": "pooler.dense+ classifier+",
    "megatron-bert nomic_bert rembert squeezebert": "pooler.dense+ classifier+",
    "camembert data2vec-text electra esm esmc ibert": "classifier.dense+ classifier.out_proj+",
    "jina_embeddings_v3 longformer mpnet roberta": "classifier.dense+ classifier.out_proj+",
    "roberta-prelayernorm roformer": "classifier.dense+ classifier.out_proj+",
    "xlm-roberta xlm-roberta-xl": "classifier.dense+ classifier.out_proj+",
    "albert": "pooler+ classifier+",
    "distilbert": "pre_classifier+ classifier+",
    "eurobert": "dense+ classifier+",
    "mobilebert ultrabert": "classifier+",
    "modernbert": "head.dense head.norm classifier+",
    "modernbert-decoder": "head.dense head.norm classifier",
    "flaubert xlm": "",  # depends on how the head sums a text up
    "xlnet": "logits_proj+",
})  # fmt: skip
_SCORE = _weights("score")

#: Names that the library takes for another.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "embed_tokens.weight": ("embed.weight", "wte.embedding"),
    "shared.weight": ("encoder.embed_tokens.weight",),
}


def missing_beside_layers(names: Iterable[str], config: Config) -> list[str]:
    """Names of embeddings and norms that are missing for certain; others may be, too.

    Args:
        names: of the weights in a model's files, with any prefix.
        config: the parsed config.json.
    """
    kind = str(config.get("model_type"))
    wanted = _BESIDE.get(kind, _MOST if kind in ENCODERS else ())
    told = (w.weights for w in _WHERE if kind in w.families.split() and w.says(config))
    return _missing(names, (*wanted, *(name for weights in told for name in weights)))


def missing_from_head(names: Iterable[str], config: Config) -> list[str]:
    """As `missing_beside_layers`, of a classifier's head."""
    kind = str(config.get("model_type"))
    return _missing(names, _HEADS.get(kind, _SCORE if kind in CLASSIFIERS else ()))


def _missing(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    held = {end for name in names if not is_numbered(name) for end in _ends(_today(name))}
    return [name for name in wanted if held.isdisjoint((name, *_ALSO.get(name, ())))]


def _today(name: str) -> str:
    """A weight's name with its norm as it is called today."""
    return todays_name(name).replace("emb_ln.", "embeddings.LayerNorm.")


def _ends(name: str) -> Iterable[str]:
    """A name without each of the prefixes that a model around it may have put before it."""
    parts = name.split(".")
    starts = (at for at in range(len(parts)) if at == 0 or parts[at - 1] != "embeddings")
    return (".".join(parts[at:]) for at in starts)
