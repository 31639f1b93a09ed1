"""Texts that a causal language model writes about others: questions about a passage, parts of a
query, passages that might answer it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from shardrank.core.arrays import Int32
from shardrank.core.cards import WriterCard
from shardrank.core.progress import tell
from shardrank.core.sampling import Sampling, draw_key
from shardrank.core.writer_settings import WriterSettings
from shardrank.models.cards import check_fingerprint
from shardrank.models.folder.decoder_folder import answer_ends, read_decoder_folder
from shardrank.models.rerankers.asked import fit
from shardrank.models.rerankers.language import Language
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.prompts import fill
from shardrank.models.text.tokens import load_tokeniser
from shardrank.models.writer_cards import writer_card, writing_prompt

#: Inputs that are asked about beside each other.
_TOGETHER = 64

#: What models put before the lines of a list.
_BULLET = re.compile(r"^\s*(?:[-*•–]+|\(?\d{1,2}[.):])\s+")


@dataclass(frozen=True)
class Written:
    """Texts about n inputs.

    Attributes:
        texts: of each, at most `count`, none of them empty and no two the same.
        counts: "answers" and the "generated" tokens of these; "truncated": answers that were cut at
            `answer_tokens`; "empty": those without a text; "repeated": texts that were left out
            since the input has them already; "shortened": inputs whose end did not fit into the
            prompt; "unfit": inputs of which nothing did, and which have no texts.
    """

    texts: Sequence[tuple[str, ...]]
    counts: Counter[str]


@dataclass(frozen=True)
class TextWriter:
    """A language model that writes as its settings ask for it.

    An input's texts depend on the others of its call by the rounding of logits alone: noise that
    they are drawn by is the input's own (see `Sampling`).
    """

    language: Language
    settings: WriterSettings

    def write(self, inputs: Sequence[str]) -> Written:
        """Texts about each of some inputs."""
        texts, counts = list[tuple[str, ...]](), Counter[str]()
        for begin in range(0, len(inputs), _TOGETHER):
            made = self._together(inputs[begin : begin + _TOGETHER], counts)
            texts += made
            tell(len(texts) / len(inputs))
        return Written(texts, counts)

    def _together(self, inputs: Sequence[str], counts: Counter[str]) -> list[tuple[str, ...]]:
        asked = [self._ask(text, counts) for text in inputs]
        rows = [row for row, ids in enumerate(asked) if ids is not None for _ in self._numbers]
        prompts = [ids for ids in asked if ids is not None for _ in self._numbers]
        answers = self.language.model.generate(
            prompts, self.settings.answer_tokens, self.language.ends, self._sampling(inputs, rows)
        )
        found: list[list[str]] = [[] for _ in inputs]
        for row, ids in zip(rows, answers, strict=True):
            found[row] += self._texts(ids, counts)
        return [self._kept(texts, counts) for texts in found]

    def _ask(self, text: str, counts: Counter[str]) -> Int32 | None:
        """int32 tokens of the prompt about an input; none: it does not fit even without it."""
        own = self.language.chat.harmless(text)
        if self._room < 1:
            counts["unfit"] += 1
            return None
        kept = fit(own, self._room, self.language.tokeniser, self._spare)
        counts["shortened"] += kept != own
        return self._input(kept)

    def _spare(self, text: str) -> int:
        return self.language.limit - self.settings.answer_tokens - len(self._input(text))

    @cached_property
    def _room(self) -> int:
        """Tokens that the prompt leaves to an input."""
        return self._spare("")

    @cached_property
    def _numbers(self) -> range:
        """Of an input's answers: one where its lines are the texts."""
        return range(1 if self.language.prompt.gives == "lines" else self.settings.count)

    def _input(self, text: str) -> Int32:
        prompt, chat = self.language.prompt, self.language.chat
        slots = {"text": text, "count": str(self.settings.count)}
        told = fill(prompt.prefix + prompt.body + prompt.suffix, slots)
        system = [Message("system", prompt.system_message)] if prompt.system_message else []
        return chat.ids_of(chat.text([*system, Message("user", told)], prompt.assistant))

    def _sampling(self, inputs: Sequence[str], rows: Sequence[int]) -> Sampling | None:
        own = self.settings
        if own.temperature == 0:
            return None
        numbers = [number for _ in rows[:: len(self._numbers)] for number in self._numbers]
        both = zip(rows, numbers, strict=True)
        keys = [draw_key(own.seed, inputs[row], number) for row, number in both]
        return Sampling(own.temperature, own.top_k, keys)

    def _texts(self, ids: Int32, counts: Counter[str]) -> list[str]:
        """The texts of an answer; of lines the last one is left out where it was cut, unless it is
        the only one."""
        cut = len(ids) == self.settings.answer_tokens
        counts.update(answers=1, generated=len(ids), truncated=cut)
        said = self.language.tokeniser.decode(ids, specials=False)
        if self.language.prompt.gives == "text":
            found = [said.strip()] if said.strip() else []
        else:
            bare = [_BULLET.sub("", line).strip() for line in said.split("\n")]
            found = [line for line in bare if line]
        counts["empty"] += not found
        return found[:-1] if cut and len(found) > 1 else found

    def _kept(self, texts: Sequence[str], counts: Counter[str]) -> tuple[str, ...]:
        different = list(dict.fromkeys(texts))
        counts["repeated"] += len(texts) - len(different)
        return tuple(different[: self.settings.count])


def load_writer(settings: WriterSettings, device: str, card: WriterCard) -> TextWriter:
    """The writer that was planned as `card`, whose prompt it holds.

    Raises:
        IntegrityError: the model here is another one.
    """
    from shardrank.models.forward.decoder import load_decoder  # brings torch: a second

    folder = read_decoder_folder(settings.model, settings.revision)
    own = settings.model_copy(update={"dtype": card.dtype})  # whatever this worker's CPU can do
    found = writer_card(own, folder, card.prompt)
    check_fingerprint(settings.model, card.fingerprint, found.fingerprint)
    layout = folder.layout
    tokeniser = load_tokeniser(layout)
    model = load_decoder(
        layout.transformer, card.dtype, settings.trust_remote_code, device, settings.batch_tokens
    )
    language = Language(
        model=model,
        tokeniser=tokeniser,
        chat=Chat(layout.transformer, tokeniser),
        prompt=writing_prompt(card.prompt),
        limit=card.max_tokens,
        ends=answer_ends(layout),
    )
    return TextWriter(language, settings)
