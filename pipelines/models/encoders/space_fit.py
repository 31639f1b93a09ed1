"""What a map between two encoders' vectors learns of passages that both have seen, and what it
finds of what the new vectors find.

Orthogonal: the rotation that brings old vectors nearest to new ones (Schönemann, A Generalized
Solution of the Orthogonal Procrustes Problem, Psychometrika 1966): with U·S·Vᵀ = Xᵀ·Y of centred
vectors, R = U·Vᵀ. Where the dimensions differ, R has orthonormal rows or columns. Affine: least
squares with a ridge, W = (Xᵀ·X + r·I)⁻¹·Xᵀ·Y. BT² (Zhou et al., ICCV 2023, arXiv 2302.03989) trains
the new model together with such a basis transformation; here both models are given.

Least squares draw what they do not know towards the mean, so that mapped vectors stand closer
together than new ones, and where both are searched one kind crowds out the other. So each map is
scaled until mapped vectors spread as the new ones do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.errors import InputError
from shardrank.core.space_map import MapKind, SpaceMap
from shardrank.kernels.rotation_loops import along

#: Passages whose nearest are compared: Recall@10.
NEAREST = 10

#: Ridges of affine maps that are tried, as shares of the mean variance of a component.
RIDGES = (0.001, 0.01, 0.1, 1.0)

#: A quarter of the pairs measures; another one chooses, before the map is fitted on it, too.
_QUARTERS = 4

#: Fewer pairs than this to measure with say nothing: nearly all of them are near.
_FEWEST_MEASURED = 4 * NEAREST

_SEED = 0


@dataclass(frozen=True, eq=False)
class Pairs:
    """Passages that both encoders have seen: old vectors float32[n, d], new ones float32[n, e]."""

    old: Float32
    new: Float32

    def take(self, rows: Int64) -> "Pairs":
        """Some of them."""
        return Pairs(self.old[rows], self.new[rows])


@dataclass(frozen=True)
class Way:
    """How a map is fitted; an affine one with a ridge."""

    kind: MapKind
    ridge: float = 0.0


#: In the order in which they are preferred where they find as much.
WAYS = (Way("orthogonal"), *(Way("affine", ridge) for ridge in RIDGES))


@dataclass(frozen=True, eq=False)
class FittedMap:
    """A map, and what it finds.

    Attributes:
        way: the one that found most among pairs that it was not fitted on, with all of them mapped
            and with every other one.
        recall: share of the NEAREST new vectors that are among the NEAREST through the map.
        measured: pairs that recall was measured among; the map has seen none of them.
    """

    map: SpaceMap
    way: Way
    recall: float
    measured: int


def fit_space(pairs: Pairs, unit: bool, asked: Float32 | None = None) -> FittedMap:
    """The best map of `WAYS`; the same pairs give the same bytes.

    Args:
        pairs: of a random sample of passages.
        unit: whether the new encoder's vectors have length 1.
        asked: float32[q, e], queries by the new encoder; None: the measured passages ask for their
            like.

    Raises:
        InputError: there are too few pairs to say what a map finds.
    """
    measured, choosing, fitting = _split(len(pairs.old))
    if len(measured) < _FEWEST_MEASURED:
        raise InputError(
            f"A map between two encoders is learnt of passages that both have seen, and there are "
            f"{len(pairs.old)}; {_QUARTERS * _FEWEST_MEASURED} are needed.",
            "Embed all documents at once: --set backfill.share=1.",
        )
    chosen = _best(pairs.take(fitting), pairs.take(choosing), unit)
    found = fit_way(pairs.take(np.concatenate([choosing, fitting])), chosen, unit)
    recall = map_recall(found, pairs.take(measured), asked)
    return FittedMap(found, chosen, recall, len(measured))


def _split(count: int) -> tuple[Int64, Int64, Int64]:
    """Rows that measure, that choose and that are fitted on."""
    rows = np.random.default_rng(_SEED).permutation(count)
    quarter = count // _QUARTERS
    return rows[:quarter], rows[quarter : 2 * quarter], rows[2 * quarter :]


def _best(fitting: Pairs, choosing: Pairs, unit: bool) -> Way:
    maps = [fit_way(fitting, way, unit) for way in WAYS]
    recalls = [map_recall(m, choosing) + map_recall(m, choosing, half=True) for m in maps]
    return WAYS[int(np.argmax(recalls))]


def fit_way(pairs: Pairs, way: Way, unit: bool) -> SpaceMap:
    """The map of one way. By torch in float64, which the caller keeps to one thread: its sums then
    have one order."""
    import torch

    old, new = (torch.from_numpy(each).double() for each in (pairs.old, pairs.new))
    mean, bias = old.mean(dim=0), new.mean(dim=0)
    old, new = old - mean, new - bias
    if way.kind == "orthogonal":
        left, _, right = torch.linalg.svd(old.T @ new, full_matrices=False)
        axes = (left @ right).T
    else:
        gram = old.T @ old
        ridge = way.ridge * gram.diagonal().mean().clamp_min(1e-300)
        axes = torch.linalg.solve(gram + ridge * torch.eye(len(gram)), old.T @ new).T
    spread = (old @ axes.T).square().sum().clamp_min(1e-300)
    axes = axes * (new.square().sum() / spread).sqrt()
    mean32, axes32, bias32 = (each.float().contiguous().numpy() for each in (mean, axes, bias))
    return SpaceMap(way.kind, mean32, axes32, bias32, unit)


def through(found: SpaceMap, vectors: Float32) -> Float32:
    """float32[n, e] of float32[n, d]; a row's bits do not depend on the others."""
    moved: Float32 = along(vectors - found.mean, found.axes) + found.bias
    if found.unit:
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        moved /= np.maximum(norms, np.finfo(np.float32).tiny)
    return moved


def map_recall(
    found: SpaceMap, pairs: Pairs, asked: Float32 | None = None, half: bool = False
) -> float:
    """Of each query's NEAREST passages by their new vectors, the share that is among the NEAREST
    through the map. Passages that ask do not find themselves.

    Args:
        asked: as of `fit_space`.
        half: whether every other passage stands by its new vector, as in the midst of a backfill.
    """
    itself = asked is None
    queries = pairs.new if asked is None else asked
    mapped = through(found, pairs.old)
    if half:
        mapped[::2] = pairs.new[::2]
    shares = [
        np.isin(true, near).mean()
        for block in _blocks(len(queries))
        for true, near in zip(
            _nearest(queries[block], pairs.new, block, itself),
            _nearest(queries[block], mapped, block, itself),
            strict=True,
        )
    ]
    return float(np.mean(shares))


#: Queries whose scores are held at once.
_BLOCK = 512


def _blocks(count: int) -> Iterator[Sequence[int]]:
    for begin in range(0, count, _BLOCK):
        yield range(begin, min(begin + _BLOCK, count))


def _nearest(queries: Float32, vectors: Float32, block: Sequence[int], itself: bool) -> Int64:
    """int64[q, NEAREST]: the rows of highest inner product, ties by row. By torch, as `fit_way`."""
    import torch

    asked, held = (torch.from_numpy(each).double() for each in (queries, vectors))
    scores = (asked @ held.T).numpy()
    if itself:
        scores[np.arange(len(block)), block] = -np.inf
    order: Int64 = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
    return order
