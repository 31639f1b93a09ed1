"""How documents are cut into passages that an encoder sees whole, and what a passage is."""

from dataclasses import dataclass

from shardrank.core.arrays import Int32
from shardrank.core.errors import SettingsError
from shardrank.core.passage_settings import CutBy, Markup
from shardrank.core.text import passage_text
from shardrank.corpus.validate import Document

#: Of a document in several passages each stores so much of the title: far more than titles have.
TITLE_CHARACTERS = 4096


@dataclass(frozen=True)
class CutRule:
    """How documents are cut.

    Attributes:
        max_tokens: the encoder's longest input, its special tokens included.
        overlap: tokens that two neighbouring passages share, about.
        split: false keeps one passage for each document, cut at `max_tokens`.
        prompt: put before the title (or the text) of every passage.
        specials: special tokens that the encoder adds.
        by: what a passage is made of: windows of tokens, whole sentences, whole paragraphs, one
            section below a heading, or one line.
        markup: what the texts are written in.
        rules: the version of `shardrank`'s own rules of sentences and headings; 0: none are used.

    Raises:
        SettingsError: no two tokens fit beside the special ones.
    """

    max_tokens: int
    overlap: int
    split: bool
    prompt: str
    specials: int
    by: CutBy = "tokens"
    markup: Markup = "plain"
    rules: int = 0

    def __post_init__(self) -> None:
        if self.room < 2:
            raise SettingsError(
                f"{self.max_tokens} tokens with {self.specials} special ones leave no passage.",
                "Raise passages.max_tokens.",
            )

    @property
    def room(self) -> int:
        """Tokens of prompt, title and text that fit into one input."""
        return self.max_tokens - self.specials


@dataclass(frozen=True)
class Passage:
    """A title, characters of a document's text, and the encoder's ids of prompt, title and these.

    `tokens` is int32[n], n ≤ the rule's room, without special tokens.
    `truncated`: the encoder sees less than prompt, title and text, or `title` is not all of it.
    """

    title: str
    text: str
    tokens: Int32
    truncated: bool


def full_text(document: Document, rule: CutRule) -> str:
    """The string whose tokens `cut_document` needs: prompt, title and text in one."""
    return rule.prompt + passage_text(document.title, document.text)
