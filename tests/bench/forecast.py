"""Forecasts beside what runs take: processor seconds of each stage, and bytes of columns on disk.

python -m tests.bench.forecast FOLDER DATA/cranfield WEIGHTS [--documents 120] [--only NAME...]

Each case is indexed and ranked in this process, on one thread, once with a few documents, so that
what is compiled is, and then with all. WEIGHTS is what `make weights` made. What a case left in
FOLDER is not run again.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import shardrank
from shardrank.core.pace import StageNow
from shardrank.core.pools import Resources
from shardrank.flows.index_plan import plan_indexing
from shardrank.flows.options import load_settings
from shardrank.flows.rank_plan import plan_ranking
from shardrank.forecast.cluster_time import Cluster, Flow, forecast
from shardrank.forecast.columns import stored_bytes
from shardrank.forecast.work import Work
from shardrank.jobs.plan_time import cluster_here, index_work, passages_of, rank_work, rates_here
from shardrank.stages.index.look import look
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import open_version

#: Stages that take less are not shown: what they take is a worker's start.
SHOWN_S = 0.4
ALONE = ("cluster.executor=inline", "cluster.cpus=1")
#: What is asked, and how many documents warm up.
QUERIES, FEW = 60, 60

Seconds = Mapping[str, float]


@dataclass(frozen=True)
class Case:
    """Settings of an index, and of a ranking of it; {w}: the folder of weights."""

    name: str
    index: tuple[str, ...]
    rank: tuple[str, ...]


STATIC = "encoder.dense.model={w}/wordllama"
LATE = ("encoder.late.family=late", "encoder.late.model={w}/colbert")
MAXSIM = ("reranker.family=maxsim", "reranker.depth=100")
CASES = (
    Case("dense, then a cross-encoder", (), ("reranker.depth=5",)),
    Case("static, bm25", (STATIC, "encoder.bm25.family=bm25"), ("reranker.model=off",)),
    Case("late in fp16, MaxSim", (STATIC, *LATE), (*MAXSIM, "reranker.of=late")),
    Case(
        "late in 2 bits, PLAID, MaxSim",
        (STATIC, *LATE, "encoder.late.stored=2", "index.late.kind=plaid"),
        (*MAXSIM, "reranker.of=late"),
    ),
    Case(
        "MUVERA and learnt",
        (
            *(STATIC, *LATE, "encoder.muvera.family=muvera", "encoder.learned.family=learned"),
            *("encoder.learned.dim=256", "encoder.learned.tokens=1024"),
        ),
        ("reranker.model=off",),
    ),
    Case(
        "16 anchor queries",
        (
            *(STATIC, "encoder.anchors.family=anchors", "encoder.anchors.anchor_queries=16"),
            "encoder.anchors.anchor_passages=16",
        ),
        ("reranker.model=off",),
    ),
    Case(
        "static, bits",
        (STATIC, "encoder.bits.family=bits", "encoder.bits.rotation=random"),
        ("reranker.model=off",),
    ),
    Case(
        "dense in int8, RaBitQ",
        ("encoder.dense.dtype=int8", "index.dense.kind=ivfrabitq", "index.dense.nlist=1"),
        ("reranker.depth=5", "reranker.dtype=int8"),
    ),
)


class Timer(Silent):
    """The processor's seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = 0.0

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._began = time.process_time()

    def finished(self, now: StageNow) -> None:
        self.seconds[now.stage] = time.process_time() - self._began


@dataclass(frozen=True)
class Data:
    """Files of a collection's first documents and queries, and the folder of weights."""

    folder: Path
    source: Path
    weights: Path

    def documents(self, count: int) -> Path:
        """The first so many."""
        return self._first("corpus", count)

    def queries(self, count: int) -> Path:
        """Likewise."""
        return self._first("queries", count)

    def settings(self, given: Sequence[str]) -> list[str]:
        """With the folder of weights in them."""
        return [*ALONE, *(each.format(w=self.weights) for each in given)]

    def _first(self, name: str, count: int) -> Path:
        lines = (self.source / f"{name}.jsonl").read_text("utf-8").splitlines(keepends=True)
        path = self.folder / f"{name}-{count}.jsonl"
        path.write_text("".join(lines[:count]), "utf-8")
        return path


