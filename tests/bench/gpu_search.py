"""The product's search on a device: list-major over lists that are made here, and exact choice.

What is measured is `ListSearch` by `TorchSelector`, and `DeviceCandidates` by `TorchPairs`: nothing
of faiss or numba, which a bare machine lacks; what numba scores is left out there. The peer is a
product of everything with everything, and torch's top-k.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Bool, Float32, Int8, Int64
from shardrank.index.list_major import ListSearch, rounded
from shardrank.models.forward.select_pairs import TorchPairs
from shardrank.models.forward.select_rows import TorchSelector
from tests.bench.bare import named_only
from tests.bench.gpu_setup import Setup
from tests.bench.harness import AnswersDisagree, Benchmark, Contender, Duel
from tests.bench.vectors import Collection, collection

with named_only():
    from shardrank.index.blocks import PartBlock
    from shardrank.index.device_pairs import DeviceCandidates
    from shardrank.index.pairs import pair_scores

K, TARGET, PART, BLOCK = 100, 0.95, 16_384, 4_096
#: The share of the nearest that two orders of summation may name differently.
NEAR = 1e-3
#: Products of the peer that are held at a time.
CELLS = 1 << 28
BRUTE = "torch, fp32 products and top-k"


@dataclass(frozen=True)
class Scale:
    """How many vectors are searched, in how many lists, and how many queries are judged."""

    rows: int
    queries: int
    nlist: int
    judged: int


FULL = Scale(rows=1_000_000, queries=100_000, nlist=2_048, judged=1_000)
SMALL = Scale(rows=2_000, queries=200, nlist=16, judged=50)


@dataclass(frozen=True, eq=False)
class MadeLists:
    """Rows by the nearest of some of them, in 8 bits by one scale (protocol: StoredLists): what an
    index of kind ivfsq8 comes to where all components spread alike.

    Attributes:
        centres: float32[nlist, d].
        places: int64[n], the rows of list 0, then those of list 1, …
        stored: int8[n, d], in that order.
        ends: int64[nlist + 1].
    """

    centres: Float32
    places: Int64
    stored: Int8
    ends: Int64

    @property
    def size(self) -> int:
        return len(self.places)

    @cached_property
    def centroids(self) -> Int8:
        return rounded(self.centres.reshape(1, -1)).reshape(self.centres.shape)

    def rotated(self, queries: Float32) -> Float32:
        return queries

    def scaled(self, rotated: Float32) -> Float32:
        return rotated

    def rows(self, number: int, live: Bool | None) -> tuple[Int64, Int8]:
        mine = slice(self.ends[number], self.ends[number + 1])
        return self.places[mine], self.stored[mine]


@dataclass(frozen=True, eq=False)
class Field:
    """Vectors, the exact nearest of the first queries (int64[judged, k]), and lists of them."""

    made: Collection
    nearest: Int64
    lists: MadeLists

    def recall(self, found: Int64) -> float:
        """Of the judged queries."""
        both = zip(self.nearest, found, strict=False)
        return float(np.mean([np.isin(wanted, row).mean() for wanted, row in both]))


def make_field(setup: Setup) -> Field:
    """Vectors and lists, which both benchmarks share."""
    scale = SMALL if setup.small else FULL
    made = collection(scale.rows, scale.queries)
    stored = torch.from_numpy(made.stored).to(setup.device)
    nearest = brute_force(stored, made.queries[: scale.judged], setup.device)
    return Field(made, nearest, make_lists(made.stored, scale.nlist, setup.device))


@torch.inference_mode()
def make_lists(stored: Float32, nlist: int, device: torch.device) -> MadeLists:
    """Lists of float32[n, d]."""
    centres = stored[:: len(stored) // nlist][:nlist].copy()
    there, height = torch.from_numpy(centres).to(device), max(1, CELLS // nlist)
    nearest = np.concatenate(
        [
            (torch.from_numpy(stored[at : at + height]).to(device) @ there.T).argmax(1).cpu()
            for at in range(0, len(stored), height)
        ]
    )
    order = np.argsort(nearest, kind="stable")
    small = rounded(stored.reshape(1, -1)).reshape(stored.shape)
    ends = np.concatenate([[0], np.bincount(nearest, minlength=nlist).cumsum()])
    return MadeLists(centres, order, small[order], ends)


@torch.inference_mode()
def brute_force(rows: Tensor, queries: Float32, device: torch.device) -> Int64:
    """int64[Q, k]: the nearest of all [n, d] rows."""
    height = max(1, CELLS // len(rows))
    found = [
        (torch.from_numpy(queries[at : at + height]).to(device) @ rows.T).topk(K).indices
        for at in range(0, len(queries), height)
    ]
    best: Int64 = torch.cat(found).cpu().numpy()
    return best


def list_major(field: Field, setup: Setup) -> Benchmark:
    """As few lists as reach TARGET, against brute force."""
    searched = ListSearch(field.lists, TorchSelector(str(setup.device)))
    queries, judged = field.made.queries, field.made.queries[: len(field.nearest)]
    nlist = len(field.lists.centroids)
    tried = sorted({min(nlist, 2**i) for i in range(nlist.bit_length() + 1)})
    enough = (n for n in tried if field.recall(searched.search(judged, n, K, None)) >= TARGET)
    nprobe = next(enough, nlist)
    ours = Contender(
        f"shardrank, {nprobe} of {nlist} lists",
        partial(searched.search, queries, nprobe, K, None),
        1 - TARGET + 0.02,  # where 8 bits find no more in all lists
    )
    return _benchmark(f"search, recall {TARGET}", field, setup, [ours])


def exact(field: Field, setup: Setup) -> Benchmark:
    """Every vector compared, by one block of queries: choosing alone, and with the exact scores,
    which are a CPU's. Raises AnswersDisagree where what is chosen are not the nearest."""
    parts, queries = make_parts(field.made.stored), field.made.queries[:BLOCK]
    found, floors = sweep(parts, queries, setup.device)
    if field.recall(found) < 1 - NEAR:
        raise AnswersDisagree(f"exact search finds {field.recall(found):.4f} of the nearest.")
    ways = {"shardrank": True, "shardrank, choice alone": False}
    if find_spec("numba") is None:
        ways.pop("shardrank")
        setup.skip("exact search with its scores", "numba compiles the loop that scores pairs")
    ours = [
        Contender(name, partial(choose, parts, queries, floors, setup.device, scored), None)
        for name, scored in ways.items()
    ]
    smaller = Field(Collection(field.made.stored, queries), field.nearest, field.lists)
    return _benchmark("exact search", smaller, setup, ours)


