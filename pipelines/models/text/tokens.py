"""Text to ids with the `tokenizers` library, as transformers sets it up for a model's folder.

Texts are tokenised once, without special tokens, and ids are stored; a model's input is put
together from stored ids and a template. Imports no torch; transformers only where the files alone
do not say what it would do.
"""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.normalizers import Lowercase, Normalizer
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.processors import TemplateProcessing

from shardrank.core.arrays import Int32
from shardrank.core.errors import InputError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.protocols import TokenPlaces, TokenSpans
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import StaticTable
from shardrank.models.folder.reading import refuse_pointer
from shardrank.models.text.templates import Template, probe_template
from shardrank.models.text.tokeniser_class import default_inputs, stands_as_written
from shardrank.models.text.tokeniser_files import TokeniserFiles, damaged, read_tokeniser_files

#: Characters from which on it is worth half a second to load machine code.
_WORTH_REMEMBERING = 1 << 19

if TYPE_CHECKING:
    from shardrank.models.text.words import WordMemory

#: Texts that a tokeniser of transformers must tokenise as its fast part does.
_PROBES = ("", "The quick  brown\nfox 0123, ünïcode 東京!", " HEAT [SEP] </s> <pad> transfer ")


@dataclass(frozen=True, eq=False)
class _Facts:
    """What is asked of a tokeniser's rules and vocabulary, each once."""

    backend: Tokenizer
    typed: bool

    @cached_property
    def fingerprint(self) -> str:
        rules = json.loads(self.backend.to_str())
        split = {"encode_special_tokens": True} if self.backend.encode_special_tokens else {}
        untold = {} if self.typed or not _has_types(rules) else {"typed": False}
        return fingerprint(rules | split | untold, digits=64)

    @cached_property
    def vocab_size(self) -> int:
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1


