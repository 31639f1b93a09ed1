"""Random samples over all parts, equal on any number of workers.

The head of a corpus stored by source is no sample (it halved recall when measured), so the
rows are spread over the parts as one uniform draw without replacement would spread them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def allocate(part_rows: Sequence[int], rows: int, seed: int) -> list[int]:
    """How many rows each part gives to a uniform sample of `rows` rows without replacement.

    The counts follow the multivariate hypergeometric distribution; asking for more rows than
    there are takes them all.
    """
    sizes = np.asarray(part_rows, dtype=np.int64)
    if rows >= int(sizes.sum()):
        return [int(size) for size in sizes]
    rng = np.random.default_rng([seed, 1])
    return [int(n) for n in rng.multivariate_hypergeometric(sizes, rows, method="marginals")]


def draw(part_id: str, part_rows: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """`count` distinct rows of one part, ascending; they depend on nothing but the arguments."""
    rng = np.random.default_rng([seed, 2, int(part_id[:12], 16)])
    return np.sort(rng.choice(part_rows, size=count, replace=False)).astype(np.int64)