def make_parts(stored: Float32) -> list[Any]:
    """Parts of the usual size, of documents of one passage, all live."""
    blocks = (stored[at : at + PART] for at in range(0, len(stored), PART))
    nothing: Any = None
    return [
        PartBlock(number, nothing, np.zeros(len(block), np.int32), block, np.ones(len(block), bool))
        for number, block in enumerate(blocks)
    ]


def sweep(
    parts: Sequence[Any], queries: Float32, device: torch.device
) -> tuple[Int64, Sequence[Float32]]:
    """The nearest int64[Q, k], and what a sweep over the parts knows as it comes to each of them:
    the score float32[Q] of a query's k-th best so far."""
    candidates, floors = DeviceCandidates(TorchPairs(str(device))), []
    best = np.full((len(queries), K), -np.inf, np.float32)
    where = np.full((len(queries), K), -1, np.int64)
    for part in parts:
        floors.append(best[:, -1].copy())
        for query, row in candidates(queries, part, np.arange(part.rows), K, floors[-1]):
            scores = np.einsum("ij,ij->i", queries[query], part.vectors[row])
            _merge(best, where, query, scores, row + part.ordinal * PART)
    return where, floors


def choose(
    parts: Sequence[Any],
    queries: Float32,
    floors: Sequence[Float32],
    device: torch.device,
    scored: bool,
) -> int:
    """What `sweep_topk` does but to keep the best, which needs pyarrow: how many pairs that is."""
    candidates, pairs = DeviceCandidates(TorchPairs(str(device))), 0
    for part, floor in zip(parts, floors, strict=True):
        for query, row in candidates(queries, part, np.arange(part.rows), K, floor):
            pairs += len(query)
            if scored:
                pair_scores(queries, query, part.vectors, row)
    return pairs


def _merge(best: Float32, where: Int64, query: Int64, scores: Float32, rows: Int64) -> None:
    """Pairs that ascend by query into the best so far, of equal ones the lower row."""
    asking, begins = np.unique(query, return_index=True)
    for number, mine in zip(asking, np.split(np.arange(len(query)), begins[1:]), strict=True):
        both = np.concatenate([best[number], scores[mine]])
        rank = np.argsort(-both, kind="stable")[:K]
        where[number] = np.concatenate([where[number], rows[mine]])[rank]
        best[number] = both[rank]


def _benchmark(name: str, field: Field, setup: Setup, ours: Sequence[Contender]) -> Benchmark:
    queries = field.made.queries
    stored = torch.from_numpy(field.made.stored).to(setup.device)
    peer = Contender(BRUTE, partial(brute_force, stored, queries, setup.device), NEAR)
    duels = [Duel(mine.name, peer.name, floor=1, goal=1) for mine in ours]
    return Benchmark(name, "queries", len(queries), [peer, *ours], duels, _lost(field))


def _lost(field: Field) -> Callable[[Any, Any], float]:
    """Recall that an answer lacks, beyond what nearly ties; a count of pairs lacks nothing."""

    def lost(_: Any, found: Any) -> float:
        return max(0.0, 1 - NEAR - field.recall(found)) if isinstance(found, np.ndarray) else 0.0

    return lost
