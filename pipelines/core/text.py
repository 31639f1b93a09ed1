"""How a title and a text become one string, and when two texts are one."""


def passage_text(title: str, text: str) -> str:
    """Title and text joined by one space, or the text alone where there is no title."""
    return f"{title} {text}" if title else text


def plain(text: str) -> str:
    """The text without what two copies of it may differ in: case, and the kind of white space."""
    return " ".join(text.casefold().split())
