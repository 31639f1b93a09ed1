"""Special tokens around one text or a pair, and the token types of both, asked of the tokeniser.

Texts are tokenised once, without special tokens; a template puts a model's input together from
stored ids. It equals what the whole tokeniser gives for the texts. Imports no torch.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from tokenizers import Encoding, Tokenizer

from shardrank.core.arrays import Int32
from shardrank.core.errors import InputError

_PROBE = "the quick brown fox 0123456789"


@dataclass(frozen=True, eq=False)
class Template:
    """Special tokens before, between and behind one text or two.

    Attributes:
        around: int32 ids of the special tokens in each of these places: one more than texts.
        around_types: their token types, likewise.
        text_types: the token type of each text.
    """

    around: tuple[Int32, ...]
    around_types: tuple[Int32, ...]
    text_types: tuple[int, ...]

    @cached_property
    def specials(self) -> int:
        """How many special tokens there are."""
        return sum(map(len, self.around))

    @cached_property
    def all_types(self) -> frozenset[int]:
        """Every token type that occurs in an input."""
        return frozenset([*self.text_types, *np.concatenate(self.around_types).tolist()])

    def ids(self, *texts: Int32) -> Int32:
        """A model's input: the texts' ids with the special ones around them, int32[n]."""
        first, *rest = self.around
        pieces = [first]
        for text, special in zip(texts, rest, strict=True):
            pieces += [text, special]
        return np.concatenate(pieces)

    def types(self, *sizes: int) -> Int32:
        """The token types of an input whose texts have so many tokens, int32[n]."""
        first, *rest = self.around_types
        pieces = [first]
        for size, kind, special in zip(sizes, self.text_types, rest, strict=True):
            pieces += [np.full(size, kind, np.int32), special]
        return np.concatenate(pieces)


def probe_template(backend: Tokenizer, texts: int) -> Template:
    """What a tokeniser puts around so many texts, one or two.

    Raises:
        InputError: it gives no token, changes a text, repeats one, or turns their order round.
    """
    plain = backend.encode(_PROBE, add_special_tokens=False)
    if not plain.ids:
        raise InputError(f"The tokeniser gives no token for {_PROBE!r}.", "Check tokenizer.json.")
    encoding = backend.encode(_PROBE, _PROBE if texts > 1 else None)
    bounds = _bounds(encoding, plain.ids, texts)
    ids, types = (np.asarray(x, np.int32) for x in (encoding.ids, encoding.type_ids))
    gaps = [slice(end, begin) for (_, end), (begin, _) in pairwise(bounds)]
    return Template(
        around=tuple(ids[gap] for gap in gaps),
        around_types=tuple(types[gap] for gap in gaps),
        text_types=tuple(int(types[begin]) for begin, _ in bounds[1:-1]),
    )


def _bounds(encoding: Encoding, ids: list[int], texts: int) -> list[tuple[int, int]]:
    """Where each text lies among the tokens, between (0, 0) and (n, n)."""
    of, found, end = encoding.sequence_ids, [(0, 0)], 0
    for number in range(texts):
        begin = of.index(number) if number in of else -1
        after = begin + len(ids)
        as_it_is = encoding.ids[begin:after] == ids and of.count(number) == len(ids)
        if begin < end or not as_it_is or len(set(encoding.type_ids[begin:after])) > 1:
            raise InputError(
                f"The tokeniser's template for {texts} text{'s' * (texts > 1)} cannot be followed: "
                "it changes, repeats or turns round what it is given.",
                "Check post_processor in tokenizer.json, or use another model.",
            )
        found.append((begin, after))
        end = after
    return [*found, (len(of), len(of))]
