"""One index with a column of every family and type, under every kind of index: the table that the
suites of nights, kills, actors and storages go over. A new family is a row of it."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrays import Float64, UInt64
from shardrank.core.arrow_columns import matrix
from shardrank.core.model_settings import reads_documents, reads_pictures
from shardrank.core.of_documents import of_documents
from shardrank.core.pictured import pictured
from shardrank.core.sparse import SparseRows
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.written import beside, holds_texts
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.column_encoders import Sourced, load_column_encoder
from shardrank.storage.local import LocalStorage
from shardrank.version.liveness import unpack
from shardrank.version.manifest import Version
from shardrank.version.parts import Part
from tests.hybrid import Hit, lists_of
from tests.image_models import noise, saved, tiny_clip
from tests.late_models import late_model
from tests.own_term_models import own_term_model
from tests.sparse_models import sparse_encoder
from tests.tiny_language import tiny_language
from tests.world import World, latest


@dataclass(frozen=True)
class Column:
    """A column, and the index over it.

    Attributes:
        encoder: settings of its [[encoder]]; {dense}, {late} and others stand for models.
        index: settings of its [[index]].
        kind: of the index's plan; none: it has no index.
        exact: whether a search finds what there is to find, with nothing to refine.
        fitted: whether it learns of a sample of its own.
    """

    encoder: tuple[str, ...]
    index: tuple[str, ...] = ()
    kind: str | None = None
    exact: bool = False
    fitted: bool = False

    @property
    def of(self) -> str | None:
        """The column that it says it is made of."""
        named = (each.removeprefix("of=") for each in self.encoder if each.startswith("of="))
        return next(named, None)

    @property
    def learns(self) -> bool:
        """Whether it, or what it is made of, learns of a sample."""
        return self.fitted or (self.of is not None and ALL[self.of].learns)


_TOKENS = ("family=late", "model={late}", "dtype=fp32")
_CODES = (*_TOKENS, "centroids=16")
_SHARDS = "shard_passages=40"
_ONE_LIST = ("nlist=1", _SHARDS)

#: By name, in the order in which they are made. The first encoder's is beside them: "dense".
COLUMNS = {
    "int8": Column(
        ("model={dense}", "dtype=int8", "stored=fp32"), ("kind=ivfsq8", *_ONE_LIST), "ivfsq8"
    ),
    "bm25": Column(("family=bm25",), (_SHARDS,), "inverted", exact=True),
    "sparse": Column(("family=sparse", "model={sparse}"), (_SHARDS,), "inverted", exact=True),
    "own": Column(("family=sparse", "model={own}"), (_SHARDS,), "inverted", exact=True),
    "late": Column(_TOKENS, ("kind=exact", _SHARDS), "maxsim", exact=True),
    "late4": Column((*_CODES, "stored=4"), ("kind=plaid", _SHARDS), "plaid", fitted=True),
    "pooled2": Column(
        (*_CODES, "stored=2", "pool=2"), ("kind=plaid", _SHARDS), "plaid", fitted=True
    ),
    "late1": Column((*_CODES, "stored=1"), fitted=True),
    "muvera": Column(
        ("family=muvera", "of=late4", "repetitions=2", "planes=1", "inner=8"),
        ("kind=ivfpq", "pq_m=4", "pq_bits=4", *_ONE_LIST),
        "ivfpq",
    ),
    "learned": Column(
        ("family=learned", "of=pooled2", "dim=16", "tokens=64", "passages=20", "steps=5"),
        ("kind=ivfrabitq", *_ONE_LIST),
        "ivfrabitq",
        fitted=True,
    ),
    "bits": Column(("family=bits",), (_SHARDS,), "binary", fitted=True),
    "document": Column(("family=document", "of=int8"), ("kind=exact",), "exact", exact=True),
    "bits2": Column(
        ("family=bits", "of=int8", "bits=2", "rotation=random", "asked=codes"),
        (_SHARDS,),
        "binary",
        fitted=True,
    ),
    "anchors": Column(
        ("family=anchors", "model={pairs}", "anchor_queries=8", "anchor_passages=10"),
        ("kind=exact",),
        "exact",
        exact=True,
        fitted=True,
    ),
    "image": Column(("family=image", "model={image}"), ("kind=exact",), "exact", exact=True),
    "written": Column(
        (
            *("family=written", "model={language}", "count=2", "answer_tokens=10"),
            *("filter_model={dense}", "filter_passages=20", "keep_rank=12"),
        ),
        fitted=True,
    ),
    "words": Column(("family=bm25", "of=written"), (_SHARDS,), "inverted", exact=True),
    "terms": Column(
        ("family=sparse", "model={sparse}", "of=written", "texts=alone"),
        (_SHARDS,),
        "inverted",
        exact=True,
    ),
    "mean": Column(("model={dense}", "of=written"), ("kind=exact",), "exact", exact=True),
    "views": Column(
        ("family=views", "model={dense}", "of=written", "dtype=fp32"),
        ("kind=exact", _SHARDS),
        "maxsim",
        exact=True,
    ),
}
DENSE = Column((), ("kind=exact",), "exact", exact=True)
ALL = {"dense": DENSE, **COLUMNS}
SEARCHED = {name: column for name, column in ALL.items() if column.kind}

#: Several parts and shards of a small corpus, and nights that may do anything.
SETS = (
    "corpus.image=image",
    "passages.max_tokens=24",
    "passages.overlap=0",
    "passages.part_size=16",
    "index.kind=exact",
    "audit.k=5",
    "audit.target=0.2",
    "audit.queries=12",
    "audit.max_depth=40",
    "gate.max_deleted=1",
    "gate.max_changed=1",
    "gate.max_change=100",
    "gate.max_rejected=1",
    "compact.max_deleted=0.5",
    "compact.fold=3",
    "search.k=10",
    "search.block_queries=3",
)


#: Of models that a world has not: how each is saved into a folder.
_MODELS: Mapping[str, Callable[[Path], Path]] = {
    "late": lambda folder: late_model(folder, "st-bert"),
    "sparse": lambda folder: sparse_encoder(folder, "bert"),
    "image": tiny_clip,
    "language": tiny_language,
    "own": lambda folder: own_term_model(folder, "tilde"),
}


def columns_of(
    models: Path, world: World, names: Collection[str] = tuple(COLUMNS)
) -> tuple[str, ...]:
    """Settings of columns and their indexes, whose models are saved into the folder."""
    wanted = {name: COLUMNS[name] for name in names}
    said = " ".join(each for column in wanted.values() for each in column.encoder)
    places = {"dense": world.encoder, "pairs": world.reranker}
    places |= {n: make(models / n) for n, make in _MODELS.items() if f"{{{n}}}" in said}
    sets = []
    for name, column in wanted.items():
        sets += [f"encoder.{name}.{each.format(**places)}" for each in column.encoder]
        sets += [f"index.{name}.{each}" for each in column.index]
    return tuple(sets)


def retrievers(names: Collection[str] = tuple(SEARCHED)) -> tuple[str, ...]:
    """Settings of one over each index of these columns."""
    return tuple(f"retriever.{name}.index={name}" for name in names if ALL[name].kind)


class PicturedWorld(World):
    """A world of which every third document has a picture."""

    @property
    def corpus(self) -> str:
        return str(self.root / "corpus.parquet")


def pictured_world(world: World) -> PicturedWorld:
    """The same, with pictures."""
    with_pictures(world.corpus)
    return PicturedWorld(world.root, world.encoder, world.reranker)


def picture_of(doc_id: str) -> bytes | None:
    """A document's picture, which stays when its text changes; every third one has one."""
    number = crc32(doc_id.encode())
    return None if number % 3 else saved(noise(number, 24, 24))