def run(case: Case, data: Data, count: int, queries: int, out: Path) -> dict[Flow, Seconds]:
    """What both flows took, by stage."""
    shutil.rmtree(out, ignore_errors=True)
    index, rank = Timer(), Timer()
    corpus, asked = data.documents(count), data.queries(queries)
    given = data.settings(case.index)
    shardrank.index(corpus, out / "index", overrides=given, reporter=index)
    given = data.settings(case.rank)
    shardrank.rank(out / "index", asked, out / "ranked", overrides=given, reporter=rank)
    return {"index": index.seconds, "rank": rank.seconds}


def measured(case: Case, data: Data, count: int) -> Mapping[str, Seconds]:
    """The same, of this run or of one before."""
    out = data.folder / case.name.replace(" ", "-")
    kept = out / "seconds.json"
    if not kept.exists():
        run(case, data, FEW, 5, data.folder / "warm")
        kept.write_text(json.dumps(run(case, data, count, QUERIES, out)))
    found: Mapping[str, Seconds] = json.loads(kept.read_text())
    return found


def foretold(case: Case, data: Data, count: int) -> tuple[Work, dict[Flow, Seconds]]:
    """The index flow's work, and what is foretold of both flows, by stage."""
    settings = load_settings(None, data.settings(case.index))
    place = open_workspace(str(data.folder / "none"), settings)
    plan = plan_indexing(str(data.documents(count)), place, "snapshot", settings)
    seen = look(plan.source.slices, plan.source.text, plan.settings, plan.card)
    making = index_work(plan, seen, passages_of(plan, seen))
    settings = load_settings(None, data.settings(case.rank))
    index = open_workspace(str(data.folder / case.name.replace(" ", "-") / "index"), settings)
    asking = rank_work(plan_ranking(index, str(data.queries(QUERIES)), None, settings))
    cluster = cluster_here(settings, Resources(1, 0))
    return making, {
        "index": _seconds(making, cluster, "index"),
        "rank": _seconds(asking, cluster, "rank"),
    }


def _seconds(work: Work, cluster: Cluster, flow: Flow) -> Seconds:
    found = forecast(work, cluster, rates_here())
    return {stage.need.stage: stage.core_s for stage in found.of(flow)}


def bytes_of(case: Case, data: Data, work: Work) -> list[tuple[str, float, float]]:
    """Of each column its name, and bytes on disk as they are and as foretold."""
    path = str(data.folder / case.name.replace(" ", "-") / "index")
    version = open_version(open_workspace(path, load_settings(None, []))).version
    found = {"dense": stored_bytes(work.value_bytes, work.passages, work.parts)}
    found |= {c.name: stored_bytes(c.takes.bytes, work.passages, work.parts) for c in work.columns}
    held = {n: sum(p.columns[n].file.bytes for p in version.parts) for n in found}
    return [(name, held[name], found[name]) for name in found]


def _factor(told: float, took: float) -> str:
    return f"{told / took:.2f}" if took else ""


def main() -> None:
    """Print a row for each stage and column."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    data = Data(given.folder, given.source, given.weights)
    print("| run | what | was | foretold | of it |\n|---|---|---|---|---|")
    for case in (each for each in CASES if not given.only or each.name in given.only):
        took = measured(case, data, given.documents)
        work, told = foretold(case, data, given.documents)
        for flow, stages in told.items():
            for stage in (s for s in took[flow] if took[flow][s] >= SHOWN_S):
                was, said = took[flow][stage], stages.get(stage, 0.0)
                row = f"{was:.2f} s | {said:.2f} s | {_factor(said, was)}"
                print(f"| {case.name} | {stage} | {row} |", flush=True)
        for name, held, said in bytes_of(case, data, work):
            row = f"{held:,.0f} B | {said:,.0f} B | {_factor(said, held)}"
            print(f"| {case.name} | column {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
