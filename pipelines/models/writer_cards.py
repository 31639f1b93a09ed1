"""Cards of language models that write texts, read without loading them: imports no torch."""

from typing import Any

from shardrank.core.cards import WriterCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.writer_settings import WriterSettings
from shardrank.models.complete import check_decoder
from shardrank.models.folder.decoder_folder import DecoderFolder, read_decoder_folder
from shardrank.models.language_facts import language_facts
from shardrank.models.size import ModelSize, decoder_size
from shardrank.models.text.prompts import Prompt, parse_prompt, read_prompt

#: Fields of the settings that a text depends on, and the card has in no other way.
_DECIDING = ("count", "answer_tokens", "temperature", "top_k", "seed")


def read_writer_card(settings: WriterSettings) -> WriterCard:
    """The card of the writer that the settings name; settings win over the model's files.

    Raises:
        InputError: there is no such model, it is incomplete or no causal language model, or its
            files say something that is not understood.
        SettingsError: the prompt cannot be read, or a setting asks for more than there is.
    """
    folder = read_decoder_folder(settings.model, settings.revision)
    check_decoder(folder.layout, settings.trust_remote_code)
    return writer_card(settings, folder, read_prompt(settings.prompt))


def writer_card(settings: WriterSettings, folder: DecoderFolder, prompt: str) -> WriterCard:
    """The card of a folder's model with the text of a prompt's file.

    Raises:
        SettingsError: the prompt is for something else, or a setting asks for more than there is.
        InputError: the folder's chat template is not understood.
    """
    _refuse_equal(settings, writing_prompt(prompt))
    facts = language_facts(folder.layout, settings, settings.table, halve=False)
    _refuse_long(settings, int(facts.shown["max_tokens"]))
    deciding: dict[str, Any] = {**facts.shown, "prompt": prompt}
    own = settings.deciding()
    hidden = {**facts.hidden, "settings": {name: own[name] for name in _DECIDING}}
    return WriterCard(
        name=settings.model, fingerprint=fingerprint(["writer-1", deciding, hidden]), **deciding
    )


def writing_prompt(text: str) -> Prompt:
    """The prompt of a file's text, by which texts are written.

    Raises:
        SettingsError: it is none, or for something else.
    """
    return parse_prompt(text, frozenset({"writing"}))


def writer_notes(settings: WriterSettings) -> list[str]:
    """Of the folder that the settings name, for people; raises as its card does."""
    return list(read_decoder_folder(settings.model, settings.revision).notes)


def writer_size(settings: WriterSettings) -> ModelSize:
    """Of the model that the settings name."""
    return decoder_size(read_decoder_folder(settings.model, settings.revision).layout)


def _refuse_equal(settings: WriterSettings, prompt: Prompt) -> None:
    if settings.count > 1 and settings.temperature == 0 and prompt.gives == "text":
        raise SettingsError(
            f"{settings.table}.count = {settings.count} answers, but all would be the same: "
            "temperature = 0 takes the likeliest token.",
            "Set temperature, such as 1, or name a prompt whose answer is a text in each line "
            "(gives: lines).",
        )


def _refuse_long(settings: WriterSettings, limit: int) -> None:
    if settings.answer_tokens >= limit:
        raise SettingsError(
            f"{settings.table}.answer_tokens = {settings.answer_tokens} leaves nothing to the "
            f"prompt: both have {limit} tokens.",
            "Set answer_tokens lower, or max_tokens higher.",
        )
