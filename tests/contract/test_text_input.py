"""What a model sees of a text besides its ids: token types, chat templates, positions, end tokens.

The reference is sentence-transformers on the same folder: vectors, and logits without a sigmoid.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ElectraModel,
    LlamaConfig,
    LlamaModel,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen2Model,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    Qwen3Model,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    XLNetConfig,
    XLNetForSequenceClassification,
    XLNetModel,
)

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_encoder_card, read_reranker_card
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.folder.cross_modules import read_cross_encoder
from shardrank.models.folder.layout import Layout, read_layout
from shardrank.models.folder.modules import read_towers
from shardrank.models.rerankers.cross import load_reranker
from shardrank.models.text.text_input import renders_messages, tokeniser_notes
from shardrank.models.text.tokens import load_tokeniser
from tests.tiny_models import WORDS, _byte_bpe, edit_json, tiny_encoder, write_json

QUERIES = ["heat flow", "the thin wing of a body", "<pad> shock"]
PASSAGES = ["flow in the jet", "a", "heat <pad> the wave <pad>", " ".join(WORDS[:30]), "<pad>"]
TYPED = ["input_ids", "token_type_ids", "attention_mask"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]", "<mask>",
           "<sep>", "<cls>"]  # fmt: skip
SHAPE = {
    "vocab_size": len(SPECIAL) + len(set(WORDS)),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,
    "pad_token_id": 1,
}
XLNET = {"vocab_size": SHAPE["vocab_size"], "d_model": 32, "n_layer": 2, "n_head": 4,
         "d_inner": 64, "initializer_range": 0.3, "pad_token_id": 1}  # fmt: skip


def tokeniser(single: str, pair: str) -> Tokenizer:
    """Words and nothing less, with a template."""
    vocab = {word: i for i, word in enumerate([*SPECIAL, *dict.fromkeys(WORDS)])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, vocab[token]) for token in SPECIAL]
    )
    return made


BERT = tokeniser("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
ONES = tokeniser("[CLS]:1 $A:1 [SEP]:1", "[CLS]:0 $A:0 [SEP]:1 $B:1 [SEP]:0")
ROBERTA = tokeniser("<s> $A </s>", "<s> $A </s> </s> $B </s>")
TWOS = tokeniser("$A <sep> <cls>:2", "$A <sep> $B:1 <sep>:1 <cls>:2")
PLAIN = tokeniser("$A", "$A $B:1")


def save(folder: Path, model: PreTrainedModel, made: Tokenizer, **config: Any) -> Path:
    model.eval().save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    given = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    write_json(folder / "tokenizer_config.json", {**given, "model_max_length": 64, **config})
    return folder


def logits(folder: Path) -> tuple[Float32, Float32]:
    """Ours and the library's, of every query with every passage."""
    library = CrossEncoder(str(folder), device="cpu")
    pairs = [(query, passage) for query in QUERIES for passage in PASSAGES]
    theirs = library.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    found = load_reranker(CrossSettings(model=str(folder), dtype="fp32", batch_tokens=60), "cpu")
    left, right = np.mgrid[: len(QUERIES), : len(PASSAGES)].reshape(2, -1).astype(np.int32)
    ids = [[spans.ids for spans in found.tokeniser.encode(x)] for x in (QUERIES, PASSAGES)]
    return found.score(*ids, left, right).logits, theirs


def vectors(folder: Path) -> tuple[Float32, Float32]:
    theirs = SentenceTransformer(str(folder), device="cpu").encode(PASSAGES + QUERIES)
    found = load_encoder(
        EncoderSettings(model=str(folder), normalise=False, batch_tokens=60), "cpu"
    )
    return found.encode_queries(PASSAGES + QUERIES), theirs


Build = Callable[[], PreTrainedModel]


def xlnet(kind: Any) -> Build:
    return lambda: kind(XLNetConfig(num_labels=1, **XLNET))


def built(kind: Any, config: Any, **more: Any) -> Build:
    return lambda: kind(config(num_labels=1, **SHAPE, **more))


_BERT = built(BertForSequenceClassification, BertConfig)
_ELECTRA = built(ElectraForSequenceClassification, ElectraConfig, embedding_size=32)
_ALBERT = built(AlbertForSequenceClassification, AlbertConfig, embedding_size=32)


