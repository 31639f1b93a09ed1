"""Second pass over a slice: its documents as parts of passages."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import SourceOpener, Tokeniser
from shardrank.core.schemas import passages_schema, token_type
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.cut_rule import CutRule, Passage
from shardrank.corpus.cutting import cut_documents
from shardrank.corpus.reader import read_slice
from shardrank.corpus.slices import Slice
from shardrank.corpus.validate import Document, Reason, Rejected, check, rejected_table

_BATCH_DOCUMENTS = 1_024
_BATCH_CHARACTERS = 4 << 20


class CutPart(NamedTuple):
    """A part's passages (`passages_schema`), and what was set aside on the way to it (REJECTED).

    Only the last part of a slice can be without passages: where the rest was set aside.
    """

    passages: pa.Table
    rejected: pa.Table


def cut_slice(
    piece: Slice,
    opener: SourceOpener,
    settings: CorpusSettings,
    rule: CutRule,
    tokeniser: Tokeniser,
    skip_rows: frozenset[int],
    part_size: int,
) -> Iterator[CutPart]:
    """The slice's documents as parts, in order.

    A part closes after the first document with which it has `part_size` passages or more, so a
    document's passages never cross parts. Rows that `scan_slice` rejected, and `skip_rows`
    (unchanged, gone or duplicate), are passed over silently: they were reported before. A document
    whose text has no token is rejected here, with the reason no_tokens.

    Raises what `read_slice` raises.
    """
    builder = _PartBuilder(piece.uri, tokeniser.vocab_size)
    accepted = (check(row, settings) for row in read_slice(piece, opener, settings))
    documents = (d for d in accepted if isinstance(d, Document) and d.row not in skip_rows)
    for batch in _batches(documents):
        for document, passages in zip(batch, cut_documents(batch, tokeniser, rule), strict=True):
            builder.add(document, passages)
            if builder.size >= part_size:
                yield builder.close()
    if builder.pending:
        yield builder.close()


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Batches for the tokeniser, bounded in documents and in characters."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.title) + len(document.text)
        if len(batch) == _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class _PartBuilder:
    def __init__(self, source: str, vocab_size: int) -> None:
        self._source = source
        self._vocab_size = vocab_size
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[Document, int, str]] = []
        self._passages: list[Passage] = []
        self._rejected: list[Rejected] = []

    @property
    def size(self) -> int:
        return len(self._passages)

    @property
    def pending(self) -> bool:
        return bool(self._passages or self._rejected)

    def add(self, document: Document, passages: Sequence[Passage]) -> None:
        if not passages:
            self._rejected.append(Rejected(document.row, document.doc_id, Reason.NO_TOKENS))
            return
        digest = content_hash(document.title, document.text)
        self._rows.extend((document, number, digest) for number in range(len(passages)))
        self._passages.extend(passages)

    def close(self) -> CutPart:
        part = CutPart(self._table(), rejected_table(self._source, "ingest", self._rejected))
        self._clear()
        return part

    def _table(self) -> pa.Table:
        columns = [
            pa.array([document.doc_id for document, _, _ in self._rows], pa.string()),
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
