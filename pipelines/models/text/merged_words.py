"""Words of a BPE tokeniser, merged by our own loop: the library's, asked for each, takes longer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shardrank.core.arrays import Int64
from shardrank.kernels.merge_loops import NEVER, Merges, merge_words, put_pairs
from shardrank.kernels.word_loops import Tokens, UInt8


class MergedWords:
    """The tokens of words, by a model's vocabulary and merges (protocol: Speller)."""

    def __init__(self, model: Mapping[str, Any], space: str) -> None:
        """Read the model of a tokenizer.json that has a token for each byte.

        Args:
            model: its "model", of type BPE.
            space: the character of its tokens that stands for a space.
        """
        vocabulary: dict[str, int] = model["vocab"]
        merges = [pair_of(merge) for merge in model["merges"]]
        self._table = _table(vocabulary, space, room=4 * len(merges) + 4)
        pairs = np.array([(vocabulary[a], vocabulary[b]) for a, b in merges], np.int32)
        merged = np.array([vocabulary[a + b] for a, b in merges], np.int32)
        put_pairs(pairs.reshape(-1, 2), merged, self._table)

    def spell(self, letters: UInt8, begins: Int64) -> Tokens:
        """The tokens of words; the library says of all that they belong to its word 0."""
        words, most = len(begins) - 1, len(letters)
        out = Tokens(
            begins=np.zeros(words + 1, np.int64),
            sizes=np.zeros(words, np.int32),
            ids=np.empty(most, np.int32),
            places=np.zeros((3, most), np.int32),
        )
        filled = merge_words(letters, begins, self._table, out)
        return out._replace(ids=out.ids[:filled], places=out.places[:, :filled])


def pair_of(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge's two tokens; older files have them in one string."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def byte_token(byte: int) -> str:
    """What a vocabulary calls the token of a byte."""
    return f"<0x{byte:02X}>"


def _table(vocabulary: Mapping[str, int], space: str, room: int) -> Merges:
    """Without pairs."""
    single = {ord(token): number for token, number in vocabulary.items() if len(token) == 1}
    characters = np.full(max(single) + 1, -1, np.int32)
    characters[list(single)] = list(single.values())
    characters[ord(" ")] = vocabulary[space]
    slots = 1 << room.bit_length()
    return Merges(
        characters=characters,
        bytes=np.array([vocabulary[byte_token(byte)] for byte in range(256)], np.int32),
        pairs=np.zeros(slots, np.uint64),
        ranks=np.full(slots, NEVER, np.int32),
        merged=np.zeros(slots, np.int32),
    )
