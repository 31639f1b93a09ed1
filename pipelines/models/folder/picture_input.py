"""What a folder says of how pictures become a model's input: preprocessor_config.json, or the table
"image_processor" of processor_config.json, as transformers 5.23 reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.reading import Keys, check_keys, read_known, read_object
from shardrank.pictures.framing import Framing

PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"

_KEYS = Keys.of(
    "size crop_size do_center_crop resample rescale_factor image_mean image_std",
    # Names of classes are looked at first; a picture is always RGB, first a channel, here.
    idle="image_processor_type feature_extractor_type processor_class do_convert_rgb data_format "
    "input_data_format device return_tensors use_fast disable_grouping backend "
    "_valid_processor_keys default_to_square",
    do_resize=(True,),
    do_rescale=(True,),
    do_normalize=(True,),
    do_pad=(False, None),
    pad_size=(None,),
    image_seq_length=(None,),
)
_WITHIN = Keys.of("image_processor", idle="processor_class", auto_map=(None, {}))
_ENDINGS = ("Fast", "Pil")


@dataclass(frozen=True)
class PictureInput:
    """How pixels become a model's input: framed, times `scale`, less `mean`, over `std`, each of
    the last two for red, green and blue."""

    framing: Framing
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class _Class:
    """An image processor of transformers: its names, and what it does where a file says nothing."""

    names: tuple[str, ...]
    defaults: Mapping[str, Any]


_CLASSES = {
    "clip": _Class(
        ("CLIPImageProcessor", "CLIPFeatureExtractor"),
        {
            "size": {"shortest_edge": 224},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "image_mean": (0.48145466, 0.4578275, 0.40821073),
            "image_std": (0.26862954, 0.26130258, 0.27577711),
        },
    ),
    "siglip": _Class(
        ("SiglipImageProcessor",),
        {
            "size": {"height": 224, "width": 224},
            "do_center_crop": False,
            "image_mean": (0.5, 0.5, 0.5),
            "image_std": (0.5, 0.5, 0.5),
        },
    ),
}
_COMMON: Mapping[str, Any] = {"resample": 3, "rescale_factor": 1 / 255}


def read_picture_input(folder: Path, family: str, edge: int) -> PictureInput:
    """How the pictures of a family's model are put in.

    Args:
        folder: with the file.
        family: "clip" or "siglip".
        edge: height and width in pixels that the model sees.

    Raises:
        InputError: there is no such file, it says something that is not understood, or what comes
            of it is not what the model sees.
    """
    path, found = _read(folder)
    kind = _CLASSES[family]
    _check_class(path, found, kind)
    check_keys(path, found, _KEYS)
    said = {**_COMMON, **kind.defaults, **{n: v for n, v in found.items() if n in _KEYS.read}}
    framing = _framing(path, said)
    if framing.seen != (edge, edge):
        raise InputError(
            f"{path} gives pictures of {framing.seen[0]} by {framing.seen[1]} pixels, and the "
            f"model sees {edge} by {edge}.",
            "Name a folder whose files belong together.",
        )
    mean, std = (_colours(path, name, said[name]) for name in ("image_mean", "image_std"))
    return PictureInput(framing, float(said["rescale_factor"]), mean, std)


def _read(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    if "image_processor" in read_object(folder / PROCESSOR, optional=True):
        within = read_known(folder / PROCESSOR, _WITHIN)["image_processor"]
        return folder / PROCESSOR, within or {}
    if not (folder / PREPROCESSOR).is_file():
        raise InputError(
            f"{folder} has neither {PREPROCESSOR} nor an image_processor in {PROCESSOR}: nothing "
            "says how pictures are put in.",
            "Save it there: processor.save_pretrained(FOLDER).",
        )
    return folder / PREPROCESSOR, read_object(folder / PREPROCESSOR)


def _check_class(path: Path, found: Mapping[str, Any], kind: _Class) -> None:
    named = found.get("image_processor_type") or found.get("feature_extractor_type")
    bare = named
    for ending in _ENDINGS:
        bare = str(bare).removesuffix(ending) if bare else bare
    if bare is not None and bare not in kind.names:
        raise InputError(
            f"{path} names the class {named}, which is not understood for this model (understood: "
            f"{', '.join(kind.names)}).",
            "Use another model.",
        )


def _framing(path: Path, said: Mapping[str, Any]) -> Framing:
    size = said["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size}  # of both classes
    size = {name: value for name, value in dict(size).items() if value is not None}
    crop = _edges(path, "crop_size", said["crop_size"]) if said["do_center_crop"] else None
    resample = _whole(path, "resample", said["resample"])
    if not 0 <= resample <= 5:
        raise _strange(path, "resample", resample)
    if set(size) == {"shortest_edge"} and crop is not None:
        shortest = _whole(path, "size", size["shortest_edge"])
        framing, smallest = Framing(shortest, None, resample, crop), (shortest, shortest)
    else:
        smallest = _edges(path, "size", size)
        framing = Framing(None, smallest, resample, crop)
    if crop is not None and any(have < want for have, want in zip(smallest, crop, strict=True)):
        raise _strange(path, "crop_size", said["crop_size"])  # the library fills up with black
    return framing


def _edges(path: Path, name: str, value: Any) -> tuple[int, int]:
    """Height and width."""
    if isinstance(value, int):
        return value, value
    edges = {key: edge for key, edge in dict(value).items() if edge is not None}
    if set(edges) != {"height", "width"}:
        raise _strange(path, name, value)
    return _whole(path, name, edges["height"]), _whole(path, name, edges["width"])


def _whole(path: Path, name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise _strange(path, name, value)
    return value


def _colours(path: Path, name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise _strange(path, name, value)
    return tuple(map(float, value))


def _strange(path: Path, name: str, value: Any) -> InputError:
    return InputError(
        f"{path} has {name} = {value!r}, which is not understood, and it decides results.",
        "Use another model.",
    )
