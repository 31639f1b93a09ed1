"""Language models that CrossEncoder saved: what their folders say, and the tokens that it feeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore as Module
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from shardrank.core.errors import InputError
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_reranker_card
from shardrank.models.folder.logit_score import LogitScore, read_logit_score
from tests.tiny_models import MAX_TOKENS, byte_tokeniser, edit_json, save, write_json

#: A reranker's: every role has its place, and the answer's begins at the end.
STRUCTURED = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content[0].text }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}"
)
FLAT = (
    "<s>{% for m in messages %}{% if m.role == 'system' %}Rule: {{ m.content }}\n{% endif %}"
    "{% endfor %}Query: {{ (messages | selectattr('role', 'eq', 'query') | first).content }}\n"
    "Text: {{ (messages | selectattr('role', 'eq', 'document') | first).content }}\nRelevant:"
)
PROMPT = "Judge the wing."
PAIRS = [
    ("heat", "flow"),
    ("what is a shock </s> wave", "a thin wing of a body"),
    ("wing", "heat transfer theory " * 20),
    ("how does lift " * 20, "drag"),
    ("", ""),
]
Ids = list[int]


def language_model(folder: Path, family: str, template: str | None) -> Path:
    """A random one with a tokeniser, and a chat template where there is one."""
    torch.manual_seed(3)
    sizes: dict[str, Any] = {
        "vocab_size": 416,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "qwen3":
        save(folder, Qwen3ForCausalLM(Qwen3Config(head_dim=8, **sizes)), byte_tokeniser())
    else:
        save(folder, LlamaForCausalLM(LlamaConfig(**sizes)), byte_tokeniser())
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def saved(
    tmp_path: Path, family: str, template: str | None, prompts: dict[str, str], **chat: Any
) -> Path:
    """One that CrossEncoder put together and saved; the default prompt is the first."""
    plain = language_model(tmp_path / "plain", family, template)
    processing = {"processing_kwargs": {"chat_template": chat}} if chat else {}
    transformer = Transformer(str(plain), transformer_task="text-generation", **processing)
    model = CrossEncoder(
        modules=[transformer, Module(70, None if family == "llama" else 71)],
        device="cpu",
        prompts=prompts,
        default_prompt_name=next(iter(prompts), None),
    )
    model.save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


def read(folder: Path) -> LogitScore:
    found = read_logit_score(folder)
    assert found is not None
    return found


def test_a_reranker_with_messages(tmp_path: Path) -> None:
    folder = saved(
        tmp_path, "qwen3", STRUCTURED, {"web": PROMPT, "law": "No."}, add_generation_prompt=True
    )
    found = read(folder)
    assert (found.true_token, found.false_token, found.activation) == (70, 71, "sigmoid")
    assert (found.prompt, found.prompts) == (PROMPT, {"web": PROMPT, "law": "No."})
    assert found.as_messages
    assert found.layout.call.messages == "structured"
    assert found.layout.call.chat == {"add_generation_prompt": True}
    assert (found.layout.transformer, found.layout.architecture) == (folder, "Qwen3ForCausalLM")


def test_one_token_for_both_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, "qwen3", STRUCTURED, {})
    path = next(folder.glob("*LogitScore/config.json"))
    edit_json(path, false_token_id=70)
    with pytest.raises(InputError, match="token 70 for a relevant passage and for another one"):
        read(folder)


def test_a_reranker_of_plain_pairs(tmp_path: Path) -> None:
    found = read(saved(tmp_path, "llama", None, {}))
    assert (found.true_token, found.false_token, found.prompt, found.prompts) == (70, None, "", {})
    assert not found.as_messages
    assert (found.layout.call.messages, found.layout.call.chat) == (None, {})


@pytest.mark.parametrize(
    ("family", "template", "prompts", "chat"),
    [
        ("qwen3", STRUCTURED, {"web": PROMPT}, {"add_generation_prompt": True}),
        ("llama", FLAT, {"web": PROMPT}, {}),
        ("qwen3", FLAT, {}, {"restore_suffix": False}),
        ("llama", None, {"web": PROMPT}, {}),
    ],
)
def test_the_tokens_are_by_the_rule(
    tmp_path: Path, family: str, template: str | None, prompts: dict[str, str], chat: dict[str, Any]
) -> None:
    """The rule of the docstring, written out plainly."""
    folder = saved(tmp_path, family, template, prompts, **chat)
    model, found = CrossEncoder(str(folder), device="cpu"), read(folder)
    for limit in (MAX_TOKENS, 40, 20):
        model.max_seq_length = limit
        for pair in PAIRS:
            batch = model.preprocess([pair, ("heat", "wave")], prompt=found.prompt)
            real = batch["attention_mask"][0].bool()
            assert batch["input_ids"][0][real].tolist() == by_the_rule(model, found, pair, limit)
            assert real[-1], "filled on the left"


def by_the_rule(model: Any, found: LogitScore, pair: tuple[str, str], limit: int) -> Ids:
    if not found.as_messages:
        both = [[found.prompt + pair[0], pair[1]]]  # given one by one, "" would be no passage
        ids: list[Ids] = model.tokenizer(
            both, truncation="longest_first", max_length=limit
        ).input_ids
        return ids[0]
    whole = rendered(model, found, pair)
    if len(whole) < limit:
        return whole
    one, other = (rendered(model, found, (text, text)) for text in ("0", "1 2 3 4"))
    n = next(i for i in range(len(one) + 1) if i == len(one) or one[~i] != other[~i])
    tail = one[len(one) - n :] if found.layout.call.chat.get("restore_suffix", True) else []
    return [*whole[: limit - len(tail)], *tail]


def rendered(model: Any, found: LogitScore, texts: Sequence[str]) -> Ids:
    messages = [("query", texts[0]), ("document", texts[1])]
    if found.prompt:
        messages = [("system", found.prompt), *messages]
    flat = found.layout.call.messages == "flat"
    chat = {n: v for n, v in found.layout.call.chat.items() if n != "restore_suffix"}
    string = model.tokenizer.apply_chat_template(
        [
            {"role": role, "content": text if flat else [{"type": "text", "text": text}]}
            for role, text in messages
        ],
        tokenize=False,
        **chat,
    )
    ids: Ids = model.tokenizer(string, add_special_tokens=False, truncation=False).input_ids
    return ids


def test_it_is_no_cross_encoder(tmp_path: Path) -> None:
    for folder, what in (
        (saved(tmp_path, "qwen3", None, {}), "modules Transformer, LogitScore"),
        (tmp_path / "plain", "is a Qwen3ForCausalLM"),
    ):
        with pytest.raises(InputError, match=what) as caught:
            read_reranker_card(CrossSettings(model=str(folder)))
        assert 'family = "pointwise"' in caught.value.hint
    assert read_logit_score(tmp_path / "plain") is None


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("1_LogitScore/config.json", {"true_token_id": 416}, "no id of a vocabulary of 416"),
        ("1_LogitScore/config.json", {"true_token_id": None}, "true_token_id = None"),
        ("1_LogitScore/config.json", {"false_token_id": "no"}, "false_token_id = 'no'"),
        ("1_LogitScore/config.json", {"module_input_name": "logits"}, "module_input_name"),
        ("1_LogitScore/config.json", {"bias": 1}, "bias"),
        ("sentence_bert_config.json", {"transformer_task": None}, "transformer_task = None"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "fill-mask"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 9}}}, "text"),
        (
            "sentence_bert_config.json",
            {"processing_kwargs": {"chat_template": {"truncation": False}}},
            "truncation = false",
        ),
        (
            "sentence_bert_config.json",
            {"modality_config": {"message": {"method": "forward", "method_output_name": "logits"}}},
            "messages of the format None",
        ),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, name: str, values: dict[str, Any], reason: str
) -> None:
    folder = saved(tmp_path, "qwen3", FLAT, {})
    edit_json(folder / name, **values)
    with pytest.raises(InputError, match=reason):
        read_logit_score(folder)


def test_other_chains_of_modules_are_refused(tmp_path: Path) -> None:
    kinds = ("Transformer", "Dense", "LogitScore")
    entries = [{"path": k, "type": f"sentence_transformers.models.{k}"} for k in kinds]
    write_json(tmp_path / "modules.json", entries)
    with pytest.raises(InputError, match="modules Transformer, Dense, LogitScore"):
        read_logit_score(tmp_path)
