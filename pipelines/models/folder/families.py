"""Which model families are run: those that were tried, with random weights, against
sentence-transformers 6.2 on transformers 5.23, one text by one and in batches of uneven lengths
(tests/contract/test_families.py).

The rest is refused by name. What an author's own code runs, where the settings trust it, is his.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.modules import StaticTable, Tower

Config = Mapping[str, Any]


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


#: Model types whose hidden states, token by token, are the library's.
ENCODERS = _names(
    "afmoe albert apertus arcee aria_text axk1 axk2 bamba beam bert bert-generation big_bird "
    "biogpt bitnet bloom camembert clip_text_model codegen cohere cohere2 cohere2_moe ctrl "
    "cwm data2vec-text deberta deberta-v2 deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 "
    "diffllama distilbert doge dots1 electra ernie ernie4_5 ernie4_5_moe esm esmc eurobert "
    "exaone4 exaone_moe falcon falcon_h1 falcon_mamba flaubert flex_olmo flint gemma gemma2 "
    "gemma3_text gemma4_text gemma4_unified_text glm glm4 glm4_moe glm4_moe_lite glm_moe_dsa "
    "gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj granite "
    "granite_docling_text granite_swa granitemoe granitemoe_swa granitemoehybrid "
    "granitemoeshared gte helium hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 "
    "hyperclovax ibert internlm3 iquestcoder jais2 jamba jetmoe jina_embeddings_v3 "
    "kimi_linear kolibri1 laguna lfm2 lfm2_moe lfm3 llama llama4_text longcat_flash "
    "longformer luke mamba mamba2 megatron-bert mellum mimo_v2_flash minicpm3 minimax "
    "minimax_m2 minimax_m3_vl_text ministral ministral3 mistral mistral_large4_text mixtral "
    "mobilebert modernbert modernbert-decoder molmo2_text mpnet mpt muse_glimmer_text "
    "nanochat nemotron nemotron_h nomic_bert olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt "
    "openai_privacy_filter opt persimmon phi phi3 phimoe qwen2 qwen2_moe qwen3 "
    "qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next qwen3_vl_moe_text qwen3_vl_text "
    "recurrent_gemma rembert roberta roberta-prelayernorm roformer rwkv seed_oss smollm3 "
    "solar_open splinter squeezebert stablelm starcoder2 ultrabert vaultgemma xglm xlm "
    "xlm-roberta xlm-roberta-xl xlnet xlstm zamba2 zaya"
)

#: Those whose logits are, too.
CLASSIFIERS = _names(
    "albert arcee axk1 axk2 bert biogpt bloom camembert data2vec-text deberta deberta-v2 "
    "deepseek_v2 deepseek_v3 diffllama distilbert doge electra ernie esm esmc eurobert "
    "exaone4 falcon flaubert gemma gemma2 gemma3_text glm glm4 gpt-sw3 gpt2 gpt_bigcode "
    "gpt_neo gpt_neox gpt_oss gptj gte helium hunyuan_v1_dense hunyuan_v1_moe ibert jamba "
    "jetmoe jina_embeddings_v3 llama longformer luke megatron-bert minicpm3 minimax ministral "
    "ministral3 mistral mixtral mobilebert modernbert modernbert-decoder mpnet mpt nemotron "
    "nomic_bert olmo olmo2 olmo3 openai-gpt opt persimmon phi phi3 phimoe qwen2 qwen2_moe "
    "qwen3 qwen3_5_text qwen3_moe qwen3_next rembert roberta roberta-prelayernorm roformer "
    "seed_oss smollm3 squeezebert stablelm starcoder2 ultrabert xlm xlm-roberta "
    "xlm-roberta-xl xlnet zamba2"
)


#: Those whose masked language model's logits are.
MASKED = _names(
    "albert bert camembert data2vec-text deberta deberta-v2 distilbert electra ernie esm esmc "
    "eurobert flaubert gte ibert jina_embeddings_v3 longformer luke megatron-bert mobilebert "
    "modernbert mpnet nomic_bert roberta roberta-prelayernorm roformer squeezebert "
    "ultrabert xlm xlm-roberta xlm-roberta-xl"
)


@dataclass(frozen=True)
class Half:
    """The encoder of an encoder-decoder, which the library loads without the decoder.

    Attributes:
        path: of its class in transformers.
        from_whole: whether it is found in a folder with both; the library leaves the weights of
            the others at random there.
    """

    path: str
    from_whole: bool = False


#: By model type (sentence-transformers 6.2, _ENCODER_ONLY_MODELS).
HALVES: Mapping[str, Half] = {
    "t5": Half("T5EncoderModel", from_whole=True),
    "mt5": Half("MT5EncoderModel", from_whole=True),
    "umt5": Half("UMT5EncoderModel", from_whole=True),
    "longt5": Half("LongT5EncoderModel", from_whole=True),
    "blenderbot": Half("models.blenderbot.modeling_blenderbot.BlenderbotEncoder"),
    "blenderbot-small": Half(
        "models.blenderbot_small.modeling_blenderbot_small.BlenderbotSmallEncoder"
    ),
    "m2m_100": Half("models.m2m_100.modeling_m2m_100.M2M100Encoder"),
    "marian": Half("models.marian.modeling_marian.MarianEncoder"),
    "pegasus": Half("models.pegasus.modeling_pegasus.PegasusEncoder"),
    "pegasus_x": Half("models.pegasus_x.modeling_pegasus_x.PegasusXEncoder"),
    "prophetnet": Half("ProphetNetEncoder"),
}

#: What some families must say besides, and what is wrong where they do not.
_UNLESS: Mapping[str, tuple[Callable[[Config], bool], str]] = {
    "big_bird": (
        lambda config: config.get("attention_type") == "original_full",
        "attends in another way after its first short batch: results depend on what came before "
        '(attention_type = "original_full" is run)',
    ),
    "opt": (
        lambda config: config.get("word_embed_proj_dim") in (None, config.get("hidden_size")),
        "projects its hidden states to another width",
    ),
}
_DECODER = "gives its decoder's states, not its encoder's"
_UNEVEN = "gives a text other vectors beside longer ones: its layers see the padding"
_INPUTS = "takes more than token ids: places on a page, sounds of letters or images"
_HASHES = "attends by hashing or by blocks that depend on the padding"
_WHY: Mapping[str, str] = {
    **dict.fromkeys(("bart", "mbart", "plbart", "mvp", "led", "bigbird_pegasus", "fsmt"), _DECODER),
    **dict.fromkeys(("convbert", "fnet", "nystromformer", "cpmant"), _UNEVEN),
    **dict.fromkeys(("layoutlm", "layoutlmv2", "layoutlmv3", "bros", "lilt", "udop"), _INPUTS),
    **dict.fromkeys(("tapas", "markuplm", "roc_bert", "visual_bert", "vilt", "lxmert"), _INPUTS),
    **dict.fromkeys(("reformer", "yoso", "mra"), _HASHES),
    **dict.fromkeys(
        ("switch_transformers", "nllb-moe"), "leaves tokens out where a batch has too many"
    ),
    "canine": "reads characters without a tokeniser",
    "dpr": "gives one vector of its own for a text, and no states of tokens",
    "funnel": "gives fewer states than a text has tokens",
    "imagegpt": "reads images",
}
_LAST: Mapping[str, str] = {
    "ctrl": "scores the last token, and takes padding for one",
}
_UNTRIED = "was not tried, or differed from the library"
_PARTS = ("vision_config", "audio_config", "text_config")


def check_tower(tower: Tower, trusted: bool) -> None:
    """Refuse a tower that is not run.

    Raises:
        InputError: its family is not run as an encoder, or a module of it is its author's own and
            not trusted.
    """
    if tower.own and not trusted:
        own = tower.own[0]
        raise InputError(
            f"{own.root} has a module {own.reference}, which is its author's own code.",
            "To run it where you trust it: --set encoder.trust_remote_code=true.",
        )
    if not isinstance(tower.source, StaticTable) and tower.body is None:
        check_family(tower.source.config, "feature-extraction", trusted)


def check_family(config: Config, task: str, trusted: bool = False) -> None:
    """Refuse a model whose family is not run for a task.

    Args:
        config: the parsed config.json.
        task: "feature-extraction", "sequence-classification" or "fill-mask".
        trusted: whether code in the folder may run, which then is all there is to know.

    Raises:
        InputError: the family is not on the list.
    """
    kind = str(config.get("model_type", ""))
    if trusted and config.get("auto_map"):
        return
    reason, as_what = _judged(kind, config, task)
    if reason is None:
        return
    named = ", ".join(map(str, config.get("architectures") or [])) or "no class named"
    raise InputError(
        f"The model is of the family {kind or 'without a name'!r} ({named}), which is not run as "
        f"{as_what}: it {reason}.",
        "Use a model of another family: most that read text alone are run.",
    )


def _judged(kind: str, config: Config, task: str) -> tuple[str | None, str]:
    """Why a family is not run for a task, if so, and what it would be there."""
    if task == "sequence-classification":
        return _classifier_fault(kind), "a reranker"
    if task == "fill-mask":
        return _masked_fault(kind), "a sparse encoder"
    return _fault(kind, config), "an encoder"


def _masked_fault(kind: str) -> str | None:
    return None if kind in MASKED else _WHY.get(kind, _UNTRIED)


def _classifier_fault(kind: str) -> str | None:
    if kind in CLASSIFIERS:
        return None
    if kind in HALVES or _WHY.get(kind) == _DECODER:
        return "has a decoder, and asks for as many end tokens in every text of a batch"
    if kind in _LAST:
        return _LAST[kind]
    return _UNLESS[kind][1] if kind in _UNLESS else _WHY.get(kind, _UNTRIED)


def _fault(kind: str, config: Config) -> str | None:
    half = HALVES.get(kind)
    if half is not None:
        return _half_fault(half, config)
    if kind in _UNLESS:
        holds, reason = _UNLESS[kind]
        return None if holds(config) else reason
    if kind in ENCODERS:
        return None
    if any(part in config for part in _PARTS):
        return "is several models in one, for images or sounds too"
    return _WHY.get(kind, _UNTRIED)


def _half_fault(half: Half, config: Config) -> str | None:
    mine = half.path.rpartition(".")[2]
    if half.from_whole or mine in (config.get("architectures") or []):
        return None
    return f"has a decoder; its encoder alone is run, saved as {mine}"
