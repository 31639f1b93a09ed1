"""A language model's folder, and how it says itself that it scores a pair, if it does."""

from collections.abc import Sequence
from dataclasses import dataclass

from shardrank.core.errors import InputError
from shardrank.core.reranker_settings import LanguageSettings
from shardrank.models.folder.decoder_folder import answer_ends, read_decoder_folder
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.logit_score import LogitScore, read_logit_score
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text.chat import Form

#: The name of the prompt that is the folder's own: its chat template has a place for a query and
#: one for a passage.
OWN = "method: query_and_document\n"


@dataclass(frozen=True)
class LanguageFolder:
    """A language model's folder.

    Attributes:
        layout: of the model; its tokeniser lies in the same folder.
        own: how it scores a pair, where CrossEncoder saved it; none: it is any language model.
        notes: what is not read, as sentences for people.
    """

    layout: Layout
    own: LogitScore | None
    notes: tuple[str, ...]

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return answer_ends(self.layout)

    def form(self, prompt: str) -> Form:
        """How messages of a prompt's text are written for the chat template."""
        if prompt != OWN or self.own is None:
            return Form()
        call = self.own.layout.call
        variables = {name: value for name, value in call.chat.items() if name != "restore_suffix"}
        return Form(structured=call.messages == "structured", variables=variables)

    def answers(self, prompt: str) -> Sequence[int] | None:
        """The ids of the folder's own answers; none: they are the prompt's."""
        if prompt != OWN or self.own is None:
            return None
        other = self.own.false_token
        return (self.own.true_token,) if other is None else (self.own.true_token, other)


def read_language_folder(settings: LanguageSettings) -> LanguageFolder:
    """The folder that the settings name.

    Raises:
        InputError: there is no such model, it is no causal language model, or its files say
            something that is not understood.
    """
    own = read_logit_score(resolve_model(settings.model, settings.revision))
    if own is not None:
        return LanguageFolder(own.layout, own, ())
    found = read_decoder_folder(settings.model, settings.revision)
    return LanguageFolder(found.layout, None, found.notes)


def own_prompt(folder: LanguageFolder) -> str | None:
    """The folder's own prompt; none: it has none.

    Raises:
        InputError: CrossEncoder saved it, and it scores bare pairs, with no words that ask.
    """
    if folder.own is None:
        return None
    if not folder.own.as_messages:
        raise InputError(
            f"{folder.layout.transformer} scores a query and a passage without any words that ask "
            "for it: it has no chat template.",
            "Say how it is asked: reranker.prompt = NAME, or a file.",
        )
    return OWN


def own_instruction(folder: LanguageFolder) -> str:
    """What the folder tells the model by default; "" where it says nothing."""
    return "" if folder.own is None else folder.own.prompt