class FastTokeniser:
    """A model's tokeniser with truncation and padding switched off (protocol: Tokeniser)."""

    def __init__(self, backend: Tokenizer, typed: bool = False) -> None:
        """Take over a tokeniser; `typed` says that its model is to be told token types."""
        backend.no_truncation()
        backend.no_padding()
        self.typed = typed
        self._backend = backend
        self._facts = _Facts(backend, typed)
        self._single = probe_template(backend, texts=1)
        self._seen = 0  # characters

    def twin(self) -> "FastTokeniser":
        """One for another worker: the memory of words is its own, all that never changes is
        shared."""
        made = copy(self)
        made.__dict__.pop("_words", None)
        made._seen = 0
        return made

    @property
    def fingerprint(self) -> str:
        """The sha256 of the serialised tokeniser: vocabulary, normaliser, rules, template.

        What is not serialised is added only where it is not as in most models.
        """
        return self._facts.fingerprint

    @property
    def vocab_size(self) -> int:
        """One more than the largest id of a text, added tokens included."""
        return self._facts.vocab_size

    @cached_property
    def largest_id(self) -> int:
        """The largest id of a model's input: of a text, or of the special tokens around it."""
        around = np.concatenate(self._single.around)
        return max(self.vocab_size - 1, int(around.max(initial=0)))

    @property
    def specials(self) -> int:
        """How many special tokens the model adds around one text."""
        return self._single.specials

    @cached_property
    def special_texts(self) -> tuple[str, ...]:
        """What is taken for a special token where it stands in a text, the longest first."""
        added = self._backend.get_added_tokens_decoder().values()
        texts = {token.content for token in added if token.special and len(token.content) > 1}
        return tuple(sorted(texts, key=lambda text: (-len(text), text)))

    def id_of(self, token: str) -> int | None:
        """The id of a token that is spelt so; none: there is none."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def encode(self, texts: Sequence[str]) -> list[TokenSpans]:
        """Ids, character spans and word numbers of each text, without special tokens."""
        self._seen += sum(map(len, texts))
        if self._seen < _WORTH_REMEMBERING or self._words is None:
            return self._ask(texts)
        spans = self._words.encode(texts)
        rest = iter(self._ask([t for t, s in zip(texts, spans, strict=True) if s is None]))
        return [span or next(rest) for span in spans]

    def decode(self, ids: Int32, specials: bool = True) -> str:
        """The text of int32[n] tokens, special ones included or left out."""
        text: str = self._backend.decode(ids.tolist(), skip_special_tokens=not specials)
        return text

    def _ask(self, texts: Sequence[str]) -> list[TokenSpans]:
        found = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [_spans(encoding) for encoding in found]

    @cached_property
    def _words(self) -> "WordMemory | None":
        from shardrank.models.text.word_rules import word_rule  # numba takes .1 s
        from shardrank.models.text.words import WordMemory

        rule = word_rule(self._backend)
        return None if rule is None else WordMemory(rule)

    def single_template(self) -> Template:
        """The special tokens before and after one text, and the types of all."""
        return self._single

    def bare(self) -> "FastTokeniser":
        """One of the same tokens that puts none around a text."""
        backend = _without_specials(Tokenizer.from_str(self._backend.to_str()))
        return FastTokeniser(backend, self.typed)

    def pair_template(self) -> Template:
        """The special tokens around a query and a passage, and the types of all.

        Raises:
            InputError: the tokeniser does not keep the two apart in that order.
        """
        return probe_template(self._backend, texts=2)


@dataclass(frozen=True)
class _Asked:
    """Whose tokeniser is asked for: folders of equal files that are read alike have the same.

    Attributes:
        files: path, inode, bytes and time of each file beside the tokeniser's.
        how: what else decides, as text.
        source: the model.
    """

    files: tuple[tuple[str, int, int, int], ...]
    how: str
    source: Layout | StaticTable = field(compare=False)

    @classmethod
    def of(cls, source: Layout | StaticTable) -> "_Asked":
        folder = source.transformer if isinstance(source, Layout) else source.folder
        found = [(file, file.stat()) for file in sorted(folder.glob("*")) if file.is_file()]
        files = tuple((str(f), s.st_ino, s.st_size, s.st_mtime_ns) for f, s in found)
        return cls(files, repr(source), source)


def load_tokeniser(source: Layout | StaticTable) -> FastTokeniser:
    """The tokeniser of a model, as sentence-transformers has it.

    A command asks for one eight times: its checks, its card, its notes, its plan and each of its
    workers. A process reads it once, until a file in the folder is another.

    Raises:
        InputError: the folder has no tokeniser, a damaged one, or one that cannot be followed.
    """
    return _read(_Asked.of(source)).twin()


@lru_cache(maxsize=4)
def _read(asked: _Asked) -> FastTokeniser:
    source = asked.source
    if isinstance(source, StaticTable):
        return _table_tokeniser(source.folder / "tokenizer.json")
    files = read_tokeniser_files(source)
    backend = None if files.text is None else read_backend(files.path, files.text)
    if backend is not None and stands_as_written(files, backend):
        inputs = files.values.get("model_input_names", default_inputs(files))
        return _tried(_lower_case(backend, source), "token_type_ids" in inputs, files)
    return _built(files, source)


def _table_tokeniser(path: Path) -> FastTokeniser:
    """tokenizer.json as it stands; a table has no vectors of special tokens in its means."""
    refuse_pointer(path, path.read_bytes()[:64] if path.is_file() else b"")
    backend = read_backend(path, path.read_text("utf-8") if path.is_file() else "")
    return FastTokeniser(_without_specials(backend), typed=False)


def _without_specials(backend: Tokenizer) -> Tokenizer:
    backend.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return backend


def read_backend(path: Path, text: str) -> Tokenizer:
    """The tokeniser that a tokenizer.json at `path` describes, word for word.

    Raises:
        InputError: the text describes none.
    """
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise damaged(path, error) from error


def _lower_case(backend: Tokenizer, layout: Layout) -> Tokenizer:
    """Lower-case first where sentence_bert_config.json asks for it and nothing else does."""
    own = backend.normalizer
    several = isinstance(own, NormalizerSequence)
    steps: list[Normalizer] = [*own] if several else [own] if own else []
    if layout.call.lower_case and not any(isinstance(s, Lowercase) for s in steps):
        backend.normalizer = NormalizerSequence([Lowercase(), *steps])
    return backend


def _built(files: TokeniserFiles, layout: Layout) -> FastTokeniser:
    """Let transformers build the tokeniser."""
    from transformers import AutoTokenizer

    from shardrank.models.forward.library_log import quiet

    arguments = {"trust_remote_code": False, "local_files_only": True, **files.arguments}
    try:
        with quiet():
            loaded = AutoTokenizer.from_pretrained(files.folder, **arguments)
            backend = loaded.backend_tokenizer
    except Exception as error:  # whatever is wrong with the files, by any of a hundred classes
        without = "" if files.text else "has no tokenizer.json and "
        raise InputError(
            f"{files.folder} {without}gives no fast tokeniser: {error}.",
            "Save the model's fast tokeniser there: tokenizer.save_pretrained(FOLDER).",
        ) from error
    found = _tried(backend, "token_type_ids" in loaded.model_input_names, files)
    _check_alike(found, loaded, files)
    _lower_case(backend, layout)
    return found


def _tried(backend: Tokenizer, typed: bool, files: TokeniserFiles) -> FastTokeniser:
    """The tokeniser, after it tokenised something: a vocabulary may lack its own [UNK]."""
    try:
        found = FastTokeniser(backend, typed)
        found.encode(_PROBES)
    except InputError:
        raise
    except Exception as error:  # the library raises nothing more special
        raise damaged(files.folder, error) from error
    return found


def _check_alike(found: FastTokeniser, loaded: Any, files: TokeniserFiles) -> None:
    """Refuse a tokeniser that does more in Python than its fast part does."""
    spans = found.encode(_PROBES)
    for text, span in zip(_PROBES, spans, strict=True):
        theirs = loaded(text, truncation=False, padding=False, verbose=False)["input_ids"]
        if list(theirs) != found.single_template().ids(span.ids).tolist():
            raise InputError(
                f"{type(loaded).__name__} of {files.folder} gives other tokens than its fast part, "
                "which is all that shardrank runs.",
                "Use another model.",
            )


def _has_types(rules: Mapping[str, Any]) -> bool:
    """Whether the template gives any token another type than 0."""
    template = json.dumps(rules["post_processor"])
    return template.count('"type_id"') > template.count('"type_id": 0')


def _spans(encoding: Encoding) -> TokenSpans:
    ids = np.asarray(encoding.ids, np.int32)
    last = encoding.token_to_chars(len(ids) - 1) if len(ids) else None
    return TokenSpans(ids, last[1] if last else 0, partial(_places, encoding))


def _places(encoding: Encoding) -> TokenPlaces:
    offsets = np.asarray(encoding.offsets, np.int32).reshape(-1, 2)  # int32[n, 2]
    # Without special tokens every token belongs to a word.
    return TokenPlaces(offsets[:, 0], offsets[:, 1], np.asarray(encoding.word_ids, np.int32))
