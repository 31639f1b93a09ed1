"""A learned sparse encoder as a chain of modules, as sentence-transformers' SparseEncoder saves it
(https://sbert.net/docs/package_reference/sparse_encoder/models.html): a masked language model and
SpladePooling; queries may have a table of weights for their terms instead, behind a Router.

A plain transformers folder of a masked language model is opened with SpladePooling by maximum, as
the library does. Folders of other authors' classes are told by their config.json: own_terms.py and
vdr.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import MASKS, Call, Layout, read_layout
from shardrank.models.folder.modules import (
    inside,
    library_class,
    read_entries,
    read_routes,
)
from shardrank.models.folder.own_terms import (
    TILDE,
    UNICOIL,
    CountTower,
    OwnTower,
    own_towers,
    weighs_own_terms,
)
from shardrank.models.folder.reading import Keys, read_known, read_object
from shardrank.models.folder.vdr import SpaceTower, is_vdr, vdr_towers

_POOLING = Keys.of(
    "pooling_strategy activation_function",
    idle="embedding_dimension word_embedding_dimension chunk_size",
)
_STRATEGIES = ("max", "sum")
#: How often log(1 + x) is taken, by the name of the activation.
_LOGARITHMS = {"relu": 1, "log1p_relu": 2}
#: `path` names a JSON file that the library would read in the place of the weights.
_TABLE = Keys.of("", idle="frozen", path=(None,))
_WANTED = "Use a model of MLMTransformer and SpladePooling, or SparseStaticEmbedding for queries."


@dataclass(frozen=True)
class SpladePooling:
    """How the logits of a text's tokens become one weight a term.

    Attributes:
        strategy: "max" or "sum", over the tokens.
        logarithms: how often log(1 + x) is taken of what is left of a logit above zero: once for
            "relu", twice for "log1p_relu".
    """

    strategy: str = "max"
    logarithms: int = 1


@dataclass(frozen=True)
class MaskedTower:
    """A masked language model, whose logits are pooled."""

    source: Layout
    pooling: SpladePooling


@dataclass(frozen=True)
class TermTower:
    """A weight for each token of the vocabulary; a text has those of the tokens in it.

    `source` has the tokeniser, and the weights beside it.
    """

    source: Layout


#: Towers that multiply with a model's weights.
ModelTower = MaskedTower | OwnTower | SpaceTower
SparseTower = ModelTower | TermTower | CountTower


@dataclass(frozen=True)
class SparseTowers:
    """The ways of documents and of queries: the same but where a Router parts them."""

    documents: SparseTower
    queries: SparseTower


def read_sparse_towers(folder: Path) -> SparseTowers:
    """How a folder makes sparse vectors.

    Raises:
        InputError: a file is missing, is no JSON, or says something that is not understood.
    """
    if not (folder / "modules.json").is_file():
        return _plain(folder)
    entries = read_entries(folder / "modules.json")
    if entries and library_class(entries[0]["type"]) in ("Router", "Asym"):
        return _routed(folder, folder / inside(folder, entries[0]["path"]), entries[1:])
    both = _tower(folder, entries)
    return SparseTowers(both, both)


def _plain(folder: Path) -> SparseTowers:
    """A folder without modules.json: by its class, if that is known here, else as SparseEncoder
    opens it."""
    config = read_object(folder / "config.json")
    if is_vdr(config):
        return SparseTowers(*vdr_towers(folder, config))
    layout = read_layout(folder, MASKS, plain=True)
    if weighs_own_terms(layout):
        return SparseTowers(*own_towers(layout))
    masked = _plain_masked(layout)
    return SparseTowers(masked, masked)


def _plain_masked(layout: Layout) -> MaskedTower:
    """To a model that is no masked language model the library would add a SparseAutoEncoder of
    random weights."""
    named = [str(name) for name in layout.config.get("architectures") or ()]
    if not any(name.endswith("ForMaskedLM") for name in named):
        raise InputError(
            f"{layout.transformer} is {', '.join(named) or 'a model of no class that is named'}, "
            "and a sparse encoder without modules.json is a masked language model (…ForMaskedLM), "
            f"a {UNICOIL}, a {TILDE} or a VDR.",
            _WANTED,
        )
    return MaskedTower(layout, SpladePooling())


def _routed(root: Path, router: Path, behind: Sequence[Mapping[str, Any]]) -> SparseTowers:
    """The routes of a Router. Modules behind it lie in the root, those of routes in its folder."""
    if behind:
        raise _disordered(root)
    documents, queries = read_routes(router)
    return SparseTowers(_tower(router, documents), _tower(router, queries))


def _tower(folder: Path, entries: Sequence[Mapping[str, Any]]) -> SparseTower:
    names = [_known(folder, entry["type"]) for entry in entries]
    folders = [folder / inside(folder, entry["path"]) for entry in entries]
    if names == ["SparseStaticEmbedding"]:
        read_known(folders[0] / "config.json", _TABLE, optional=True)
        return TermTower(Layout(folders[0], {}, Call(modular=True)))
    if names in (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"]):
        layout = _masked(folders[0], named=names[0] == "MLMTransformer")
        return MaskedTower(layout, _pooling(folders[1] / "config.json"))
    raise _disordered(folder)


def _known(folder: Path, reference: str) -> str:
    """The class's name. Raises InputError where it is none that a sparse encoder here has."""
    name = library_class(reference)
    if name in ("Transformer", "MLMTransformer", "SpladePooling", "SparseStaticEmbedding"):
        return name
    contrastive = ": the components of a contrastive (CSR) model are no terms of a vocabulary"
    raise InputError(
        f"{folder} has a module {reference}, which is not run in a sparse encoder"
        f"{contrastive if name == 'SparseAutoEncoder' else ''}.",
        _WANTED,
    )


def _masked(folder: Path, named: bool) -> Layout:
    """A masked language model's folder; `named` says that its module's class asks for logits."""
    layout = read_layout(folder, MASKS)
    if layout.call.task is None and not named:
        raise InputError(
            f"{folder} does not say transformer_task = {MASKS!r}: sentence-transformers takes "
            "hidden states of it, and SpladePooling pools logits.",
            _WANTED,
        )
    return layout


def _pooling(path: Path) -> SpladePooling:
    found = read_known(path, _POOLING)
    strategy = found.get("pooling_strategy", "max")
    activation = found.get("activation_function", "relu")
    if strategy not in _STRATEGIES or activation not in _LOGARITHMS:
        raise InputError(
            f"{path} has pooling_strategy = {strategy!r} and activation_function = "
            f"{activation!r}; understood are {', '.join((*_STRATEGIES, *_LOGARITHMS))}.",
            "Use another model.",
        )
    return SpladePooling(strategy, _LOGARITHMS[activation])


def _disordered(folder: Path) -> InputError:
    return InputError(
        f"{folder} has modules in an order that is not supported in a sparse encoder.", _WANTED
    )
