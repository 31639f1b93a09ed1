"""The codec: the trained, empty quantiser that all shards of a version share.

An OPQ rotation (Ge et al., Optimized Product Quantization, CVPR 2013) where the plan says so, then
IVF with PQ codes (Jégou et al., Product Quantization for Nearest Neighbor Search, 2011), for the
inner product; or, of kind "ivfsq8", with 8-bit scalar codes. Before all of it vectors may be cut
to their first components (`prefix.py`). The codes are of the vectors, not of
their residuals: the centroids are normalised as the inner product asks, so residuals are no
smaller, and one product serves all lists. Measured on 14,000 vectors of all-MiniLM-L6-v2 with 24
bytes, the share of the 100 nearest among 200 candidates (32 of 128 lists) is .839 that way and
.808 with residuals. The bytes are those of `faiss.serialize_index`; of kind "ivfrabitq", whose
codes are of residuals, those of `RabitqLists`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError, SettingsError
from shardrank.index.list_centroids import list_centroids
from shardrank.index.prefix import Prefix
from shardrank.index.rabitq import Rabitq
from shardrank.index.rabitq_lists import RabitqLists
from shardrank.version.sizing import CodecPlan

#: Rounds of k-means for a sub-quantiser, of which faiss makes 25: most of the training was theirs.
#: Measured on 83,759 vectors of all-MiniLM-L6-v2 at 48 bytes (64 of 512 lists), over two seeds, the
#: codes alone find .734 of the 100 nearest after 10 rounds and .735 after 25, .732 after 6; without
#: a rotation .663, .663 and .662.
PQ_ROUNDS = 10


def train_codec(sample: Float32, plan: CodecPlan) -> bytes:
    """A trained, empty index; the same sample and plan give the same bytes.

    Args:
        sample: float32[n, d], drawn at random from the whole corpus.
        plan: of any kind but "exact".

    Raises:
        InputError: the sample is not finite, or has too few rows.
        SettingsError: the plan is of an exact index, which has no codec.
    """
    _check(sample, plan)
    if plan.kind == "ivfrabitq":
        return RabitqLists.of(Rabitq.train(sample, plan), []).to_bytes()
    whole = sample.shape[1]
    prefix = Prefix(plan.searched(whole), plan.unit)
    rows, steps = prefix.of(sample), _cutting(prefix, whole)
    if plan.opq:
        with _one_thread():
            rotation = _rotation(rows, plan.pq_m)
            rows = rotation.apply(rows)
        steps.append(rotation)
    ivf = _ivf(list_centroids(rows, plan), plan)
    ivf.train(rows)
    index = faiss.IndexPreTransform(ivf) if steps else ivf
    for step in reversed(steps):
        index.prepend_transform(step)
    return bytes(faiss.serialize_index(index))


def made_by_faiss(data: bytes) -> bool:
    """Whether a codec or shard is of faiss. Its files begin with four letters and the components as
    int32; safetensors with the length of a header of less than 2^32 bytes as int64."""
    return any(data[4:8])


def code_error(codec: bytes, vectors: Float32) -> float:
    """The share of the energy that codes lose: Σ|x - decode(encode(x))|² / Σ|x|², of what the index
    sees of the vectors.

    Args:
        codec: from `train_codec`, checked against its sha256 by the caller.
        vectors: float32[n, d].
    """
    seen, decoded = _by_faiss(codec, vectors) if made_by_faiss(codec) else _by_us(codec, vectors)
    energy = float(np.square(seen).sum())
    return round(float(np.square(seen - decoded).sum()) / energy, 6) if energy else 0.0


def _by_faiss(codec: bytes, vectors: Float32) -> tuple[Float32, Float32]:
    """Both float32[n, d]: what the codes are of, and what they say of it."""
    index: Any = faiss.deserialize_index(np.frombuffer(codec, dtype=np.uint8))
    seen = transformed(index, vectors)
    ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(index))
    return seen, ivf.sa_decode(ivf.sa_encode(seen))


def _by_us(codec: bytes, vectors: Float32) -> tuple[Float32, Float32]:
    rabitq = RabitqLists.load(codec).rabitq
    seen = rabitq.turned(vectors)
    return seen, rabitq.decode(rabitq.encode(seen))


def transformed(index: Any, vectors: Float32) -> Float32:
    """After what a faiss index does with vectors before its lists are chosen."""
    values = np.ascontiguousarray(vectors)
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        for number in range(chain.size()):
            values = chain.at(number).apply(values)
    return values


def _cutting(prefix: Prefix, whole: int) -> list[Any]:
    """What makes the prefix of vectors of `whole` components, as faiss's steps."""
    steps: list[Any] = []
    cut: Any = faiss.RemapDimensionsTransform  # faiss's stubs know another way to call it
    if prefix.dim < whole:
        steps.append(cut(whole, prefix.dim, False))
    if prefix.unit:
        steps.append(faiss.NormalizationTransform(prefix.dim, 2.0))
    return steps