_PICTURED = {"_id": pa.string(), "text": pa.string(), "gone": pa.bool_(), "image": pa.binary()}


def with_pictures(corpus: str) -> str:
    """A corpus of JSON Lines as Parquet beside it; the path. Texts of nothing have no picture."""
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    for row in rows:
        row["image"] = picture_of(row["_id"]) if (row.get("text") or "").strip() else None
    fields = [each for each in _PICTURED.items() if any(each[0] in row for row in rows)]
    path = Path(corpus).with_suffix(".parquet")
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), path)
    return str(path)


#: In processes of their own, which cannot be patched, no codebook learns of so few passages.
NO_CODEBOOKS = ("index.muvera.kind=ivfsq8",)


def few_to_train_on(patch: pytest.MonkeyPatch) -> None:
    """Codebooks learn of so few passages as these corpora have."""
    patch.setattr("shardrank.version.sizing.FEWEST_PER_CENTROID", 1)


def plain(column: pa.Array, terms: UInt64 | None = None) -> Float64:
    """The numbers of a column of vectors, a row a row; of token vectors a row a token; of sparse
    ones a component for each of the terms, which are those that it has."""
    if pa.types.is_fixed_size_list(column.type):
        return matrix(pa.chunked_array([column])).astype(np.float64)
    if pa.types.is_fixed_size_list(column.type.value_type):
        return TokenVectors.of(column).vectors.astype(np.float64)
    rows = SparseRows.of(pa.chunked_array([column]))
    terms = np.unique(rows.terms) if terms is None else terms
    dense = np.zeros((rows.rows, len(terms)))
    places = np.repeat(np.arange(rows.rows), np.diff(rows.ends)), np.searchsorted(terms, rows.terms)
    dense[places] = rows.weights
    return dense


def terms_of(*columns: pa.Array) -> UInt64:
    """Those that any row of sparse columns has."""
    found = [SparseRows.of(pa.chunked_array([column])).terms for column in columns]
    return np.unique(np.concatenate(found))


