"""Modules of an author's own: run where they are trusted, as sentence-transformers runs them."""

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.encoders.dense import load_encoder
from tests.tiny_models import WORDS, tiny_encoder, write_json

TEXTS = [" ".join(WORDS[at : at + n]) for at, n in enumerate([5, 1, 12, 3])]
CODE = """
import json
import os
import torch

class Pooling(torch.nn.Module):
    def __init__(self, power):
        super().__init__()
        self.power = power

    def forward(self, features):
        mask = features["attention_mask"][:, :, None].float()
        powered = (features["token_embeddings"] * mask).abs() ** self.power
        return {**features, "sentence_embedding": powered.sum(1) ** (1 / self.power)}

    def get_embedding_dimension(self):
        return 32

    @staticmethod
    def load(folder):
        with open(os.path.join(folder, "config.json")) as file:
            return Pooling(**json.load(file))

class Body(torch.nn.Module):
    def __init__(self, folder, extra=""):
        super().__init__()
        from transformers import AutoModel, AutoTokenizer
        self.model = AutoModel.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.max_seq_length, self.extra = 48, extra

    def tokenize(self, texts, **more):
        texts = [self.extra + text for text in texts]
        how = dict(padding=True, truncation=True, max_length=48, return_tensors="pt")
        return dict(self.tokenizer(texts, **how))

    preprocess = tokenize

    def forward(self, features, **more):
        kept = {name: features[name] for name in ("input_ids", "attention_mask")}
        return {**features, "token_embeddings": 2 * self.model(**kept)[0] ** 3}

    @staticmethod
    def load(folder):
        return Body(folder)

class Other(Body):
    @staticmethod
    def load(folder):
        return Body(folder, "wing ")

class Half(torch.nn.Module):
    def forward(self, features):
        return {**features, "sentence_embedding": features["sentence_embedding"][:, ::2]}

    def get_embedding_dimension(self):
        return 16

    @staticmethod
    def load(folder):
        return Half()
"""


def saved(
    folder: Path, *types: str, body: str = "sentence_transformers.models.Transformer"
) -> Path:
    tiny_encoder(folder, "bert-st")
    (folder / "my_modules.py").write_text(CODE)
    write_json(folder / "2_Own" / "config.json", {"power": 3})
    paths = {"my_modules.Pooling": "2_Own", "my_modules.Half": "3_Own"}
    entries = [{"idx": 0, "name": "0", "path": "", "type": body}]
    for number, kind in enumerate(types, 1):
        path = paths.get(kind, "1_Pooling")
        (folder / path).mkdir(exist_ok=True)
        entries.append({"idx": number, "name": str(number), "path": path, "type": kind})
    write_json(folder / "modules.json", entries)
    return folder


@pytest.mark.parametrize(
    "types",
    [
        ["my_modules.Pooling"],
        ["my_modules.Pooling", "my_modules.Half"],
        ["sentence_transformers.models.Pooling", "my_modules.Half"],
    ],
)
def test_trusted_modules_give_what_the_library_gives(tmp_path: Path, types: list[str]) -> None:
    folder = saved(tmp_path / "model", *types)
    with pytest.raises(InputError, match=r"my_modules\.\w+, which is its author's own code"):
        read_encoder_card(EncoderSettings(model=str(folder)))
    settings = EncoderSettings(model=str(folder), trust_remote_code=True, batch_tokens=64)
    encoder = load_encoder(settings, "cpu", read_encoder_card(settings))
    model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)
    expected = model.encode_query(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)


def test_a_trusted_body_gives_what_the_library_gives(tmp_path: Path) -> None:
    """No prompt: the module above knows none, and the library leaves it to the module."""
    types = ["sentence_transformers.models.Pooling"]
    folder = saved(tmp_path / "model", *types, body="my_modules.Body")
    write_json(folder / "config_sentence_transformers.json", {})
    settings = EncoderSettings(model=str(folder), trust_remote_code=True, batch_tokens=64)
    with pytest.raises(InputError, match=r"my_modules\.Body, which is its author's own code"):
        read_encoder_card(settings.model_copy(update={"trust_remote_code": False}))
    check_encoder(settings)
    encoder = load_encoder(settings, "cpu", read_encoder_card(settings))
    model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)
    expected = model.encode_query(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)


def test_a_body_that_reads_texts_in_its_own_way_is_refused(tmp_path: Path) -> None:
    types = ["sentence_transformers.models.Pooling"]
    folder = saved(tmp_path / "model", *types, body="my_modules.Other")
    settings = EncoderSettings(model=str(folder), trust_remote_code=True)
    with pytest.raises(InputError, match="reads 'a' in a way of its own"):
        load_encoder(settings, "cpu", read_encoder_card(settings))


def test_code_that_is_missing_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "my_modules.Pooling")
    (folder / "my_modules.py").unlink()
    settings = EncoderSettings(model=str(folder), trust_remote_code=True)
    with pytest.raises(InputError, match=r"my_modules\.Pooling of .* cannot be loaded"):
        read_encoder_card(settings)


def test_changed_code_is_another_encoder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "my_modules.Pooling")
    settings = EncoderSettings(model=str(folder), trust_remote_code=True)
    before = read_encoder_card(settings).fingerprint
    write_json(folder / "2_Own" / "config.json", {"power": 5})
    changed = read_encoder_card(settings).fingerprint
    (folder / "my_modules.py").write_text(CODE + "\n# another\n")
    assert len({before, changed, read_encoder_card(settings).fingerprint}) == 3
