"""A cross-encoder as a chain of modules, as sentence-transformers' CrossEncoder saves it
(https://sbert.net/docs/cross_encoder/usage/custom_models.html): a classifier; or an encoder with
Pooling and Dense behind it, of which the last gives the scores; or a plain transformers folder of a
classifier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import CLASSIFIES, Layout, read_layout
from shardrank.models.folder.modules import (
    Dense,
    Tower,
    inside,
    library_class,
    read_dense,
    read_entries,
    read_tower,
)

#: What tells people that a language model is run, but not as a cross-encoder.
POINTWISE = 'A language model that scores pairs is run by family = "pointwise" in [reranker].'


@dataclass(frozen=True)
class CrossModules:
    """What makes the scores of a pair.

    Attributes:
        layout: the transformer: a classifier, or an encoder where there is a head.
        head: the way from the encoder's tokens to the scores, which its last step, a Dense, gives;
            none: the classifier has its own.
    """

    layout: Layout
    head: Tower | None = None

    @property
    def labels(self) -> int | None:
        """How many scores the head gives; none where there is no head."""
        last = self.head.steps[-1] if self.head else None
        return last.outputs if isinstance(last, Dense) else None


def read_cross_encoder(folder: Path) -> CrossModules:
    """How a cross-encoder's folder scores, in either layout.

    Raises:
        InputError: a file is missing, is no JSON, or says something that is not understood.
    """
    if not (folder / "modules.json").is_file():
        return CrossModules(read_layout(folder, CLASSIFIES, plain=True))
    entries = read_entries(folder / "modules.json")
    names = module_names(entries)
    if names == ["Transformer"]:
        path = inside(folder, entries[0]["path"])
        return CrossModules(read_layout(folder / path, CLASSIFIES))
    if names[:2] == ["Transformer", "Pooling"] and names[-1] == "Dense":
        return _headed(folder, entries)
    raise InputError(
        f"{folder / 'modules.json'} has the modules {', '.join(names) or 'none'}; a cross-encoder "
        "has one Transformer, or Transformer, Pooling and Dense.",
        POINTWISE if "LogitScore" in names else "Name a cross-encoder's folder.",
    )


def module_names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The modules that a modules.json lists: the library's own by class, others in full."""
    return [library_class(entry["type"]) or str(entry["type"]) for entry in entries]


def _headed(folder: Path, entries: Sequence[Mapping[str, Any]]) -> CrossModules:
    """The last Dense must give "scores", which the library looks for; the others, the vector."""
    tower = read_tower(folder, entries[:-1])
    if tower.own:
        raise InputError(
            f"{folder} has a module {tower.own[0].reference}, which is its author's own code.",
            "A cross-encoder is Transformer, Pooling, then Dense and Normalize.",
        )
    scores = read_dense(folder / inside(folder, entries[-1]["path"]), outputs=("scores",))
    assert isinstance(tower.source, Layout)  # by its name
    return CrossModules(tower.source, replace(tower, steps=(*tower.steps, scores)))
