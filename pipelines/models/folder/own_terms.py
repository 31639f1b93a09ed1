"""A BERT that weighs a text's own tokens: uniCOIL (Lin & Ma 2021, arXiv:2106.14807) and TILDEv2
(Zhuang & Zuccon 2021, arXiv:2108.08513).

`tok_proj`, a linear map, makes one number of a token's state, and what is below zero counts as
zero. A passage's token has the largest of its places. uniCOIL weighs a query's tokens by the model
too, and adds up those of its places; TILDEv2 counts them, and knows stop words. Both are saved by
transformers as classes of their authors', whose names config.json has (pyserini, UniCoilEncoder;
ielab/TILDE, modelingv2.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shardrank.core.errors import InputError
from shardrank.models.folder.headers import Header, read_headers
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.packable import bare_name, family_of, is_packable, needed, sizes
from shardrank.models.folder.weights import find_weights

#: Classes in whose folders there is such a map.
UNICOIL, TILDE = "UniCoilEncoder", "TILDEv2"
#: The map, and what the classes may put before the names of weights.
PROJECTION = "tok_proj"
_PREFIXES = ("coil_encoder.", "tildev2.")


@dataclass(frozen=True)
class OwnTower:
    """A model that weighs a text's own tokens.

    Attributes:
        source: the model and its tokeniser.
        repeats: what a token weighs that occurs several times: "max" or "sum" of its places.
        stops: whether TILDEv2's stop words are left out.
    """

    source: Layout
    repeats: Literal["max", "sum"]
    stops: bool


@dataclass(frozen=True)
class CountTower:
    """No model: a token weighs as often as it occurs, or `once`.

    `source` has the tokeniser; `stops` as of `OwnTower`.
    """

    source: Layout
    once: bool
    stops: bool


def stop_rule(stops: bool) -> str:
    """Which tokens are left out, for fingerprints; see `shardrank.models.text.stop_words`."""
    return "tildev2-1" if stops else ""


def weighs_own_terms(layout: Layout) -> bool:
    """Whether a folder is of such a class."""
    return layout.architecture in (UNICOIL, TILDE)


def own_towers(layout: Layout) -> tuple[OwnTower, OwnTower | CountTower]:
    """The ways of documents and of queries, of a folder that `weighs_own_terms`.

    Raises:
        InputError: the model below the map is none that our own forward pass runs.
    """
    refuse_other_trunks(layout)
    if layout.architecture == TILDE:
        return OwnTower(layout, "max", stops=True), CountTower(layout, once=False, stops=True)
    return OwnTower(layout, "max", stops=False), OwnTower(layout, "sum", stops=False)


def refuse_other_trunks(layout: Layout) -> None:
    """Raise InputError where a model is no plain BERT."""
    kind = layout.config.get("model_type")
    if kind == "bert" and is_packable(layout.config):
        return
    raise InputError(
        f"{layout.transformer} is a {layout.architecture} over the family {kind!r}, or over a BERT "
        "with layers of its own; only a plain BERT is run below its head.",
        "Use another model.",
    )


def own_weights(names: Mapping[str, Any], layout: Layout) -> dict[str, str]:
    """The names that files hold, by those of a bare BERT and the map."""
    family = family_of(layout.config)
    return {bare_name(_without(name), family): name for name in names}


def own_differences(tower: OwnTower) -> tuple[list[str], list[str]]:
    """Names that the files lack or hold in another shape, and those that they hold besides."""
    held = read_headers(find_weights(tower.source.transformer).files)
    names, d = own_weights(held, tower.source), sizes(tower.source.config).width
    wanted = needed(tower.source.config)
    wanted |= {f"{PROJECTION}.weight": (1, d), f"{PROJECTION}.bias": (1,)}
    return compared({bare: held[name] for bare, name in names.items()}, wanted)


def compared(
    held: Mapping[str, Header], wanted: Mapping[str, tuple[int, ...]]
) -> tuple[list[str], list[str]]:
    """Names that are missing or of another shape, and those besides."""
    wrong = [n for n, shape in wanted.items() if n not in held or held[n].shape != shape]
    return wrong, sorted(held.keys() - wanted.keys())


def _without(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
