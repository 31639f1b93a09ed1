"""What follows a transformer or stands in its place: steps, poolings, tables, two towers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tokenizers import Tokenizer

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.cards import read_encoder_card
from shardrank.models.encoders.dense import BiEncoder, load_encoder, load_tower
from shardrank.models.encoders.steps import make_step
from shardrank.models.folder.modules import Tower, read_towers
from shardrank.models.folder.table import UNLIMITED
from tests.module_models import DIM, bert, module_encoder, static
from tests.tiny_models import WORDS, edit_json, tiny_encoder, tiny_tokeniser, write_json

TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 20])]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def load(folder: Path, **settings: object) -> BiEncoder:
    return load_encoder(EncoderSettings(model=str(folder), **settings), "cpu")


def documents(encoder: BiEncoder, texts: list[str]) -> Float32:
    prompted = [encoder.card.document_prompt + text for text in texts]
    return encoder.encode_ids([spans.ids for spans in encoder.tokeniser.encode(prompted)])


def same(folder: Path, atol: float = 1e-5, **settings: object) -> None:
    """Documents and queries are the library's, to `atol`."""
    encoder, model = load(folder, **settings), SentenceTransformer(str(folder), device="cpu")
    norm = {"normalize_embeddings": encoder.card.normalise}
    wanted = model.encode_document(TEXTS, **norm).astype(np.float32)
    np.testing.assert_allclose(documents(encoder, TEXTS), wanted, atol=atol)
    wanted = model.encode_query(TEXTS, **norm).astype(np.float32)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), wanted, atol=atol)


@pytest.mark.parametrize("modes", [("cls",), MODES])
@pytest.mark.parametrize("family", ["bert", "qwen2-last"])
def test_a_prompt_is_left_out_of_the_pooling(
    tmp_path: Path, family: str, modes: tuple[str, ...]
) -> None:
    """bert's tokeniser puts a token before and after a text, the other one only after it."""
    transformer = Transformer(str(tiny_encoder(tmp_path / "transformer", family)))
    pooling = Pooling(32, modes, include_prompt=False)
    prompts = {"query": "what is the heat of ", "document": "gas: "}
    model = SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu")
    model.save(str(tmp_path / "model"))
    same(tmp_path / "model")
    kept = load(tmp_path / "model", document_prompt="")
    assert abs(documents(kept, TEXTS) - documents(load(tmp_path / "model"), TEXTS)).max() > 1e-3


def test_old_files_name_poolings_in_another_order(tmp_path: Path) -> None:
    folder = saved(tmp_path, bert(tmp_path / "spare"), Pooling(DIM, ("max", "mean")))
    names = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"]
    old = {f"pooling_mode_{name}": name in ("mean_tokens", "max_tokens") for name in names}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": DIM, **old})
    same(folder)


def test_a_prompt_longer_than_the_input(tmp_path: Path) -> None:
    transformer = Transformer(str(tiny_encoder(tmp_path / "transformer", "bert")))
    prompts = {"query": " ".join(WORDS * 2), "document": ""}
    pooling = Pooling(32, "mean", include_prompt=False)
    model = SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu")
    model.save(str(tmp_path / "model"))
    same(tmp_path / "model")


def saved(folder: Path, *modules: torch.nn.Module) -> Path:
    SentenceTransformer(modules=list(modules), device="cpu").save(str(folder))
    return folder


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_tables_of_other_types(tmp_path: Path, kind: torch.dtype) -> None:
    """The library adds up in the table's type; float32 is nearer to the truth."""
    folder = saved(tmp_path, static())
    path = folder / "model.safetensors"
    rows = load_file(path)["embedding.weight"].to(kind)
    save_file({"embedding.weight": rows}, path)
    ids = [spans.ids for spans in load(folder).tokeniser.encode(TEXTS)]
    wanted = np.stack([rows.float().numpy()[i].mean(0) for i in ids])
    encoder = load(folder, normalise=False)
    np.testing.assert_allclose(documents(encoder, TEXTS), wanted, atol=1e-6)
    found = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, convert_to_tensor=True)
    np.testing.assert_allclose(wanted, found.float().numpy(), atol=2e-2)


def test_no_text_is_the_zero_vector(tmp_path: Path) -> None:
    encoder = load(module_encoder(tmp_path, "static"))
    found = encoder.encode_queries(["", TEXTS[0], " "])
    assert (found[[0, 2]] == 0).all()
    assert np.linalg.norm(found[1]) == pytest.approx(1)


def test_a_truncation_in_the_tables_tokeniser_acts(tmp_path: Path) -> None:
    tokeniser = tiny_tokeniser()
    tokeniser.enable_truncation(7)
    tokeniser.enable_padding(length=9)
    rows = torch.randn(tokeniser.get_vocab_size(), 8)
    folder = saved(tmp_path, StaticEmbedding(tokeniser, embedding_weights=rows))
    assert read_encoder_card(EncoderSettings(model=str(folder))).max_tokens == 7
    same(folder)
    tokeniser.enable_truncation(7, direction="left")
    tokeniser.save(str(folder / "tokenizer.json"))
    with pytest.raises(InputError, match="cuts texts at the left"):
        load(folder)


