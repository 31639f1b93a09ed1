"""A vocabulary disentangled retriever (VDR; Zhou et al., ICLR 2024, arXiv:2212.07699), as the
authors' code saves it (jzhoubu/VDR, src/ir/encoder/vdr.py and src/ir/biencoder/biencoder.py).

A folder holds a BERT for queries and one for passages, each behind a layer norm: its states are
multiplied with the word embeddings of all tokens but the first `shift_vocab_num`. What a
config.json of these classes leaves out of BERT's shape is that of bert-base-uncased.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.headers import read_headers
from shardrank.models.folder.layout import Call, Layout
from shardrank.models.folder.own_terms import compared, refuse_other_trunks
from shardrank.models.folder.packable import BERT_SHAPE, bare_name, family_of, needed, sizes
from shardrank.models.folder.weights import find_weights

#: The sides of a folder of two encoders.
_QUERIES, _PASSAGES = "encoder_q", "encoder_p"
#: The layer norm before the vocabulary, and the model below it.
NORM, _TRUNK = "ln", "bert_model."
#: Whose shape a config.json need not tell.
_BASE = ("bert-base-uncased", "google-bert/bert-base-uncased")
#: PyTorch's layer norms, of which this is one.
NORM_EPSILON = 1e-5
_WANTED = "Use a VDR of texts, such as vsearch/vdr-nq, saved as safetensors."


@dataclass(frozen=True)
class SpaceTower:
    """A model that weighs all terms of a vocabulary by their similarity to a text's tokens.

    Attributes:
        source: the model and its tokeniser.
        prefix: what begins the names of its weights.
        shift: terms below this have no weight.
        top: terms that are kept beside a text's own tokens, the strongest; none: all.
    """

    source: Layout
    prefix: str
    shift: int
    top: int | None


def is_vdr(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of such a retriever, or of one of its encoders."""
    return {_QUERIES, _PASSAGES} <= config.keys() or "shift_vocab_num" in config


def vdr_towers(folder: Path, config: Mapping[str, Any]) -> tuple[SpaceTower, SpaceTower]:
    """The ways of documents and of queries, of a config.json that `is_vdr`.

    Raises:
        InputError: it is a retriever of pictures, or something else that is not understood.
    """
    if _QUERIES not in config:
        tower = _tower(folder, config, "", None)
        return tower, tower
    sides = {name: dict(config[name] or {}) for name in (_QUERIES, _PASSAGES)}
    if config.get("shared_encoder"):
        longest = max(_length(folder, side) for side in sides.values())
        tower = _tower(folder, sides[_QUERIES], _shared(folder), longest)
        return tower, tower
    documents, queries = (
        _tower(folder, sides[name], f"{name}.", None) for name in (_PASSAGES, _QUERIES)
    )
    return documents, queries


def space_weights(names: Mapping[str, Any], tower: SpaceTower) -> dict[str, str]:
    """The names that files hold of a tower, by those of a bare BERT and the layer norm."""
    family, mine = family_of(tower.source.config), tower.prefix
    own = {name: name.removeprefix(mine) for name in names if name.startswith(mine)}
    return {bare_name(bare.removeprefix(_TRUNK), family): name for name, bare in own.items()}


def space_differences(tower: SpaceTower) -> tuple[list[str], list[str]]:
    """Names that the files lack or hold in another shape, and those that they hold besides."""
    held = read_headers(find_weights(tower.source.transformer).files)
    names, d = space_weights(held, tower), sizes(tower.source.config).width
    wanted = needed(tower.source.config)
    wanted |= {f"{NORM}.weight": (d,), f"{NORM}.bias": (d,)}
    return compared({bare: held[name] for bare, name in names.items()}, wanted)


def _tower(folder: Path, side: Mapping[str, Any], prefix: str, longest: int | None) -> SpaceTower:
    path = folder / "config.json"
    _refuse_strange(path, side)
    length = longest or _length(folder, side)
    call = Call(document_length=length, query_length=length)
    config = {**BERT_SHAPE, **side, "model_type": "bert", "architectures": ["VDREncoder"]}
    layout = Layout(folder, config, call)
    refuse_other_trunks(layout)
    shift, top = side.get("shift_vocab_num", 999), side.get("topk")
    if not isinstance(shift, int) or not 0 <= shift < config["vocab_size"]:
        raise _strange(path, "shift_vocab_num", shift)
    if top is not None and not isinstance(top, int):
        raise _strange(path, "topk", top)
    return SpaceTower(layout, prefix, shift, None if top in (None, -1) else top)


def _refuse_strange(path: Path, side: Mapping[str, Any]) -> None:
    if side.get("type", "vdr") != "vdr":
        raise _strange(path, "type", side["type"])
    if side.get("pooling") != "max":
        raise _strange(path, "pooling", side.get("pooling"))
    if side.get("norm"):
        raise _strange(path, "norm", side["norm"])
    if side.get("model_id", _BASE[0]) not in _BASE and "num_attention_heads" not in side:
        raise _strange(path, "model_id", side["model_id"])


def _strange(path: Path, name: str, value: Any) -> InputError:
    understood = "a vdr of texts, pooled by max, without norm, over bert-base-uncased"
    return InputError(
        f"{path} has {name} = {value!r}, which is not understood in a VDR (understood: "
        f"{understood}, or over a BERT whose shape the file tells).",
        _WANTED,
    )


def _length(folder: Path, side: Mapping[str, Any]) -> int:
    """The longest input in tokens."""
    found = side.get("max_len", 256)
    if not isinstance(found, int) or found < 3:
        raise _strange(folder / "config.json", "max_len", found)
    return found


def _shared(folder: Path) -> str:
    """What begins the names of the one encoder of both sides: either name may have been saved."""
    held = read_headers(find_weights(folder).files)
    sides = [name for name in (_QUERIES, _PASSAGES) if any(n.startswith(f"{name}.") for n in held)]
    return f"{sides[0] if sides else _QUERIES}."
