"""Where sentences begin, by rules of our own: the fastest library of rules takes as long as the
tokeniser, which is half of all cutting (docs/measured-speed.md).

A sentence ends at . ! ? … and their likes in other scripts, with the quotes and brackets that close
behind it, before white space and a word that is not in lower case; at 。！？ and their likes before
anything. A dot after an abbreviation, an initial or an item's number ends none. Languages with
spaces between words: any; abbreviations are known in those of `abbreviations.py`. Chinese and
Japanese, and Hindi, Urdu, Armenian, Amharic, Burmese and Khmer by their own marks. Thai and Lao
mark no sentences.
"""

from functools import cache
from unicodedata import category

import numpy as np

from shardrank.core.arrays import UInt16
from shardrank.corpus import abbreviations
from shardrank.kernels import sentence_loops as loops
from shardrank.kernels.sentence_loops import Blocks, Rules, UInt8, UInt32

_STOPS = ".!?…‼⁇⁈⁉؟۔।॥։።፧፨၊။។៕׃"
_FULL = "。！？｡．"  # no space follows
_OPENERS = "\"'“‘‹«„‚「『（《〈【([{¿¡*_"
_CLOSERS = "\"'”’›»“」』）》〉】)]}*_"
_SIGNS = "°"  # a part of words, as in N°
_JOINERS = ",;:、，；：-–—"  # a sentence goes on with them
_MARKS = {
    loops.STOP: _STOPS,
    loops.FULL: _FULL,
    loops.OPEN: _OPENERS,
    loops.CLOSE: _CLOSERS,
    loops.JOIN: _JOINERS,
    loops.LETTER: _SIGNS,
}


def characters(text: str) -> UInt32:
    """uint32[n], the code points of a text."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def sentence_marks(codes: UInt32, blocks: Blocks) -> UInt8:
    """uint8[n]: PARAGRAPH at the first character of each block, SENTENCE at that of each further
    sentence in it, else 0.

    Args:
        codes: uint32[n], the characters of any number of texts, one behind the other.
        blocks: theirs; a sentence never crosses one.
    """
    marks = np.zeros(len(codes), np.uint8)
    loops.mark_sentences(codes, blocks, sentence_rules(), marks)
    return marks


@cache
def sentence_rules() -> Rules:
    """The rules, as the loops want them."""
    kinds = _word_kinds()
    return Rules(
        classes=_classes(),
        hashes=np.array(sorted(kinds), np.uint64),
        kinds=np.array([kinds[key] for key in sorted(kinds)], np.uint8),
    )


def _classes() -> UInt16:
    """uint16[65536]: what each character of Unicode's first plane is."""
    found = np.array([_class(chr(code)) for code in range(1 << 16)], np.uint16)
    for kind, marks in _MARKS.items():
        found[[ord(mark) for mark in marks]] |= kind
    return found


def _class(character: str) -> int:
    if character.isspace():
        return loops.SPACE
    kind = category(character)
    if kind in ("Ll", "Lu", "Lt"):
        return loops.LOWER if kind == "Ll" else loops.UPPER
    if kind[0] in "LM":
        return loops.LETTER
    return loops.DIGIT if kind == "Nd" else 0


def _word_kinds() -> dict[int, int]:
    """What each known word is, by its hash."""
    lists = {
        loops.HARD: abbreviations.HARD,
        loops.NUMBERED: abbreviations.NUMBERED,
        loops.SOFT: abbreviations.SOFT,
        loops.STARTER: abbreviations.STARTERS,
        loops.FOLLOWER: abbreviations.FOLLOWERS,
    }
    kinds: dict[int, int] = {}
    for kind, words in lists.items():
        for word in words.split():
            key = int(loops.word_hash(characters(word), 0, len(word)))
            kinds[key] = kinds.get(key, 0) | kind
    return kinds
