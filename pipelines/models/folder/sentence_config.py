"""config_sentence_transformers.json: prompts, similarity, cut, and which kind of model it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.reading import Keys, check_keys, read_known, read_object

_NAME = "config_sentence_transformers.json"
#: `requirements` and `__version__` name releases of libraries; `keep_in_fp32_modules` keeps
#: last bits.
_IDLE = "__version__ requirements"
_SIMILARITIES = ("cosine", "dot", "dot_score", None)
_ENCODER = Keys.of(
    "prompts default_prompt_name similarity_fn_name truncate_dim model_type", idle=_IDLE
)
#: A sparse encoder's are compared by inner product, which is what search does with them.
_SPARSE = Keys.of(
    "prompts default_prompt_name max_active_dims model_type",
    idle=_IDLE,
    similarity_fn_name=("dot", "dot_score", None),
    truncate_dim=(None,),
)
#: Logits are given raw; these activations would not change their order.
_ACTIVATIONS = (
    None,
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.activation.Sigmoid",
    "torch.nn.modules.activation.Tanh",
)
_RERANKER = Keys.of(
    "prompts default_prompt_name model_type",
    idle=f"{_IDLE} keep_in_fp32_modules",
    activation_fn=_ACTIVATIONS,
    similarity_fn_name=_SIMILARITIES,
)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
UNTAKEN = (
    "Documents are embedded under the model's prompt {!r}: {!r}. (sentence-transformers 6.2 takes "
    'that name for documents too, by its documentation, but finds an empty "document" first.) '
    "Another one: encoder.document_prompt."
)


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder's folder says beside its modules.

    Attributes:
        query_prompt: put before queries.
        document_prompt: put before documents.
        similarity: "cosine" or "dot".
        truncate_dim: components that are kept of each vector; none: all.
        notes: sentences about what the library does otherwise.
    """

    query_prompt: str = ""
    document_prompt: str = ""
    similarity: str = "cosine"
    truncate_dim: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SparseConfig:
    """What a sparse encoder's folder says beside its modules.

    Attributes:
        query_prompt: put before queries.
        document_prompt: put before documents.
        most: terms that are kept of each text, the strongest; none: all.
    """

    query_prompt: str = ""
    document_prompt: str = ""
    most: int | None = None


def read_encoder_config(folder: Path) -> EncoderConfig:
    """What an encoder's folder says beside its modules.

    Prompts are by the library's documented rule: "query" before queries; before documents the first
    of "document", "passage" and "corpus" that exists. The default prompt is for neither:
    `encode_query` and `encode_document` do without one before they take it.

    Raises:
        InputError: the file says something that is not understood, or the model is no encoder of
            one vector a text, or is compared by a distance that search does not know.
    """
    if not (folder / "modules.json").is_file():
        return EncoderConfig(notes=_unread(folder))
    found = read_known(folder / _NAME, _ENCODER, optional=True)
    _check_kind(folder, found, "SentenceTransformer")
    similarity = _similarity(folder, found.get("similarity_fn_name"))
    cut = found.get("truncate_dim")
    if cut is not None and (not isinstance(cut, int) or cut < 1):
        raise InputError(
            f"{folder / _NAME} has truncate_dim = {cut!r}, not a number.", "Mend the file."
        )
    query, named, document = both_prompts(folder, found)
    notes = (UNTAKEN.format(named, document),) if named != "document" and document else ()
    return EncoderConfig(query, document, similarity, cut, notes)


