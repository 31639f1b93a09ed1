"""Second pass over a slice: its documents as parts of passages."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import SentenceVectors, SourceOpener, Tokeniser
from shardrank.core.schemas import PICTURES, passages_schema, token_type
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.cut_rule import CutRule, Passage
from shardrank.corpus.cutting import cut_documents
from shardrank.corpus.reader import read_slice
from shardrank.corpus.slices import Slice
from shardrank.corpus.validate import (
    Document,
    Reason,
    Rejected,
    check,
    picture_bounds,
    rejected_table,
)
from shardrank.version.folding import PICTURE_BYTES

_BATCH_DOCUMENTS = 1_024
_BATCH_CHARACTERS = 4 << 20


class CutPart(NamedTuple):
    """A part's passages (`passages_schema`), what was set aside on the way to it (REJECTED), and
    its pictures (PICTURES), None where no passage has one.

    Only the last part of a slice can be without passages: where the rest was set aside.
    """

    passages: pa.Table
    rejected: pa.Table
    pictures: pa.Table | None


def cut_slice(
    piece: Slice,
    opener: SourceOpener,
    settings: CorpusSettings,
    rule: CutRule,
    tokeniser: Tokeniser,
    skip_rows: frozenset[int],
    part_size: int,
    sentences: SentenceVectors | None = None,
) -> Iterator[CutPart]:
    """The slice's documents as parts, in order.

    A part closes after the first document with which it has `part_size` passages or more, or
    pictures of PICTURE_BYTES, so a document's passages never cross parts. Rows that `scan_slice`
    rejected, and `skip_rows` (unchanged, gone or duplicate), are passed over silently: they were
    reported before. A document whose text has no token is rejected here, with the reason no_tokens,
    unless it has a picture; and so is one whose picture cannot be decoded.

    Raises what `read_slice` raises.
    """
    builder = _PartBuilder(piece.uri, tokeniser.vocab_size, settings)
    accepted = (check(row, settings) for row in read_slice(piece, opener, settings))
    documents = (d for d in accepted if isinstance(d, Document) and d.row not in skip_rows)
    for batch in _batches(documents):
        cut = cut_documents(batch, tokeniser, rule, sentences)
        for document, passages in zip(batch, cut, strict=True):
            builder.add(document, passages)
            if builder.size >= part_size or builder.picture_bytes >= PICTURE_BYTES:
                yield builder.close()
    if builder.pending:
        yield builder.close()


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Batches for the tokeniser, bounded in documents, characters, and bytes of pictures."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.title) + len(document.text) + len(document.picture or b"")
        if len(batch) == _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class _PartBuilder:
    def __init__(self, source: str, vocab_size: int, settings: CorpusSettings) -> None:
        self._source = source
        self._vocab_size = vocab_size
        self._settings = settings
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[str, int, str]] = []
        self._passages: list[Passage] = []
        self._rejected: list[Rejected] = []
        self._pictures: dict[int, bytes] = {}  # by the row of the part
        self.picture_bytes = 0

    @property
    def size(self) -> int:
        return len(self._passages)

    @property
    def pending(self) -> bool:
        return bool(self._passages or self._rejected)

    def add(self, document: Document, passages: Sequence[Passage]) -> None:
        reason = self._fault(document) if passages else Reason.NO_TOKENS
        if reason:
            self._rejected.append(Rejected(document.row, document.doc_id, reason))
            return
        if document.picture is not None:
            self._pictures[len(self._rows)] = document.picture
            self.picture_bytes += len(document.picture)
        digest = content_hash(document.title, document.text, document.picture)
        doc_id = document.doc_id
        self._rows.extend((doc_id, number, digest) for number in range(len(passages)))
        self._passages.extend(passages)

    def _fault(self, document: Document) -> Reason | None:
        """Why a picture cannot be shown to a model."""
        if document.picture is None:
            return None
        from shardrank.pictures.opening import BadPicture, decoded  # brings Pillow

        try:
            decoded(document.picture, picture_bounds(self._settings))
        except BadPicture as error:
            return Reason(str(error.fault))
        return None

    def close(self) -> CutPart:
        rejected = rejected_table(self._source, "ingest", self._rejected)
        part = CutPart(self._table(), rejected, self._picture_table())
        self._clear()
        return part

    def _picture_table(self) -> pa.Table | None:
        if not self._pictures:
            return None
        pictures = [self._pictures.get(row) for row in range(len(self._rows))]
        return pa.Table.from_arrays([pa.array(pictures, pa.binary())], schema=PICTURES)

    def _table(self) -> pa.Table:
        columns = [
            pa.array([doc_id for doc_id, _, _ in self._rows], pa.string()),
            pa.array([number for _, number, _ in self._rows], pa.int32()),
            pa.array([passage.title for passage in self._passages], pa.string()),
            pa.array([passage.text for passage in self._passages], pa.string()),
            pa.array([digest for _, _, digest in self._rows], pa.string()),
            _token_column(self._passages, self._vocab_size),
            pa.array([passage.truncated for passage in self._passages], pa.bool_()),
        ]
        return pa.Table.from_arrays(columns, schema=passages_schema(self._vocab_size))


def _token_column(passages: Sequence[Passage], vocab_size: int) -> pa.Array:
    kind = token_type(vocab_size)
    offsets = np.cumsum([0, *(len(passage.tokens) for passage in passages)], dtype=np.int32)
    ids = [passage.tokens for passage in passages] or [np.zeros(0, np.int32)]
    values = np.concatenate(ids).astype(kind.to_pandas_dtype())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, kind))
