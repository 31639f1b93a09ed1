r"""Reading a permutation that a language model has written, such as "[3] > [1] > [2]".

The rule for what is wrong in it is RankGPT's (Sun et al., EMNLP 2023): what is missing follows in
the old order, and what is repeated counts where it first stands. What was mended is counted.

Identifiers are found by the regular expression of the prompt's file (`output_extraction_regex` in
rank_llm's layout). rank_llm (commit 1b3cabb) itself takes every digit of the answer for part of an
identifier, whatever that expression says: "Of the 3 passages: [2] > [1]" is 3, 2, 1 there, and 2, 1
here. Expressions come from users' files, and some can run for ever, so one may repeat a single
character or class once, and no more than LONGEST characters of an answer are read.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.errors import SettingsError

#: Characters of an answer, after its reasoning, that are read.
LONGEST = 1 << 13


@dataclass(frozen=True)
class Permutation:
    """What an answer says of n items.

    Attributes:
        order: int32[n], the items from the best: those that the answer names, then the others.
        missing: items that it does not name.
        repeated: how often it names an item again.
        foreign: how often it names what is no item.
        parsed: whether it names any item; where it does not, `order` is the old one.
    """

    order: Int32
    missing: int
    repeated: int
    foreign: int
    parsed: bool

    @property
    def mended(self) -> bool:
        """Whether something was wrong with an answer that could be read."""
        return self.parsed and self.missing + self.repeated + self.foreign > 0


def numbers(n: int) -> Sequence[str]:
    """The identifiers 1, 2, … of n items."""
    return [str(item) for item in range(1, n + 1)]


def letters(n: int) -> Sequence[str]:
    """The identifiers A, …, Z, AA, AB, … of n items. (After Z, rank_llm goes on with "[".)"""
    return [_letters(item) for item in range(1, n + 1)]


def _letters(number: int) -> str:
    rest, last = divmod(number - 1, 26)
    return (_letters(rest) if rest else "") + chr(ord("A") + last)


def conclusion(answer: str) -> str:
    """What an answer says after its reasoning.

    That is what follows the last </think>, or GroupRank's </reason>, and in it what is between
    <answer> and </answer>, if it has that. A thought that was begun and not ended, as when the
    tokens ran out, concludes nothing; where the prompt itself begins it, put the prompt's <think>
    before the answer.
    """
    said = answer
    for tag in ("think", "reason"):
        said = said.rpartition(f"</{tag}>")[2].partition(f"<{tag}>")[0]
    return said.rpartition("<answer>")[2].partition("</answer>")[0].strip()


def extraction(written: str) -> re.Pattern[str]:
    r"""The expression that finds identifiers, as a prompt's file has it.

    rank_llm's files write Python's r"\[(\d+)\]" without quotes around it, so that YAML reads r" and
    " as part of the text; they are taken off.

    Raises:
        SettingsError: it is not an expression with one group, or could take for ever.
    """
    text = written.strip()
    raw = re.fullmatch(r"r(['\"])(.*)\1", text, re.DOTALL)
    text = raw[2] if raw else text
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise _wrong(text, f"is not a regular expression: {error}") from error
    if pattern.groups != 1:
        raise _wrong(text, f"has {pattern.groups} groups")
    if not _is_quick(text):
        raise _wrong(text, "repeats more than one character or class, so it could take for ever")
    return pattern


def _wrong(text: str, why: str) -> SettingsError:
    return SettingsError(
        f"output_extraction_regex {text!r} {why}.",
        r"Its one group is the identifier; write it like \[(\d+)\] or \[([A-Z])\].",
    )


def _is_quick(text: str) -> bool:
    """Whether a match takes time quadratic in the answer's length at most: one repetition, of one
    character or class, and no reference to what a group has matched."""
    if re.search(r"\\[1-9]|\(\?P=", text):
        return False
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "c", re.sub(r"\\.", "c", text))
    return len(re.findall(r"(?<!\()[*+?{]", plain)) <= 1 and not re.search(r"\)[*+?{]", plain)


def permutation(answer: str, names: Sequence[str], found_by: re.Pattern[str]) -> Permutation:
    """The order that an answer gives to the items that it names.

    Digits and letters of other shapes are read as the plain ones (NFKC: ３, ³ and ③ are 3), and
    zeros before a number are passed over.

    Args:
        answer: as generated; its reasoning is cut off (see `conclusion`).
        names: the items' identifiers, in the old order.
        found_by: see `extraction`.
    """
    said = unicodedata.normalize("NFKC", conclusion(answer)[:LONGEST])[:LONGEST]
    items = {name: item for item, name in enumerate(names)}
    named = [items.get(match[1].lstrip("0")) for match in found_by.finditer(said) if match[1]]
    known = [item for item in named if item is not None]
    first = dict.fromkeys(known)
    order = [*first, *(item for item in range(len(names)) if item not in first)]
    return Permutation(
        order=np.array(order, np.int32),
        missing=len(names) - len(first),
        repeated=len(known) - len(first),
        foreign=len(named) - len(known),
        parsed=bool(first),
    )