@pytest.mark.parametrize(
    ("model", "made", "config"),
    [
        (_BERT, BERT, {"model_input_names": TYPED}),
        (_BERT, BERT, {}),  # a template with types that nobody is told
        (_BERT, ONES, {"model_input_names": TYPED}),
        (_ELECTRA, ONES, {"model_input_names": TYPED}),
        (_ELECTRA, BERT, {}),
        (_ALBERT, BERT, {"model_input_names": TYPED}),
        (_ALBERT, BERT, {}),
        (built(DebertaV2ForSequenceClassification, DebertaV2Config, type_vocab_size=2), ONES,
         {"model_input_names": TYPED}),
        (built(DebertaV2ForSequenceClassification, DebertaV2Config, type_vocab_size=0), BERT,
         {"model_input_names": TYPED}),
        (built(RobertaForSequenceClassification, RobertaConfig, type_vocab_size=1), ROBERTA, {}),
        (built(RobertaForSequenceClassification, RobertaConfig, type_vocab_size=1), BERT, {}),
        (built(RobertaForSequenceClassification, RobertaConfig), BERT,
         {"model_input_names": TYPED}),
        (built(MPNetForSequenceClassification, MPNetConfig), BERT, {}),
        (xlnet(XLNetForSequenceClassification), TWOS,
         {"model_input_names": TYPED, "padding_side": "left"}),
        (xlnet(XLNetForSequenceClassification), TWOS, {"padding_side": "left"}),
        (xlnet(XLNetForSequenceClassification), BERT,
         {"model_input_names": TYPED, "padding_side": "left"}),
    ],
)  # fmt: skip
def test_pairs_have_the_types_that_the_library_gives(
    model: Build, made: Tokenizer, config: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    ours, theirs = logits(save(tmp_path, model(), made, **config))
    assert theirs.std() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "made", "config"),
    [
        (built(BertModel, BertConfig), ONES, {"model_input_names": TYPED}),
        (built(BertModel, BertConfig), ONES, {}),
        (built(ElectraModel, ElectraConfig, embedding_size=32), ONES,
         {"model_input_names": TYPED}),
        (xlnet(XLNetModel), TWOS, {"model_input_names": TYPED, "padding_side": "left"}),
        (xlnet(XLNetModel), TWOS, {"padding_side": "left"}),
        (xlnet(XLNetModel), BERT, {"model_input_names": TYPED}),
        # A literal <pad> in a text takes no position in RoBERTa's family.
        (built(RobertaModel, RobertaConfig, type_vocab_size=1), ROBERTA, {}),
    ],
)  # fmt: skip
def test_texts_have_the_types_and_positions_that_the_library_gives(
    model: Build, made: Tokenizer, config: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    ours, theirs = vectors(save(tmp_path, model(), made, **config))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("texts", [1, 2])
def test_types_beyond_the_models_are_refused(texts: int, tmp_path: Path) -> None:
    made, read, settings = (
        (tokeniser("[CLS]:2 $A [SEP]", "[CLS] $A [SEP] $B [SEP]"), read_encoder_card,
         EncoderSettings) if texts == 1 else
        (tokeniser("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:2 [SEP]"), read_reranker_card,
         CrossSettings)
    )  # fmt: skip
    save(tmp_path, _BERT(), made, model_input_names=TYPED)
    with pytest.raises(InputError, match="gives tokens type 2, but the model knows 2 types"):
        read(settings(model=str(tmp_path)))
    edit_json(tmp_path / "tokenizer_config.json", model_input_names=["input_ids"])
    read(settings(model=str(tmp_path)))


# Chat templates: refused exactly where the library renders.

CHAT = "{% for m in messages %}<s>{{ m.role }} {{ m.content }}</s>{% endfor %}"
_TRANSFORMER = "sentence_transformers.models.Transformer"
_POOLING = "sentence_transformers.models.Pooling"
_MESSAGE = {
    "modality_config": {
        "text": {"method": "forward", "method_output_name": "last_hidden_state"},
        "message": {"method": "forward", "method_output_name": "last_hidden_state",
                    "format": "flat"},
    },
    "module_output_name": "token_embeddings",
}  # fmt: skip
_TEXT = {**_MESSAGE, "modality_config": {"text": _MESSAGE["modality_config"]["text"]}}
_FEW = {**SHAPE, "num_hidden_layers": 1, "vocab_size": 400}
_BYTES = _byte_bpe("$A </s>", "$A </s> $B </s>")
ENCODERS: dict[str, Build] = {
    "bert": lambda: BertModel(BertConfig(**_FEW)),
    "qwen2": lambda: Qwen2Model(Qwen2Config(num_key_value_heads=2, **_FEW)),
    "qwen3": lambda: Qwen3Model(Qwen3Config(num_key_value_heads=2, head_dim=8, **_FEW)),
    "llama": lambda: LlamaModel(LlamaConfig(num_key_value_heads=2, **_FEW)),
}
CLASSIFIERS: dict[str, Build] = {
    "qwen2": lambda: Qwen2ForSequenceClassification(
        Qwen2Config(num_key_value_heads=2, num_labels=1, **_FEW)
    ),
    "qwen3": lambda: Qwen3ForSequenceClassification(
        Qwen3Config(num_key_value_heads=2, head_dim=8, num_labels=1, **_FEW)
    ),
}


def _write_template(folder: Path, where: str) -> None:
    if where == "config":
        edit_json(folder / "tokenizer_config.json", chat_template=CHAT)
    elif where == "empty":
        edit_json(folder / "tokenizer_config.json", chat_template="")
    elif where == "null":
        edit_json(folder / "tokenizer_config.json", chat_template=None)
    elif where == "file":
        (folder / "chat_template.jinja").write_text(CHAT)
    elif where == "more":
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "rag.jinja").write_text(CHAT)


