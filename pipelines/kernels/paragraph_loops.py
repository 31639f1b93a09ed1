"""The loops of `corpus/plain_text.py`, as machine code: paragraphs and headings of plain text, by
its lines."""

from shardrank.core.arrays import Int8, Int64, UInt16
from shardrank.kernels.compiled import compiled, compiled_bare
from shardrank.kernels.sentence_loops import (
    DIGIT,
    FULL,
    LETTER,
    SPACE,
    STOP,
    TEXT,
    UPPER,
    Blocks,
    UInt32,
    class_of,
)

#: A heading has at most so many characters, and words.
LONGEST, WORDS = 80, 12
#: So many lines in a row that look like headings may be; more are a list.
RUN = 3

_NEWLINE, _DOT, _EQUALS, _DASH = 10, 46, 61, 45
_WEAK = 100  # a line that may be a heading, until it is known what follows


@compiled
def find_blocks(
    codes: UInt32, bounds: Int64, classes: UInt16, headings: bool, blocks: Blocks, stops: Int64
) -> None:
    """The paragraphs and headings of plain texts, in order.

    Args:
        codes: uint32[n], the characters of all texts.
        bounds: int64[texts + 1]; text t is codes[bounds[t] : bounds[t + 1]].
        classes: uint16[65536], what characters are.
        headings: whether any are looked for.
        blocks: of room for a block a line, filled.
        stops: int64[texts], filled: where each text's blocks end in these.
    """
    filled = 0
    for text in range(len(bounds) - 1):
        begun, begin, end = filled, bounds[text], bounds[text + 1]
        apart = _has_blank_line(codes, begin, end, classes)
        filled = _find(codes, begin, end, classes, apart, headings, blocks, filled)
        if headings:
            _settle(blocks.levels, begun, filled)
        stops[text] = filled


@compiled_bare
def _line_end(codes: UInt32, at: int, end: int) -> int:
    while at < end and codes[at] != _NEWLINE:
        at += 1
    return at


@compiled_bare
def _first(codes: UInt32, at: int, end: int, classes: UInt16) -> int:
    """The first character that is no white space; `end`: there is none."""
    while at < end and class_of(codes, at, classes) & SPACE:
        at += 1
    return at


@compiled_bare
def _last(codes: UInt32, at: int, end: int, classes: UInt16) -> int:
    """Behind the last character that is no white space."""
    while end > at and class_of(codes, end - 1, classes) & SPACE:
        end -= 1
    return end


@compiled_bare
def _has_blank_line(codes: UInt32, at: int, end: int, classes: UInt16) -> bool:
    """Whether there is one between two that are not blank."""
    at, end = _first(codes, at, end, classes), _last(codes, at, end, classes)
    lines = 2
    while at < end:
        if codes[at] == _NEWLINE:
            lines += 1
        elif not class_of(codes, at, classes) & SPACE:
            lines = 0
        if lines == 2:
            return True
        at += 1
    return False


@compiled_bare
def _find(
    codes: UInt32,
    at: int,
    end: int,
    classes: UInt16,
    apart: bool,
    headings: bool,
    blocks: Blocks,
    filled: int,
) -> int:
    """Fill in a text's blocks from `filled` on; how many there are then. `apart`: paragraphs lie
    between blank lines, else each line is one."""
    lines = 0  # of the last block, if it may go on
    while at < end:
        line_end = _line_end(codes, at, end)
        begin, behind = _first(codes, at, line_end, classes), _last(codes, at, line_end, classes)
        at = line_end + 1
        if begin >= behind:
            lines = 0
            continue
        under = _underline(codes, begin, behind) if headings else 0
        if under and (lines == 1 or (not apart and filled and blocks.levels[filled - 1] == _WEAK)):
            blocks.ends[filled - 1], blocks.levels[filled - 1] = behind, under
            lines = 0
        elif lines and apart:
            blocks.ends[filled - 1], blocks.levels[filled - 1] = behind, TEXT
            lines += 1
        else:
            blocks.begins[filled], blocks.ends[filled] = begin, behind
            level = _level(codes, begin, behind, classes, apart) if headings else TEXT
            blocks.levels[filled] = level
            filled += 1
            lines = 0 if 0 < level < _WEAK else 1
    return filled


@compiled_bare
def _underline(codes: UInt32, begin: int, end: int) -> int:
    """The level of the heading above a line of = or -; 0: the line is none."""
    code = codes[begin]
    if end - begin < 3 or (code != _EQUALS and code != _DASH):
        return 0
    for at in range(begin, end):
        if codes[at] != code:
            return 0
    return 1 if code == _EQUALS else 2


@compiled_bare
def _level(codes: UInt32, begin: int, end: int, classes: UInt16, apart: bool) -> int:
    """The level of the heading that a line is: == of wikis ==, 1.2 Numbered, or _WEAK where it is
    only short; TEXT where it is none."""
    equals = 0
    while begin + 2 * equals + 2 < end and (
        codes[begin + equals] == _EQUALS and codes[end - 1 - equals] == _EQUALS
    ):
        equals += 1
    if equals:
        return min(equals, 6)
    if not _short(codes, begin, end, classes, apart):
        return TEXT
    number = _numbers(codes, begin, end, classes)
    return number if number else _WEAK


@compiled_bare
def _short(codes: UInt32, begin: int, end: int, classes: UInt16, apart: bool) -> bool:
    """Whether a line is as short as a heading, begins as one, and holds no sentence."""
    if end - begin > LONGEST or not class_of(codes, begin, classes) & (UPPER | LETTER | DIGIT):
        return False
    last = end - 1
    if codes[last] == _DOT and not apart:  # as WikiExtractor writes headings
        last -= 1
    if (
        last < begin
        or codes[last] in (44, 58, 59)
        or class_of(codes, last, classes) & (STOP | FULL)
    ):
        return False
    words = 1
    for at in range(begin + 1, last):
        kind = class_of(codes, at, classes)
        words += (kind & SPACE) != 0
        if kind & FULL or (kind & STOP and class_of(codes, at + 1, classes) & SPACE and words > 1):
            return False
    return words <= WORDS


@compiled_bare
def _numbers(codes: UInt32, begin: int, end: int, classes: UInt16) -> int:
    """Numbers before a line's words, as in 2.1 Method or 3. Results, up to 6; 0: none."""
    at, found = begin, 0
    while at < end and class_of(codes, at, classes) & DIGIT and found < 6:
        first = at
        while at < end and class_of(codes, at, classes) & DIGIT:
            at += 1
        found += 1
        if at - first > 2 or at >= end:
            return 0
        if codes[at] == _DOT:
            at += 1
    word = _first(codes, at, end, classes)
    named = word > at and word < end and class_of(codes, word, classes) & (UPPER | LETTER)
    return found if named else 0


@compiled_bare
def _settle(levels: Int8, begin: int, end: int) -> None:
    """What may be headings are, where text follows one, two or three of them."""
    at = begin
    while at < end:
        first = at
        while at < end and levels[at] == _WEAK:
            at += 1
        heads = at < end and levels[at] == TEXT and at - first <= RUN
        for i in range(first, at):
            levels[i] = i - first + 1 if heads else TEXT
        at += 1
