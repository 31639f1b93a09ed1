"""What a language model is asked, as a file: YAML in rank_llm's layout.

    method: pointwise                      # singleturn_listwise, …: what the family asks for
    system_message: …
    prefix: …    {query} {num}             # before the passages
    body: …      {rank} {candidate}        # of each passage; {doc_content} where there is one
    suffix: …    {query} {num}             # behind them
    assistant: …                           # how the answer begins
    output_extraction_regex: …             # finds the identifiers in an answer
    answers: ["yes", "no"]                 # one token each

What is written about a text alone (method: writing) has its slots {text} and {count} in prefix,
body and suffix, which follow each other, and `gives: lines` where each line is a text of its own.

A slot is a name in braces, and {{ and }} are braces. What a method does not know is refused, and
so is a file that lacks a slot without which the model would not see the query or a passage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from shardrank.core.errors import SettingsError
from shardrank.core.spelling import meant

#: What shardrank brings.
_SHIPPED = files("shardrank.models") / "prompts"


@dataclass(frozen=True)
class Method:
    """What a way of asking needs and knows: the slots that must stand somewhere, those that each
    text may have, and the other keys."""

    needs: frozenset[str]
    slots: Mapping[str, frozenset[str]]
    keys: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALONE = {name: _words("query doc_content instruction") for name in ("prefix", "body", "suffix")}
_LISTED = {
    "prefix": _words("query num"),
    "body": _words("rank candidate"),
    "suffix": _words("query num psg_ids"),
    "assistant": _words(""),
}
#: Of a conversation, in which each passage may be a turn.
_TURNS = {
    "prefix_user": _words("query num"),
    "prefix_assistant": _words("query num"),
    "body_user": _words("rank candidate"),
    "body_assistant": _words("rank"),
    "suffix_user": _words("query num"),
    "assistant": _words(""),
}
#: What output_validation_regex would tell, the counts of mended answers tell: it is not used.
_READS = _words("output_validation_regex output_extraction_regex")
METHODS: Mapping[str, Method] = {
    "pointwise": Method(
        _words("query doc_content"),
        _ALONE | {"assistant": _words("")},
        _words("instruction answers scale"),
    ),
    "query_and_document": Method(frozenset(), {}),
    "query_likelihood": Method(
        _words("query doc_content"),
        {name: _words("doc_content instruction") for name in ("prefix", "body", "suffix")}
        | {"assistant": _words("query")},
        _words("instruction"),
    ),
    "singleturn_listwise": Method(_words("query rank candidate"), _LISTED, _READS),
    "multiturn_listwise": Method(_words("query rank candidate"), _TURNS, _READS),
    "setwise": Method(_words("query rank candidate"), _LISTED, _READS),
    "groupwise": Method(
        _words("query rank candidate"),
        _LISTED | {"assistant": _words("rank")},
        _words("scale"),
    ),
    "pairwise": Method(_words("query rank candidate"), _LISTED, _words("answers")),
    "in_context": Method(
        _words("query candidate"),
        {
            "prefix": _words("num"),
            "body": _words("rank candidate"),
            "suffix": _words("query num"),
        },
    ),
    "enriched_query": Method(_words("query candidate"), _LISTED, _words("end")),
    "writing": Method(
        _words("text"),
        {name: _words("text count") for name in ("prefix", "body", "suffix")}
        | {"assistant": _words("")},
        _words("gives"),
    ),
}


@dataclass(frozen=True)
class Prompt:
    """A prompt as its file says it.

    Attributes:
        text: the whole file, which decides results.
        system_message, prefix, body, suffix: what the model is told; slots are not filled.
        assistant: how its answer begins.
        instruction: what a passage shall do for its query.
        answers: the token of a relevant passage, and that of another; only the first: its logit.
        scale: tokens of integer grades, which are weighted by their probabilities.
        gives: what an answer is: one text, or a text in each of its lines.
        end: the token that a passage's own input ends with, where the tokeniser adds none.
        output_extraction_regex: what finds the identifiers in an answer.
        prefix_user, …: of a conversation, what each side says.
    """

    method: str
    text: str
    system_message: str = ""
    prefix: str = ""
    body: str = ""
    suffix: str = ""
    assistant: str = ""
    instruction: str = ""
    answers: tuple[str, ...] = ()
    scale: tuple[str, ...] = ()
    gives: str = "text"
    end: str = ""
    output_validation_regex: str = ""
    output_extraction_regex: str = ""
    prefix_user: str = ""
    prefix_assistant: str = ""
    body_user: str = ""
    body_assistant: str = ""
    suffix_user: str = ""

    @property
    def takes_instruction(self) -> bool:
        """Whether it says what a passage shall do; what is a folder's own always may."""
        texts = (self.prefix, self.body, self.suffix)
        return self.method == "query_and_document" or "{instruction}" in "".join(texts)

    @property
    def answers_query(self) -> bool:
        """Whether the answer that the prompt begins is the query."""
        return "{query}" in self.assistant


