"""Language models that are asked about several passages: tiny ones, and stubs that say what a test
has them say."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from shardrank.core.arrays import Float32, Int32
from shardrank.core.protocols import Decoder
from shardrank.core.sampling import Sampling
from shardrank.models.folder.layout import read_layout
from shardrank.models.rerankers.language import Language
from shardrank.models.text.chat import Chat
from shardrank.models.text.prompts import METHODS, parse_prompt, read_prompt
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser


def language_of(folder: Path, prompt: str, model: "Decoder | Stub", limit: int = 2048) -> Language:
    """A tiny language's folder with a prompt (its name, or its text), and a model for it."""
    tokeniser = load_tokeniser(read_layout(folder, plain=True))
    if isinstance(model, Stub):
        model.tokeniser = tokeniser
    text = prompt if "method:" in prompt else read_prompt(prompt)
    ends = frozenset(tokeniser.encode(["<|im_end|>"])[0].ids.tolist())
    chat = Chat(folder, tokeniser)
    read = parse_prompt(text, frozenset(METHODS))
    return Language(model, tokeniser, chat, read, limit, ends)  # type: ignore[arg-type]


class Stub:
    """Answers as told (protocol: Decoder, but for what these families do not ask).

    Attributes:
        asked: the texts of the inputs, one a call.
        most: tokens that each generated answer may have.
    """

    tokeniser: FastTokeniser

    def __init__(
        self,
        answers: Iterable[str] = (),
        logits: Callable[[str, Sequence[str]], Sequence[float]] | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.most: list[int] = []
        self._answers = iter(answers)
        self._logits = logits

    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        """What `logits` says of an input's text and the answers' texts."""
        assert self._logits is not None
        texts = [self.tokeniser.decode(each) for each in inputs]
        names = [self.tokeniser.decode(answers[i : i + 1]) for i in range(len(answers))]
        self.asked += texts
        return np.array([self._logits(text, names) for text in texts], np.float32)

    def generate(
        self,
        inputs: Sequence[Int32],
        most: int,
        ends: frozenset[int],
        sampling: Sampling | None = None,
    ) -> list[Int32]:
        """The next answers, up to `most` tokens each."""
        self.asked += [self.tokeniser.decode(each) for each in inputs]
        self.most += [most] * len(inputs)
        said = self.tokeniser.encode([next(self._answers) for _ in inputs])
        return [spans.ids[:most] for spans in said]


def shown(text: str) -> dict[str, str]:
    """Identifiers in a prompt, and the passages behind them."""
    return dict(re.findall(r"^\[(\w+)\]\.? (.*)$", text, re.MULTILINE))


def by_worth(worth: dict[str, float]) -> Callable[[str, Sequence[str]], list[float]]:
    """Logits of a model that knows what each passage is worth."""

    def logits(text: str, names: Sequence[str]) -> list[float]:
        passages = shown(text)
        return [worth[passages[name.lstrip("[")]] for name in names]

    return logits