def live_rows(index: Path, part: Part) -> pa.Array:
    """bool[rows]: what is live in a part."""
    if part.deleted is None:
        return pa.array([True] * part.rows)
    return pa.array(~unpack((index / part.deleted.key).read_bytes(), part.rows))


def live_passages(index: Path, version: Version) -> Iterator[tuple[str, int, str]]:
    """Document, number and text of each live passage, part after part."""
    for part in version.parts:
        table = pq.read_table(index / part.passages.key).filter(live_rows(index, part))
        names = ("doc_id", "passage", "text")
        yield from zip(*(table[name].to_pylist() for name in names), strict=True)


def live_column(index: Path, version: Version, name: str) -> pa.Array:
    """The values of the live passages, in the same order."""
    workspace = Workspace(LocalStorage(str(index)))
    chunks = []
    for part in version.parts:
        values = workspace.read_table(part.columns[name].file, ["vector"])
        chunks += values.filter(live_rows(index, part))["vector"].chunks
    return pa.concat_arrays(chunks)


def live_pictures(index: Path, version: Version) -> pa.Array:
    """The pictures of the live passages, in the same order."""
    chunks = []
    for part in version.parts:
        held = pa.nulls(part.rows, pa.binary())
        if part.pictures:
            held = pq.read_table(index / part.pictures.key)["picture"].combine_chunks()
        chunks.append(held.filter(live_rows(index, part)))
    return pa.concat_arrays(chunks)


#: What a column holds of each live passage: plain Python values, equal where all bits are.
Values = dict[tuple[str, int, str], Any]


def live_values(index: Path, version: Version, name: str) -> Values:
    """By document, number of the passage, and text."""
    values = live_column(index, version, name).to_pylist()
    return dict(zip(live_passages(index, version), values, strict=True))


@dataclass(frozen=True)
class Stored:
    """An index as it was left by a command, and a ranking over it."""

    index: Path
    out: Path

    @cached_property
    def version(self) -> Version:
        return latest(self.index)

    @cached_property
    def lists(self) -> dict[str, list[list[Hit]]]:
        """What each retriever found, by query and retriever."""
        found = lists_of(self.out)
        names = list(SEARCHED)
        return {name: [found[q][names.index(name)] for q in sorted(found)] for name in names}

    @cached_property
    def passages(self) -> list[tuple[str, int, str]]:
        return list(live_passages(self.index, self.version))

    def column(self, name: str) -> pa.Array:
        return live_column(self.index, self.version, name)

    def values(self, name: str) -> Values:
        return live_values(self.index, self.version, name)

    def codec(self, name: str) -> bytes | None:
        ref = self.version.columns[name].codec
        return (self.index / ref.key).read_bytes() if ref else None

    def made(self, name: str, texts: Sequence[str], queries: bool) -> pa.Array:
        """What the column's encoder makes of texts, or of what the encoder before it makes of
        them."""
        stored = self.version.columns[name]
        read = pa.array(texts, pa.string())
        if stored.values_of:
            read = self.made(stored.values_of, texts, queries)
        return self._make(name, read, queries)

    def read(self, name: str) -> pa.Array:
        """What the column's encoder reads of the live passages now."""
        encoder = self.version.columns[name]
        texts = pa.array([text for _, _, text in self.passages], pa.string())
        if encoder.made_of is None:
            shown = reads_pictures(encoder.settings)
            return pictured(texts, live_pictures(self.index, self.version)) if shown else texts
        values = self.column(encoder.made_of)
        if holds_texts(values.type):
            return beside(texts, values)
        numbers = pa.array([number for _, number, _ in self.passages], pa.int32())
        alike = pa.array([1] * len(numbers))
        return of_documents(values, numbers, alike) if reads_documents(encoder.settings) else values

    def _make(self, name: str, read: pa.Array, queries: bool) -> pa.Array:
        wanted = Sourced.of(self.version.columns[name], self.version.columns)
        encoder = load_column_encoder(Workspace(LocalStorage(str(self.index))), wanted, "cpu")
        return encoder.queries(read) if queries else encoder.column(read)

    def require_values(self, name: str) -> None:
        """The column is what its encoder, with the codec that it learnt in the first night, makes
        of the passages now, or of the stored column that it reads."""
        found = self.column(name)
        wanted = self._make(name, self.read(name), queries=False)
        if pa.types.is_fixed_size_binary(found.type) or holds_texts(found.type):
            assert found.equals(wanted)
        elif pa.types.is_fixed_size_binary(found.type.value_type):
            codes = [np.array(each.flatten().to_pylist()) for each in (found, wanted)]
            assert (codes[0] == codes[1]).mean() > 0.9, "a vector's last bits may change its code"
        else:
            terms = terms_of(found, wanted) if pa.types.is_struct(found.type.value_type) else None
            both = plain(found, terms), plain(wanted, terms)
            np.testing.assert_allclose(*both, atol=5e-3, rtol=5e-3)
