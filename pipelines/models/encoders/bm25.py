"""Texts as counted words, which BM25 weights by how rare they are when they are searched for.

A word is a letter, digit or underscore and at least one more, or one of the combining marks that
belong to them, in lower case (Python's \\w has no marks, so words of Hindi or Yoruba would fall
apart). Languages written without spaces are not split. A term is a word's 64-bit hash: among 100
million different words two share one in 1 of 3,700 collections.
"""

import unicodedata

from shardrank.core.cards import Bm25Card
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import Bm25Settings

#: Lucene's English ones, which bm25s leaves out by default.
ENGLISH = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "  # noqa: SIM905
    "there these they this to was will with".split()
)


def read_bm25_card(settings: Bm25Settings) -> Bm25Card:
    """What decides which words a text has."""
    deciding = [settings.stop_words, settings.marks, unicodedata.unidata_version]
    name = fingerprint(["bm25-1", *deciding])
    return Bm25Card(settings.name, name, settings.stop_words, settings.marks)


def without_marks(text: str) -> str:
    """The text with its letters alone: é is e."""
    parted = unicodedata.normalize("NFD", text)
    return "".join(each for each in parted if unicodedata.category(each) != "Mn")


def is_letter(character: str) -> bool:
    """Whether it begins a word."""
    return character.isalnum() or character == "_"


def is_mark(character: str) -> bool:
    """Whether it goes on with a word that has begun: one of Unicode's combining marks."""
    return unicodedata.category(character)[0] == "M"
