"""What an index over token vectors may be asked for."""

from shardrank.core.cards import LateCard
from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import IndexSettings
from shardrank.version.sizing import refuse_small_shards

#: Kinds that may be asked for; auto is none.
_KINDS = ("auto", "none", "exact", "plaid")


def refuse_token_misfits(settings: IndexSettings, card: LateCard, part_size: int) -> None:
    """Refuse what can be seen to fail before a passage is embedded.

    Raises:
        SettingsError: the kind of index is none of token vectors, wants codes where vectors are
            stored, or has not a setting that is set; or a shard cannot hold one part.
    """
    if settings.kind not in _KINDS:
        raise SettingsError(
            f"index.{settings.of}.kind = {settings.kind}, and the column {settings.of!r} holds "
            "token vectors.",
            f"Take one of {', '.join(_KINDS)}.",
        )
    if settings.kind == "plaid" and not card.bits:
        raise SettingsError(
            f"index.{settings.of}.kind = plaid, and the column {settings.of!r} stores token "
            f"vectors as {card.stored}, without centroids.",
            f"{_codes(settings, card)}index.{settings.of}.kind = exact, which compares a query "
            "with all passages.",
        )
    _refuse_strange(settings)
    if settings.kind == "plaid":
        refuse_small_shards(settings, part_size)


def _codes(settings: IndexSettings, card: LateCard) -> str:
    """How token vectors are stored as codes; those of texts never are."""
    if card.family == "views":
        return "Set "
    return f"Set encoder.{settings.of}.stored = 4, 2 or 1; or "


def _refuse_strange(settings: IndexSettings) -> None:
    known = {"of", "kind", "shard_passages", "seed"}
    default = IndexSettings(of=settings.of)
    fields = IndexSettings.model_fields
    asked = {n for n in fields if getattr(settings, n) != getattr(default, n)} - known
    if asked:
        raise SettingsError(
            f"index.{settings.of}.{min(asked)} is of dense vectors, and the column "
            f"{settings.of!r} holds token vectors.",
            f"Leave it out; known here: {', '.join(sorted(known))}.",
        )
