"""How many centroids suit codes of token vectors."""

import math

#: Vectors at least for a centroid.
FEWEST = 8


def centroid_count(tokens: int) -> int:
    """How many centroids suit so many vectors: the power of two at or below 16 · √tokens, but no
    more than leave 8 vectors to each."""
    most = min(16 * math.sqrt(tokens), tokens / FEWEST)
    return 1 << max(0, int(math.log2(most))) if most >= 1 else 1
