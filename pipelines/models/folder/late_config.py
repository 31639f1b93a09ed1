"""What folders of models of token vectors say beside their modules, in three ways of saying it:
sentence-transformers' MultiVectorEncoder, PyLate (https://github.com/lightonai/pylate), and ColBERT
itself (https://github.com/stanford-futuredata/ColBERT), whose file is artifact.metadata.

Defaults are those of sentence-transformers 6.2 (multi_vector_encoder/model.py) and PyLate 1.6
(models/colbert.py). Where these two take one folder for different models it is refused.
"""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shardrank.core.errors import InputError
from shardrank.models.folder.reading import Keys, read_known, read_object
from shardrank.models.folder.sentence_config import UNTAKEN, both_prompts

CONFIG, METADATA = "config_sentence_transformers.json", "artifact.metadata"
#: Names in the library of the sum of the largest products, and of it over the query's tokens, which
#: orders a query's texts alike.
_MAXSIM = ("maxsim", "MaxSim", "meanmaxsim", None)
_IDLE = "__version__ requirements"
_NATIVE = Keys.of("prompts default_prompt_name model_type", idle=_IDLE, similarity_fn_name=_MAXSIM)
_PYLATE = Keys.of(
    "prompts query_prefix document_prefix query_length document_length do_query_expansion "
    "attend_to_expansion_tokens skiplist_words",
    idle=_IDLE,
    model_type=("ColBERT", "SentenceTransformer", None),
    similarity_fn_name=_MAXSIM,
    default_prompt_name=(None,),
    truncate_dim=(None,),
)
#: What says that PyLate saved a folder.
_MARKS = frozenset(
    {"query_prefix", "document_prefix", "do_query_expansion", "attend_to_expansion_tokens",
     "skiplist_words"}
)  # fmt: skip
#: ColBERT's settings (colbert/infra/config/settings.py): most say how it was trained or indexed.
_COLBERT = Keys.of(
    "query_token_id doc_token_id query_maxlen doc_maxlen attend_to_mask_tokens mask_punctuation",
    idle="query_token doc_token ncells centroid_score_threshold ndocs load_index_with_mmap "
    "index_path index_bsize nbits kmeans_niters resume similarity_metric bsize accumsteps lr "
    "maxsteps save_every warmup warmup_bert relu nway use_ib_negatives reranker "
    "distillation_alpha ignore_scores model_name dim checkpoint triples collection queries "
    "index_name overwrite root experiment index_root name rank nranks amp gpus "
    "avoid_fork_if_possible total_visible_gpus meta resume_optimizer fix_broken_optimizer_state",
    similarity=("cosine",),
    interaction=("colbert",),
)
_PUNCTUATION = tuple(string.punctuation)
_QUERY_LENGTH = 32

#: In which of the three ways a folder says it.
Kind = Literal["native", "pylate", "colbert"]


@dataclass(frozen=True)
class Expansion:
    """How queries are filled up with tokens of their own.

    Attributes:
        length: up to how many tokens, special ones included.
        attended: whether the query's own tokens see them.
        fixed: whether a longer query is cut there.
        token: what they are; none: the tokeniser's mask, else its end of a text.
    """

    length: int
    attended: bool
    fixed: bool = True
    token: str | None = None


@dataclass(frozen=True)
class Before:
    """What stands before texts.

    Attributes:
        mark: a token of its own behind the first special one; "": none.
        prompt: put before the text.
    """

    mark: str
    prompt: str


@dataclass(frozen=True)
class LateConfig:
    """What a folder says beside its modules.

    Attributes:
        kind: in which way.
        query, document: what stands before either.
        query_length, document_length: the longest of either in tokens; none: it does not say, or
            beside the transformer's own settings.
        expansion: how queries are filled up; none: they are not, or see there.
        skipped: tokens whose vectors documents do not keep; none: the mask module says which.
        notes: sentences about what the library does otherwise.
    """

    kind: Kind
    query: Before
    document: Before
    query_length: int | None = None
    document_length: int | None = None
    expansion: Expansion | None = None
    skipped: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_late_config(folder: Path) -> LateConfig:
    """What a folder of token vectors says beside its modules.

    Raises:
        InputError: it is no such folder, or says something that is not understood.
    """
    if not (folder / "modules.json").is_file():
        return _colbert(folder)
    found = read_object(folder / CONFIG, optional=True)
    if found.get("model_type") == "MultiVectorEncoder":
        return _native(folder)
    if found.get("model_type") == "ColBERT" or _MARKS & found.keys():
        return _pylate(folder)
    raise InputError(
        f"{folder} is a {found.get('model_type') or 'SentenceTransformer'} of sentence-transformers"
        ", and a model of token vectors is wanted here.",
        "Name a folder that MultiVectorEncoder or PyLate saved, or use another family of encoders.",
    )


