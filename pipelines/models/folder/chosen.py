"""An encoder's towers as the settings have them, where these differ from the folder."""

from dataclasses import replace
from pathlib import Path

from pipelines.core.errors import SettingsError
from pipelines.core.settings import EncoderSettings
from pipelines.models.folder.modules import Normalize, Tower, Towers, read_towers


def chosen_towers(folder: Path, settings: EncoderSettings) -> Towers:
    """A folder's towers with the settings' pooling, and without a norm as the last step where they
    say so.

    Raises:
        InputError: as `read_towers`.
        SettingsError: a pooling is set for a model that has none.
    """
    found = read_towers(folder)
    if settings.pooling != "auto" and not (found.documents.pooling or found.queries.pooling):
        raise SettingsError(
            f"encoder.pooling = {settings.pooling}, but the model is a table of token vectors, "
            "whose mean is taken.",
            "Leave encoder.pooling out.",
        )
    return Towers(_chosen(found.documents, settings), _chosen(found.queries, settings))


def _chosen(tower: Tower, settings: EncoderSettings) -> Tower:
    pooling, steps = tower.pooling, tower.steps
    if pooling is not None and settings.pooling != "auto":
        pooling = replace(pooling, modes=(settings.pooling,))
    if settings.normalise is False and steps and isinstance(steps[-1], Normalize):
        steps = steps[:-1]
    return Tower(tower.source, pooling, steps)
