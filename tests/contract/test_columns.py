"""Every family of encoders, as columns want them (protocol: ColumnEncoder)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.arrow_columns import matrix
from shardrank.core.bits_settings import BitsSettings
from shardrank.core.cards import ColumnCard
from shardrank.core.image_settings import ImageSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.learned_settings import LearnedSettings
from shardrank.core.model_settings import (
    Bm25Settings,
    ColumnSettings,
    EncoderSettings,
    SparseSettings,
)
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.papers import from_json, to_json
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.core.sparse import SparseRows
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written import beside, holds_texts
from shardrank.core.written_settings import WrittenSettings
from shardrank.kernels.residual_codes import token_vectors
from shardrank.models.encoders.family import Fitting
from shardrank.models.encoders.registry import family_of
from shardrank.version.manifest import StoredEncoder
from tests.image_models import tiny_clip
from tests.late_models import late_model
from tests.sparse_models import sparse_encoder
from tests.tiny_language import tiny_language
from tests.tiny_models import tiny_encoder, tiny_reranker


def strings(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.string())


TEXTS = strings(
    ["wing flow heat", "", "wing wing lift", "the plate", "shock wave of the wing flow"]
)


#: What codecs learn of, where TEXTS are too few.
SAMPLE = strings(
    [
        *("wing", "flow of heat", "shock", "plate", "lift", "the wave", "drag"),
        *(f"{one} of the {other}" for one in ("wing", "jet", "cone") for other in ("gas", "body")),
        "the boundary layer and the pressure at mach number and temperature of the surface",
    ]
)


@dataclass(frozen=True)
class Row:
    """A family, or a type of its values: how its settings are made in a folder, and another of
    them; those of what makes the column that it reads, if it reads one; texts that it is fitted on,
    if on others; and whether a text's vectors as a query and as a passage are alike."""

    settings: Callable[[Path], ColumnSettings]
    other: Callable[[Path], ColumnSettings]
    source: Callable[[Path], ColumnSettings] | None = None
    fitted_on: pa.Array | None = None
    alike: bool = True


def _dense(folder: Path, **more: object) -> ColumnSettings:
    model = str(tiny_encoder(folder / "dense", "bert", dim=16))
    return EncoderSettings.model_validate({"model": model, "name": "second", **more})


def _sparse(folder: Path, **more: object) -> ColumnSettings:
    return SparseSettings.model_validate(
        {"model": str(sparse_encoder(folder / "sparse", "bert")), **more}
    )


def _late(folder: Path, **more: object) -> ColumnSettings:
    return LateSettings.model_validate(
        {"model": str(late_model(folder / "late", "st-plain")), "dtype": "fp32", **more}
    )


def _codes(folder: Path, stored: str, **more: object) -> ColumnSettings:
    return _late(folder, stored=stored, centroids=4, **more)


def _muvera(planes: int) -> ColumnSettings:
    return MuveraSettings(repetitions=2, planes=planes, inner=8)


def _learned(seed: int) -> ColumnSettings:
    return LearnedSettings(dim=16, tokens=64, passages=4, steps=3, seed=seed)


def _anchors(folder: Path, **more: object) -> ColumnSettings:
    model = str(tiny_reranker(folder / "anchors", "bert"))
    counts = {"anchor_queries": 3, "anchor_passages": 4}
    return AnchorSettings.model_validate({"model": model, **counts, **more})


def _image(folder: Path, **more: object) -> ColumnSettings:
    return ImageSettings.model_validate({"model": str(tiny_clip(folder / "image")), **more})


def _written(folder: Path, **more: object) -> ColumnSettings:
    """Of a prompt that leaves few tokens to read."""
    prompt = folder.with_suffix(".yaml")
    prompt.parent.mkdir(parents=True, exist_ok=True)
    prompt.write_text("method: writing\nbody: '{text}'\ngives: lines\n")
    told = {"prompt": str(prompt), "count": 2, "answer_tokens": 8, **more}
    return WrittenSettings.model_validate(
        {"model": str(tiny_language(folder / "language")), **told}
    )


def _filtered(folder: Path, keep_rank: int) -> ColumnSettings:
    model = str(tiny_encoder(folder / "filter", "bert", dim=16))
    return _written(folder, filter_model=model, filter_passages=8, keep_rank=keep_rank)


