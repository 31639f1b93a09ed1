"""Where in a prompt's tokens the passages lie, and what stands around them."""

from shardrank.core.errors import InputError
from shardrank.core.protocols import TokenPlaces
from shardrank.models.rerankers.listed import AskedList
from shardrank.models.text.tokens import FastTokeniser


def token_ranges(asked: AskedList, tokeniser: FastTokeniser) -> list[range]:
    """Of each piece of what the user says (see `AskedList.told`) the tokens that hold a character
    of it, white space at its ends apart: places in the input. A piece of white space has
    none, and an empty range where it stands.

    Raises:
        InputError: the chat template changes what the user says.
    """
    spans = tokeniser.encode([asked.text])[0]
    begins = len(asked.input) - len(spans.ids)  # special tokens that no text spells
    at, places = _begin(asked), spans.places()
    found = []
    for piece in asked.told:
        inner = piece.strip()
        first = at + len(piece) - len(piece.lstrip())
        held = _holding(places, first, first + len(inner))
        found.append(range(held.start + begins, held.stop + begins))
        at += len(piece)
    return found


def _begin(asked: AskedList) -> int:
    """The character at which the first piece begins, were white space at its front kept."""
    whole = "".join(asked.told)
    inner = whole.strip()
    if asked.text.count(inner) != 1:
        raise InputError(
            "The model's chat template changes what a user says, so that no passage can be found "
            "in it again.",
            "Use another model, or a chat_template.jinja that gives a message's content as it is.",
        )
    return asked.text.index(inner) - (len(whole) - len(whole.lstrip()))


def _holding(places: TokenPlaces, first: int, end: int) -> range:
    """The tokens that have one of these characters."""
    start = int((places.ends <= first).sum())
    return range(start, int((places.starts < end).sum()) if end > first else start)
