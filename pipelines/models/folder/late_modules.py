"""A model of token vectors as a chain of modules: a transformer, then Dense and Normalize of each
token's vector, a mask that says which tokens count, and perhaps a pooling of tokens
(sentence-transformers 6.2, multi_vector_encoder/modules).

PyLate lists the transformer and its maps alone, and masks and normalises by itself; a checkpoint of
ColBERT has its one map among the transformer's weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.headers import read_headers
from shardrank.models.folder.late_config import Expansion, LateConfig, read_expansion
from shardrank.models.folder.layout import Layout, called_path, read_layout
from shardrank.models.folder.modules import (
    Dense,
    Normalize,
    dense_shapes,
    inside,
    library_class,
    read_dense,
    read_entries,
)
from shardrank.models.folder.reading import Keys, read_known, read_object
from shardrank.models.folder.weights import find_weights

#: The map of a checkpoint of ColBERT, among the transformer's weights.
LINEAR = "linear.weight"
_PYLATE_DENSE = "pylate.models.Dense.Dense"
_TOKENS = ("token_embeddings",)
_NORMALIZE = Keys.of("", module_input_name=_TOKENS, module_output_name=(*_TOKENS, None))
_MASK = Keys.of("skiplist_words skiplist_tasks", keep_only_token_ids=(None,))
_POOLING = Keys.of("pool_factor num_protected_tokens normalize_embeddings tasks")
_TASKS = frozenset({"query", "document"})
_WANTED = (
    "A model is a Transformer, then Dense and Normalize of token_embeddings, a MultiVectorMask, "
    "and at the end perhaps a HierarchicalTokenPooling."
)


@dataclass(frozen=True)
class Mask:
    """Which tokens' vectors count.

    Attributes:
        skipped: tokens whose vectors do not.
        documents, queries: whose.
    """

    skipped: tuple[str, ...] = ()
    documents: bool = True
    queries: bool = False


@dataclass(frozen=True)
class TokenPooling:
    """How a passage's token vectors become fewer: the tokens behind the first `protected` are
    clustered (Ward), and each cluster's mean is kept, one for `factor` tokens.

    `normalise`: means and what is protected are divided by their L2 norms.
    """

    factor: float = 1.0
    protected: int = 1
    normalise: bool = True


@dataclass(frozen=True)
class LateTower:
    """How texts become token vectors.

    Attributes:
        source: the transformer.
        steps: what happens to each token's vector, in order.
        mask: which of them count.
        expansion: how queries are filled up, if they are.
        pooling: how a passage's become fewer.
        inner: whether the one map lies among the transformer's weights.
    """

    source: Layout
    steps: tuple[Dense | Normalize, ...]
    mask: Mask
    expansion: Expansion | None
    pooling: TokenPooling
    inner: bool = False

    @property
    def normalised(self) -> bool:
        """Whether vectors have a length of 1."""
        return bool(self.steps) and isinstance(self.steps[-1], Normalize)


_Module = Layout | Dense | Normalize | Mask | TokenPooling


def read_late_tower(folder: Path, config: LateConfig) -> LateTower:
    """How a folder makes token vectors.

    Raises:
        InputError: a file is missing, is no JSON, or says something that is not understood.
    """
    if config.kind == "colbert":
        return _colbert(folder, config)
    modules = [_module(folder, entry, config) for entry in read_entries(folder / "modules.json")]
    source, rest = (modules[0], modules[1:]) if modules else (None, [])
    if not isinstance(source, Layout) or any(isinstance(each, Layout) for each in rest):
        raise _disordered(folder)
    steps = tuple(each for each in rest if isinstance(each, Dense | Normalize))
    if config.kind == "pylate":
        if len(steps) < len(rest) or not all(isinstance(step, Dense) for step in steps):
            raise _disordered(folder)
        mask = Mask(config.skipped or ())
        expansion = _expansion(source) or config.expansion
        pooling = TokenPooling(normalise=False)
        return LateTower(source, (*steps, Normalize()), mask, expansion, pooling)
    return _native(folder, source, steps, rest)


def _native(
    folder: Path, source: Layout, steps: tuple[Dense | Normalize, ...], rest: Sequence[_Module]
) -> LateTower:
    masks = [each for each in rest if isinstance(each, Mask)]
    poolings = [each for each in rest if isinstance(each, TokenPooling)]
    expansion = _expansion(source)
    last = not poolings or rest[-1] is poolings[0]
    if len(masks) > 1 or len(poolings) > 1 or not last:
        raise _disordered(folder)
    if expansion is not None and not masks:
        raise InputError(
            f"{folder} fills queries up (query_expansion) and has no MultiVectorMask, without "
            "which sentence-transformers does not score what it filled in.",
            "Add the module, or take query_expansion out.",
        )
    tower = LateTower(source, steps, masks[0] if masks else Mask(), expansion, TokenPooling())
    pooling = poolings[0] if poolings else TokenPooling(normalise=tower.normalised)
    return LateTower(source, steps, tower.mask, expansion, pooling)


def _colbert(folder: Path, config: LateConfig) -> LateTower:
    """A checkpoint of ColBERT, which the library's own way of putting marks suits for BERT
    alone."""
    layout = read_layout(folder, plain=True)
    header = read_headers(find_weights(folder).files).get(LINEAR)
    if layout.config.get("model_type") != "bert" or header is None or len(header.shape) != 2:
        raise InputError(
            f"{folder} is a checkpoint of ColBERT without {LINEAR}, or not of BERT "
            f"({layout.config.get('model_type')!r}).",
            "Name a folder that MultiVectorEncoder or PyLate saved.",
        )
    outputs, inputs = header.shape
    steps = (Dense(folder, inputs, outputs, False, "identity", False), Normalize())
    pooling = TokenPooling(normalise=False)
    return LateTower(
        layout, steps, Mask(config.skipped or ()), config.expansion, pooling, inner=True
    )


def check_steps(tower: LateTower) -> None:
    """Raise InputError where a map's weights are missing or of other shapes than it says."""
    for step in tower.steps:
        if isinstance(step, Dense) and not tower.inner:
            held = read_headers(find_weights(step.folder).files)
            found = {name: tuple(header.shape) for name, header in held.items()}
            if found != dense_shapes(step):
                raise InputError(
                    f"{step.folder} holds weights {found}; its config.json asks for "
                    f"{dense_shapes(step)}.",
                    "Name a complete model folder.",
                )