def _views(folder: Path, **more: object) -> ColumnSettings:
    model = str(tiny_encoder(folder / "views", "bert", dim=16))
    return ViewsSettings.model_validate({"model": model, "dtype": "fp32", **more})


FAMILIES = {
    "dense": Row(_dense, lambda folder: _dense(folder, query_prompt="wing ")),
    "bm25": Row(lambda _: Bm25Settings(), lambda _: Bm25Settings(stop_words="none")),
    "sparse": Row(_sparse, lambda folder: _sparse(folder, query_prompt="wing ")),
    "late": Row(_late, lambda folder: _late(folder, query_prompt="wing ")),
    "bits": Row(
        lambda _: BitsSettings(rotation="random"), lambda _: BitsSettings(rotation="none"), _dense
    ),
    "int8": Row(
        lambda folder: _dense(folder, dtype="int8", stored="fp32"),
        lambda folder: _dense(folder, dtype="fp32", stored="fp32"),
    ),
    "late-4": Row(
        lambda folder: _codes(folder, "4"),
        lambda folder: _codes(folder, "4", document_tokens=20),
        fitted_on=SAMPLE,
    ),
    "late-2": Row(
        lambda folder: _codes(folder, "2"),
        lambda folder: _codes(folder, "4"),
        fitted_on=SAMPLE,
        alike=False,
    ),
    "late-1": Row(
        lambda folder: _codes(folder, "1"),
        lambda folder: _codes(folder, "2"),
        fitted_on=SAMPLE,
        alike=False,
    ),
    "late-pooled": Row(
        lambda folder: _late(folder, pool=2), lambda folder: _late(folder, pool=3), alike=False
    ),
    "muvera": Row(lambda _: _muvera(1), lambda _: _muvera(2), _late, alike=False),
    "learned": Row(
        lambda _: _learned(0), lambda _: _learned(1), _late, fitted_on=SAMPLE, alike=False
    ),
    "bits-2": Row(
        lambda _: BitsSettings(bits=2, rotation="none"),
        lambda _: BitsSettings(bits=1, rotation="none"),
        _dense,
    ),
    "anchors": Row(
        _anchors,
        lambda folder: _anchors(folder, anchor_passages=5),
        fitted_on=SAMPLE,
        alike=False,
    ),
    "image": Row(_image, lambda folder: _image(folder, mix="image")),
    "written": Row(_written, lambda folder: _written(folder, answer_tokens=9), alike=False),
    "written-filtered": Row(
        lambda folder: _filtered(folder, 2),
        lambda folder: _filtered(folder, 3),
        fitted_on=SAMPLE,
        alike=False,
    ),
    "bm25-appended": Row(
        lambda _: Bm25Settings(of="written"),
        lambda _: Bm25Settings(of="written", texts="alone"),
        _written,
    ),
    "sparse-alone": Row(
        lambda folder: _sparse(folder, of="written", texts="alone"),
        lambda folder: _sparse(folder, of="written"),
        _written,
        alike=False,
    ),
    "dense-mean": Row(
        lambda folder: _dense(folder, of="written"),
        lambda folder: _dense(folder, of="written", written_weight=0.5),
        _written,
    ),
    "views": Row(
        _views, lambda folder: _views(folder, query_prompt="wing "), _written, alike=False
    ),
}


@dataclass(frozen=True)
class Loaded:
    """An encoder, what makes the column that it reads, and what a version would say of both."""

    encoder: ColumnEncoder
    source: ColumnEncoder | None
    codec: bytes | None
    stored: StoredEncoder
    read: ColumnCard | None
    other: str
    alike: bool

    def numbers(self, column: pa.Array) -> list[dict[int, float]]:
        return numbers(column, self.codec)

    def column(self, texts: pa.Array) -> pa.Array:
        return self.encoder.column(read_of(self.source, texts))

    def queries(self, texts: pa.Array) -> pa.Array:
        return self.encoder.queries(self.source.queries(texts) if self.source else texts)