def _write_modules(folder: Path, saved: dict[str, Any] | None) -> None:
    modules = [("0", "", _TRANSFORMER), ("1", "1_Pooling", _POOLING)]
    write_json(
        folder / "modules.json",
        [{"idx": 0, "name": name, "path": path, "type": kind} for name, path, kind in modules],
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True},
    )
    if saved is not None:
        write_json(folder / "sentence_bert_config.json", saved)


def encoder_layout(folder: Path) -> Layout:
    source = read_towers(folder).documents.source
    assert isinstance(source, Layout)
    return source


def assert_refused_where_rendered(folder: Path, library: Any, read: Any, settings: Any) -> None:
    rendered = "message" in library(str(folder), device="cpu").modalities
    crossed = library is CrossEncoder
    layout = read_cross_encoder(folder).layout if crossed else encoder_layout(folder)
    assert (renders_messages(layout) is not None) == rendered
    if rendered:
        with pytest.raises(InputError, match="through a chat template"):
            read(settings(model=str(folder)))
    else:
        read(settings(model=str(folder)))


@pytest.mark.parametrize("where", ["nowhere", "config", "empty", "null", "file", "more"])
@pytest.mark.parametrize("family", ENCODERS)
def test_plain_encoders_with_chat_templates(family: str, where: str, tmp_path: Path) -> None:
    save(tmp_path, ENCODERS[family](), _BYTES)
    _write_template(tmp_path, where)
    assert_refused_where_rendered(tmp_path, SentenceTransformer, read_encoder_card, EncoderSettings)


@pytest.mark.parametrize("saved", [None, {"max_seq_length": 40}, _TEXT, _MESSAGE])
@pytest.mark.parametrize("where", ["nowhere", "config", "file"])
def test_modular_encoders_with_chat_templates(
    where: str, saved: dict[str, Any] | None, tmp_path: Path
) -> None:
    save(tmp_path, ENCODERS["qwen3"](), _BYTES)
    _write_template(tmp_path, where)
    _write_modules(tmp_path, saved)
    assert_refused_where_rendered(tmp_path, SentenceTransformer, read_encoder_card, EncoderSettings)


@pytest.mark.parametrize("where", ["nowhere", "config", "file"])
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_rerankers_with_chat_templates(family: str, where: str, tmp_path: Path) -> None:
    save(tmp_path, CLASSIFIERS[family](), _BYTES)
    _write_template(tmp_path, where)
    assert_refused_where_rendered(tmp_path, CrossEncoder, read_reranker_card, CrossSettings)


# A last token that is no end token.


@pytest.mark.parametrize(
    ("config", "single", "pooling", "said"),
    [
        ({"add_eos_token": True, "eos_token": "</s>"}, "$A", "last", "add_eos_token = true"),
        ({"eos_token": {"content": "</s>"}}, "$A", "last", "eos_token = </s>"),
        ({"eos_token": "</s>"}, "$A </s>", "last", None),
        ({"eos_token": "</s>"}, "$A", "mean", None),
        ({}, "$A", "last", None),
    ],
)
def test_a_missing_end_token_is_noted(
    config: dict[str, Any], single: str, pooling: str, said: str | None, tmp_path: Path
) -> None:
    save(tmp_path, ENCODERS["qwen3"](), tokeniser(single, f"{single} $B"), **config)
    notes = tokeniser_notes(load_tokeniser(read_layout(tmp_path)), read_layout(tmp_path), pooling)
    assert [said in note for note in notes] == [True] * (said is not None)
    assert load_tokeniser(read_layout(tmp_path)).specials == single.count("</s>")


def test_ordinary_models_have_no_notes(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "qwen2-last")
    assert tokeniser_notes(load_tokeniser(read_layout(folder)), read_layout(folder), "last") == ()


def test_an_empty_text_without_special_tokens_has_a_type(tmp_path: Path) -> None:
    """It is one token of padding, whose id is no type."""
    made = tokeniser("$A:1", "$A:1 $B:1")
    config = BertConfig(**{**SHAPE, "pad_token_id": 7})
    folder = save(tmp_path, BertModel(config), made, model_input_names=TYPED)
    found = load_encoder(EncoderSettings(model=str(folder)), "cpu").encode_queries(["", "heat"])
    assert np.isfinite(found).all()
