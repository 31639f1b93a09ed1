"""Which files of a folder hold a model's weights, and which others lie beside them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.errors import InputError
from shardrank.models.folder.reading import read_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
#: A low-rank adapter of the library peft, which changes what the weights beside it compute.
PEFT = "adapter_config.json"

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OTHERS = (".safetensors", ".gguf", ".onnx", ".h5", ".msgpack", *_PICKLED)


@dataclass(frozen=True)
class Weights:
    """A folder's weights.

    Attributes:
        files: those that are read, sorted by name.
        others: names of files with weights that are not read.
    """

    files: tuple[Path, ...]
    others: tuple[str, ...]


def find_weights(folder: Path) -> Weights:
    """The weights of a folder as transformers finds them: model.safetensors, else what
    model.safetensors.index.json lists.

    Raises:
        InputError: there are none, one that the index lists is missing, or a peft adapter lies
            beside them.
    """
    if (folder / PEFT).exists():
        raise InputError(
            f"{folder} holds {PEFT}: a low-rank adapter changes what its base computes, and is "
            "not applied.",
            "Merge it where you have peft: model.merge_and_unload().save_pretrained(FOLDER).",
        )
    files = _listed(folder)
    read = {file.name for file in files}
    others = (f.name for f in folder.iterdir() if f.suffix in _OTHERS and f.name not in read)
    return Weights(tuple(files), tuple(sorted(others)))


def _listed(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        raise _none(folder)
    listed = read_object(folder / INDEX).get("weight_map") or {}
    names = sorted({str(name) for name in listed.values()})
    missing = [name for name in names if "/" in name or not (folder / name).is_file()]
    if missing or not names:
        raise InputError(
            f"{folder / INDEX} lists {missing[0] if missing else 'nothing'}"
            f"{', which is not there' if missing else ''}.",
            "Name a complete model folder.",
        )
    return [folder / name for name in names]


def _none(folder: Path) -> InputError:
    pickled = _named(folder, _PICKLED)
    if pickled:
        return InputError(
            f"{folder} has its weights as {pickled[0]} only, a pickle, which may run code.",
            "Only safetensors are read. Convert: load the model with transformers where you "
            "trust it, then model.save_pretrained(FOLDER), which writes safetensors.",
        )
    found = _named(folder, _OTHERS)
    beside = f"; it has {', '.join(found[:3])}" if found else ""
    return InputError(
        f"{folder} holds neither {SINGLE} nor {INDEX}{beside}.", "Name a complete model folder."
    )


def _named(folder: Path, suffixes: Iterable[str]) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(file.name for file in folder.iterdir() if file.suffix in tuple(suffixes))
