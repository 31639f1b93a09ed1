from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import read_layout
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from tests.tiny_models import edit_json, tiny_encoder, write_json

FAMILIES = ("bert-st", "roberta-cls", "qwen2-last")
TEXTS = [
    "Heat transfer, in a supersonic boundary layer!",
    "wing",
    "  Überschall  Strömung … 流れ\n\ttab",
    "flow [SEP] </s> text",
    " ".join(["shock wave"] * 60),
]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(scope="module")
def tokeniser(folder: Path) -> FastTokeniser:
    return load_tokeniser(read_layout(folder))


def test_ids_and_template_give_what_transformers_gives(
    folder: Path, tokeniser: FastTokeniser
) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    template = tokeniser.single_template()
    for text, spans in zip(TEXTS, tokeniser.encode(TEXTS), strict=True):
        ours = template.ids(spans.ids)
        assert ours.tolist() == theirs(text, truncation=False, padding=False)["input_ids"]
    assert tokeniser.specials == template.specials


def test_pairs_equal_what_transformers_gives(folder: Path, tokeniser: FastTokeniser) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    template = tokeniser.pair_template()
    spans = tokeniser.encode(TEXTS)
    for query, passage, a, b in zip(TEXTS, TEXTS[1:], spans, spans[1:], strict=False):
        expected = theirs(
            query, passage, return_token_type_ids=True, truncation=False, padding=False
        )
        assert template.ids(a.ids, b.ids).tolist() == expected["input_ids"]
        assert template.types(len(a.ids), len(b.ids)).tolist() == expected["token_type_ids"]


def test_spans_point_into_the_text(tokeniser: FastTokeniser) -> None:
    text = "boundary layer"
    spans = tokeniser.encode([text])[0]
    places = spans.places()
    pieces = [text[a:b].strip() for a, b in zip(places.starts, places.ends, strict=True)]
    assert "".join(pieces) == "boundarylayer"
    assert spans.end == places.ends[-1]
    assert spans.ids.dtype == places.starts.dtype == places.words.dtype == np.int32
    assert places.words[0] == 0
    assert places.words[-1] == 1
    assert (np.diff(places.words) >= 0).all()


def test_a_text_without_tokens(tokeniser: FastTokeniser) -> None:
    spans = tokeniser.encode([""])[0]
    places = spans.places()
    assert [len(x) for x in (spans.ids, places.starts, places.ends, places.words)] == [0, 0, 0, 0]
    assert spans.end == 0
    assert tokeniser.encode([]) == []


def test_all_ids_are_below_the_vocabulary_size(tokeniser: FastTokeniser) -> None:
    assert max(int(spans.ids.max()) for spans in tokeniser.encode(TEXTS)) < tokeniser.vocab_size


def test_fingerprint_ignores_baked_limits_and_sees_rules(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert-st")
    before = load_tokeniser(read_layout(folder)).fingerprint
    path = folder / "tokenizer.json"
    backend = Tokenizer.from_file(str(path))
    backend.enable_truncation(5)
    backend.save(str(path))
    assert load_tokeniser(read_layout(folder)).fingerprint == before
    backend.add_tokens(["supersonic flow"])
    backend.save(str(path))
    assert load_tokeniser(read_layout(folder)).fingerprint != before


def test_a_folder_is_read_once_and_workers_remember_words_apart(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    one, other = (load_tokeniser(read_layout(folder)) for _ in range(2))
    assert one._backend is other._backend
    assert one.fingerprint is other.fingerprint
    one.encode(["lift " * (1 << 17)])
    assert one._words is not None
    assert "_words" not in vars(other)
    assert other.twin()._words is not one._words
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes() + b"\n")
    assert load_tokeniser(read_layout(folder))._backend is not one._backend


def test_lower_casing_of_sentence_transformers(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "roberta-cls")
    edit_json(folder / "sentence_bert_config.json", do_lower_case=True)
    upper, lower = load_tokeniser(read_layout(folder)).encode(["WING", "wing"])
    assert upper.ids.tolist() == lower.ids.tolist()


def test_without_tokenizer_json_transformers_builds_one(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    expected = load_tokeniser(read_layout(folder)).encode(TEXTS[:2])
    vocab = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    words = sorted(vocab, key=lambda word: vocab[word])
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer.json").unlink()
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    found = load_tokeniser(read_layout(folder))
    assert [s.ids.tolist() for s in found.encode(TEXTS[:2])] == [s.ids.tolist() for s in expected]
    assert [ids.tolist() for ids in found.single_template().around] == [[2], [3]]


def test_no_tokeniser_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "unheard-of"})
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        load_tokeniser(read_layout(tmp_path))