def read_sparse_config(folder: Path) -> SparseConfig:
    """What a sparse encoder's folder says beside its modules; prompts as `read_encoder_config`.

    Raises:
        InputError: the file says something that is not understood, or does not say that the model
            is a SparseEncoder: sentence-transformers then opens it as another one, with modules of
            random weights.
    """
    if not (folder / "modules.json").is_file():
        return SparseConfig()
    path = folder / _NAME
    # What does not say its kind is a SentenceTransformer to the library.
    _check_kind(
        folder, {"model_type": "SentenceTransformer"} | read_object(path, True), "SparseEncoder"
    )
    found = read_known(path, _SPARSE, optional=True)
    most = found.get("max_active_dims")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise InputError(
            f"{folder / _NAME} has max_active_dims = {most!r}, not a number of terms.",
            "Mend the file.",
        )
    query, _, document = both_prompts(folder, found)
    return SparseConfig(query, document, most)


def read_reranker_prompt(folder: Path) -> str:
    """What a cross-encoder's folder puts before queries: its default prompt (the library puts it
    before the first text of a pair). Raises InputError as `read_encoder_config`."""
    if not (folder / "modules.json").is_file():
        return ""
    found = read_known(folder / _NAME, _RERANKER, optional=True)
    _check_kind(folder, found, "CrossEncoder")
    name = found.get("default_prompt_name")
    return _prompts(folder, found, own=())[name] if name else ""


def read_reranker_prompts(folder: Path) -> dict[str, str]:
    """All prompts of a cross-encoder's folder by name; raises as `read_reranker_prompt`."""
    return _prompts(folder, read_known(folder / _NAME, _RERANKER, optional=True), own=())


def read_activation(folder: Path, layout: Layout) -> str:
    """What a cross-encoder's folder would have done to a logit: the name of torch's class, in small
    letters; "" where it says nothing.

    Raises:
        InputError: it is one that would order logits in another way.
    """
    path, config = layout.transformer / "config.json", layout.config
    older = config.get("sbert_ce_default_activation_function")
    named = (config.get("sentence_transformers") or {}).get("activation_fn", older)
    check_keys(path, {"activation_fn": named}, _RERANKER)
    if (folder / "modules.json").is_file():
        named = read_object(folder / _NAME, optional=True).get("activation_fn") or named
    return str(named or "").rpartition(".")[2].lower()


def _check_kind(folder: Path, found: dict[str, Any], wanted: str) -> None:
    kind = found.get("model_type") or wanted
    if kind == wanted:
        return
    raise InputError(
        f"{folder} is a {kind} of sentence-transformers, and a {wanted} is wanted here.",
        "Name a bi-encoder as encoder.model, a cross-encoder as reranker.model, and a sparse "
        'encoder in a table [[encoder]] with family = "sparse".',
    )


def _unread(folder: Path) -> tuple[str, ...]:
    """Without modules.json the library reads no file of its own."""
    if not (folder / _NAME).is_file():
        return ()
    return (f"{_NAME} is not read, since {folder} has no modules.json.",)


def _similarity(folder: Path, name: str | None) -> str:
    if name not in _SIMILARITIES:
        raise InputError(
            f"{folder / _NAME} compares vectors by {name!r}; search is by inner product or cosine.",
            "Use a model that is compared by cosine or dot.",
        )
    return "dot" if name and name.startswith("dot") else "cosine"


def both_prompts(folder: Path, found: dict[str, Any]) -> tuple[str, str, str]:
    """The prompt of queries; the name of that of documents, and that prompt."""
    prompts = _prompts(folder, found, own=("query", "document"))
    named = next((name for name in _DOCUMENT_PROMPTS if name in prompts), "document")
    return prompts.get("query", ""), named, prompts.get(named, "")


def _prompts(folder: Path, found: dict[str, Any], own: tuple[str, ...]) -> dict[str, str]:
    """Prompts by name. Raises InputError where the default one is neither there nor the library's
    `own`."""
    prompts = {name: str(text or "") for name, text in (found.get("prompts") or {}).items()}
    default = found.get("default_prompt_name")
    if default and default not in {*prompts, *own}:
        raise InputError(
            f"{folder / _NAME} has default_prompt_name = {default!r}, and no such prompt: it has "
            f"{', '.join(prompts) or 'none'}.",
            "Mend the file, or use another model.",
        )
    return prompts
