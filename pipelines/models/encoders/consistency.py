"""Which of the texts that were written about a passage are kept: those that find it.

Texts that a model made up hurt a ranking (Gospodinov et al. 2023, Doc2Query--, arXiv:2301.03266).
One is kept where its passage is among the first of itself and a sample of others, the round trip of
Dai et al. 2022 (Promptagator, arXiv:2209.11755): that depends on the passage and the sample alone,
so no part need know of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import save

from shardrank.core.arrays import Float32, Float64, Int64, UInt64
from shardrank.core.cards import WrittenCard
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.finite import Source, finite_rows, refuse_broken
from shardrank.core.tensors import Held, read_tensors
from shardrank.core.written_settings import WrittenSettings
from shardrank.models.cards import check_fingerprint
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.encoders.written_cards import filter_settings

#: Texts that are compared with the sample at once.
_AT_ONCE = 1024

_LAYOUT = {"vectors": Held(2), "texts": Held(1, (np.uint64,))}


def _broken(what: str) -> IntegrityError:
    message = f"The file of passages that written texts are filtered by {what}."
    return IntegrityError(message, "Index again.")


@dataclass(frozen=True, eq=False)
class Rivals:
    """The sample that passages are ranked among.

    Attributes:
        vectors: float32[n, d].
        texts: uint64[n], hashes of their texts: no passage is its own rival.
    """

    vectors: Float32
    texts: UInt64

    @classmethod
    def of(cls, data: bytes | None) -> "Rivals":
        """From the bytes of a safetensors file. Raises IntegrityError where they are not of one."""
        held = read_tensors(data or b"", _LAYOUT, _broken)
        if len(held["vectors"]) != len(held["texts"]):
            raise _broken("has not as many texts as vectors")
        return cls(held["vectors"], held["texts"])

    def to_bytes(self) -> bytes:
        """As a safetensors file, which is the same for equal ones."""
        return save({"vectors": self.vectors, "texts": self.texts})

    def ranks(self, asked: Float32, own: Float32, texts: UInt64) -> Int64:
        """int64[m]: of each text its passage's rank, from 1, among itself and the sample, by inner
        products in float64; of equal ones it is the first. Numbers that are not finite have it
        behind all.

        Args:
            asked: float32[m, d], the vectors of texts.
            own: float32[m, d], those of their passages.
            texts: uint64[m], hashes of these passages.
        """
        finite = finite_rows(asked) & finite_rows(own)
        asked, own = (np.where(finite[:, None], each, np.float32(0)) for each in (asked, own))
        found = np.empty(len(asked), np.int64)
        for begin in range(0, len(asked), _AT_ONCE):
            some = slice(begin, begin + _AT_ONCE)
            wide = asked[some].astype(np.float64)
            mine = (wide * own[some]).sum(axis=1)
            products = wide @ self.vectors.T.astype(np.float64)
            others = texts[some, None] != self.texts
            ahead = products > (mine + _slack(wide, own[some], self.vectors))[:, None]
            found[some] = 1 + (ahead & others).sum(axis=1)
        return np.where(finite, found, len(self.texts) + 2)


def _slack(asked: Float64, own: Float32, others: Float32) -> Float64:
    """float64[m]: far above what a sum of products is rounded by, and far below what vectors of
    float32 differ in, so that a rank depends on no order of sums."""
    longest = max(float(np.linalg.norm(each, axis=1).max(initial=0)) for each in (own, others))
    found: Float64 = 1e-12 * np.linalg.norm(asked, axis=1) * longest
    return found


class ConsistencyFilter:
    """Keeps the texts by which a bi-encoder finds their passages."""

    def __init__(self, encoder: BiEncoder, rivals: Rivals, keep_rank: int) -> None:
        self._encoder, self._rivals, self._keep_rank = encoder, rivals, keep_rank
        card = encoder.card
        self._source = Source("encoder", card.name, card.dtype, "vector")

    def kept(self, passages: Sequence[str], written: Sequence[Sequence[str]]) -> list[list[str]]:
        """Of each passage the texts that are kept, in their order.

        Raises:
            InputError: no vector is finite.
        """
        flat = list(chain.from_iterable(written))
        if not flat:
            return [[] for _ in written]
        counts = np.fromiter(map(len, written), np.int64, len(written))
        stays = iter((self._ranks(passages, flat, counts) <= self._keep_rank).tolist())
        return [[text for text in texts if next(stays)] for texts in written]

    def _ranks(self, passages: Sequence[str], flat: Sequence[str], counts: Int64) -> Int64:
        """int64[m] of all texts; passages without any are not encoded."""
        rows = np.flatnonzero(counts)
        asking = [passages[row] for row in rows.tolist()]
        asked, own = self._encoder.encode_queries(flat), self._encoder.encode_documents(asking)
        broken = int((~finite_rows(asked)).sum())
        refuse_broken(self._source, broken, len(asked), "texts that were written about a part")
        each = np.repeat(np.arange(len(rows)), counts[rows])
        return self._rivals.ranks(asked, own[each], text_hashes(asking)[each])


def load_filter(
    settings: WrittenSettings, device: str, card: WrittenCard, codec: bytes | None
) -> ConsistencyFilter | None:
    """The filter that the settings ask for; none: they ask for none.

    Raises:
        InputError, SettingsError: as loading the bi-encoder.
        IntegrityError: the model here is another one, or there is no sample.
    """
    wanted = filter_settings(settings)
    if wanted is None:
        return None
    encoder = load_encoder(wanted, device)
    check_fingerprint(wanted.model, card.filter, encoder.card.fingerprint)
    return ConsistencyFilter(encoder, Rivals.of(codec), card.keep_rank)


def fit_rivals(
    settings: WrittenSettings, card: WrittenCard, device: str, sample: pa.Array
) -> bytes:
    """The sample as bytes of a safetensors file; equal samples give equal bytes.

    Args:
        settings, card: of the encoder.
        device: torch's name of a device.
        sample: strings, title and text of passages in one; equal ones count once, blank ones not.

    Raises:
        InputError: as loading the bi-encoder; or no vector is finite.
    """
    wanted = filter_settings(settings)
    assert wanted is not None
    encoder = load_encoder(wanted, device)
    check_fingerprint(wanted.model, card.filter, encoder.card.fingerprint)
    texts = list(dict.fromkeys(text for text in sample.to_pylist() if text.strip()))
    vectors = encoder.encode_documents(texts)
    finite = finite_rows(vectors)
    if not finite.any():
        raise InputError(
            f"The encoder {wanted.model!r} gives no finite vector of {len(texts):,} passages.",
            "Check its weights, or leave filter_model out.",
        )
    return Rivals(vectors[finite], text_hashes(texts)[finite]).to_bytes()


def text_hashes(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """uint64[n] of texts."""
    digests = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)
