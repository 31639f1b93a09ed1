"""Tokenisers of each kind with a few hundred words, their folders, and what they are compared with.

Truth: AutoTokenizer of transformers, with the arguments that sentence-transformers gives it.
"""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from shardrank.models.folder.modules import read_towers
from shardrank.models.text.tokens import FastTokeniser
from shardrank.models.text.tokens import load_tokeniser as load_source
from tests.tiny_models import write_json

TYPED = ["input_ids", "token_type_ids", "attention_mask"]
NEW = {"content": "[NEW]", "lstrip": True, "rstrip": False, "single_word": False,
        "normalized": False, "special": True}  # fmt: skip

TEXTS = [
    "",
    "Heat transfer, in a SUPERSONIC  boundary layer!",
    " Überschall\tStrömung … 流れ\n<pad> x [SEP]y</s> [MASK] <mask>z ",
    "naïve ``quotes'' <s>flow<unk> [CLS] [NEW] <new>New",
]
_WORDS = ["heat", "flow", "the", "Heat", "SUPERSONIC", "in", "流", "れ", "ü", "u", "ube", "naive"]
_LETTERS = [chr(c) for c in range(33, 127)]


def wordpiece(lower: bool = True, **normaliser: Any) -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "<pad>", "</s>", "<mask>"]
    pieces = [*special, *_LETTERS, *("##" + x for x in _LETTERS), *_WORDS, "##流", "##れ", "[NEW]"]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower, **normaliser)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(special[:5])
    made.post_processor = template(made, "[CLS]:0 $A:0 [SEP]:0", "$B:1 [SEP]:1")
    return made


def byte_bpe(prefix_space: bool = False) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = {piece: i for i, piece in enumerate([*special, *alphabet, "he", "Ġh", "Ġhe"])}
    made = Tokenizer(
        models.BPE(
            vocab,
            [("h", "e"), ("Ġ", "h"), ("Ġh", "e")],
            continuing_subword_prefix="",
            end_of_word_suffix="",
        )
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.add_special_tokens(special[:4])
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, prefix_space)
    return made


def unigram(scheme: str = "always", lower: bool = False) -> Tokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    rest = [*_LETTERS, "▁", "▁he", "▁Heat", "ü", "流", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"]
    vocab = [
        (piece, 0.0 if i < 4 else -float(i % 7) - 1) for i, piece in enumerate([*special, *rest])
    ]
    made = Tokenizer(models.Unigram(vocab, unk_id=3))
    made.normalizer = normalizers.Lowercase() if lower else None
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    made.add_special_tokens([*special, AddedToken("<mask>", lstrip=True, special=True)])
    made.post_processor = template(made, "<s> $A </s>", "</s> $B </s>")
    return made


def template(made: Tokenizer, single: str, second: str) -> Any:
    used = {piece.partition(":")[0] for piece in f"{single} {second}".split()} - {"$A", "$B"}
    known = [(token, made.token_to_id(token)) for token in sorted(used)]
    return processors.TemplateProcessing(
        single=single, pair=f"{single} {second}", special_tokens=known
    )


def save(folder: Path, model_type: str, made: Tokenizer, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model_type": model_type})
    made.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", config)
    return folder


def load_tokeniser(folder: Path) -> FastTokeniser:
    """That of an encoder's documents."""
    return load_source(read_towers(folder).documents.source)


def assert_alike(folder: Path, **arguments: Any) -> None:
    """Singles and pairs of the texts have the library's ids and types."""
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True, **arguments)
    ours = load_tokeniser(folder)
    spans = ours.encode(TEXTS)
    single, pair = ours.single_template(), ours.pair_template()
    more = {"truncation": False, "padding": False, "return_token_type_ids": True}
    for text, span in zip(TEXTS, spans, strict=True):
        wanted = theirs(text, **more)
        assert single.ids(span.ids).tolist() == wanted["input_ids"]
        assert single.types(len(span.ids)).tolist() == wanted["token_type_ids"]
    for i, j in ((0, 1), (1, 2), (3, 0)):
        wanted = theirs([TEXTS[i]], [TEXTS[j]], **more)
        ids = pair.ids(spans[i].ids, spans[j].ids).tolist()
        types = pair.types(len(spans[i].ids), len(spans[j].ids)).tolist()
        assert (ids, types) == (wanted["input_ids"][0], wanted["token_type_ids"][0])
    assert ours.typed == ("token_type_ids" in theirs.model_input_names)
    assert ours.vocab_size == max(theirs.get_vocab().values()) + 1


def decoder(made: Tokenizer) -> dict[str, Any]:
    names = ("content", "lstrip", "rstrip", "single_word", "normalized", "special")
    table = made.get_added_tokens_decoder()
    return {str(i): {name: getattr(token, name) for name in names} for i, token in table.items()}
