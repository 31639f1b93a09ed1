"""How many texts the codes of token vectors are fitted on. Imports no torch."""

import math

from shardrank.core.cards import LateCard
from shardrank.core.late_settings import LateSettings

#: Texts of a sample: 8,192 centroids come of 2,048 with 128 tokens each.
TEXTS = 2048
#: Vectors wanted for a centroid where the settings say how many there are, and tokens that any text
#: may be taken to have.
_EACH, _TOKENS = 32, 64


def sampled_texts(settings: LateSettings, card: LateCard) -> int:
    """How many texts are drawn; 0: nothing is fitted."""
    if not card.bits:
        return 0
    wanted = (settings.centroids or 0) * _EACH * card.pool / _TOKENS
    return max(TEXTS, math.ceil(wanted))
