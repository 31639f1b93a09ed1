"""The families that our own forward pass runs, each described as what it has otherwise than BERT.

BERT (Devlin et al. 2019, arXiv:1810.04805); DistilBERT (Sanh et al. 2019, arXiv:1910.01108);
ELECTRA (Clark et al. 2020, arXiv:2003.10555); MPNet (Song et al. 2020, arXiv:2004.09297); DeBERTa
(He et al. 2021, arXiv:2006.03654, and v3, arXiv:2111.09543).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shardrank.models.folder.deberta_config import deberta_weights, is_plain_deberta

Config = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]

#: The buckets that MPNet's forward pass counts by, whatever its config.json says.
MPNET_BUCKETS = 32


@dataclass(frozen=True)
class Head:
    """A classifier's: two maps, from the first token's state and to the labels.

    Attributes:
        first, last: their names.
        activation: the name of what is between them.
    """

    first: str
    last: str
    activation: str = "tanh"


@dataclass(frozen=True)
class Family:
    """What a family has of its own.

    Attributes:
        prefix: what its classifiers and language models put before an encoder's names.
        head: of its classifiers.
        renamed: pieces of its weights' names, and what BERT calls them.
        keys: BERT's names of config.json's keys where its own are others.
        defaults: what a config.json leaves out, by BERT's names.
        said: what a config.json must say, where it says it; the first is what it else means.
        holds: whether what else a config.json says is understood.
        more: weights of the encoder beside BERT's, by their bare names.
        without: which of BERT's tables of embeddings it lacks.
        masked: whether its masked language models are run, too.
    """

    prefix: str
    head: Head
    renamed: tuple[tuple[str, str], ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    holds: Callable[[Config], bool] = lambda config: True
    more: Callable[[Config], Shapes] = lambda config: {}
    without: Callable[[Config], frozenset[str]] = lambda config: frozenset()
    masked: bool = False


def _mpnet_weights(config: Config) -> Shapes:
    heads = int(config.get("num_attention_heads", 12))
    return {"encoder.relative_attention_bias.weight": (MPNET_BUCKETS, heads)}


def _deberta_lacks(config: Config) -> frozenset[str]:
    biased = config.get("position_biased_input", True)
    typed = (config.get("type_vocab_size") or 0) > 0
    return frozenset({"position"} if not biased else ()) | frozenset(
        () if typed else {"token_type"}
    )


_POOLED = Head("pooler.dense", "classifier")
_DENSE = Head("classifier.dense", "classifier.out_proj")
_ROBERTA = Family("roberta.", _DENSE, masked=True)

FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert.", _POOLED, masked=True),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Family(
        "electra.",
        Head("classifier.dense", "classifier.out_proj", "gelu"),
        defaults={
            "hidden_size": 256,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
        },
        holds=lambda config: config.get("embedding_size", 128) == config.get("hidden_size", 256),
    ),
    "distilbert": Family(
        "distilbert.",
        Head("pre_classifier", "classifier", "relu"),
        renamed=(
            ("transformer.layer.", "encoder.layer."),
            (".attention.q_lin.", ".attention.self.query."),
            (".attention.k_lin.", ".attention.self.key."),
            (".attention.v_lin.", ".attention.self.value."),
            (".attention.out_lin.", ".attention.output.dense."),
            (".sa_layer_norm.", ".attention.output.LayerNorm."),
            (".ffn.lin1.", ".intermediate.dense."),
            (".ffn.lin2.", ".output.dense."),
            (".output_layer_norm.", ".output.LayerNorm."),
        ),
        keys={
            "hidden_size": "dim",
            "intermediate_size": "hidden_dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "layer_norm_eps": "",  # it has no say
        },
        defaults={"num_hidden_layers": 6},
        said={
            "activation": ("gelu",),
            "hidden_size": (None,),  # BERT's own names, which transformers would take for these
            "num_hidden_layers": (None,),
            "num_attention_heads": (None,),
        },
        without=lambda config: frozenset({"token_type"}),
        masked=True,
    ),
    "mpnet": Family(
        "mpnet.",
        _DENSE,
        renamed=(
            (".attention.attn.q.", ".attention.self.query."),
            (".attention.attn.k.", ".attention.self.key."),
            (".attention.attn.v.", ".attention.self.value."),
            (".attention.attn.o.", ".attention.output.dense."),
            (".attention.LayerNorm.", ".attention.output.LayerNorm."),
        ),
        defaults={"vocab_size": 30527},
        said={"relative_attention_num_buckets": (MPNET_BUCKETS,), "pad_token_id": (1,)},
        more=_mpnet_weights,
        without=lambda config: frozenset({"token_type"}),
    ),
    "deberta-v2": Family(
        "deberta.",
        Head("pooler.dense", "classifier", "gelu"),
        renamed=(
            (".attention.self.query_proj.", ".attention.self.query."),
            (".attention.self.key_proj.", ".attention.self.key."),
            (".attention.self.value_proj.", ".attention.self.value."),
        ),
        defaults={
            "vocab_size": 128100,
            "hidden_size": 1536,
            "num_hidden_layers": 24,
            "num_attention_heads": 24,
            "intermediate_size": 6144,
            "layer_norm_eps": 1e-7,
            "type_vocab_size": 0,
        },
        holds=is_plain_deberta,
        more=deberta_weights,
        without=_deberta_lacks,
    ),
}
