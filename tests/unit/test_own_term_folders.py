"""Folders of uniCOIL, TILDEv2 and VDR: what they may say, what is refused by name, and which tokens
TILDEv2 leaves out."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from shardrank.core.cards import SparseCard
from shardrank.core.errors import InputError
from shardrank.core.model_settings import SparseSettings
from shardrank.models.complete import check_sparse
from shardrank.models.encoders.sparse import load_sparse
from shardrank.models.folder.own_terms import CountTower, OwnTower
from shardrank.models.folder.sparse_folder import read_sparse_folder
from shardrank.models.folder.vdr import SpaceTower
from shardrank.models.size import sparse_sides
from shardrank.models.sparse_cards import read_sparse_card
from shardrank.models.text.stop_words import no_tokens, stop_tokens
from shardrank.models.text.tokens import FastTokeniser
from tests.own_term_models import LENGTHS, SHIFT, TOPS, WEIGHTS, own_term_model
from tests.tiny_models import MAX_TOKENS, edit_json

Change = Callable[[Path], Any]


def settings(folder: Path, **more: object) -> SparseSettings:
    return SparseSettings(**{"family": "sparse", "model": str(folder), **more})


def plan(folder: Path, **more: object) -> SparseCard:
    """What a driver does before any stage."""
    check_sparse(settings(folder, **more))
    return read_sparse_card(settings(folder, **more))


def edited(**values: Any) -> Change:
    return lambda folder: edit_json(folder / "config.json", **values)


def sided(name: str, **values: Any) -> Change:
    """A change of one encoder of a VDR; none: the key goes."""

    def act(folder: Path) -> None:
        found = json.loads((folder / "config.json").read_text())[name] | values
        kept = {key: value for key, value in found.items() if values.get(key, "") is not None}
        edit_json(folder / "config.json", **{name: kept})

    return act


def weighted(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def act(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})

    return act


REFUSED: list[tuple[str, str, Change, str]] = [
    ("another class", "tilde", edited(architectures=["COIL"]), "is COIL"),
    ("another trunk", "tilde", edited(model_type="roberta"), "over the family 'roberta'"),
    ("another activation", "unicoil", edited(hidden_act="relu"), "layers of its own"),
    ("no map", "tilde", weighted(lambda w: w.pop("tok_proj.bias")), "such as tok_proj.bias"),
    (
        "vectors of tokens, as COIL has them",
        "tilde",
        weighted(lambda w: w.update({"tok_proj.weight": torch.ones(32, 32)})),
        "in another shape",
    ),
    (
        "another map beside it",
        "tilde",
        weighted(lambda w: w.update({"cls_proj.weight": torch.ones(2, 32)})),
        "such as cls_proj.weight",
    ),
    ("a missing layer", "unicoil", edited(num_hidden_layers=3), "lacks 16 weights"),
    ("pictures", "vdr", sided("encoder_p", type="vdr_crossmodal_image"), "crossmodal_image"),
    ("another pooling", "vdr", sided("encoder_q", pooling="mean"), "pooling = 'mean'"),
    ("no pooling", "vdr-encoder", edited(pooling=None), "pooling = None"),
    ("a norm", "vdr", sided("encoder_q", norm=True), "norm = True"),
    ("a shape that is not told", "vdr", sided("encoder_p", num_attention_heads=None), "'tiny'"),
    ("terms past the last", "vdr", sided("encoder_p", shift_vocab_num=500), "= 500"),
    ("no number of terms", "vdr", sided("encoder_p", topk="all"), "topk = 'all'"),
    ("no length", "vdr-shared", sided("encoder_p", max_len="long"), "max_len = 'long'"),
    ("no norm", "vdr", weighted(lambda w: w.pop("encoder_q.ln.weight")), "such as ln.weight"),
    (
        "a head that no pass uses",
        "vdr",
        weighted(lambda w: w.update({"encoder_q.proj.weight": torch.ones(2)})),
        "such as proj.weight",
    ),
    (
        "a pickle",
        "tilde",
        lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"),
        "a pickle",
    ),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder of a family, made once."""
    return cache(lambda family: own_term_model(tmp_path_factory.mktemp(family), family))


