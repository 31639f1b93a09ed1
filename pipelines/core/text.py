"""How a title and a text become one string."""


def passage_text(title: str, text: str) -> str:
    """Title and text joined by one space, or the text alone where there is no title."""
    return f"{title} {text}" if title else text
