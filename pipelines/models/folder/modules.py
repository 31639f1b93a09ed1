"""An encoder as a chain of modules, as sentence-transformers saves it: modules.json and what lies
below it (https://sbert.net/docs/package_reference/base/modules.html); or a plain transformers
folder, which the library opens with mean pooling, or the last token for a causal model.

Only classes of sentence-transformers itself are ours: a class of the same name in another package
is the author's own code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import Layout, read_layout
from shardrank.models.folder.reading import Keys, check_keys, read_json, read_known

#: Their names of poolings → ours. The first six are the booleans of older files.
POOLINGS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weightedmean",
    "lasttoken": "last",
}
#: Activations of Dense by the class that its file names.
ACTIVATIONS: Mapping[str, str] = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
}
_LIBRARY = "sentence_transformers."
_VECTOR = ("sentence_embedding",)

_MODULE = Keys.of("idx name path type", kwargs=([], {}, None))
_POOLING = Keys.of(
    "pooling_mode include_prompt " + " ".join(k for k in POOLINGS if k.startswith("pooling_mode_")),
    idle="embedding_dimension word_embedding_dimension",
)
_DENSE = Keys.of("in_features out_features bias activation_function use_residual")
_NORMALIZE = Keys.of("", module_input_name=_VECTOR, module_output_name=(*_VECTOR, None))
_ROUTER = Keys.of("types structure parameters")
_ROUTES = Keys.of("default_route route_mappings", idle="allow_empty_key")


@dataclass(frozen=True)
class Pooling:
    """How a text's token vectors become one: `modes` side by side, by our names."""

    modes: tuple[str, ...]
    includes_prompt: bool = True


@dataclass(frozen=True)
class Dense:
    """A linear map of the vector, with its weights in `folder`, then an activation.

    `residual`: the input is added to the output, through a map of its own where widths differ.
    """

    folder: Path
    inputs: int
    outputs: int
    bias: bool
    activation: str
    residual: bool


def dense_shapes(step: Dense) -> dict[str, tuple[int, ...]]:
    """The shapes of a linear map's weights, by their names in its file."""
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (step.outputs, step.inputs)}
    if step.bias:
        shapes["linear.bias"] = (step.outputs,)
    if step.residual and step.inputs != step.outputs:
        shapes["residual.weight"] = (step.outputs, step.inputs)
    return shapes


@dataclass(frozen=True)
class Normalize:
    """Division by the L2 norm."""


@dataclass(frozen=True)
class StaticTable:
    """A vector for each token, without a transformer; a text's is their mean.

    `folder` holds tokenizer.json and model.safetensors.
    """

    folder: Path


@dataclass(frozen=True)
class OwnModule:
    """A module whose class is the author's own code: `reference` as modules.json has it, and the
    model's folder `root`, where that code may lie."""

    folder: Path
    reference: str
    root: Path


#: What happens to a text's vector after pooling.
StepModule = Dense | Normalize | OwnModule


@dataclass(frozen=True)
class Tower:
    """One way from a text to its vector.

    Attributes:
        source: what turns tokens into vectors.
        pooling: how those of a text become one; none for a table, which is a mean already.
        steps: what happens to the one, in order.
        body: an author's own module in the place of sentence-transformers' Transformer; its
            configuration and tokeniser are those of `source`.
    """

    source: Layout | StaticTable
    pooling: Pooling | None
    steps: tuple[StepModule, ...] = ()
    body: OwnModule | None = None

    @property
    def own(self) -> list[OwnModule]:
        """All modules of the author's own."""
        return [m for m in (self.body, *self.steps) if isinstance(m, OwnModule)]


@dataclass(frozen=True)
class Towers:
    """The ways of documents and of queries: the same but where a Router parts them."""

    documents: Tower
    queries: Tower


_Module = Layout | StaticTable | Pooling | StepModule


def read_towers(folder: Path) -> Towers:
    """How a folder makes vectors.

    Raises:
        InputError: a file is missing, is no JSON, or says something that is not understood.
    """
    if not (folder / "modules.json").is_file():
        both = _plain(read_layout(folder, plain=True))
        return Towers(both, both)
    entries = read_entries(folder / "modules.json")
    if entries and library_class(entries[0]["type"]) in ("Router", "Asym"):
        return _routed(folder / entries[0]["path"], _modules(folder, entries[1:]))
    both = read_tower(folder, entries)
    return Towers(both, both)


def read_tower(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Tower:
    """The way of these modules of a folder, one after another; raises as `read_towers`."""
    return _tower(folder, _modules(folder, entries))


def _plain(layout: Layout) -> Tower:
    """As sentence-transformers opens a folder without modules.json."""
    causal = layout.architecture.endswith("ForCausalLM") and layout.config.get("is_causal", True)
    return Tower(layout, Pooling(("last" if causal else "mean",)))


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The modules that a modules.json lists. Raises InputError where it says anything besides."""
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{path} is no list of modules.", "Name a complete model folder.")
    for entry in found:
        check_keys(path, entry, _MODULE)
        if not {"path", "type"} <= entry.keys():
            raise InputError(
                f"{path} has a module without path or type.", "Name a complete model folder."
            )
    return found


def _modules(folder: Path, entries: Sequence[Mapping[str, Any]]) -> list[_Module]:
    return [_module(folder, entry["path"], entry["type"]) for entry in entries]


def inside(folder: Path, path: str) -> str:
    """A path that a file of the folder names. Raises InputError where it leads out of it."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise InputError(
            f"{folder} names a module at {path!r}, outside of itself.", "Use another model."
        )
    return path


