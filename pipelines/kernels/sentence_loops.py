"""The loops of `corpus/sentences.py`, as machine code: where sentences begin.

Characters are Unicode code points, so a place is that of Python's string.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Int8, Int64, UInt16, UInt64
from shardrank.kernels.compiled import compiled, compiled_bare

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]

#: What a character is.
SPACE, LOWER, UPPER, DIGIT, LETTER, STOP, FULL, OPEN, CLOSE, JOIN = (1 << i for i in range(10))
#: What a word is: an abbreviation before anything, before a number, before all but a word that
#: begins sentences; such a word; what follows a day's number.
HARD, NUMBERED, SOFT, STARTER, FOLLOWER = (1 << i for i in range(5))
#: Marks: what begins at a character.
SENTENCE, PARAGRAPH, TOPIC = 1, 2, 3
#: Levels of blocks that are no headings: text, and text whose lines are kept.
TEXT, VERBATIM = 0, -1

_WORD = LOWER | UPPER | DIGIT | LETTER
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_LONGEST = 16
#: Characters of an item's number before its dot, with a bullet before it: "1", "12", "• 10".
_NUMBER = 4
_DOT, _NEWLINE, _GUILLEMET = 46, 10, 0xBB


class Rules(NamedTuple):
    """What decides where sentences end.

    Attributes:
        classes: uint16[65536], what a character is; others are none of these.
        hashes: uint64[w], ascending, of the words that are known (`word_hash`).
        kinds: uint8[w], what each is.
    """

    classes: UInt16
    hashes: UInt64
    kinds: UInt8


class Blocks(NamedTuple):
    """Blocks of texts, in order, each from its first character to its last + 1.

    Attributes:
        begins, ends: int64[b].
        levels: int8[b]: TEXT, VERBATIM, or a heading's level from 1.
    """

    begins: Int64
    ends: Int64
    levels: Int8


@compiled_bare
def class_of(codes: UInt32, at: int, classes: UInt16) -> int:
    """What the character at a place is."""
    code = codes[at]
    return int(classes[code]) if code < 65536 else 0


@compiled
def mark_sentences(codes: UInt32, blocks: Blocks, rules: Rules, marks: UInt8) -> None:
    """Mark where blocks begin, and the sentences in them (the lines of verbatim ones).

    Args:
        codes: uint32[n], the characters of all texts.
        blocks: of these.
        rules: of sentences.
        marks: uint8[n], zeros; filled with PARAGRAPH and SENTENCE.
    """
    for i in range(len(blocks.begins)):
        begin, end, level = blocks.begins[i], blocks.ends[i], blocks.levels[i]
        if level == TEXT:
            _mark_text(codes, begin, end, rules, marks)
        elif level == VERBATIM:
            _mark_lines(codes, begin, end, rules.classes, marks)
        marks[begin] = PARAGRAPH


@compiled_bare
def _mark_lines(codes: UInt32, begin: int, end: int, classes: UInt16, marks: UInt8) -> None:
    for at in range(begin + 1, end):
        if codes[at - 1] == _NEWLINE:
            found = _past(codes, at, end, classes, SPACE)
            if found < end:
                marks[found] = SENTENCE


@compiled_bare
def _mark_text(codes: UInt32, begin: int, end: int, rules: Rules, marks: UInt8) -> None:
    at = first = begin
    while at < end:
        following = -1
        if class_of(codes, at, rules.classes) & (STOP | FULL):
            run = _past(codes, at, end, rules.classes, STOP | FULL)
            following = _after_stop(codes, first, at, run, end, rules)
            at = run
        else:
            at += 1
            if codes[at - 1] == _NEWLINE:
                following = _item(codes, at, end, rules.classes)
        if following > 0:
            marks[following] = SENTENCE
            at = first = following


@compiled_bare
def _past(codes: UInt32, at: int, end: int, classes: UInt16, kinds: int) -> int:
    """The first place from `at` whose character is none of these kinds."""
    while at < end and class_of(codes, at, classes) & kinds:
        at += 1
    return at


@compiled_bare
def _item(codes: UInt32, at: int, end: int, classes: UInt16) -> int:
    """Where a line begins that is an item of a list (-, *, •, 1., 1)); -1: it is none."""
    at = _past(codes, at, end, classes, SPACE)
    behind = _past(codes, at, end, classes, DIGIT)
    if at == behind and behind < end:
        marked = codes[at] in (42, 43, 45, 0x2022, 0x2023, 0x2043, 0x25E6, 0xB7)
    else:
        marked = behind - at <= 3 and behind < end and codes[behind] in (41, 46)
    behind += 1
    spaced = behind < end and class_of(codes, behind, classes) & SPACE
    return at if marked and spaced else -1


@compiled_bare
def _after_stop(codes: UInt32, first: int, at: int, run: int, end: int, rules: Rules) -> int:
    """Where the next sentence begins, if the stops from `at` to `run` end one; else -1.

    `first` is where the sentence before begins.
    """
    classes = rules.classes
    closed = _past(codes, run, end, classes, CLOSE)
    following = _past(codes, closed, end, classes, SPACE)
    if following < end and codes[following] == _GUILLEMET:  # « Bonjour. »
        closed = following + 1
        following = _past(codes, closed, end, classes, SPACE)
    if following >= end:
        return -1
    next_class = class_of(codes, following, classes)
    if following == closed:  # nothing between: only the full stops of scripts without spaces
        unspaced = class_of(codes, run - 1, classes) & FULL
        goes_on = closed > run and not next_class & OPEN
        return -1 if not unspaced or goes_on or next_class & JOIN else following
    if next_class & (STOP | FULL | JOIN):
        return -1
    lone = run - at == 1 and at > first and class_of(codes, at - 1, classes) & SPACE
    if lone and not _stop_before(codes, first, at, classes):
        return following  # "text . text", as tokenised collections have it
    word = _past(codes, following, end, classes, OPEN)
    if word < end and class_of(codes, word, classes) & LOWER:
        return -1
    if run - at > 1 or codes[at] != _DOT or lone or _closed_text(codes, first, run, closed):
        return following
    return following if _dot_ends(codes, first, at, word, end, rules) else -1


@compiled_bare
def _closed_text(codes: UInt32, first: int, run: int, closed: int) -> bool:
    """Whether quotes or brackets close behind a dot, and not those of an item's number: 1.)"""
    return closed > run and run - first > _NUMBER