def _check(sample: Float32, plan: CodecPlan) -> None:
    if plan.kind == "exact":
        raise SettingsError("An exact index has no codec to train.", "Set index.kind = ivfpq.")
    if len(sample) < plan.fewest_rows:
        raise InputError(
            f"The training sample has {len(sample)} vectors; {plan.nlist} lists and "
            f"{plan.pq_bits}-bit codes need {plan.fewest_rows}.",
            "Set index.kind = exact, or lower index.nlist or index.pq_bits.",
        )
    wrong = np.flatnonzero(~np.isfinite(sample).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(sample)} training vectors are not finite, first {wrong[0]}.",
            "Sample only live rows.",
        )


def _ivf(centroids: Float32, plan: CodecPlan) -> Any:
    """Lists by their centroids, and codes that are not trained; faiss trains what is left."""
    dim, metric = centroids.shape[1], faiss.METRIC_INNER_PRODUCT
    lists = faiss.IndexFlatIP(dim)
    lists.add(centroids)
    ivf: Any
    if plan.kind == "ivfsq8":
        bits = faiss.ScalarQuantizer.QT_8bit
        ivf = faiss.IndexIVFScalarQuantizer(lists, dim, plan.nlist, bits, metric)
    else:
        ivf = faiss.IndexIVFPQ(lists, dim, plan.nlist, plan.pq_m, plan.pq_bits, metric)
        ivf.pq.cp.seed, ivf.pq.cp.niter = _seed(plan), PQ_ROUNDS
    ivf.by_residual = False
    return ivf


def _rotation(sample: Float32, groups: int) -> Any:
    """The parametric solution of OPQ: principal components, dealt out to the sub-quantisers so that
    each has about the same share of the variance (Ge et al. 2013, §4; in faiss: balanced bins).

    Measured on 168,000 vectors of all-MiniLM-L6-v2 at 48 bytes (64 of 2,048 lists): the codes alone
    find .706 of the 100 nearest, after a second of training; 8 rounds of OPQ from faiss's random
    rotation .677 after 22 s, and rounds from this one no more than it does.
    """
    count, dim = sample.shape
    pca = faiss.PCAMatrix(dim, dim)
    pca.balanced_bins = groups
    # Of fewer rows than components faiss finds no whole basis; repeated, they vary as they did.
    pca.train(np.tile(sample, (-(-dim // count), 1)))
    rotation: Any = faiss.LinearTransform(dim, dim, False)  # without the mean that PCA takes away
    rotation.A = pca.A
    rotation.is_trained = True
    rotation.set_is_orthonormal()
    return rotation


@contextmanager
def _one_thread() -> Iterator[None]:
    """For a while: the bits of these products depend on how many threads there are."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _seed(plan: CodecPlan) -> int:
    return plan.seed % (1 << 31)