def read_of(source: ColumnEncoder | None, texts: pa.Array) -> pa.Array:
    """What an encoder reads of passages."""
    if source is None:
        return texts
    values = source.column(texts)
    return beside(texts, values) if holds_texts(values.type) else values


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    row, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    settings, other = row.settings(folder / "one"), row.other(folder / "one")
    read, source = _source(row, folder)
    family = family_of(settings)
    card, codec = family.read(settings, read), None
    sample = TEXTS if row.fitted_on is None else row.fitted_on
    sample = read_of(source, sample)
    if family.fit and family.fit.rows(settings, card):
        codec = family.fit.make(Fitting(settings, card, "cpu", None, sample))
    encoder = family.load(settings, "cpu", card, Codecs(codec))
    fingerprint = family.read(other, read).fingerprint
    stored = StoredEncoder(card, settings)
    return Loaded(encoder, source, codec, stored, read, fingerprint, row.alike)


def _source(row: Row, folder: Path) -> tuple[ColumnCard | None, ColumnEncoder | None]:
    if row.source is None:
        return None, None
    settings = row.source(folder / "read")
    card = family_of(settings).read(settings, None)
    return card, family_of(settings).load(settings, "cpu", card, Codecs())


def numbers(column: pa.Array, codec: bytes | None) -> list[dict[int, float]]:
    """Of each row the numbers that are not 0, by component or term; of token vectors, or their
    codes, the sums; of texts their places."""
    chunked = pa.chunked_array([column])
    if pa.types.is_string(column.type):
        return [{crc32(text.encode()): 1.0} for text in column.to_pylist()]
    if holds_texts(column.type):
        return [
            {crc32(text.encode()): n + 1.0 for n, text in enumerate(texts)}
            for texts in column.to_pylist()
        ]
    if pa.types.is_list(column.type) and not pa.types.is_struct(column.type.value_type):
        tokens = token_vectors(column, codec)
        sums = [tokens.text(row).sum(axis=0) for row in range(tokens.rows)]
        return [dict(enumerate(each.tolist())) for each in sums]
    if pa.types.is_fixed_size_binary(column.type):
        codes = [np.frombuffer(code, np.uint8) for code in column.to_pylist()]
        return [dict(enumerate((2.0 * np.unpackbits(code) - 1).tolist())) for code in codes]
    if pa.types.is_fixed_size_list(column.type):
        return [dict(enumerate(row)) for row in matrix(chunked).tolist()]
    rows = SparseRows.of(chunked)
    pairs = list(zip(rows.terms.tolist(), rows.weights.tolist(), strict=True))
    return [dict(pairs[rows.ends[n] : rows.ends[n + 1]]) for n in range(rows.rows)]


def length(row: dict[int, float]) -> float:
    return float(np.linalg.norm(list(row.values())))


def test_a_row_a_text_whatever_is_beside_it(loaded: Loaded) -> None:
    for made in (loaded.column, loaded.queries):
        together = loaded.numbers(made(TEXTS))
        alone = [loaded.numbers(made(strings([text])))[0] for text in TEXTS.to_pylist()]
        assert len(together) == len(TEXTS)
        for one, other in zip(together, alone, strict=True):
            assert one == pytest.approx(other, abs=2e-3)


def test_equal_texts_give_equal_bytes(loaded: Loaded) -> None:
    assert loaded.column(TEXTS).equals(loaded.column(TEXTS))
    assert loaded.queries(TEXTS).equals(loaded.queries(TEXTS))


def test_no_text_gives_no_row_of_the_same_type(loaded: Loaded) -> None:
    for made in (loaded.column, loaded.queries):
        assert made(strings([])).equals(made(TEXTS)[:0])


def test_a_query_is_nearest_to_its_own_text(loaded: Loaded) -> None:
    if not loaded.alike:
        pytest.skip("a query's vector says how to weigh a passage's components")
    documents, queries = loaded.numbers(loaded.column(TEXTS)), loaded.queries(TEXTS)
    if loaded.stored.card.family == "bits":  # whoever searches makes codes of them
        queries = loaded.encoder.column(queries)
    query = loaded.numbers(queries)[2]
    cosines = [
        sum(query.get(term, 0) * x for term, x in row.items()) / max(1e-9, length(row))
        for row in documents
    ]
    assert int(np.argmax(cosines)) == 2


def test_a_version_says_what_loads_it_again(loaded: Loaded) -> None:
    again = from_json(StoredEncoder, to_json(loaded.stored))
    assert again == loaded.stored
    assert again.card.family == again.settings.family
    found = family_of(again.settings).read(again.settings, loaded.read)
    assert found == loaded.stored.card
    assert loaded.other != found.fingerprint
