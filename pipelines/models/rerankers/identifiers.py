"""What passages are called in a prompt: letters or numbers, as its answers are read.

Where a model's answer is its first token's logits (FIRST, arXiv 2406.15657), each passage's
identifier must be one token, behind what the answer begins with, and no two the same. Letters are
A to Z, a to z, then pairs of letters, as far as the vocabulary has them so.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from string import ascii_lowercase, ascii_uppercase

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.errors import SettingsError
from shardrank.models.rerankers.language import Language
from shardrank.models.text.chat import Message
from shardrank.models.text.prompts import Prompt, fill
from shardrank.orders.answers import extraction, letters, numbers

#: The identifiers of n passages.
Names = Callable[[int], Sequence[str]]


@dataclass(frozen=True, eq=False)
class Identifiers:
    """Identifiers that are one token each.

    Attributes:
        names: how the prompt calls passages.
        tokens: int32[n], theirs.
    """

    names: Sequence[str]
    tokens: Int32


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
    candidates = numbers(most) if numbered else _letters()
    begins = opening(language.prompt)
    found = one_token_each(language, begins, candidates, most, gaps=not numbered)
    if len(found.names) < most:
        raise SettingsError(
            f"The model's vocabulary has {len(found.names)} {'numbers' if numbered else 'letters'} "
            f"that are one token each behind {begins!r}, for {most} passages in one prompt.",
            "Show fewer passages at once, have the answer generated, or name a prompt with "
            f"{'letters' if numbered else 'numbers'}.",
        )
    return found


def one_token_each(
    language: Language, begins: str, names: Iterator[str] | Sequence[str], most: int, gaps: bool
) -> Identifiers:
    """The first `most` of the names that are one token behind `begins`, each another one; without
    `gaps`, up to the first that is none."""
    text = language.chat.text([Message("user", "?")], begins)
    before = language.chat.ids_of(text)
    found: dict[int, str] = {}
    for name in names:
        token = _token(language, text, name, before)
        if token is not None and found.setdefault(token, name) == name:
            if len(found) == most:
                break
        elif not gaps:
            break
    return Identifiers(list(found.values()), np.array(list(found), np.int32))


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


def _letters() -> Iterator[str]:
    pairs = chain(
        product(ascii_uppercase, ascii_uppercase), product(ascii_uppercase, ascii_lowercase)
    )
    return chain(ascii_uppercase, ascii_lowercase, map("".join, pairs))
