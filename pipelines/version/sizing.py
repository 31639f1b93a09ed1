"""How large an index's pieces are: arithmetic that holds for any corpus, with nothing run.

The rules follow faiss's guidelines (https://github.com/facebookresearch/faiss/wiki/
Guidelines-to-choose-an-index): 4·sqrt(N) lists, and 39 training vectors for each centroid.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import IndexSettings

#: Training vectors for each centroid: the fewest that faiss trains on without a warning, and
#: what we take where the corpus has them.
FEWEST_PER_CENTROID = 39
WANTED_PER_LIST = 64
WANTED_PER_PQ_CENTROID = 256

#: OPQ is worth its product with each vector and query where a code has fewer bits than this for
#: each component. Measured at equal bytes (docs/measured-speed.md, codes of few bits): among 100
#: candidates it finds .049 to .122 more of the 100 nearest at one bit, .034 to .046 at two, .003 at
#: four, and trains as long.
OPQ_BELOW_BITS = 4

#: Text of one token, about; used only to say sizes before the text is read.
BYTES_PER_TOKEN = 4.3

#: Ids of the corpus compared in one process.
KEYS_PER_RANGE = 4_000_000

#: Parts read by one unit of sampling.
SAMPLED_PARTS_PER_UNIT = 32

#: Passages of a shard that has no file: small, so that exact search spreads over the workers.
EXACT_SHARD_PASSAGES = 16_384

#: Bytes of a hit that is refined while it is searched for, and of one that exact search is to keep
#: while it merges them part by part: measured at 12 and at 1 to 2.5
#: million hits, with ids of 8 bytes; each further byte takes three more.
REFINED_BYTES = 20
EXACT_BYTES = 190


#: Parts whose pairs share a file, and pairs of a block in such a file: at least, the latter about.
_BUCKET, _IN_A_FILE = 16, 4096

#: A rule of thumb, before the text is read.
TEXT_PER_COMPRESSED_BYTE = 3

#: Whose codes are numbers of single components.
_SCALAR_KINDS = ("ivfsq8", "ivfrabitq")

#: Of an index.
Kind = Literal["exact", "ivfpq", "ivfsq8", "ivfrabitq", "inverted", "binary", "maxsim", "plaid"]

#: Over token vectors: all of them are compared, or those of passages that centroids choose.
TOKEN_KINDS: frozenset[Kind] = frozenset({"maxsim", "plaid"})

#: Bytes of what a RaBitQ code is multiplied by.
FACTOR_BYTES = 4


@dataclass(frozen=True)
class CodecPlan:
    """What decides a codec. `nlist` to `train_rows` are 0 where the kind has none: "exact",
    "inverted" and "maxsim". Of "binary" all codes are one list, and the codec is that of their
    column; so it is of "plaid", whose nlist are that codec's centroids.

    Of "ivfsq8" every component is a sub-quantiser of 8 bits: pq_m is the dimension, pq_bits 8; of
    "ivfrabitq" one of pq_bits bits. `dim` components are searched, 0: all, and `unit` says that
    these are divided by their norm.
    """

    kind: Kind
    nlist: int
    pq_m: int
    pq_bits: int
    opq: bool
    train_rows: int
    seed: int
    dim: int = 0
    unit: bool = False

    @classmethod
    def without(cls, kind: Kind, seed: int) -> "CodecPlan":
        """Of a kind of index that has no codec."""
        return cls(kind, 0, 0, 0, False, 0, seed)

    @property
    def code_bytes(self) -> int:
        """Bytes of one vector's code."""
        factor = FACTOR_BYTES if self.kind == "ivfrabitq" else 0
        return -(-self.pq_m * self.pq_bits // 8) + factor

    @property
    def place_bytes(self) -> int:
        """Bytes of one vector's position in a shard."""
        return 4 if self.kind == "ivfrabitq" else 8

    def searched(self, dim: int) -> int:
        """Components that are searched of vectors of `dim` components."""
        return self.dim or dim

    @property
    def fewest_rows(self) -> int:
        """Training vectors that faiss's k-means wants at least; scalar codes need no k-means."""
        centroids = 1 << self.pq_bits if self.kind == "ivfpq" else 1
        return FEWEST_PER_CENTROID * max(self.nlist, centroids)


def pairs_per_unit(pairs: int) -> int:
    """Pairs in a unit of reranking, about: a 64th of all, from 256 to 16,384. A part is not split,
    so where many queries meet a small corpus a unit has more.

    Enough for even batches, and for few files where much is scored: a unit writes one for each
    block of queries. Few enough that small work does for several actors and a kill loses little.
    """
    return min(16_384, max(256, pairs // 64))


def pairs_per_list_unit(pairs: int) -> int:
    """Pairs in a unit of reranking by lists, about: a 128th of all, from 128 to 16,384. A language
    model on a CPU scores some ten a second, so a kill loses less than a minute."""
    return min(16_384, max(128, pairs // 128))


def bucket_parts(parts: int, pairs: int) -> int:
    """Parts whose pairs share a file, where a block has so many pairs: a stage that sweeps over the
    parts reads the pairs of its own, and not those of all parts."""
    return max(_BUCKET, math.ceil(parts * _IN_A_FILE / max(1, pairs)))


def default_part_size(corpus_bytes: int) -> int:
    """Passages in a part: about 32 parts of ~1 kB passages, a power of two from 512 to 16,384.

    Few enough that a part costs nothing to keep, enough that a kill loses little.
    """
    wanted = max(1, corpus_bytes // 1000 // 32)
    return min(16_384, max(512, 1 << (wanted.bit_length() - 1)))


def plan_codec(settings: IndexSettings, passages: int, dim: int, unit: bool = True) -> CodecPlan:
    """The index that suits a corpus of so many passages of `dim` components, which the encoder
    divides by their norm where `unit`.

    Lists are counted for one shard, not for the corpus: shards are searched one by one, so each
    shard has all `nlist` lists, and more of them than sqrt(shard) asks for only cost time.

    Raises:
        SettingsError: as `refuse_misfits`, or the passages are too few for the lists or for the
            training.
    """
    seen = searched(settings, dim)
    small = settings.kind == "auto" and passages <= settings.exact_below
    if settings.kind == "exact" or small:
        return CodecPlan.without("exact", settings.seed)
    nlist = settings.nlist or _nlist(passages, settings.shard_passages)
    if settings.kind in _SCALAR_KINDS:
        kind: Kind = "ivfsq8" if settings.kind == "ivfsq8" else "ivfrabitq"
        bits = 8 if kind == "ivfsq8" else settings.rabitq_bits
        rows = min(passages, settings.train_rows or WANTED_PER_LIST * nlist)
        plan = CodecPlan(kind, nlist, seen, bits, False, rows, settings.seed)
    else:
        plan = _plan_pq(settings, passages, seen, nlist)
    if seen < dim:
        plan = replace(plan, dim=seen, unit=unit)
    _refuse_few(settings, plan, passages)
    return plan


def _plan_pq(settings: IndexSettings, passages: int, dim: int, nlist: int) -> CodecPlan:
    pq_m, bits = _pq_m(settings, dim), settings.pq_bits
    wanted = max(WANTED_PER_LIST * nlist, WANTED_PER_PQ_CENTROID << bits)
    rows = min(passages, settings.train_rows or wanted)
    opq = pq_m * bits < OPQ_BELOW_BITS * dim if settings.opq is None else settings.opq
    return CodecPlan("ivfpq", nlist, pq_m, bits, opq, rows, settings.seed)


def refuse_misfits(settings: IndexSettings, dim: int, part_size: int) -> None:
    """Refuse what can be seen to fail before the passages are counted, let alone embedded.

    With kind = auto the index may turn out exact, which uses none of these settings; they are
    refused all the same, so that a corpus that grows past exact_below does not fail at its very
    end.

    Raises:
        SettingsError: index.dim is more than dim, or of an exact index; pq_m does not divide the
            components; or a shard cannot hold one part.
    """
    seen = searched(settings, dim)
    if settings.kind == "exact":
        return
    if settings.kind not in _SCALAR_KINDS:
        _pq_m(settings, seen)
    refuse_small_shards(settings, part_size)


def refuse_small_shards(settings: IndexSettings, part_size: int) -> None:
    """Raise SettingsError where a shard cannot hold one part."""
    if settings.shard_passages < part_size:
        raise SettingsError(
            f"index.shard_passages = {settings.shard_passages}, but a part has {part_size} "
            "passages or more.",
            "Raise index.shard_passages, or lower passages.part_size.",
        )


def searched(settings: IndexSettings, dim: int) -> int:
    """Components that an index looks at, of vectors of `dim`. Raises SettingsError where they have
    fewer, or where the index is exact, which looks at all."""
    if settings.dim is None:
        return dim
    if settings.dim > dim:
        raise SettingsError(
            f"index.dim = {settings.dim} is more than the vectors' {dim} components.",
            f"Set it to {dim} at most, or leave it out.",
        )
    if settings.kind == "exact":
        raise SettingsError(
            f"index.dim = {settings.dim}, but exact search compares whole vectors.",
            "For a pass over the first components of all vectors, and exact scores of what it "
            "finds, set index.kind = ivfsq8 and index.nlist = 1.",
        )
    return settings.dim


def refuse_vector_settings(settings: IndexSettings) -> None:
    """Raise SettingsError where what only an index over dense vectors has is asked of another."""
    known = {"of", "shard_passages"} | ({"kind"} if settings.kind == "none" else set())
    # All fields of an index's own settings are set, those that nobody asked for to the default.
    default = IndexSettings(of=settings.of)
    unlike = {n for n in IndexSettings.model_fields if getattr(settings, n) != getattr(default, n)}
    asked = unlike - known
    if asked:
        raise SettingsError(
            f"index.{settings.of}.{min(asked)} is of vectors, and the column {settings.of!r} holds "
            "no dense ones.",
            f"Leave it out; known here: {', '.join(sorted(known))}.",
        )


def _nlist(passages: int, shard_passages: int) -> int:
    """The power of two nearest to 4·sqrt(shard) that leaves 39 training vectors a list."""
    wanted = 4 * math.sqrt(max(1, min(passages, shard_passages)))
    most = max(1, passages // FEWEST_PER_CENTROID)
    return 1 << min(round(math.log2(wanted)), most.bit_length() - 1)


def _pq_m(settings: IndexSettings, dim: int) -> int:
    """The largest divisor of dim within the byte budget, or the setting where it divides dim."""
    divisors = [m for m in range(1, dim + 1) if dim % m == 0]
    if settings.pq_m is not None:
        if settings.pq_m not in divisors:
            raise SettingsError(
                f"index.pq_m = {settings.pq_m} does not divide the vectors' {dim} components"
                f"{' (index.dim)' if settings.dim else ''}.",
                f"Choose one of {', '.join(map(str, divisors))}.",
            )
        return settings.pq_m
    budget = settings.bytes_per_vector * 8 // settings.pq_bits
    fitting = [m for m in divisors if m <= budget]
    if not fitting:
        raise SettingsError(
            f"index.bytes_per_vector = {settings.bytes_per_vector} holds no "
            f"{settings.pq_bits}-bit code.",
            "Raise it.",
        )
    return fitting[-1]


def _refuse_few(settings: IndexSettings, plan: CodecPlan, passages: int) -> None:
    table = "index" if settings.of == "dense" else f"index.{settings.of}"
    if plan.nlist > passages:
        raise SettingsError(
            f"{table}.nlist = {plan.nlist} is more than the corpus's {passages} passages.",
            f"Lower {table}.nlist, or set {table}.kind = exact.",
        )
    if plan.train_rows < plan.fewest_rows:
        raise SettingsError(
            f"{plan.kind} with {plan.nlist} lists and {plan.pq_bits}-bit codes trains on at least "
            f"{plan.fewest_rows} vectors ({FEWEST_PER_CENTROID} for each of "
            f"{plan.fewest_rows // FEWEST_PER_CENTROID} centroids); the plan has "
            f"{plan.train_rows}, of {passages} passages.",
            f"Set {table}.kind = exact, or lower {table}.nlist or {table}.pq_bits.",
        )


def shares(k: int, documents: Sequence[int]) -> list[int]:
    """Documents that each shard gives a query at least, so that all of them together give k.

    Args:
        k: documents wanted, at least 1.
        documents: that each shard holds.

    Returns:
        For each shard its share of k, rounded up; all of its documents where there are no k.
    """
    wanted = min(k, sum(documents))
    return [-(-wanted * held // max(1, sum(documents))) for held in documents]


def queries_at_once(memory: int, k: int, hits: int, dim: int) -> int:
    """How many queries are searched at once, at least 1.

    A larger batch is searched in groups, and each group reads the shard's vectors anew.

    Args:
        memory: bytes for them, with all of their hits.
        k, hits, dim: as of `query_bytes`.
    """
    return max(1, memory // query_bytes(k, hits, dim))


def query_bytes(k: int, hits: int, dim: int) -> int:
    """Memory of a query that is searched for in a shard, with its hits.

    Args:
        k: documents kept for each query.
        hits: passages refined for each query; 0: exact search.
        dim: components of a vector.
    """
    return 4 * dim + (hits * REFINED_BYTES if hits else k * EXACT_BYTES)


def plan_shards(part_rows: Sequence[int], shard_passages: int) -> list[list[int]]:
    """Consecutive parts grouped into as few shards as the limit allows, the largest minimal.

    Args:
        part_rows: rows of each part, in the version's order.
        shard_passages: rows in a shard, at most; a part with more of them is a shard alone.

    Returns:
        The parts' indices, one list a shard; every part once, in order.
    """
    if not part_rows:
        return []
    largest = min(max(part_rows), shard_passages)
    fewest = len(fill(part_rows, shard_passages))
    limits = range(largest, shard_passages + 1)
    # A higher limit never needs more shards, so the lowest that needs no more is found by halving.
    place = bisect_left(limits, True, key=lambda limit: len(fill(part_rows, limit)) <= fewest)
    return fill(part_rows, limits[place])


def fill(rows: Sequence[int], limit: int) -> list[list[int]]:
    """Pieces in order, put together as far as the limit on their rows allows: their indices.

    A piece that is larger than the limit stands alone.
    """
    groups: list[list[int]] = [[]]
    held = 0
    for piece, size in enumerate(rows):
        if held + size > limit and groups[-1]:
            groups.append([])
            held = 0
        groups[-1].append(piece)
        held += size
    return groups
