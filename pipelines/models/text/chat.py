"""Messages as one text, by a folder's chat template; the text as tokens.

A template is a program in a sandbox (jinja2, by transformers). What is asked must depend on nothing
but the folder and the messages, so one that looks at the clock is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.errors import InputError
from shardrank.models.text.tokens import FastTokeniser

#: What templates of Llama 3 take for today where nobody says.
_NO_DAY = "26 Jul 2024"


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: str
    content: str


@dataclass(frozen=True)
class Form:
    """How messages are written for a template.

    Attributes:
        structured: whether a content is a list of typed parts, of which each message has one.
        variables: of the template; none: it is asked for an answer to come.
    """

    structured: bool = False
    variables: Mapping[str, Any] | None = None


class Chat:
    """How a model is talked to: its chat template, or, where there is none, plain text."""

    def __init__(self, folder: Path, tokeniser: FastTokeniser, form: Form | None = None) -> None:
        self._tokeniser = tokeniser
        self._form = form or Form()
        self._library = _with_template(folder)
        self._specials = tokeniser.special_texts
        # A template with roles of its own has a place for a system's words, or it needs none.
        own = self._library is None or self._form.variables is not None
        self._takes_system = own or self._renders_system()

    def text(self, messages: Sequence[Message], begins: str, thinks: bool = False) -> str:
        """What the model reads up to where it goes on.

        Args:
            messages: in their order; what a user wrote must have gone through `harmless`.
            begins: how its answer begins.
            thinks: whether a template that knows of reasoning leaves the model to reason.
        """
        if self._library is None:
            return "\n\n".join([*(message.content for message in messages), begins])
        return self._rendered(messages, thinks) + begins

    def ids_of(self, text: str) -> Int32:
        """int32[n] tokens of such a text; a template has written the special ones into it."""
        ids = self._tokeniser.encode([text])[0].ids
        if self._library is None:
            return np.concatenate([self._tokeniser.single_template().around[0], ids])
        return ids

    @property
    def closing(self) -> Int32:
        """int32[n] special tokens behind a text that nothing follows, as the tokeniser has them; a
        template has written all."""
        around = self._tokeniser.single_template().around
        return around[-1] if self._library is None else around[-1][:0]

    def harmless(self, text: str) -> str:
        """The text without special tokens: what looks like one is parted by a space, so that no
        document can end its message and begin another."""
        for special in self._specials:
            text = text.replace(special, f"{special[0]} {special[1:]}")
        return text

    def _rendered(self, messages: Sequence[Message], thinks: bool) -> str:
        """By the template; one that knows no system has its words before the user's."""
        first, *rest = messages
        if first.role == "system" and not self._takes_system:
            second, *others = rest
            both = Message(second.role, f"{first.content}\n\n{second.content}")
            return self._template([both, *others], thinks)
        return self._template(messages, thinks)

    def _template(self, messages: Sequence[Message], thinks: bool) -> str:
        told = [asdict(message) for message in messages]
        if self._form.structured:
            told = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in told]
        variables = self._form.variables
        if variables is None:
            asks = {"add_generation_prompt": True, "enable_thinking": thinks}
            variables = {**asks, "date_string": _NO_DAY}
        text: str = self._library.apply_chat_template(told, tokenize=False, **variables)
        return text

    def _renders_system(self) -> bool:
        try:
            told = self._template([Message("system", "QZX"), Message("user", "JKV")], False)
        except Exception:  # a template raises what it likes
            return False
        return "QZX" in told


def chat_template(folder: Path) -> str | None:
    """The text of the folder's chat template; none: it has none.

    Raises:
        InputError: it looks at the clock.
    """
    library = _with_template(folder)
    return None if library is None else str(library.chat_template)


def _with_template(folder: Path) -> Any:
    """The library's tokeniser where it has a template, else none."""
    from transformers import AutoTokenizer  # takes seconds

    found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    template = found.chat_template
    if template is None:
        return None
    if not isinstance(template, str):
        raise InputError(
            f"{folder} has several chat templates: {', '.join(sorted(template))}.",
            "Leave the one that shall be used, as chat_template.jinja.",
        )
    if "strftime_now" in template and "date_string" not in template:
        raise InputError(
            f"The chat template of {folder} looks at the clock (strftime_now): what the model is "
            "asked would be another thing every day.",
            "Write a fixed date into chat_template.jinja.",
        )
    return found
