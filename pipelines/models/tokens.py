"""Text to ids with the `tokenizers` library, and the special tokens put around them afterwards.

Texts are tokenised once, without special tokens, and ids are stored; a model's input is put
together from stored ids and a template. It equals what the whole tokeniser gives for the text.
Imports no torch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.processors import TemplateProcessing

from pipelines.core.errors import InputError
from pipelines.core.fingerprint import fingerprint
from pipelines.core.protocols import Int32, TokenPlaces, TokenSpans
from pipelines.models.folder.modules import StaticTable, Tower, read_towers
from pipelines.models.layout import Layout, read_layout

#: Characters from which on it is worth half a second to load machine code.
_WORTH_REMEMBERING = 1 << 19

if TYPE_CHECKING:
    from pipelines.models.words import WordMemory

_PROBE = "the quick brown fox 0123456789"


@dataclass(frozen=True)
class PairTemplate:
    """Special tokens around a pair: prefix · query · middle · passage · suffix, each int32.

    `types` are the token types of the two halves: prefix, query and middle; passage and suffix.
    """

    prefix: Int32
    middle: Int32
    suffix: Int32
    types: tuple[int, int]

    @property
    def specials(self) -> int:
        """How many special tokens stand around a pair."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)


class FastTokeniser:
    """A model's tokeniser with truncation and padding switched off (protocol: Tokeniser)."""

    def __init__(self, backend: Tokenizer) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._single = _probe_single(backend)
        self._seen = 0  # characters

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the serialised tokeniser: vocabulary, normaliser, rules, template."""
        return fingerprint(json.loads(self._backend.to_str()), digits=64)

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id, added tokens included."""
        return max(self._backend.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def specials(self) -> int:
        """How many special tokens the model adds around one text."""
        return sum(len(ids) for ids in self._single)

    def encode(self, texts: Sequence[str]) -> list[TokenSpans]:
        """Ids, character spans and word numbers of each text, without special tokens."""
        self._seen += sum(map(len, texts))
        if self._seen < _WORTH_REMEMBERING or self._words is None:
            return self._ask(texts)
        spans = self._words.encode(texts)
        rest = iter(self._ask([t for t, s in zip(texts, spans, strict=True) if s is None]))
        return [span or next(rest) for span in spans]

    def _ask(self, texts: Sequence[str]) -> list[TokenSpans]:
        found = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [_spans(encoding) for encoding in found]

    @cached_property
    def _words(self) -> "WordMemory | None":
        from pipelines.models.words import WordMemory, works_word_by_word  # numba takes .1 s

        return WordMemory(self._backend) if works_word_by_word(self._backend) else None

    def single_template(self) -> tuple[Int32, Int32]:
        """The special ids before and after one text."""
        return self._single

    def pair_template(self) -> PairTemplate:
        """The special ids around a query and a passage.

        Raises:
            InputError: the tokeniser does not keep the two apart in that order.
        """
        return _probe_pair(self._backend)


def load_tokeniser(folder: Path) -> FastTokeniser:
    """The tokeniser of a model's folder: tokenizer.json where there is one, else transformers'.

    tokenizer.json is taken as it stands, plus the lower-casing that sentence_bert_config.json
    may ask for.

    Raises:
        InputError: the folder has no tokeniser, or only one that is written in Python.
    """
    layout = read_layout(folder)
    path = layout.transformer / "tokenizer.json"
    return FastTokeniser(
        _lower_case(Tokenizer.from_file(str(path)) if path.is_file() else _convert(layout), layout)
    )


def document_tokeniser(folder: Path) -> FastTokeniser:
    """The tokeniser of an encoder's documents; raises as `tower_tokeniser`."""
    return tower_tokeniser(read_towers(folder).documents)


def tower_tokeniser(tower: Tower) -> FastTokeniser:
    """The tokeniser of one way of an encoder; a table's puts nothing around a text.

    Raises:
        InputError: the folder has no tokeniser, or only one that is written in Python.
    """
    if not isinstance(tower.source, StaticTable):
        return load_tokeniser(tower.source.transformer)
    path = tower.source.folder / "tokenizer.json"
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise InputError(
            f"{path} cannot be read: {error}.", "Name a complete model folder."
        ) from error
    backend.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return FastTokeniser(backend)


def _lower_case(backend: Tokenizer, layout: Layout) -> Tokenizer:
    if layout.lower_case:
        present = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = NormalizerSequence([Lowercase(), *present])
    return backend


def _convert(layout: Layout) -> Tokenizer:
    """Let transformers build a fast tokeniser from vocab.txt, merges.txt or a sentencepiece."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(layout.transformer, local_files_only=True)
        backend = loaded.backend_tokenizer
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise InputError(
            f"{layout.transformer} has no tokenizer.json and gives no fast tokeniser: {error}.",
            "Save the model's fast tokeniser there: tokenizer.save_pretrained(FOLDER).",
        ) from error
    assert isinstance(backend, Tokenizer)
    return backend


def _spans(encoding: Encoding) -> TokenSpans:
    ids = np.asarray(encoding.ids, np.int32)
    last = encoding.token_to_chars(len(ids) - 1) if len(ids) else None
    return TokenSpans(ids, last[1] if last else 0, partial(_places, encoding))


def _places(encoding: Encoding) -> TokenPlaces:
    offsets = np.asarray(encoding.offsets, np.int32).reshape(-1, 2)  # int32[n, 2]
    # Without special tokens every token belongs to a word.
    return TokenPlaces(offsets[:, 0], offsets[:, 1], np.asarray(encoding.word_ids, np.int32))


def _probe_single(backend: Tokenizer) -> tuple[Int32, Int32]:
    """What the post-processor puts before and after a text; position i is of the text at 0."""
    encoding = backend.encode(_PROBE)
    inside = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 0]
    if not inside:
        raise InputError(f"The tokeniser gives no token for {_PROBE!r}.", "Check tokenizer.json.")
    ids = np.asarray(encoding.ids, np.int32)
    return ids[: inside[0]], ids[inside[-1] + 1 :]


def _probe_pair(backend: Tokenizer) -> PairTemplate:
    encoding = backend.encode(_PROBE, _PROBE)
    ids, types = np.asarray(encoding.ids, np.int32), np.asarray(encoding.type_ids)
    of = np.array([-1 if s is None else s for s in encoding.sequence_ids])  # -1 special, 0, 1
    first, second = np.flatnonzero(of == 0), np.flatnonzero(of == 1)
    if not (len(first) and len(second) and first[-1] < second[0]):
        raise InputError("The tokeniser puts a pair in no usable order.", "Use another reranker.")
    return PairTemplate(
        prefix=ids[: first[0]],
        middle=ids[first[-1] + 1 : second[0]],
        suffix=ids[second[-1] + 1 :],
        types=(int(types[first[0]]), int(types[second[0]])),
    )
