"""Words of a tokeniser asked of the `tokenizers` library."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from tokenizers import Encoding, Tokenizer

from shardrank.core.arrays import Int32, Int64
from shardrank.kernels.word_loops import Tokens, UInt8

#: Words that the library is asked for at once: one by one, they take twice as long.
_LINE = 128

#: Begin and end of no token.
_NOWHERE = np.empty((0, 2), np.int32)


class AskedWords:
    """The tokens of words that a space parts from each other (protocol: Speller)."""

    def __init__(self, backend: Tokenizer) -> None:
        self._backend = backend

    def spell(self, letters: UInt8, begins: Int64) -> Tokens:
        """The tokens of words."""
        data, bounds = letters.tobytes(), begins.tolist()
        words = [data[a:b].decode() for a, b in pairwise(bounds)]
        lines = [" ".join(words[at : at + _LINE]) for at in range(0, len(words), _LINE)]
        asked = self._backend.encode_batch(lines, add_special_tokens=False)
        return _tokens_of(words, asked)


def _tokens_of(words: Sequence[str], lines: Sequence[Encoding]) -> Tokens:
    """Of words that were asked for in lines of `_LINE`, with a space between two."""
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    firsts = np.cumsum(sizes + 1) - sizes - 1  # each word's first character
    places = np.concatenate([_NOWHERE, *_places(lines, firsts)])
    owners = np.searchsorted(firsts, places[:, 0], side="right") - 1  # each token's word
    begins = np.searchsorted(owners, np.arange(len(words) + 1))
    numbers = np.array([number for line in lines for number in line.word_ids], np.int32)
    parts = numbers - numbers[begins[owners]]
    return Tokens(
        begins=begins,
        sizes=_sizes(begins, parts),
        ids=np.array([i for line in lines for i in line.ids], np.int32),
        places=np.vstack([(places - firsts[owners][:, None]).T, parts]).astype(np.int32),
    )


def _places(lines: Sequence[Encoding], firsts: Int64) -> Iterator[Int64]:
    """First and last + 1 characters of each line's tokens, counted over all lines."""
    for number, line in enumerate(lines):
        yield np.array(line.offsets, np.int64).reshape(-1, 2) + firsts[number * _LINE]


def _sizes(begins: Int64, parts: Int32) -> Int32:
    """How many words the tokeniser makes of each: the last token's number + 1, 0 without tokens."""
    sizes = np.zeros(len(begins) - 1, np.int32)
    last = begins[1:][np.diff(begins) > 0] - 1
    sizes[np.diff(begins) > 0] = parts[last] + 1
    return sizes