@compiled_bare
def _stop_before(codes: UInt32, first: int, at: int, classes: UInt16) -> bool:
    while at > first and class_of(codes, at - 1, classes) & SPACE:
        at -= 1
    return at > first and class_of(codes, at - 1, classes) & (STOP | FULL) != 0


@compiled_bare
def _dot_ends(codes: UInt32, first: int, at: int, word: int, end: int, rules: Rules) -> bool:
    """Whether the dot at `at` ends a sentence before the word at `word`."""
    begin, dots, digits = at, 0, 0
    while begin > first:
        kind = class_of(codes, begin - 1, rules.classes)
        if not kind & _WORD and codes[begin - 1] != _DOT:
            break
        dots += codes[begin - 1] == _DOT
        digits += (kind & DIGIT) != 0
        begin -= 1
    size = at - begin
    if size == 0:
        return True
    following = _known(codes, word, _word_end(codes, word, end, rules.classes), rules)
    if digits == size:
        return at - first > _NUMBER and not (size <= 2 and following & FOLLOWER)
    known = _known(codes, begin, at, rules)
    if known & HARD:
        return False
    if known & NUMBERED and word < end and class_of(codes, word, rules.classes) & DIGIT:
        return False
    initial = size == 1 and class_of(codes, begin, rules.classes) & (UPPER | LOWER) != 0
    acronym = dots > 0 and digits == 0 and 2 * dots + 1 == size
    if initial or acronym or known & SOFT:
        return following & STARTER != 0
    return True


@compiled_bare
def _word_end(codes: UInt32, word: int, end: int, classes: UInt16) -> int:
    """The end of a word that white space follows, or an apostrophe; `word` where another does."""
    at = _past(codes, word, end, classes, _WORD)
    if at < end and not (class_of(codes, at, classes) & SPACE or codes[at] in (39, 0x2019)):
        return word
    return at


@compiled_bare
def _known(codes: UInt32, begin: int, end: int, rules: Rules) -> int:
    """What is known of a word; 0: nothing."""
    if not 0 < end - begin <= _LONGEST:
        return 0
    wanted = word_hash(codes, begin, end)
    low, high = 0, len(rules.hashes)
    while low < high:
        middle = (low + high) >> 1
        if rules.hashes[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return int(rules.kinds[low]) if low < len(rules.hashes) and rules.hashes[low] == wanted else 0


@compiled_bare
def word_hash(codes: UInt32, begin: int, end: int) -> np.uint64:
    """FNV-1a of a word's characters; letters of ASCII and Latin-1 in lower case."""
    found = _FNV_BASIS
    for at in range(begin, end):
        code = codes[at]
        if 65 <= code <= 90 or (0xC0 <= code <= 0xDE and code != 0xD7):
            code += np.uint32(32)
        found = (found ^ np.uint64(code)) * _FNV_PRIME
    return found
