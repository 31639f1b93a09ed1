"""Words, vectors and both, on collections with judgements, beside bm25s and ranx.

    make build/bm25s/.made build/ranx/.made
    python -m tests.bench.hybrid FOLDER COLLECTION … [--every NAME=N …] [--sparse MODEL NAME …]

A COLLECTION is a folder in BEIR's layout. Each is indexed with the default encoder and bm25, and
ranked by each alone and by both, 100 documents a query, not reranked; then with the fusion that
half of the queries choose, measured on the other half. In the same run bm25s scores our words, and
ranx fuses our lists. What is there in FOLDER is not made again. Prints the tables of
docs/measured-retrieval.md, and writes them with all figures to FOLDER/hybrid.md and hybrid.json.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import shardrank
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.settings import Settings
from tests.bench.beir import Collection
from tests.bench.hybrid_peers import (
    BM25S,
    RANX,
    Agreement,
    Bm25s,
    K,
    List,
    Texts,
    bm25s,
    ranx,
    stored_lists,
)
from tests.bench.machine import machine

Means = Mapping[str, float]
RRF = FusionSettings()
#: What is shown of each ranking.
SHOWN = ("nDCG@10", "Recall@100")
BOTH = ("dense", "bm25")
FUSIONS: dict[str, dict[str, Any]] = {
    "rrf": {"how": "rrf"},
    "min-max": {"how": "scores", "norm": "min-max"},
    "z": {"how": "scores", "norm": "z"},
}


@dataclass(frozen=True)
class Ranking:
    """A way to rank: its name, the retrievers, and how they are fused."""

    name: str
    retrievers: Sequence[str]
    fusion: FusionSettings = RRF

    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "retriever": [{"index": name} for name in self.retrievers],
                "fusion": self.fusion,
                "search": {"k": K},
                "reranker": {"model": "off"},
            }
        )


@dataclass(frozen=True)
class Half:
    """A fusion chosen by half of the queries, and means of nDCG@10 on the others.

    Attributes:
        chosen: what was chosen.
        queries: it was chosen by, and measured on.
        means: by ranking.
    """

    chosen: FusionSettings
    queries: tuple[int, int]
    means: Mapping[str, Means]


@dataclass(frozen=True)
class Measured:
    """What came of a collection.

    Attributes:
        documents, passages: of the index.
        queries: that are judged.
        means: by ranking, in order.
        half: what tuning gave.
        agreements: with the peers; none where they were not there.
    """

    name: str
    every: int
    documents: int
    passages: int
    queries: int
    means: Mapping[str, Means]
    half: Half
    agreements: Sequence[Agreement]


@dataclass(frozen=True)
class Peers:
    """Their environments' Pythons; None: it is not there."""

    bm25s: Path | None
    ranx: Path | None


def measure(collection: Collection, sparse: str | None, peers: Peers) -> Measured:
    """Index, rank in every way, tune, and compare."""
    index, corpus = collection.folder / "index", collection.corpus()
    live = shardrank.index(corpus, index, settings=_indexing(sparse)).version.live
    ways = [Ranking(name, (name,)) for name in BOTH]
    ways += [Ranking(name, BOTH, FusionSettings(**how)) for name, how in FUSIONS.items()]
    if sparse:
        ways += [Ranking("sparse", ("sparse",)), Ranking("rrf of three", (*BOTH, "sparse"))]
    means = {way.name: _ranked(collection, way) for way in ways}
    tuned, half = _tuned(collection)
    agreements: list[Agreement] = []
    if peers.bm25s:
        words = _bm25s(peers.bm25s, collection, corpus)
        means["bm25s, its own words"] = words.metrics
        agreements += [words.words, words.exact]
    if peers.ranx:
        ways = [*(way for way in ways if way.name in FUSIONS), tuned]
        fused = {way.name: (way.fusion, _found(_out(collection, way.name))) for way in ways}
        lists = stored_lists(_out(collection, "rrf"))
        agreements += ranx(peers.ranx, collection.folder, lists, fused)
    judged = len({judgement.query_id for judgement in collection.judgements})
    of = (collection.name, collection.every, live.documents, live.passages, judged)
    return Measured(*of, means, half, agreements)


def _indexing(sparse: str | None) -> Settings:
    encoders: list[dict[str, Any]] = [{}, {"family": "bm25"}]
    if sparse:
        encoders.append({"family": "sparse", "model": sparse})
    # Vectors are searched exactly: what is compared are the retrievers.
    return Settings.model_validate({"encoder": encoders, "index": {"kind": "exact"}})


def _out(collection: Collection, name: str) -> Path:
    return collection.folder / "ranked" / name.replace(" ", "-")


def _ranked(collection: Collection, way: Ranking) -> Means:
    """What all judgements say of it."""
    done = shardrank.rank(
        collection.folder / "index",
        collection.queries,
        _out(collection, way.name),
        qrels=collection.qrels,
        settings=way.settings(),
        overwrite=True,
    )
    assert done.metrics
    return done.metrics["retrieved"]


def _tuned(collection: Collection) -> tuple[Ranking, Half]:
    """Chosen from the lists that rrf fused, then ranked with, to see that it does what was said."""
    dev, test = collection.halves()
    found = shardrank.tune(_out(collection, "rrf"), dev, test=test).fusion
    assert found
    assert found.held
    way = Ranking("tuned", BOTH, found.best.fusion)
    _ranked(collection, way)
    held, metrics = found.held, shardrank.evaluate(_out(collection, "tuned"), test).metrics
    assert dict(metrics["retrieved"]) == dict(held.after.metrics), (metrics, held.after.metrics)
    means = {alone.retriever: alone.metrics for alone in held.alone}
    means |= {"rrf": held.before.metrics, "tuned": held.after.metrics}
    return way, Half(way.fusion, (_queries(dev), held.queries), means)