def read_prompt(named: str) -> str:
    """The text of a prompt: a file where the name ends in .yaml, else one that shardrank brings.

    Raises:
        SettingsError: there is none.
    """
    if named.endswith((".yaml", ".yml")):
        path = Path(named)
        if not path.is_file():
            raise SettingsError(f"There is no prompt file {named}.", "Check the setting prompt.")
        return path.read_text("utf-8")
    known = sorted(each.name.removesuffix(".yaml") for each in _SHIPPED.iterdir())
    if named not in known:
        raise SettingsError(
            f"There is no prompt {named!r}.",
            f"{meant(named, known)}Known: {', '.join(known)}; or name a file, …/NAME.yaml.",
        )
    return (_SHIPPED / f"{named}.yaml").read_text("utf-8")


def parse_prompt(text: str, methods: frozenset[str]) -> Prompt:
    """The prompt of a file's text, which must be of one of these methods.

    Raises:
        SettingsError: the text is no such file, has a key or a slot that is not known, or lacks
            one.
    """
    found = _mapping(text)
    method = str(found.get("method"))
    if method not in methods:
        raise SettingsError(
            f"The prompt's method is {method!r}, and this family asks by "
            f"{' or '.join(sorted(methods))}.",
            "Name a prompt of that kind, or another family.",
        )
    rules = METHODS[method]
    _refuse_unknown(found, rules)
    values = {name: _value(name, value) for name, value in found.items()}
    used = {name: _slots(name, str(values.get(name, ""))) for name in rules.slots}
    for name, slots in used.items():
        _refuse_slots(name, slots - rules.slots[name], rules.slots[name])
    every = frozenset().union(*used.values())
    if rules.needs - every:
        lacking = ", ".join(f"{{{name}}}" for name in sorted(rules.needs - every))
        raise SettingsError(
            f"The prompt has no slot {lacking}: the model would not see it.",
            "Put it into prefix, body, suffix or assistant.",
        )
    return Prompt(text=text, **values)


def fill(text: str, slots: Mapping[str, str]) -> str:
    """A prompt's text with its slots filled. What is filled in is never read for slots."""
    pieces = []
    for literal, name, _, _ in Formatter().parse(text):
        pieces += [literal, slots[name] if name else ""]
    return "".join(pieces)


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"The prompt is no YAML: {error}.", "Check the file.") from error
    if not isinstance(found, dict):
        raise SettingsError("The prompt's file holds no keys and values.", "Begin with method: …")
    return found


def _refuse_unknown(found: Mapping[str, Any], rules: Method) -> None:
    known = sorted({"method", "system_message", *rules.slots, *rules.keys})
    for name in found.keys() - set(known):
        raise SettingsError(
            f"The prompt has a key {name!r}, which {found['method']} does not know.",
            f"{meant(str(name), known)}Known: {', '.join(known)}.",
        )


def _value(name: str, value: Any) -> Any:
    """A text, or of answers and grades a tuple of texts."""
    if name in ("answers", "scale"):
        if not isinstance(value, list) or not value:
            raise SettingsError(
                f"The prompt's {name} is no list of texts.", 'Such as ["yes", "no"].'
            )
        return tuple(str(each) for each in value)
    if name == "gives" and value not in ("text", "lines"):
        raise SettingsError(
            f"The prompt gives {value!r}.", "An answer gives a text, or lines: gives: text | lines."
        )
    if not isinstance(value, str):
        raise SettingsError(f"The prompt's {name} is no text but {value!r}.", "Quote it.")
    return value


def _slots(name: str, text: str) -> frozenset[str]:
    """The names in braces; nothing but a plain name may stand there."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise SettingsError(
            f"The prompt's {name} has a brace that belongs to no slot: {error}.",
            "Write {{ and }} for braces.",
        ) from error
    named = [each for each in parsed if each[1] is not None]
    for _, slot, spec, kind in named:
        if spec or kind or not slot:
            raise SettingsError(
                f"The prompt's {name} has a slot {{{slot}}} without a name, or with a format.",
                "Write a plain name in braces, and {{ and }} for braces.",
            )
    return frozenset(str(slot) for _, slot, _, _ in named)


def _refuse_slots(name: str, unknown: frozenset[str], known: frozenset[str]) -> None:
    if unknown:
        listed = ", ".join(f"{{{slot}}}" for slot in sorted(known)) or "none"
        raise SettingsError(
            f"The prompt's {name} has a slot {{{min(unknown)}}}, and it knows {listed}.",
            "Write {{ and }} for braces.",
        )
