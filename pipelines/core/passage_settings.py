"""[passages]: how documents become passages and parts."""

from typing import Literal, Self

from pydantic import Field, model_validator

from shardrank.core.errors import SettingsError
from shardrank.core.settings_base import SettingsTable

CutBy = Literal["tokens", "sentences", "paragraphs", "headings", "lines"]
Markup = Literal["plain", "markdown", "html"]

#: The version of our own rules of sentences, paragraphs and headings: a change of a cut raises it.
CUT_RULES = 1


class PassageSettings(SettingsTable):
    """[passages]: how documents become passages and parts."""

    by: CutBy = Field(
        "tokens",
        description="what a long document is cut into: tokens (windows), sentences or paragraphs "
        "(as many whole ones as fit), headings (a passage a section, with the headings above it "
        "behind its title; a longer one by paragraphs), lines (a passage a line)",
    )
    markup: Markup = Field(
        "plain",
        description="what texts are written in: plain, markdown, or html, whose tags are left out",
    )
    split: bool = Field(True, description="split long documents; false keeps one passage each")
    max_tokens: int | None = Field(
        None,
        ge=16,
        description="an input's tokens, with title, prompt and special ones, up to the "
        "encoder's limit, which is the default",
    )
    overlap: int = Field(
        32,
        ge=0,
        description="tokens that two neighbouring passages share; unless by = tokens at most, and "
        "whole sentences",
    )
    part_size: int | None = Field(
        None,
        ge=1,
        le=1 << 20,
        description="passages in a part; default: the index's, for a new one by size, 512 to 16384",
    )

    def overlap_of(self, limit: int) -> int:
        """Tokens that two neighbours of so many share: as set, and at most half of a passage."""
        return min(self.overlap, limit // 2)

    @property
    def rules(self) -> int:
        """The version of the rules that cut; 0: windows of plain text follow none."""
        return 0 if (self.by, self.markup) == ("tokens", "plain") else CUT_RULES

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.by != "tokens" and not self.split:
            raise SettingsError(
                f"passages.by = {self.by} cuts nothing where passages.split = false.",
                "Leave one of them out.",
            )
        if self.by == "tokens" and self.markup == "markdown":
            raise SettingsError(
                "passages.markup = markdown tells nothing where passages.by = tokens: the text "
                "stays as it is.",
                "Leave it out, or set passages.by = headings, paragraphs, sentences or lines.",
            )
        return self
