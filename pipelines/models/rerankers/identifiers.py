"""What passages are called in a prompt: letters or numbers, as its answers are read.

Where a model's answer is its first token's logits (FIRST, arXiv 2406.15657), each passage's
identifier must be one token, behind what the answer begins with, and no two the same. Letters are
A to Z, a to z, then pairs of letters, as far as the vocabulary has them so. In some vocabularies
(Qwen's, and others made like GPT-4's) a bracket and a letter are one token, "[A": that is the
letter's then, and the answer begins before the bracket. There rank_llm, which reads the logits of
the second token, would read those behind the letter.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase, ascii_uppercase

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.errors import SettingsError
from shardrank.models.rerankers.language import Language
from shardrank.models.text.chat import Message
from shardrank.models.text.prompts import Prompt, fill
from shardrank.orders.answers import extraction, letters, numbers

#: What a passage may be called, if the vocabulary has it.
_LETTERS = [
    *ascii_uppercase,
    *ascii_lowercase,
    *map("".join, product(ascii_uppercase, ascii_uppercase)),
    *map("".join, product(ascii_uppercase, ascii_lowercase)),
]

#: The identifiers of n passages.
Names = Callable[[int], Sequence[str]]


@dataclass(frozen=True, eq=False)
class Identifiers:
    """Identifiers that are one token each.

    Attributes:
        names: how the prompt calls passages.
        tokens: int32[n], theirs.
        begins: what stands before them in an answer.
    """

    names: Sequence[str]
    tokens: Int32
    begins: str


@dataclass(frozen=True)
class Candidates:
    """Names that may become identifiers.

    Attributes:
        names: in the order in which they are tried.
        most: how many are wanted.
        gaps: whether one that is no single token is passed over; else it is the end.
    """

    names: Sequence[str]
    most: int
    gaps: bool

    def suit(self, found: Identifiers) -> tuple[int, int]:
        """How well what was found of them suits: many, and of the first ones."""
        return len(found.names), -self.names.index(found.names[-1]) if found.names else 0


def names_of(prompt: Prompt) -> Names:
    """Numbers or letters: what the prompt's expression finds in the prompt's own body.

    Raises:
        SettingsError: it finds neither, or is no expression.
    """
    found_by = extraction(prompt.output_extraction_regex)
    for names in (numbers, letters):
        if _finds(found_by, prompt, names(1)[0]):
            return names
    raise SettingsError(
        f"The prompt's output_extraction_regex {found_by.pattern!r} finds neither 1 nor A where "
        "its body names a passage so.",
        r"Name passages in the body as in the answer: [{rank}], for \[(\d+)\] or \[([A-Z])\].",
    )


def refuse_unread(prompt: Prompt, names: Sequence[str]) -> None:
    """Raises SettingsError where an answer's identifier would not be found in it."""
    found_by = extraction(prompt.output_extraction_regex)
    read = [_finds(found_by, prompt, name) for name in names]
    if not all(read):
        raise SettingsError(
            f"The prompt's output_extraction_regex {found_by.pattern!r} finds {read.index(False)} "
            f"of {len(names)} identifiers: not {names[read.index(False)]}.",
            "Show fewer passages at once, or name a prompt with numbers.",
        )


def opening(prompt: Prompt) -> str:
    """How an answer begins, up to its first identifier: as the prompt says, else what its
    expression has before the identifier, such as [."""
    if prompt.assistant:
        return prompt.assistant
    pattern = extraction(prompt.output_extraction_regex).pattern
    before = re.sub(r"((?:\\.|[^\\(])*).*", r"\1", pattern, flags=re.DOTALL)
    return re.sub(r"\\(.)", r"\1", before) if re.fullmatch(r"(\\\W|\w|\s)*", before) else ""


def identifiers(language: Language, most: int) -> Identifiers:
    """Identifiers of `most` passages, one token each.

    Raises:
        SettingsError: the vocabulary has fewer.
    """
    numbered = names_of(language.prompt) is numbers
    candidates = Candidates(numbers(most) if numbered else _LETTERS, most, gaps=not numbered)
    begins = opening(language.prompt)
    found = one_token_each(language, begins, candidates)
    if found.names != candidates.names[:most]:
        joined = one_token_each(language, begins[:-1], candidates, joined=begins[-1:])
        found = max(found, joined, key=candidates.suit)
    if len(found.names) < most:
        kind, other = ("numbers", "letters") if numbered else ("letters", "numbers")
        raise SettingsError(
            f"The model's vocabulary has {len(found.names)} {kind} that are one token each behind "
            f"{begins!r}, for {most} passages in one prompt.",
            "Show fewer passages at once, have the answer generated, or name a prompt with "
            f"{other}.",
        )
    return found


def one_token_each(
    language: Language, begins: str, candidates: Candidates, joined: str = ""
) -> Identifiers:
    """The candidates that are one token behind `begins`, each another one.

    Args:
        language: the model.
        begins: how its answer begins.
        candidates: names.
        joined: what is part of each name's token, in front of it.
    """
    text = language.chat.text([Message("user", "?")], begins)
    before = language.chat.ids_of(text)
    found: dict[int, str] = {}
    for name in candidates.names:
        token = _token(language, text, joined + name, before)
        if token is not None and found.setdefault(token, name) == name:
            if len(found) == candidates.most:
                break
        elif not candidates.gaps:
            break
    return Identifiers(list(found.values()), np.array(list(found), np.int32), begins)


def _token(language: Language, text: str, name: str, before: Int32) -> int | None:
    """The one token that a name is behind a text, whose own are `before`; none: it is none."""
    ids = language.chat.ids_of(text + name)
    if len(ids) != len(before) + 1 or not np.array_equal(ids[:-1], before):
        return None
    return int(ids[-1]) if language.tokeniser.decode(ids[-1:]).strip() == name else None


def shown_as(prompt: Prompt, names: Sequence[str]) -> list[str]:
    """How the prompt's body writes the names, such as [1]."""
    body = prompt.body or prompt.body_user
    return [fill(body, {"rank": name, "candidate": ""}).strip() for name in names]


def _finds(found_by: re.Pattern[str], prompt: Prompt, name: str) -> bool:
    """Whether the first identifier in the body of a passage so called is that."""
    found = found_by.search(shown_as(prompt, [name])[0])
    return found is not None and found[1] == name