def _queries(qrels: Path) -> int:
    return len({line.split("\t")[0] for line in qrels.read_text("utf-8").splitlines()[1:]})


def _bm25s(python: Path, collection: Collection, corpus: Path) -> Bm25s:
    out = _out(collection, "bm25")
    texts = Texts.of(collection.folder / "index", out)
    return bm25s(python, collection.folder, texts, corpus, _found(out), collection.judgements)


def _found(out: Path) -> List:
    """A ranking as it is read by whoever wants it."""
    found: dict[str, dict[str, float]] = {}
    for table in shardrank.read_rankings(out):
        columns = (table[name].to_pylist() for name in ("query_id", "doc_id", "retrieval_score"))
        for query, doc, score in zip(*columns, strict=True):
            found.setdefault(query, {})[doc] = score
    return found


# Tables.


def tables(measured: Sequence[Measured]) -> str:
    """All of them, as Markdown."""
    names = [*dict.fromkeys(name for each in measured for name in each.means)]
    whole = [_table(["collection", *names], [_means(each, names) for each in measured])]
    whole.append("\n".join(_lowered(each) for each in measured))
    half = ["collection", "queries", "chosen", *BOTH, "rrf", "tuned"]
    whole.append(_table(half, [_half(each) for each in measured]))
    head = ["collection", "peer", "queries", "hits", "largest difference", "moved", "wrong"]
    rows = [[each.name, *_agreement(one)] for each in measured for one in each.agreements]
    whole += [_table(head, rows)] if rows else []
    return "\n\n".join(whole)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _means(each: Measured, names: Sequence[str]) -> list[str]:
    share = "" if each.every == 1 else f", judged and each {each.every}th other"
    about = f"{each.name}: {each.documents:,} documents{share}, {each.queries} queries"
    best = {metric: max(means[metric] for means in each.means.values()) for metric in SHOWN}

    def shown(name: str) -> str:
        if name not in each.means:
            return "–"
        found = ((each.means[name][metric], best[metric]) for metric in SHOWN)
        return " / ".join(f"**{_short(v)}**" if v == most else _short(v) for v, most in found)

    return [about, *map(shown, names)]


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _lowered(each: Measured) -> str:
    """Where a fusion of both is worse than the better of both."""
    lines = []
    for metric in SHOWN:
        single = max(BOTH, key=lambda name: each.means[name][metric])
        most = each.means[single][metric]
        lost = {name: most - each.means[name][metric] for name in FUSIONS}
        worse = [f"{name} by {_short(loss)}" for name, loss in lost.items() if loss > 0]
        lines += [f"{metric} below that of {single} alone: {', '.join(worse)}"] if worse else []
    return f"- {each.name}: {'; '.join(lines) or 'no fusion is below the better one alone'}."


def _half(each: Measured) -> list[str]:
    half, chosen = each.half, each.half.chosen
    how = "rrf" if chosen.how == "rrf" else chosen.norm
    weights = ", ".join(f"{weight:g}" for weight in chosen.weights or ())
    means = [_short(half.means[name]["nDCG@10"]) for name in (*BOTH, "rrf", "tuned")]
    return [each.name, " + ".join(map(str, half.queries)), f"{how} ({weights})", *means]


def _agreement(one: Agreement) -> list[str]:
    wrong = one.wrong + one.unlike
    shown = (one.queries, one.hits, f"{one.difference:.1e}", one.moved, wrong)
    return [one.against, *(each if isinstance(each, str) else f"{each:,}" for each in shown)]


def main() -> None:
    """Measure one collection after another; what is measured is written after each."""
    arguments = _arguments()
    every = {name: int(n) for name, _, n in (each.partition("=") for each in arguments.every)}
    model, *sparse = arguments.sparse or [None]
    peers = Peers(*(_there(arguments, name) for name in ("bm25s", "ranx")))
    about, measured = {"date": date.today().isoformat(), **machine()}, []
    for source in arguments.collections:
        collection = Collection(source, arguments.folder / source.name, every.get(source.name, 1))
        one = measure(collection, model if source.name in sparse else None, peers)
        measured.append(one)
        for each in one.agreements:
            print(f"{one.name}: {each}", flush=True)
        value = {**about, "collections": [asdict(each) for each in measured]}
        text = json.dumps(value, indent=2, default=lambda settings: settings.model_dump())
        (arguments.folder / "hybrid.json").write_text(text + "\n", "utf-8")
        (arguments.folder / "hybrid.md").write_text(tables(measured) + "\n", "utf-8")
    print(tables(measured))
    strange = [each for one in measured for each in one.agreements if not each.agrees]
    raise SystemExit(f"{len(strange)} comparisons disagree: see above." if strange else 0)


def _there(arguments: argparse.Namespace, name: str) -> Path | None:
    python: Path = getattr(arguments, name)
    if python.exists():
        return python
    print(f"{name} is skipped: there is no {python}; make build/{name}/.made makes it.")
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.hybrid",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("collections", type=Path, nargs="+")
    parser.add_argument("--every", nargs="+", default=[], metavar="NAME=N", help="keep a share")
    parser.add_argument("--sparse", nargs="+", metavar="MODEL NAME", help="third encoder, of these")
    parser.add_argument("--bm25s", type=Path, default=BM25S, help="its Python")
    parser.add_argument("--ranx", type=Path, default=RANX, help="its Python")
    return parser.parse_args()


if __name__ == "__main__":
    main()
