"""Tokens that models of token vectors put beside a text's own: a mark behind the first special one,
and what fills queries up. That is as sentence-transformers 6.2 has it (Transformer.preprocess): the
mask, or the end of a text where a tokeniser has no mask."""

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import Layout
from shardrank.models.text.tokeniser_class import knows_tokens, named_token
from shardrank.models.text.tokeniser_files import read_tokeniser_files
from shardrank.models.text.tokens import FastTokeniser


def filler(source: Layout, tokeniser: FastTokeniser, named: str | None) -> int:
    """The id of the token that fills queries up.

    Args:
        source: the model's folder.
        tokeniser: its tokeniser.
        named: the token that the folder says; none: the mask, or the end of a text.

    Raises:
        InputError: the tokeniser has no such token, or fills texts up on the left.
    """
    own, side = _own(source)
    if side == "left":
        raise InputError(
            f"The tokeniser in {source.transformer} fills texts up on the left, and queries that "
            "are filled up so are not run.",
            "Use another model.",
        )
    wanted = named or own
    found = tokeniser.id_of(wanted) if wanted else None
    if found is None:
        raise InputError(
            f"{source.transformer} fills queries up with {wanted or 'a mask'!r}, which its "
            "tokeniser does not have.",
            "Use another model.",
        )
    return found


def mark_id(source: Layout, tokeniser: FastTokeniser, mark: str) -> int | None:
    """The id of the mark of queries or of documents; none: there is none.

    Raises:
        InputError: the tokeniser does not have it, for which PyLate would add a random vector, or
            puts not just one special token before a text: PyLate puts the mark behind the first
            token, whatever that is.
    """
    if not mark:
        return None
    found, before = tokeniser.id_of(mark), len(tokeniser.single_template().around[0])
    if found is None or before != 1:
        raise InputError(
            f"{source.transformer} marks texts by {mark!r}, of which its tokeniser has "
            f"{'no token' if found is None else 'one'}, and it puts {before} special tokens before "
            "a text.",
            "Use another model.",
        )
    return found


def _own(source: Layout) -> tuple[str | None, str]:
    """The mask or the end of a text, and the side on which the library pads."""
    files = read_tokeniser_files(source)
    if knows_tokens(files):
        padding = files.rules.get("padding") or {}
        side = files.values.get("padding_side") or padding.get("direction") or "right"
        return named_token(files, "mask") or named_token(files, "eos"), str(side).lower()
    from transformers import AutoTokenizer  # seconds

    loaded = AutoTokenizer.from_pretrained(
        files.folder, trust_remote_code=False, local_files_only=True, **files.arguments
    )
    return loaded.mask_token or loaded.eos_token, loaded.padding_side
