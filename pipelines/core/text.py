"""How a title and a text become one string, and when two texts are one."""


def passage_text(title: str, text: str) -> str:
    """Title and text joined by one space, or the text alone where there is no title."""
    return f"{title} {text}" if title else text


def plain(text: str) -> str:
    """The text without what two copies of it may differ in: case, and the kind of white space."""
    return " ".join(text.casefold().split())


def same_text(one: str, other: str) -> bool:
    """Whether two texts are one, see `plain`. Most pairs differ in their first word already."""
    return _first_word(one) == _first_word(other) and plain(one) == plain(other)


def _first_word(text: str) -> str:
    return next(iter(text.split(None, 1)), "").casefold()
