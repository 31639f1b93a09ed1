"""What decides vectors of many token vectors, known before any is made."""

from shardrank.core.cards import ColumnCard, MuveraCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.models.encoders.token_source import token_source

#: A passage's vector is stored whole: more components are no column any more.
_MOST = 65_536


def read_muvera_card(settings: MuveraSettings, source: ColumnCard | None) -> MuveraCard:
    """The card of vectors that are made of a column of token vectors.

    Raises:
        SettingsError: the column holds no token vectors, a projection would widen, or the vectors
            would have more than 65,536 components.
    """
    late = token_source(settings, source)
    _refuse_wider("inner", settings.inner, late.dim)
    whole = settings.repetitions * (settings.inner or late.dim) << settings.planes
    _refuse_wider("dim", settings.dim, whole)
    dim = settings.dim or whole
    if dim > _MOST:
        raise SettingsError(
            f"[[encoder]] {settings.name!r} makes vectors of {dim:,} components: repetitions · "
            f"inner · 2^planes. The most are {_MOST:,}.",
            "Lower one of them, or set dim.",
        )
    deciding = [settings.deciding(), late.fingerprint]
    return MuveraCard(settings.name, fingerprint(["muvera-1", *deciding]), dim, late.dim)


def _refuse_wider(name: str, wanted: int | None, most: int) -> None:
    if wanted is not None and wanted > most:
        raise SettingsError(
            f"encoder.{name} = {wanted}, but there are {most} components to project.",
            f"Set it to {most} or less.",
        )