@pytest.mark.parametrize(
    ("family", "change", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_folders_are_refused(
    made: Callable[[str], Path], tmp_path: Path, family: str, change: Change, said: str
) -> None:
    folder = copytree(made(family), tmp_path / "copy")
    plan(folder)
    change(folder)
    with pytest.raises(InputError) as caught:
        plan(folder)
    assert said in caught.value.message


def test_ways_of_documents_and_queries(made: Callable[[str], Path]) -> None:
    ways = {name: read_sparse_folder(settings(made(name))).towers for name in ("unicoil", "tilde")}
    unicoil, tilde = ways["unicoil"], ways["tilde"]
    assert isinstance(unicoil.documents, OwnTower)
    assert isinstance(unicoil.queries, OwnTower)
    assert (unicoil.documents.repeats, unicoil.queries.repeats) == ("max", "sum")
    assert isinstance(tilde.documents, OwnTower)
    assert isinstance(tilde.queries, CountTower)
    stops = [each.stops for each in (unicoil.documents, tilde.documents, tilde.queries)]
    assert stops == [False, True, True]
    vdr = read_sparse_folder(settings(made("vdr"))).towers
    for tower, top, prefix in zip((vdr.documents, vdr.queries), TOPS, "pq", strict=True):
        assert isinstance(tower, SpaceTower)
        assert (tower.shift, tower.top, tower.prefix) == (SHIFT, top, f"encoder_{prefix}.")
    shared = read_sparse_folder(settings(made("vdr-shared"))).towers
    assert shared.documents == shared.queries


def test_cards(made: Callable[[str], Path]) -> None:
    cards = {name: plan(made(name)) for name in ("unicoil", "tilde", "vdr", "vdr-shared")}
    assert len({card.fingerprint for card in cards.values()}) == 4
    assert (cards["vdr"].max_tokens, cards["vdr"].query_max_tokens) == LENGTHS
    assert cards["vdr-shared"].query_max_tokens == max(LENGTHS)
    assert (cards["tilde"].max_tokens, cards["tilde"].query_max_tokens) == (MAX_TOKENS, MAX_TOKENS)
    assert (cards["vdr"].top, cards["vdr"].query_top, cards["vdr"].vocabulary) == (None, None, 126)
    tokens = plan(made("vdr"), document_terms="tokens")
    assert tokens.fingerprint != cards["vdr"].fingerprint


@pytest.mark.parametrize("name", ["vdr", "tilde"])
def test_what_decides_results_is_in_the_fingerprint(
    made: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = copytree(made(name), tmp_path / "copy")
    before = plan(folder).fingerprint
    unicoil = edited(architectures=["UniCoilEncoder"])
    change = sided("encoder_q", topk=3) if name == "vdr" else unicoil
    change(folder)
    assert plan(folder).fingerprint != before


def test_what_a_token_is_multiplied_with(made: Callable[[str], Path]) -> None:
    """BERT's layers, and the map; of VDR one encoder's, and its vocabulary; of counts nothing."""
    own, both = sparse_sides(settings(made("unicoil"))), sparse_sides(settings(made("vdr")))
    assert both.documents.multiplied > own.documents.multiplied > 0
    assert both.documents == both.queries
    held = sum(weight.numel() for weight in load_file(made("vdr") / WEIGHTS).values())
    assert both.documents.held == held // 2
    assert sparse_sides(settings(made("tilde"))).queries.multiplied == 0


def _tokeniser(*tokens: str) -> FastTokeniser:
    vocabulary = {token: n for n, token in enumerate(("[UNK]", "[CLS]", "[SEP]", *tokens))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return FastTokeniser(backend)


def test_tokens_that_are_left_out() -> None:
    words = ("the", "who", "##s", "##ing", "##é", ",", "#", "é", "中", "a-b", "x_1", "don", "heat")
    left = stop_tokens(_tokeniser(*words))
    out = {word for word, gone in zip(words, left[3:], strict=True) if gone}
    assert out == {"the", "##s", ",", "#", "é", "中", "don"}
    assert left[:3].all()
    assert no_tokens(_tokeniser(*words)).nonzero()[0].tolist() == [1, 2]


def test_queries_of_tilde_run_no_model(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copytree(made("tilde"), tmp_path / "copy")
    encoder = load_sparse(settings(folder), "cpu")
    counted = encoder.encode_queries(["heat heat is flow", "is"])
    assert np.diff(counted.ends).tolist() == [2, 0]
    assert sorted(counted.weights.tolist()) == [1, 2]
