"""Random models of a few kilobytes, saved the way real ones are: one builder for each task.

Families of encoders: bert-st (sentence-transformers layout with mean, normalise and prompts; its
tokenizer.json has truncation and padding switched on, as MiniLM's has), bert (plain transformers
layout), roberta-cls, modernbert-cls, qwen2-last. Families of rerankers: bert (as CrossEncoder saves
it), roberta.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2Model,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

ENCODER_FAMILIES = ("bert-st", "bert", "roberta-cls", "modernbert-cls", "qwen2-last")
MAX_TOKENS = 64
QUERY_PROMPT = "query: "
DOCUMENT_PROMPT = "text: "
_SENTENCES = (
    "the a of and in to wing flow heat boundary layer shock "
    "wave pressure supersonic plate cylinder theory velocity experiment lift drag mach number "
    "surface temperature gas transfer query text what is how does jet thin "
    "body cone nozzle flutter panel buckling shell stress load "
)
WORDS = _SENTENCES.split()


def tiny_encoder(folder: Path, family: str, dim: int = 32) -> Path:
    """Save a random encoder of the family into `folder`; equal arguments give equal files."""
    torch.manual_seed(7)
    if family in ("bert-st", "bert"):
        tokeniser = _wordpiece(baked_limits=family == "bert-st")
        model: PreTrainedModel = BertModel(_bert_config(tokeniser, dim))
    elif family == "roberta-cls":
        tokeniser = _byte_bpe("<s> $A </s>", "<s> $A </s> </s> $B </s>")
        model = RobertaModel(_roberta_config(tokeniser, dim), add_pooling_layer=False)
    elif family == "modernbert-cls":
        tokeniser = _byte_bpe("<s> $A </s>", "<s> $A </s> $B </s>")
        model = ModernBertModel(_modern_config(tokeniser, dim))
    elif family == "qwen2-last":
        tokeniser = _byte_bpe("$A </s>", "$A </s> $B </s>")
        model = Qwen2Model(_qwen2_config(tokeniser, dim))
    else:
        raise ValueError(family)
    save(folder, model, tokeniser)
    if family != "bert":
        _sentence_transformers(folder, family, dim)
    return folder


def tiny_reranker(folder: Path, family: str, labels: int = 1) -> Path:
    """Save a random classifier into `folder`; equal arguments give equal files."""
    torch.manual_seed(11)
    if family == "bert":
        tokeniser = _wordpiece()
        config = _bert_config(tokeniser, 32, num_labels=labels)
        model: PreTrainedModel = BertForSequenceClassification(config)
    elif family == "roberta":
        tokeniser = _byte_bpe("<s> $A </s>", "<s> $A </s> </s> $B </s>")
        model = RobertaForSequenceClassification(_roberta_config(tokeniser, 32, num_labels=labels))
    else:
        raise ValueError(family)
    save(folder, model, tokeniser)
    return folder


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def edit_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON object in a file."""
    write_json(path, {**json.loads(path.read_text()), **values})


def _bert_config(tokeniser: Tokenizer, dim: int, **more: Any) -> BertConfig:
    return BertConfig(
        vocab_size=tokeniser.get_vocab_size(),
        max_position_embeddings=MAX_TOKENS,
        **_shape(dim),
        **more,
    )


def _roberta_config(tokeniser: Tokenizer, dim: int, **more: Any) -> RobertaConfig:
    return RobertaConfig(
        vocab_size=tokeniser.get_vocab_size(),
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        pad_token_id=1,
        **_shape(dim),
        **more,
    )


def _modern_config(tokeniser: Tokenizer, dim: int) -> ModernBertConfig:
    """A token sees 8 to either side in the second layer: fewer than most texts have."""
    return ModernBertConfig(
        vocab_size=tokeniser.get_vocab_size(),
        max_position_embeddings=MAX_TOKENS,
        local_attention=16,
        bos_token_id=0,
        cls_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
        **_shape(dim),
    )


def _qwen2_config(tokeniser: Tokenizer, dim: int) -> Qwen2Config:
    # Rows to spare: transformers adds tokens of its own to the tokenisers of this family.
    return Qwen2Config(
        vocab_size=tokeniser.get_vocab_size() + 16,
        max_position_embeddings=MAX_TOKENS,
        num_key_value_heads=2,
        pad_token_id=1,
        eos_token_id=2,
        **_shape(dim),
    )


def _shape(dim: int) -> dict[str, Any]:
    """Wide initial weights, so that different texts get clearly different vectors."""
    return {
        "hidden_size": dim,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 2 * dim,
        "initializer_range": 0.3,
    }


def tiny_tokeniser() -> Tokenizer:
    """BERT's kind, for models of other kinds too."""
    return _wordpiece()


def byte_tokeniser() -> Tokenizer:
    """RoBERTa's kind: 400 tokens, of which 0 begins a text, 2 ends it and 1 is padding."""
    return _byte_bpe("<s> $A </s>", "<s> $A </s> $B </s>")


def _wordpiece(baked_limits: bool = False) -> Tokenizer:
    # Not trained: the trainer breaks ties differently each time.
    letters = "abcdefghijklmnopqrstuvwxyz0123456789:.,?-"
    words = [*_SPECIAL, *letters, *("##" + letter for letter in letters), *WORDS[6:]]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(words))}
    tokeniser = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokeniser.add_special_tokens(_SPECIAL)
    tokeniser.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokeniser.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokeniser.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    if baked_limits:
        tokeniser.enable_truncation(12)
        tokeniser.enable_padding(length=12, pad_token="[PAD]")
    return tokeniser


_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _byte_bpe(single: str, pair: str) -> Tokenizer:
    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokeniser.train_from_iterator([_SENTENCES, *WORDS], trainer)
    tokeniser.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokeniser


def save(folder: Path, model: PreTrainedModel, tokeniser: Tokenizer) -> None:
    """Save a model beside its tokeniser, as transformers does."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokeniser.save(str(folder / "tokenizer.json"))
    bert = tokeniser.token_to_id("[PAD]") is not None
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MAX_TOKENS,
            "pad_token": "[PAD]" if bert else "<pad>",
            "eos_token": "[SEP]" if bert else "</s>",
            **({"model_input_names": _BERT_INPUTS} if bert else {}),
        },
    )


_BERT_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


def _sentence_transformers(folder: Path, family: str, dim: int) -> None:
    """The files around a model: modules, pooling (in the old and the new form), prompts."""
    old = {"word_embedding_dimension": dim, "pooling_mode_mean_tokens": family == "bert-st"}
    old["pooling_mode_cls_token"] = family.endswith("-cls")
    new = {"embedding_dimension": dim, "pooling_mode": "lasttoken", "include_prompt": True}
    write_json(folder / "1_Pooling" / "config.json", new if family == "qwen2-last" else old)
    write_modules(folder, ["Transformer", "Pooling", "Normalize"])
    prompts = {"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT} if family == "bert-st" else {}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})


def write_modules(folder: Path, names: Sequence[str]) -> None:
    """Write modules.json; the first module is in the folder itself, the others below it."""
    paths = ["" if i == 0 else f"{i}_{name}" for i, name in enumerate(names)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    write_json(folder / "modules.json", modules)