def _native(folder: Path) -> LateConfig:
    path = folder / CONFIG
    query, named, document = both_prompts(folder, read_known(path, _NATIVE))
    notes = (*_untaken(named, document), *_means(path))
    return LateConfig("native", Before("", query), Before("", document), notes=notes)


def _untaken(named: str, document: str) -> tuple[str, ...]:
    """That the library does not reach the documents' prompt by its name."""
    return (UNTAKEN.format(named, document),) if named != "document" and document else ()


def _means(path: Path) -> tuple[str, ...]:
    """That scores are sums, where the folder asks for means."""
    if read_object(path).get("similarity_fn_name") != "meanmaxsim":
        return ()
    return (
        f"{path} has similarity_fn_name = meanmaxsim, a score over the query's tokens; here it is "
        "their sum, which orders a query's texts alike.",
    )


def _pylate(folder: Path) -> LateConfig:
    """PyLate puts its marks where ids are, and does without a prompt that repeats them."""
    path = folder / CONFIG
    found = read_known(path, _PYLATE)
    query, named, document = both_prompts(folder, found)
    words = found.get("skiplist_words")
    return LateConfig(
        "pylate",
        _before(_text(path, found, "query_prefix", "[Q] "), query),
        _before(_text(path, found, "document_prefix", "[D] "), document),
        query_length=_number(path, found, "query_length") or _QUERY_LENGTH,
        document_length=_number(path, found, "document_length"),
        expansion=_pylate_expansion(path, found),
        skipped=_PUNCTUATION if words is None else tuple(_words(path, words)),
        notes=(*_untaken(named, document), *_means(path)),
    )


def _before(mark: str, prompt: str) -> Before:
    return Before(mark, prompt.removeprefix(mark))


def _pylate_expansion(path: Path, found: dict[str, Any]) -> Expansion | None:
    if not _flag(path, found, "do_query_expansion", True):
        return None
    length = _number(path, found, "query_length") or _QUERY_LENGTH
    return Expansion(length, _flag(path, found, "attend_to_expansion_tokens", False))


def _colbert(folder: Path) -> LateConfig:
    """The settings of a checkpoint of ColBERT, whose file may be absent: then as it has them."""
    architectures = read_object(folder / "config.json").get("architectures") or []
    if "HF_ColBERT" not in architectures:
        raise InputError(
            f"{folder} has no modules.json and is no checkpoint of ColBERT (architectures = "
            f"{architectures}): sentence-transformers would add a map of random weights.",
            "Name a folder that MultiVectorEncoder or PyLate saved, or a checkpoint of ColBERT.",
        )
    path = folder / METADATA
    found = read_known(path, _COLBERT, optional=True)
    length = _number(path, found, "query_maxlen") or _QUERY_LENGTH
    return LateConfig(
        "colbert",
        Before(_text(path, found, "query_token_id", "") or "[unused0]", ""),
        Before(_text(path, found, "doc_token_id", "") or "[unused1]", ""),
        query_length=length,
        document_length=_number(path, found, "doc_maxlen"),
        expansion=Expansion(length, _flag(path, found, "attend_to_mask_tokens", False)),
        skipped=_PUNCTUATION if _flag(path, found, "mask_punctuation", True) else (),
    )


def read_expansion(path: Path, found: dict[str, Any]) -> Expansion:
    """How queries are filled up, by the transformer's own settings in the file at `path`.

    Raises:
        InputError: they cannot be understood.
    """
    strategy, token = found.get("strategy"), found.get("token")
    length = _number(path, found, "length")
    if strategy not in ("fixed", "min") or length is None or not isinstance(token, str | None):
        raise _wrong(path, "query_expansion", found)
    return Expansion(length, _flag(path, found, "attend", False), strategy == "fixed", token)


def _number(path: Path, found: dict[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise _wrong(path, name, value)
    return value


def _flag(path: Path, found: dict[str, Any], name: str, default: bool) -> bool:
    value = found.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(path, name, value)
    return default if value is None else value


def _text(path: Path, found: dict[str, Any], name: str, default: str) -> str:
    value = found.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(path, name, value)
    return default if value is None else value


def _words(path: Path, found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise _wrong(path, "skiplist_words", found)
    return found


def _wrong(path: Path, name: str, value: Any) -> InputError:
    return InputError(f"{path} has {name} = {value!r}, which is not understood.", "Mend the file.")
