"""Texts that were written about passages: which are kept, and what is made of them, by plain
formulas."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import Bm25Card, WriterCard, WrittenCard, components_of, own_card
from shardrank.core.errors import InputError, IntegrityError, SettingsError
from shardrank.core.model_settings import Bm25Settings, EncoderSettings, made_of, values_of
from shardrank.core.protocols import CountingEncoder
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written import Beside, beside, holds_texts
from shardrank.core.written_settings import WrittenSettings
from shardrank.models.encoders.averaged import AveragedVectors, averaged
from shardrank.models.encoders.beside_cards import beside_again, beside_written
from shardrank.models.encoders.bm25 import read_bm25_card
from shardrank.models.encoders.consistency import ConsistencyFilter, Rivals, fit_rivals, text_hashes
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.encoders.expanded import ExpandedTexts, expanded
from shardrank.models.encoders.views import load_views
from shardrank.models.encoders.views_cards import read_views_again, read_views_card
from shardrank.models.encoders.word_counter import WordCounter
from shardrank.models.encoders.written import WrittenTexts
from shardrank.models.text_writer import Written
from shardrank.version.differences import encoder_differences
from shardrank.version.manifest import StoredEncoder
from tests.tiny_models import tiny_encoder

TEXTS = ["wing flow heat", "the plate", "shock wave of the wing flow"]
WRITTEN = [["wing lift", "heat of the gas"], [], ["shock"]]
READ = beside(pa.array(TEXTS), pa.array(WRITTEN, pa.list_(pa.string())))

WRITER = WriterCard("lm", "w", "sha", "tok", "method: writing", 512, "fp32")
CARD = WrittenCard("lm", "x", WRITER)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_encoder(tmp_path_factory.mktemp("model"), "bert", dim=16))


@pytest.fixture(scope="module")
def encoder(model: str) -> BiEncoder:
    """Whose queries and documents differ by their prompts."""
    return load_encoder(encoder_settings(model), "cpu")


def encoder_settings(model: str, **more: Any) -> EncoderSettings:
    told = {"query_prompt": "wing ", "document_prompt": "heat ", "dtype": "fp32", "stored": "fp32"}
    return EncoderSettings.model_validate({"model": model, **told, **more})


def documents(encoder: BiEncoder, texts: Sequence[str]) -> Float32:
    ids = [encoder.tokeniser.encode(["heat " + text])[0].ids for text in texts]
    return np.array([encoder.encode_ids([each])[0] for each in ids])


# What is read.


def test_both_are_read_as_they_are() -> None:
    assert Beside.of(READ) == Beside(TEXTS, WRITTEN)
    assert Beside.of(READ[1:]) == Beside(TEXTS[1:], WRITTEN[1:])
    assert holds_texts(READ.field("written").type)
    assert not holds_texts(pa.list_(pa.binary()))


def test_who_reads_values_of_a_column_and_who_texts() -> None:
    for settings in (Bm25Settings(of="written"), ViewsSettings(), EncoderSettings(of="written")):
        assert (made_of(settings), values_of(settings)) == ("written", None)
    assert made_of(WrittenSettings(model="m")) is None


# What is made of them.


def test_texts_are_appended_or_stand_alone() -> None:
    read = Beside(TEXTS, WRITTEN)
    whole = ["wing flow heat wing lift heat of the gas", "the plate", f"{TEXTS[2]} shock"]
    assert expanded(read, "append") == whole
    assert expanded(read, "alone") == ["wing lift heat of the gas", "", "shock"]
    counter = WordCounter(read_bm25_card(Bm25Settings()))
    assert not isinstance(counter, CountingEncoder)
    found = ExpandedTexts(counter, "append").column(READ)
    assert found.equals(counter.column(pa.array(whole)))
    assert (
        ExpandedTexts(counter, "alone")
        .queries(pa.array(TEXTS))
        .equals(counter.queries(pa.array(TEXTS)))
    )


def test_a_mean_by_hand() -> None:
    own = np.array([[1, 0], [0, 2]], np.float32)
    written = np.array([[0, 1], [0, 3]], np.float32)
    found = averaged(own, written, np.array([2, 0]), 0.25)
    assert found.tolist() == [[0.75, 0.5], [0, 2]]


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_vectors_are_weighted_means(encoder: BiEncoder, model: str, weight: float) -> None:
    settings = encoder_settings(model, of="written", written_weight=weight)
    made = AveragedVectors(encoder, settings)
    found = matrix(pa.chunked_array([made.column(READ)]))
    for row, (own, texts) in enumerate(zip(documents(encoder, TEXTS), WRITTEN, strict=True)):
        wanted = own
        if texts:
            asked = np.array([encoder.encode_queries([text])[0] for text in texts])
            wanted = (1 - weight) * own + weight * asked.mean(axis=0)
            wanted /= np.linalg.norm(wanted)
        np.testing.assert_allclose(found[row], wanted, atol=2e-6)
    asked = made.queries(pa.array(TEXTS))
    np.testing.assert_array_equal(matrix(pa.chunked_array([asked])), encoder.encode_queries(TEXTS))


def test_views_are_all_vectors(encoder: BiEncoder, model: str) -> None:
    told = {"query_prompt": "wing ", "document_prompt": "heat ", "dtype": "fp32"}
    settings = ViewsSettings.model_validate({"model": model, **told})
    card = read_views_card(settings, CARD)
    assert read_views_again(settings, card) == card
    assert (card.family, components_of(card)) == ("views", 16)
    made = load_views(settings, "cpu", card)
    found = TokenVectors.of(made.column(READ))
    assert np.diff(found.ends).tolist() == [3, 1, 2]
    for row, (own, texts) in enumerate(zip(documents(encoder, TEXTS), WRITTEN, strict=True)):
        asked = [encoder.encode_queries([text])[0] for text in texts]
        np.testing.assert_allclose(found.text(row), [own, *asked], atol=1e-3)
    queries = TokenVectors.of(made.queries(pa.array(TEXTS)))
    assert np.diff(queries.ends).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(queries.vectors, encoder.encode_queries(TEXTS))
    with pytest.raises(IntegrityError, match="do not match"):
        load_views(settings, "cpu", replace(card, beside=None, fingerprint="other"))


# Cards.


def test_a_card_holds_what_is_read_beside() -> None:
    settings = Bm25Settings(of="written")
    plain = read_bm25_card(settings)
    card = beside_written(plain, settings, CARD)
    assert own_card(card) == plain
    assert beside_again(plain, settings, card) == card
    alone = Bm25Settings(of="written", texts="alone")
    others = [
        beside_written(plain, alone, CARD),
        beside_written(plain, settings, replace(CARD, fingerprint="y")),
    ]
    assert len({plain.fingerprint, card.fingerprint, *(o.fingerprint for o in others)}) == 4
    assert beside_written(plain, Bm25Settings(), None) is plain
    with pytest.raises(SettingsError, match="reads 'written', which holds no written texts"):
        beside_written(plain, settings, plain)


def test_a_refusal_says_what_changed_about_written_texts() -> None:
    def words(written: str, **more: Any) -> StoredEncoder:
        settings = Bm25Settings.model_validate({"of": "written", **more})
        card = Bm25Card("bm25", "f", "english", "keep")
        return StoredEncoder(
            beside_written(card, settings, replace(CARD, fingerprint=written)), settings
        )

    assert encoder_differences(words("x"), words("y")) == [
        "encoder.bm25 reads written, which changed"
    ]
    assert encoder_differences(words("x"), words("x", texts="alone")) == [
        "encoder.bm25.texts from append to alone"
    ]
    plain = StoredEncoder(Bm25Card("bm25", "f", "english", "keep"), Bm25Settings())
    assert encoder_differences(plain, words("x")) == ["encoder.bm25.of from none to written"]

    def texts(told: str, fingerprint: str, **more: Any) -> StoredEncoder:
        settings = WrittenSettings.model_validate({"model": "lm", **more})
        writer = replace(WRITER, prompt=told)
        return StoredEncoder(replace(CARD, fingerprint=fingerprint, writer=writer), settings)

    assert encoder_differences(texts("a", "x"), texts("b", "y")) == [
        "the text of encoder.written.prompt (passage-questions)"
    ]
    assert encoder_differences(texts("a", "x"), texts("a", "y", count=2)) == [
        "encoder.written.count from 5 to 2"
    ]
    assert encoder_differences(texts("a", "x"), texts("b", "y", prompt="mine.yaml")) == [
        "encoder.written.prompt from passage-questions to mine.yaml"
    ]


# Which are kept.


def test_ranks_by_hand() -> None:
    rng = np.random.default_rng(4)
    vectors, own = (rng.normal(size=(n, 4)).astype(np.float32) for n in (30, 9))
    asked = rng.normal(size=(9, 4)).astype(np.float32)
    vectors[:3] = own[:3]  # the sample holds these passages themselves
    own[8], asked[7, 1] = np.nan, np.inf
    texts = text_hashes([f"t{n}" for n in range(9)])
    others = text_hashes([f"t{n}" if n < 3 else f"s{n}" for n in range(30)])
    found = Rivals(vectors, others).ranks(asked, own, texts)
    for n in range(7):
        products = [
            float(asked[n].astype(float) @ v) for m, v in enumerate(vectors) if m != n or n > 2
        ]
        mine = float(asked[n].astype(float) @ own[n])
        assert found[n] == 1 + sum(product > mine for product in products)
    assert found[7:].tolist() == [32, 32]


def test_a_sample_is_kept_as_it_is(model: str, encoder: BiEncoder) -> None:
    settings = WrittenSettings(model="lm", filter_model=model, filter_passages=4)
    plain = load_encoder(EncoderSettings(model=model, dtype="fp32"), "cpu")
    card = replace(CARD, filter=plain.card.fingerprint, filter_passages=4, keep_rank=2)
    sample = pa.array([*TEXTS, " ", TEXTS[0], "jet"])
    data = fit_rivals(settings, card, "cpu", sample)
    assert data == fit_rivals(settings, card, "cpu", sample)
    held = Rivals.of(data)
    assert held.texts.tolist() == text_hashes([*TEXTS, "jet"]).tolist()
    assert held.vectors.shape == (4, 16)
    with pytest.raises(IntegrityError, match="is no safetensors file"):
        Rivals.of(b"no")


def test_a_passage_is_before_those_that_are_as_near_in_any_batch() -> None:
    rng = np.random.default_rng(3)
    own, asked = (rng.standard_normal((300, 48)).astype(np.float32) for _ in range(2))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    rivals = Rivals(own, np.arange(300, dtype=np.uint64))  # each has its equal in the sample
    texts = np.arange(1000, 1300, dtype=np.uint64)
    found = rivals.ranks(asked, own, texts)
    alone = [int(rivals.ranks(asked[n : n + 1], own[n : n + 1], texts[:1])[0]) for n in range(300)]
    ahead = (asked.astype(np.float64) @ own.T.astype(np.float64)).argsort(axis=1)[:, ::-1]
    assert found.tolist() == alone
    assert found.tolist() == [1 + int(np.flatnonzero(ahead[n] == n)[0]) for n in range(300)]


def test_a_text_is_kept_that_finds_its_passage(encoder: BiEncoder) -> None:
    passages = [*TEXTS, "lift", ""]
    written = [["wing flow heat", "plate"], ["the plate"], [], ["shock", "lift"], []]
    sample = ["heat", "the gas", "jet", *TEXTS]
    rivals = Rivals(documents(encoder, sample), text_hashes(sample))
    found = ConsistencyFilter(encoder, rivals, 2).kept(passages, written)
    own = documents(encoder, passages)
    wanted = []
    for row, texts in enumerate(written):
        kept = []
        for text in texts:
            asked = encoder.encode_queries([text])[0].astype(float)
            others = [v for v, s in zip(rivals.vectors, sample, strict=True) if s != passages[row]]
            better = sum(float(asked @ v) > float(asked @ own[row]) for v in others)
            kept += [text] if better + 1 <= 2 else []
        wanted.append(kept)
    assert found == wanted
    assert 0 < sum(map(len, found)) < sum(map(len, written)), "some are kept, and some are not"


# What is written.


@dataclass
class Says:
    """Writes as told (a TextWriter)."""

    texts: dict[str, tuple[str, ...]]
    asked: list[str] = field(default_factory=list)
    settings: WrittenSettings = field(default_factory=lambda: WrittenSettings(model="lm"))

    def write(self, inputs: Sequence[str]) -> Written:
        self.asked += inputs
        found = [self.texts.get(text, ()) for text in inputs]
        return Written(found, Counter(answers=len(inputs), empty=sum(not each for each in found)))


def test_each_passage_is_asked_about_once_and_blank_ones_never() -> None:
    says = Says({"a": ("one", "two"), "b": ()})
    made = WrittenTexts(says, None)  # type: ignore[arg-type]
    assert isinstance(made, CountingEncoder)
    found = made.counted_column(pa.array(["a", "", "b", "a", " "]))
    assert says.asked == ["a", "b"]
    assert found.values.to_pylist() == [["one", "two"], [], [], ["one", "two"], []]
    assert holds_texts(found.values.type)
    counts = {"written": 4, "kept": 4, "dropped": 0, "asked": 3, "silent": 1}
    assert found.counts == {**counts, "answers": 2, "empty": 1}
    assert made.column(pa.array([], pa.string())).type == found.values.type
    asked = pa.array(["what?"])
    assert made.queries(asked) is asked


def test_what_is_dropped_is_counted(encoder: BiEncoder) -> None:
    sample = ["heat", "the gas", "jet"]
    rivals = Rivals(documents(encoder, sample), text_hashes(sample))
    says = Says({text: (text, "jet", "gas") for text in TEXTS})
    made = WrittenTexts(says, ConsistencyFilter(encoder, rivals, 1))  # type: ignore[arg-type]
    found = made.counted_column(pa.array(TEXTS))
    kept = sum(map(len, found.values.to_pylist()))
    counts = found.counts
    assert (counts["written"], counts["kept"]) == (9, kept)
    assert counts["kept"] + counts["dropped"] == counts["written"]
    assert 0 < kept < 9


def test_a_model_that_writes_nothing_is_refused_once_there_is_enough() -> None:
    few, many = ([f"passage {n}" for n in range(count)] for count in (15, 16))
    found = WrittenTexts(Says({}), None).counted_column(pa.array(few))  # type: ignore[arg-type]
    assert found.counts["silent"] == 15
    with pytest.raises(InputError, match=r"about any of 16 passages \(16 answers, 16 empty"):
        WrittenTexts(Says({}), None).column(pa.array(many))  # type: ignore[arg-type]
