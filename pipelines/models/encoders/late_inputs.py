"""From tokenised texts to inputs of a model of token vectors, and which of their vectors count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Bool, Int32, Int64
from shardrank.models.folder.late_config import Before
from shardrank.models.folder.late_folder import LateFolder
from shardrank.models.forward.batches import ModelInputs
from shardrank.models.text.filler import filler, mark_id
from shardrank.models.text.tokens import FastTokeniser


@dataclass(frozen=True)
class Filled:
    """How inputs are filled up: to what length, with which token, and whether the others see it."""

    length: int
    token: int
    attended: bool


@dataclass(frozen=True, eq=False)
class LateSide:
    """What documents, or queries, have of their own.

    Attributes:
        max_tokens: the longest input, special tokens and the mark included.
        prompt: what every text begins with.
        mark: a token behind the first special one; none: there is none.
        skipped: int64[n], ids of tokens whose vectors do not count.
        filled: how inputs are filled up; none: they are not.
    """

    max_tokens: int
    prompt: str
    mark: int | None
    skipped: Int64
    filled: Filled | None


@dataclass(frozen=True, eq=False)
class LateInputs:
    """Inputs, and which of their tokens count.

    Attributes:
        rows: the ids of each, int32[tokens].
        types: the token types of each, likewise.
        counts: of each whether a token counts, bool[tokens].
        seen: int32[n], as `Batch.seen`.
    """

    rows: Sequence[Int32]
    types: Sequence[Int32]
    counts: Sequence[Bool]
    seen: Int32 | None

    def of_model(self, typed: bool) -> ModelInputs:
        """What the model is given."""
        lengths = np.array([len(row) for row in self.rows], np.int32)
        return ModelInputs(
            lengths, self.rows.__getitem__, self.types.__getitem__ if typed else None, self.seen
        )

    @property
    def counted(self) -> Int64:
        """int64[n]: how many tokens of each count."""
        return np.array([row.sum() for row in self.counts], np.int64)


def document_side(folder: LateFolder, tokeniser: FastTokeniser, most: int, prompt: str) -> LateSide:
    """The side of documents, of so many tokens at most, under a prompt."""
    mask = folder.tower.mask
    skipped = mask.skipped if mask.documents else ()
    return _side(folder, tokeniser, (most, prompt), folder.config.document, skipped, None)


def query_side(folder: LateFolder, tokeniser: FastTokeniser, most: int, prompt: str) -> LateSide:
    """The side of queries, likewise."""
    source, expansion = folder.tower.source, folder.tower.expansion
    mask, filled = folder.tower.mask, None
    if expansion is not None:
        token = filler(source, tokeniser, expansion.token)
        filled = Filled(expansion.length, token, expansion.attended)
    skipped = mask.skipped if mask.queries else ()
    return _side(folder, tokeniser, (most, prompt), folder.config.query, skipped, filled)


def _side(
    folder: LateFolder,
    tokeniser: FastTokeniser,
    held: tuple[int, str],
    before: Before,
    skipped: Sequence[str],
    filled: Filled | None,
) -> LateSide:
    """Words that are no token of their own are not skipped: they would be taken for unknown ones
    (sentence-transformers 6.2, MultiVectorMask.resolve_with_tokenizer)."""
    found = (tokeniser.id_of(word) for word in skipped)
    ids = np.array(sorted({number for number in found if number is not None}), np.int64)
    most, prompt = held
    mark = mark_id(folder.tower.source, tokeniser, before.mark)
    return LateSide(most, prompt, mark, ids, filled)


def late_inputs(tokeniser: FastTokeniser, texts: Sequence[str], side: LateSide) -> LateInputs:
    """The inputs of texts, without the side's prompt, which is put before them here.

    A text is cut so that the special tokens and the mark fit.
    """
    room = side.max_tokens - tokeniser.specials - (side.mark is not None)
    spans = tokeniser.encode([side.prompt + text for text in texts])
    cut = [span.ids[:room] for span in spans]
    template = tokeniser.single_template()
    rows = [_marked(template.ids(ids), side.mark) for ids in cut]
    types = [_marked(template.types(len(ids)), None if side.mark is None else 0) for ids in cut]
    own = np.array([len(row) for row in rows], np.int32)
    if side.filled is not None:
        rows = [_filled(row, side.filled.length, side.filled.token) for row in rows]
        types = [_filled(row, side.filled.length, 0) for row in types]
    counts = [~np.isin(row, side.skipped) for row in rows]
    hidden = side.filled is not None and not side.filled.attended
    return LateInputs(rows, types, counts, own if hidden else None)


def _marked(row: Int32, mark: int | None) -> Int32:
    return row if mark is None else np.insert(row, 1, np.int32(mark))


def _filled(row: Int32, length: int, token: int) -> Int32:
    missing = length - len(row)
    return row if missing <= 0 else np.concatenate([row, np.full(missing, token, np.int32)])
