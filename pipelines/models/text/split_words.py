"""Words of a WordPiece tokeniser: of ASCII split by our own loop, others asked of the library.

The library takes five microseconds for a word. BERT's normaliser does nothing to ASCII letters,
digits and punctuation but to lower their case, and its splitter makes one word of them, as
`word_rules.py` cuts them.
"""

import string
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from shardrank.core.arrays import Bool, Int64
from shardrank.kernels.piece_loops import Pieces, put_pieces, split_words
from shardrank.kernels.word_loops import LONGEST, Tokens, UInt8
from shardrank.models.text.word_tokens import Speller

_KNOWN = (string.ascii_letters + string.digits + string.punctuation).encode()


def can_split(model: Mapping[str, Any]) -> bool:
    """Whether the model of a tokenizer.json splits words of LONGEST bytes, and names what it cannot
    split.
    """
    return (
        bool(model["max_input_chars_per_word"] >= LONGEST) and model["unk_token"] in model["vocab"]
    )


class SplitWords:
    """The tokens of words, by a vocabulary of pieces (protocol: Speller)."""

    def __init__(self, model: Mapping[str, Any], lowers: bool, others: Speller) -> None:
        """Read the model of a tokenizer.json that `can_split`.

        Args:
            model: its "model", of type WordPiece.
            lowers: whether the normaliser lowers the case.
            others: spells words with other characters.
        """
        self._table = _table(model, lowers)
        self._others = others
        put_pieces(self._table)

    def spell(self, letters: UInt8, begins: Int64) -> Tokens:
        """The tokens of words."""
        words, most = len(begins) - 1, len(letters)
        known = np.empty(words, np.bool_)
        out = Tokens(
            begins=np.zeros(words + 1, np.int64),
            sizes=np.ones(words, np.int32),
            ids=np.empty(most, np.int32),
            places=np.zeros((3, most), np.int32),
        )
        filled = split_words(letters, begins, self._table, known, out)
        own = out._replace(ids=out.ids[:filled], places=out.places[:, :filled])
        return own if known.all() else _joined(own, self._ask(letters, begins, ~known), ~known)

    def _ask(self, letters: UInt8, begins: Int64, asked: Bool) -> Tokens:
        """Of the words that are asked for."""
        sizes = np.diff(begins)
        theirs = letters[np.repeat(asked, sizes)]
        return self._others.spell(theirs, np.concatenate([[0], np.cumsum(sizes[asked])]))


def _joined(own: Tokens, others: Tokens, asked: Bool) -> Tokens:
    """The words that were asked for among those that were not."""
    counts, sizes = np.diff(own.begins), own.sizes.copy()
    counts[asked], sizes[asked] = np.diff(others.begins), others.sizes
    theirs = np.repeat(asked, counts)
    ids, places = np.empty(len(theirs), np.int32), np.empty((3, len(theirs)), np.int32)
    ids[theirs], ids[~theirs] = others.ids, own.ids
    places[:, theirs], places[:, ~theirs] = others.places, own.places
    return Tokens(np.concatenate([[0], np.cumsum(counts)]), sizes, ids, places)


def _table(model: Mapping[str, Any], lowers: bool) -> Pieces:
    """Without slots filled."""
    prefix: str = model["continuing_subword_prefix"]
    vocabulary: dict[str, int] = model["vocab"]
    # One that begins with the prefix is also what a text's word can be, where that is in it.
    pieces = [(token, False, number) for token, number in vocabulary.items()]
    pieces += [
        (token.removeprefix(prefix), True, number)
        for token, number in vocabulary.items()
        if token.startswith(prefix)
    ]
    raw = [token.encode() for token, _, _ in pieces]
    return Pieces(
        lowered=_lowered(lowers),
        slots=np.zeros(1 << (2 * len(pieces)).bit_length(), np.int32),
        begins=np.array([0, *accumulate(map(len, raw))], np.int64),
        letters=np.frombuffer(b"".join(raw), np.uint8),
        inner=np.array([inner for _, inner, _ in pieces], np.bool_),
        ids=np.array([number for _, _, number in pieces], np.int32),
        unknown=vocabulary[model["unk_token"]],
    )


def _lowered(lowers: bool) -> UInt8:
    """What becomes of each byte; 0 of those that are not known here."""
    bytes_ = np.zeros(256, np.uint8)
    bytes_[list(_KNOWN)] = list(_KNOWN.lower() if lowers else _KNOWN)
    return bytes_