def library_class(reference: str) -> str:
    """The class's name where it is sentence-transformers' own, else ""."""
    return reference.rpartition(".")[2] if reference.startswith(_LIBRARY) else ""


def _module(root: Path, path: str, reference: str) -> _Module:
    folder = root / inside(root, path)
    match library_class(reference):
        case "Transformer":
            return read_layout(folder)
        case "StaticEmbedding":
            return StaticTable(folder)
        case "Pooling":
            return _pooling(folder / "config.json")
        case "Dense":
            return read_dense(folder)
        case "Normalize":
            read_known(folder / "config.json", _NORMALIZE, optional=True)
            return Normalize()
        case "":
            return OwnModule(folder, reference, root)
        case other:
            raise InputError(
                f"The model has a module {other} ({reference}), which is not supported.",
                "Use a model of Transformer or StaticEmbedding, Pooling, Dense and Normalize.",
            )


def _tower(folder: Path, modules: Sequence[_Module]) -> Tower:
    source, rest = (modules[0], modules[1:]) if modules else (None, ())
    if isinstance(source, StaticTable):
        return Tower(source, None, _steps(folder, rest))
    if isinstance(source, Layout) and not rest:
        return _plain(source)
    body = source if isinstance(source, OwnModule) else None
    layout = read_layout(body.folder) if body else source
    if isinstance(layout, Layout) and rest and isinstance(rest[0], Pooling):
        return Tower(layout, rest[0], _steps(folder, rest[1:]), body)
    if isinstance(layout, Layout) and rest and isinstance(rest[0], OwnModule):
        return Tower(layout, None, _steps(folder, rest), body)
    raise InputError(
        f"{folder / 'modules.json'} has modules in an order that is not supported.",
        "A model is a Transformer and a Pooling, or a StaticEmbedding, then Dense and Normalize.",
    )


def _steps(folder: Path, modules: Sequence[_Module]) -> tuple[StepModule, ...]:
    steps = [step for step in modules if isinstance(step, StepModule)]
    if len(steps) < len(modules):
        raise InputError(
            f"{folder / 'modules.json'} has modules in an order that is not supported.",
            "After the pooling come Dense and Normalize only.",
        )
    return tuple(steps)


def _pooling(path: Path) -> Pooling:
    found = read_known(path, _POOLING)
    modes = found.get("pooling_mode")
    if modes is None:
        # In the library's order of them, which is not that of old files.
        modes = [k for k in POOLINGS if k.startswith("pooling_mode_") and found.get(k)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown:
        raise InputError(
            f"{path} pools by {unknown[0]!r}, which is not understood.", "Use another model."
        )
    return Pooling(tuple(POOLINGS[m] for m in modes), bool(found.get("include_prompt", True)))


def read_dense(
    folder: Path,
    outputs: tuple[str | None, ...] = (*_VECTOR, None),
    inputs: tuple[str | None, ...] = _VECTOR,
) -> Dense:
    """A linear map of the vector, in the folder of its own.

    `outputs` and `inputs` are the names that its result and what it takes may have in the library.
    Raises as `read_towers`.
    """
    path = folder / "config.json"
    fixed = {"module_input_name": inputs, "module_output_name": outputs}
    found = read_known(path, replace(_DENSE, fixed=fixed))
    activation = found.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in ACTIVATIONS or not {"in_features", "out_features"} <= found.keys():
        raise InputError(
            f"{path} has in_features, out_features and activation_function = "
            f"{found.get('in_features')}, {found.get('out_features')} and {activation!r}; "
            f"understood are numbers and {', '.join(ACTIVATIONS)}.",
            "Use another model.",
        )
    return Dense(
        folder,
        int(found["in_features"]),
        int(found["out_features"]),
        bool(found.get("bias", True)),
        ACTIVATIONS[activation],
        bool(found.get("use_residual", False)),
    )


def _routed(folder: Path, behind: Sequence[_Module]) -> Towers:
    """The routes of a Router, each followed by the modules behind it."""
    documents, queries = read_routes(folder)
    return Towers(
        _tower(folder, [*_modules(folder, documents), *behind]),
        _tower(folder, [*_modules(folder, queries), *behind]),
    )


def read_routes(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The modules of a Router's ways of documents and of queries: path and type of each.

    Raises:
        InputError: its file is missing, or says something that is not understood.
    """
    path = folder / "router_config.json"
    config = read_known(path if path.is_file() else folder / "config.json", _ROUTER)
    parameters = config.get("parameters", {})
    check_keys(path, parameters, _ROUTES)
    types, structure = config.get("types", {}), config.get("structure", {})

    def way(task: str) -> list[dict[str, Any]]:
        names = structure[_route(path, task, structure, parameters)]
        return [{"path": name, "type": types[name]} for name in names]

    return way("document"), way("query")


def _route(
    path: Path, task: str, structure: Mapping[str, Any], parameters: Mapping[str, Any]
) -> str:
    """Which route a task's texts take (sentence-transformers 6.2, Router._resolve_route_name)."""
    mappings = parameters.get("route_mappings") or {}
    keys = [(task, "text"), (task, None), (None, "text"), (None, None)]
    asked = next((mappings[str(key)] for key in keys if str(key) in mappings), None)
    found = asked or next((name for name in (task, "text") if name in structure), None)
    if found not in structure:
        raise InputError(
            f"{path} has no route for {task}s: it has {', '.join(structure) or 'none'}.",
            "Use another model.",
        )
    return str(found)
