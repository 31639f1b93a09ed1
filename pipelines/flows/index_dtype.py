"""The dtype of an index: settled when its first run begins, and then the same for good.

It is the one setting that may be left to the machine. Vectors of two dtypes do not belong into one
index, so what one machine has decided is held for all later ones.
"""

from dataclasses import dataclass

from shardrank.core.cards import ColumnCard, EncoderCard, Halved
from shardrank.core.errors import SettingsError
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import ColumnSettings, EncoderSettings
from shardrank.core.papers import from_json, to_json
from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.cards import read_encoder_card, settled
from shardrank.models.complete import check_encoder
from shardrank.models.encoders.registry import family_of, read_again
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import BEGUN, Published


@dataclass(frozen=True)
class Begun:
    """The weights that an index was begun with, and in which type they run."""

    weights_sha256: str
    dtype: str

    @classmethod
    def of(cls, card: EncoderCard) -> "Begun":
        return cls(card.weights_sha256, card.dtype)


def settle(encoder: EncoderSettings, workspace: Workspace, base: Published | None) -> EncoderCard:
    """The card of the encoder, whose dtype is no longer "auto".

    "auto" is what the index has the same weights in, else what suits model and machine.

    Raises what `check_encoder` and `read_encoder_card` raise.
    """
    check_encoder(encoder)
    card = read_encoder_card(encoder, halve=multiplies_bf16())
    held = Begun.of(base.version.dense.card) if base else _begun(workspace)
    if encoder.dtype == "auto" and held and held.weights_sha256 == card.weights_sha256:
        return read_encoder_card(encoder.model_copy(update={"dtype": held.dtype}))
    return card


def settle_further(
    encoder: ColumnSettings, base: Published | None, source: ColumnCard | None
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
    if not (made and isinstance(made.card, Halved) and isinstance(card, Halved)):
        return card
    assert isinstance(encoder, EncoderSettings | LateSettings)
    if encoder.dtype != "auto" or made.card.weights_sha256 != card.weights_sha256:
        return card
    return family_of(encoder).read(settled(encoder, made.card), source)


def hold(workspace: Workspace, card: EncoderCard) -> None:
    """Write down what was settled, before a run without a version to follow begins its work."""
    wanted = Begun.of(card)
    if _begun(workspace) != wanted:
        workspace.write_json(BEGUN, to_json(wanted))


def _begun(workspace: Workspace) -> Begun | None:
    if not workspace.storage.exists(BEGUN):
        return None
    return from_json(Begun, workspace.read_json(BEGUN))
