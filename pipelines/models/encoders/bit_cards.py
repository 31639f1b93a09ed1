"""What decides binary codes, known before any is made."""

from shardrank.core.bits_settings import BitsSettings
from shardrank.core.cards import BitsCard, ColumnCard, dim_of
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint

#: Vectors that codes are fitted on: at least, and for each component.
_LEAST_ROWS, _ROWS_PER_COMPONENT = 4096, 16


def read_bits_card(settings: BitsSettings, source: ColumnCard | None) -> BitsCard:
    """The card of codes of a column's vectors.

    Raises:
        SettingsError: the column holds no dense vectors.
    """
    dim = dim_of(source) if source else 0
    if not source or not dim:
        raise SettingsError(
            f"[[encoder]] {settings.name!r} makes codes of {settings.of!r}, which holds no dense "
            "vectors.",
            "Set of = to the name of an encoder of family dense that stands before it.",
        )
    deciding = [settings.bits, settings.rotation, settings.asked, source.fingerprint]
    return BitsCard(settings.name, fingerprint(["bits-1", *deciding]), dim, settings.bits)


def sampled_vectors(dim: int) -> int:
    """How many vectors of so many components are drawn to fit codes on."""
    return max(_LEAST_ROWS, _ROWS_PER_COMPONENT * dim)