def test_a_table_without_truncation_has_no_longest_input(tmp_path: Path) -> None:
    encoder = load(module_encoder(tmp_path, "static"))
    assert encoder.card.max_tokens == UNLIMITED
    long = [" ".join(WORDS * 40)]
    wanted = SentenceTransformer(str(tmp_path), device="cpu").encode(long)
    np.testing.assert_allclose(documents(encoder, long), wanted, atol=1e-5)


def test_tokens_without_a_row_are_refused(tmp_path: Path) -> None:
    folder = module_encoder(tmp_path, "static")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_tokens(["supersonicness"])
    backend.save(str(folder / "tokenizer.json"))
    with pytest.raises(InputError, match="belong together"):
        load(folder).encode_queries(["wing", "supersonicness"])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"table": torch.ones(3, 4)}, "no table of vectors"),
        ({"embedding.weight": torch.ones(3)}, "no table that is understood"),
        ({"embeddings": torch.ones(9, 4).char()}, "no table that is understood"),
        ({"embeddings": torch.ones(9, 4), "weights": torch.ones(8), "mapping": torch.ones(9)},
         "no table that is understood"),
    ],
)  # fmt: skip
def test_tables_that_are_none(
    tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    folder = module_encoder(tmp_path, "static")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load(folder)


def test_a_pooling_for_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="table of token vectors, whose mean is taken"):
        load(module_encoder(tmp_path, "static"), pooling="cls")


def test_another_pooling_is_another_width(tmp_path: Path) -> None:
    folder = module_encoder(tmp_path, "concatenated")
    assert load(folder).dim == DIM
    found = documents(load(folder, pooling="mean"), TEXTS)
    part = documents(load(folder, normalise=False), TEXTS)[:, 16:24]
    np.testing.assert_allclose(found, part / np.linalg.norm(part, axis=1)[:, None], atol=1e-5)


def dense_model(folder: Path) -> Path:
    """A folder whose Dense has its weights in 2_Dense."""
    return saved(folder, bert(folder / "spare"), Pooling(DIM, "mean"), Dense(DIM, 16))


def test_a_dense_of_other_shapes_is_refused(tmp_path: Path) -> None:
    folder = dense_model(tmp_path)
    path = folder / "2_Dense" / "model.safetensors"
    weights = load_file(path)
    save_file({"linear.weight": weights["linear.weight"]}, path)
    with pytest.raises(InputError, match=r"holds linear.weight \[16, 32\]; its config.json asks"):
        load(folder)
    save_file({**weights, "linear.weight": torch.ones(32, 16)}, path)
    with pytest.raises(InputError, match=r"linear.weight \[32, 16\]"):
        load(folder)
    save_file({**weights, "more": torch.ones(1)}, path)
    with pytest.raises(InputError, match=r"more \[1\]"):
        load(folder)


def test_a_dense_that_takes_another_width_is_refused(tmp_path: Path) -> None:
    folder = dense_model(tmp_path)
    edit_json(folder / "2_Dense" / "config.json", in_features=24)
    with pytest.raises(InputError, match="takes vectors of 24 components, and gets 32"):
        load(folder)


def test_a_pickled_dense_is_refused(tmp_path: Path) -> None:
    folder = dense_model(tmp_path)
    step = read_towers(folder).documents.steps[0]
    path = folder / "2_Dense" / "model.safetensors"
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()
    with pytest.raises(InputError, match="a pickle, which may run code"):
        make_step(step, torch.device("cpu"))


def test_a_norm_at_the_end_goes_where_the_setting_says_so(tmp_path: Path) -> None:
    folder = module_encoder(tmp_path, "dense")
    raw = documents(load(folder, normalise=False), TEXTS)
    assert abs(np.linalg.norm(raw, axis=1) - 1).min() > 1e-2
    np.testing.assert_allclose(
        raw / np.linalg.norm(raw, axis=1, keepdims=True), documents(load(folder), TEXTS), atol=1e-5
    )
    same(folder)


def test_a_norm_in_the_middle_stays(tmp_path: Path) -> None:
    folder = module_encoder(tmp_path, "dense")
    paths = ["", "1_Pooling", "5_Normalize", "2_Dense", "3_Dense", "4_Dense"]
    types = ["Transformer", "Pooling", "Normalize", "Dense", "Dense", "Dense"]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, types, strict=True))
    ]
    write_json(folder / "modules.json", entries)
    same(folder)
    same(folder, normalise=False)


def test_each_tower_is_loaded_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def watched(tower: Tower, **how: object) -> object:
        loaded.append(type(tower.source).__name__)
        return load_tower(tower, **how)

    monkeypatch.setattr("shardrank.models.encoders.dense.load_tower", watched)
    folder = module_encoder(tmp_path, "router")
    encoder = load(folder)
    assert loaded == []
    documents(encoder, TEXTS)
    assert loaded == ["Layout"]
    asked = load(folder)
    asked.encode_queries(TEXTS)
    assert loaded == ["Layout", "StaticTable"]
    load(module_encoder(tmp_path / "one", "dense")).encode_queries(TEXTS)
    assert loaded[2:] == ["Layout"], "one tower for both"


def test_towers_of_two_widths_are_refused(tmp_path: Path) -> None:
    folder = module_encoder(tmp_path, "router")
    path = next(folder.rglob("query_0_*/model.safetensors"))
    rows = load_file(path)["embedding.weight"]
    save_file({"embedding.weight": rows[:, :24].contiguous()}, path)
    with pytest.raises(InputError, match="gives documents 32 components and queries 24"):
        load(folder)
