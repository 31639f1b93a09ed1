"""What the floors ask of each other. Siblings on floor 1 meet only through these."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from shardrank.core.arrays import Bool, Float32, Int8, Int32
from shardrank.core.files import FileRef
from shardrank.core.sampling import Sampling


@dataclass(frozen=True)
class Entry:
    """A listed file.

    Attributes:
        version: changes when the content does (ETag; of a local source what
            `shardrank.storage.stamp` says; else mtime in ns and size).
        modified: when it was written, seconds since 1970, by the storage's clock.
    """

    key: str
    bytes: int
    version: str
    modified: float = 0.0


class Storage(Protocol):
    """One root (a folder, or s3://bucket/prefix) under which keys are relative POSIX paths.

    Instances are picklable and cheap: they travel to the workers. Files are written whole, so a
    reader never sees half of one.
    """

    @property
    def root(self) -> str: ...

    def read(self, key: str) -> bytes:
        """The whole file. Raises InputError where it does not exist."""

    def read_checked(self, ref: FileRef) -> bytes:
        """The whole file, after its length and sha256 were checked. Raises IntegrityError."""

    def write(self, key: str, data: bytes, rows: int = 0) -> FileRef:
        """Write or replace the whole file atomically and durably; returns what vouches for it."""

    def create(self, key: str, data: bytes) -> None:
        """Write the file only if it does not exist. Raises CommitConflict where it does."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[Entry]:
        """All files below the folder `prefix`, recursively, sorted by key; [] where none."""

    def delete(self, key: str) -> None:
        """Remove a file; removing what is not there is no error."""

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold `key` exclusively while the context lasts; dies with the process.

        Raises CommitConflict where another process holds it.
        """


@dataclass(frozen=True)
class TokenPlaces:
    """Where a text's tokens lie: their characters and the numbers of their words, all int32[n].

    `words[i]` numbers the word that token i belongs to, so that a cut need not split a word.
    """

    starts: Int32
    ends: Int32
    words: Int32


class TokenSpans(NamedTuple):
    """A text's tokens without special tokens. (As a dataclass it would cost more than its tokens.)

    Attributes:
        ids: int32[n].
        end: the character behind the last token; 0: there is none.
        places: where they lie. Made on demand: a text that need not be cut has no use for it, and
            from the library it takes six times as long as the ids.
    """

    ids: Int32
    end: int
    places: Callable[[], TokenPlaces]


class Tokeniser(Protocol):
    """Turns text into ids; the special tokens are added where a model's input is put together."""

    @property
    def fingerprint(self) -> str:
        """Equal for two tokenisers exactly when they give equal ids."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def specials(self) -> int:
        """How many special tokens the model adds around one text."""

    def encode(self, texts: Sequence[str]) -> list[TokenSpans]: ...


class Encoder(Protocol):
    """Texts or ids → float32[n, dim] vectors (normalised where the model asks for it)."""

    @property
    def dim(self) -> int: ...

    def encode_ids(self, ids: Sequence[Int32]) -> Float32:
        """One vector per token list (no special tokens in it), in the order given."""

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        """One vector per query, with the model's query prompt."""


@dataclass(frozen=True)
class Codecs:
    """What was fitted before columns were made, as the bytes that were stored; none: nothing was.

    Attributes:
        own: of the column itself.
        source: of the column that it is made of.
    """

    own: bytes | None = None
    source: bytes | None = None


class ColumnEncoder(Protocol):
    """Makes a further column of a version, and the like of queries, from texts or from another
    column. The column's Arrow type says of which kind its values are: see
    `shardrank.core.schemas.column_schema`."""

    def column(self, read: pa.Array) -> pa.Array:
        """A value of each passage: of its title and text, as strings, with its picture beside it
        where the family reads pictures and the part has any (`shardrank.core.pictured`), or of its
        value in the column that this one is made of."""

    def queries(self, read: pa.Array) -> pa.Array:
        """A value of each query: of its text, with its picture likewise, or of its value by that
        column's encoder."""


@dataclass(frozen=True, eq=False)
class CountedColumn:
    """A column's values, and what was counted when they were made."""

    values: pa.Array
    counts: Mapping[str, int]


@runtime_checkable
class CountingEncoder(ColumnEncoder, Protocol):
    """One that counts what it does, for the unit's marker."""

    def counted_column(self, read: pa.Array) -> CountedColumn:
        """What `column` makes, with counts by name."""


@dataclass(frozen=True)
class PairScores:
    """float32[n] raw logits of n pairs, and whether each pair had to be cut to fit the model."""

    logits: Float32
    truncated: Bool


class Reranker(Protocol):
    """Scores (query, passage) pairs. Queries and passages are tokenised once, then paired."""

    @property
    def tokeniser(self) -> Tokeniser: ...

    @property
    def prompt(self) -> str:
        """What stands before every query."""

    def score(
        self, queries: Sequence[Int32], passages: Sequence[Int32], left: Int32, right: Int32
    ) -> PairScores:
        """Pair i is (queries[left[i]], passages[right[i]]), both without special tokens."""


@dataclass(frozen=True, eq=False)
class ListScores:
    """What a list reranker makes of a query's n passages.

    Attributes:
        scores: float32[n], higher is better; NaN: the model gave none. An order's scores are minus
            the rank, from -1.
        truncated: bool[n], whether a passage had to be cut.
        counts: how often the model was asked, and what it did: "calls", "generated" tokens,
            "mended" and "unparsed" answers, as far as the family has them.
        answers: what it wrote, one a call, where that is kept.
    """

    scores: Float32
    truncated: Bool
    counts: Mapping[str, int]
    answers: Sequence[str] = ()


class ListReranker(Protocol):
    """Scores or orders a query's passages."""

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """Of passages (title and text) in the order so far, at least one. Depends on nothing but
        its arguments, so a query's list is the same in any block and batch."""


class Decoder(Protocol):
    """A causal language model on one device.

    Inputs are int32[n] token lists, special tokens among them, at least one token each. What comes
    of one depends on the others of its call by rounding alone, and equal calls give equal bits.
    """

    @property
    def way(self) -> str:
        """How the model runs, for people."""

    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        """float32[n, a]: the logits of the answers int32[a] behind each input; the rest of the
        last map is not multiplied. Logits that are no numbers are given as they are."""

    def logprobs(self, inputs: Sequence[Int32], begins: Sequence[int]) -> list[Float32]:
        """Natural logarithms of the probabilities of each input's tokens from its `begin` on, which
        is at least 1, since nothing says how probable a first token is: float32[n - begin] each."""

    def generate(
        self,
        inputs: Sequence[Int32],
        most: int,
        ends: frozenset[int],
        sampling: Sampling | None = None,
    ) -> list[Int32]:
        """int32[at most `most`]: what follows each input, each token the one of largest logit, or
        drawn. It stops before a token of `ends`, and where all logits are no numbers."""

    def attended(self, input: Int32, asking: range) -> Float32:
        """float32[n]: how much attention, after the softmax, the places `asking` give to each,
        summed over these places, heads and layers (Chen et al. 2024, arXiv:2410.02642).

        Raises:
            InputError: the model's layers do not say how they attend.
        """


class Int8Product(Protocol):
    """A product of matrices of 8-bit numbers, exact."""

    def __call__(self, left: Int8, right: Int8) -> Int32:
        """int32[q, n] inner products of the rows of int8[q, d] and int8[n, d]."""


class SourceOpener(Protocol):
    """Opens a source file for reading bytes (decompression is the reader's business)."""

    def __call__(self, uri: str, version: str | None = None) -> BinaryIO:
        """Raises InputError where a version is given and the file's is another by now."""