def _module(root: Path, entry: Mapping[str, Any], config: LateConfig) -> _Module:
    folder, reference = root / inside(root, entry["path"]), str(entry["type"])
    if reference == _PYLATE_DENSE:
        return read_dense(folder, (*_TOKENS, None), _TOKENS)
    match library_class(reference):
        case "Transformer":
            return read_layout(folder, expands=True)
        case "Dense":
            return read_dense(folder, (*_TOKENS, None), _TOKENS)
        case "Normalize":
            return _normalize(folder / "config.json")
        case "MultiVectorMask":
            return _mask(folder / "config.json")
        case "HierarchicalTokenPooling":
            return _pooling(folder / "config.json")
    raise InputError(
        f"{root} has a module {reference}, which is not run in a model of token vectors.", _WANTED
    )


def _normalize(path: Path) -> Normalize:
    """Of tokens: what does not say so is of a text's one vector, which there is not."""
    if "module_input_name" not in read_object(path, optional=True):
        raise InputError(
            f"{path} does not say module_input_name = {_TOKENS[0]}: it would change nothing.",
            "Use another model.",
        )
    read_known(path, _NORMALIZE)
    return Normalize()


def _mask(path: Path) -> Mask:
    found = read_known(path, _MASK)
    words, tasks = found.get("skiplist_words") or [], _tasks(path, found.get("skiplist_tasks"))
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{path} has skiplist_words = {words!r}, no list.", "Mend the file.")
    return Mask(tuple(words), "document" in tasks, "query" in tasks)


def _pooling(path: Path) -> TokenPooling:
    """The library loads what does not say normalize_embeddings without it."""
    found = read_known(path, _POOLING)
    factor, protected = found.get("pool_factor", 1.0), found.get("num_protected_tokens", 1)
    numbers = isinstance(factor, int | float) and isinstance(protected, int)
    if (
        not numbers
        or factor < 1
        or protected < 0
        or _tasks(path, found.get("tasks")) != {"document"}
    ):
        raise InputError(
            f"{path} has {found}; understood are pool_factor ≥ 1, num_protected_tokens ≥ 0 and "
            "tasks = document.",
            "Use another model, or take the module out and set pool.",
        )
    return TokenPooling(float(factor), protected, bool(found.get("normalize_embeddings", False)))


def _tasks(path: Path, given: Any) -> set[str]:
    tasks = {"document"} if given is None else {given} if isinstance(given, str) else {*given}
    if not tasks <= _TASKS:
        raise InputError(f"{path} is for {sorted(tasks)}; known are {sorted(_TASKS)}.", "Mend it.")
    return tasks


def _expansion(source: Layout) -> Expansion | None:
    """As the transformer's own file has it."""
    found = source.call.expansion
    return None if found is None else read_expansion(called_path(source.transformer), dict(found))


def _disordered(folder: Path) -> InputError:
    return InputError(f"{folder / 'modules.json'} has modules that do not fit together.", _WANTED)
