"""The dtype of a column: settled when the first run that makes it begins, then the same for good.

It is the one setting that may be left to the machine. Vectors of two dtypes do not belong into one
column, so what one machine has decided is held for all later ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shardrank.core.cards import ColumnCard, EncoderCard, Halved
from shardrank.core.errors import SettingsError
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import DENSE, ColumnSettings, EncoderSettings
from shardrank.core.papers import from_json, to_json
from shardrank.core.views_settings import ViewsSettings
from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.encoders.registry import family_of, read_again
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import BEGUN, Published


@dataclass(frozen=True)
class BegunColumn:
    """The weights that a column was begun with, and in which type they run."""

    weights_sha256: str
    dtype: str

    @classmethod
    def of(cls, card: Halved) -> "BegunColumn":
        return cls(card.weights_sha256, card.dtype)


@dataclass(frozen=True)
class Begun:
    """What was settled of columns whose type may be left to the machine, by their names."""

    columns: Mapping[str, BegunColumn] = field(default_factory=dict)

    @classmethod
    def of(cls, cards: Mapping[str, ColumnCard]) -> "Begun":
        return cls({n: BegunColumn.of(c) for n, c in cards.items() if isinstance(c, Halved)})


def settle(encoder: EncoderSettings, workspace: Workspace, base: Published | None) -> EncoderCard:
    """The card of the encoder, whose dtype is no longer "auto".

    "auto" is what the index has the same weights in, else what suits model and machine.

    Raises what `check_encoder` and `read_encoder_card` raise.
    """
    check_encoder(encoder)
    card = read_encoder_card(encoder, halve=multiplies_bf16())
    held = _held(DENSE, workspace, base)
    if encoder.dtype == "auto" and held and held.weights_sha256 == card.weights_sha256:
        return read_encoder_card(encoder.model_copy(update={"dtype": held.dtype}))
    return card


def settle_further(
    encoder: ColumnSettings,
    workspace: Workspace,
    base: Published | None,
    source: ColumnCard | None,
) -> ColumnCard:
    """The card of a further encoder, which reads texts or the column that `source` made; "auto" is
    what the index has the same weights in.

    Raises what the family's `read` raises.
    """
    made = base.version.columns.get(encoder.name) if base else None
    try:
        card = family_of(encoder).read(encoder, source)
    except SettingsError:  # of the same settings only what was read once is gone, such as a file
        if not made or made.settings.deciding() != encoder.deciding():
            raise
        card = read_again(encoder, made.card, source)
    if not isinstance(card, Halved):
        return card
    assert isinstance(encoder, EncoderSettings | LateSettings | ViewsSettings)
    held = _held(encoder.name, workspace, base)
    if encoder.dtype != "auto" or not held or held.weights_sha256 != card.weights_sha256:
        return card
    return family_of(encoder).read(encoder.model_copy(update={"dtype": held.dtype}), source)


def hold(workspace: Workspace, cards: Mapping[str, ColumnCard]) -> None:
    """Write down what was settled of columns that no version has yet, by their names, before a run
    begins its work on them."""
    wanted = Begun.of(cards)
    if wanted.columns and _begun(workspace) != wanted:
        workspace.write_json(BEGUN, to_json(wanted))


def _held(name: str, workspace: Workspace, base: Published | None) -> BegunColumn | None:
    """What the index has a column in, or a run that came to no version had begun it in."""
    made = base.version.columns.get(name) if base else None
    if made is None:
        return _begun(workspace).columns.get(name)
    return BegunColumn.of(made.card) if isinstance(made.card, Halved) else None


def _begun(workspace: Workspace) -> Begun:
    if not workspace.storage.exists(BEGUN):
        return Begun()
    return from_json(Begun, workspace.read_json(BEGUN))
