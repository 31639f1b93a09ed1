"""A look at some of a corpus before any work: how many passages it will have, and how long they
are. An estimate, but where the corpus is so small that all of it is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.cards import EncoderCard
from shardrank.core.protocols import Tokeniser
from shardrank.core.schemas import passages_schema
from shardrank.core.settings import Settings
from shardrank.core.text import passage_text
from shardrank.corpus.second_pass import cut_slice
from shardrank.corpus.slices import Slice
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.text.tokens import load_tokeniser
from shardrank.stages.index.ingest import cut_rule, sentence_vectors
from shardrank.storage import Sources

#: Bytes of lines that are looked at: all of a corpus that has no more, else so many places, evenly.
_BYTES, _PLACES = 1 << 20, 16

#: Passages of a place that is no range of bytes, and texts that are handed on, about.
_PASSAGES, _TEXTS = 64, 512


@dataclass(frozen=True)
class Look:
    """What a look says of a corpus.

    Attributes:
        documents, passages: of all of it, about.
        tokens: of a passage, on average, without special ones.
        texts: of some passages, title and text in one.
    """

    documents: float
    passages: float
    tokens: float
    texts: Sequence[str]


def look(slices: Sequence[Slice], text: int, settings: Settings, card: EncoderCard) -> Look | None:
    """Of a corpus of about so many bytes of text, as the encoder cuts it; none: no passage was met.

    Raises what reading the rows of a slice raises.
    """
    tokeniser = load_tokeniser(read_encoder_folder(settings.dense).towers.documents.source)
    lines = all(piece.format != "parquet" and not piece.compression for piece in slices)
    places = _ranges(slices) if lines else _spread(slices)
    seen = [_cut(place, settings, card, tokeniser, whole=lines) for place in places]
    table = pa.concat_tables(seen)
    if not table.num_rows:
        return None
    documents = pc.sum(pc.equal(table["passage"], 0)).as_py()
    both = zip(table["title"].to_pylist(), table["text"].to_pylist(), strict=True)
    texts = [passage_text(*each) for each in both]
    if lines:
        times = _length(slices) / _length(places)
    elif all(piece.format == "parquet" for piece in slices):
        times = _length(slices) / documents
    else:
        times = text / sum(len(each.encode()) for each in texts)
    tokens = pc.sum(pc.list_value_length(table["tokens"])).as_py() / len(texts)
    step = max(1, len(texts) // _TEXTS)
    return Look(documents * times, len(texts) * times, tokens, texts[::step])


def _cut(
    place: Slice, settings: Settings, card: EncoderCard, tokeniser: Tokeniser, whole: bool
) -> pa.Table:
    """The passages of a place, or its first ones."""
    rule = cut_rule(settings.passages, card, tokeniser.specials)
    opener = Sources(settings.s3).open
    sentences = sentence_vectors(settings.passages, rule)
    parts = cut_slice(
        place, opener, settings.corpus, rule, tokeniser, frozenset(), _PASSAGES, sentences
    )
    none = passages_schema(tokeniser.vocab_size).empty_table()
    return pa.concat_tables([none, *(p.passages for p in islice(parts, None if whole else 1))])


def _length(slices: Sequence[Slice]) -> int:
    return sum(piece.end - piece.start for piece in slices)


def _ranges(slices: Sequence[Slice]) -> list[Slice]:
    """Ranges of bytes, evenly: a line is looked at where it begins in one."""
    whole, each = _length(slices), _BYTES // _PLACES
    if whole <= _BYTES:
        return list(slices)
    return [_at(slices, (whole - each) * n // (_PLACES - 1), each) for n in range(_PLACES)]


def _at(slices: Sequence[Slice], at: int, bytes_: int) -> Slice:
    """The range that begins after so many bytes of all slices; within one slice."""
    for piece in slices:
        if at < piece.end - piece.start:
            break
        at -= piece.end - piece.start
    begin = piece.start + at
    return replace(piece, start=begin, end=min(begin + bytes_, piece.end))


def _spread(slices: Sequence[Slice]) -> list[Slice]:
    step = max(1, len(slices) // _PLACES)
    return list(slices[::step][:_PLACES])
