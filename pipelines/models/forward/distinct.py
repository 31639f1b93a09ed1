"""Equal inputs are computed once."""

from collections.abc import Sequence

import numpy as np

from shardrank.core.arrays import Int32, Int64


def distinct(inputs: Sequence[Int32]) -> tuple[list[Int32], Int64]:
    """Inputs without repetition, in order, and int64[n], which of these each is."""
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(tokens.tobytes(), len(numbers)) for tokens in inputs]
    firsts = {number: row for row, number in reversed(list(enumerate(which)))}
    return [inputs[firsts[number]] for number in range(len(numbers))], np.array(which, np.int64)
