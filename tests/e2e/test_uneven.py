"""Documents of 1 to 300 passages, through the commands: every query gets k of them, and as many of
the right ones as the audit says."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.model_settings import DENSE
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.storage.local import LocalStorage
from shardrank.version.manifest import Version
from tests.world import VOCABULARY, World, latest, shardrank, write_lines

DOCUMENTS, K = 330, 30
WORDS = 14  # of a passage
CUT = ("passages.max_tokens=16", "passages.overlap=0", "passages.part_size=400")
BITS = ("index.pq_bits=4", "index.pq_m=8", "index.rabitq_bits=4")
INDEX = ("index.shard_passages=500", "index.nlist=16", *BITS)
#: The second night is to leave bitmaps and a small shard.
NIGHT = ("compact.max_deleted=0.6", "compact.max_drift=10")
AUDIT = ("audit.k=30", "audit.target=0.9", "audit.max_depth=240")
OFF = "reranker.model=off"


def corpus(seed: int) -> dict[str, list[str]]:
    """Most documents have one passage; each keeps to words of its own."""
    rng = random.Random(seed)
    longest = {7: 300, 100: 120, 200: 60, 300: 25}
    found = {}
    for number in range(DOCUMENTS):
        passages = longest.get(number, rng.choice([1, 1, 1, 1, 2, 3, 9]))
        words = rng.sample(VOCABULARY, 4 if number == 7 else 12)
        found[f"d{number:03d}"] = rng.choices(words, k=WORDS * passages)
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    """Queries of a document's own words; every second one is near to the longest document."""
    root, rng = tmp_path_factory.mktemp("uneven"), random.Random(1)
    documents = corpus(0)
    write(root, documents)
    about = [documents["d007" if n % 2 else f"d{rng.randrange(DOCUMENTS):03d}"] for n in range(60)]
    asked = [rng.choices(words[:60], k=6) for words in about]
    write_lines(
        root / "queries.jsonl",
        ({"_id": f"q{n:02d}", "text": " ".join(words)} for n, words in enumerate(asked)),
    )
    (root / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq00\td007\t1\n")
    return World(root, *models)


def write(root: Path, documents: dict[str, list[str]]) -> None:
    rows = ({"_id": name, "text": " ".join(words)} for name, words in documents.items())
    write_lines(root / "corpus.jsonl", rows)


@pytest.fixture(scope="module", params=["ivfpq", "ivfsq8", "ivfrabitq"])
def index(
    inline: pytest.MonkeyPatch,
    world: World,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Path:
    """Two versions: the second lacks 20 documents, one of them of 120 passages, and has 5 new."""
    folder = tmp_path_factory.mktemp("index") / request.param
    sets = (
        f"index.kind={request.param}",
        f"audit.query_file={world.queries}",
        *INDEX,
        *AUDIT,
        *NIGHT,
    )
    assert shardrank(*world.index(folder, *CUT, *sets)) == 0
    documents = corpus(0)
    gone = ["d100", *(f"d{n:03d}" for n in range(20, 39))]
    tonight = {name: words for name, words in documents.items() if name not in gone}
    write(world.root, tonight | {f"new{n}": documents[f"d{n:03d}"][::-1] for n in range(5)})
    assert shardrank(*world.index(folder, *CUT, *sets)) == 0
    write(world.root, documents)
    return folder


def test_every_query_gets_k_documents_at_any_effort(
    world: World, index: Path, tmp_path: Path
) -> None:
    version = latest(index)
    live = version.live.documents
    assert live == DOCUMENTS - 20 + 5
    assert len(version.index.shards) > 2
    assert any(part.deleted for part in version.parts)
    efforts = [(K, 1, 1), (K, 2, 30), (1, 1, 1), (300, 1, 1), (1000, 3, 7)]
    for number, (k, nprobe, depth) in enumerate(efforts):
        sets = (f"search.k={k}", f"search.nprobe={nprobe}", f"search.depth={depth}", OFF)
        found = ranked(world, index, tmp_path / str(number), *sets)
        assert set(Counter(query for query, _ in found).values()) == {min(k, live)}
        assert len(set(found)) == 60 * min(k, live)
        assert not {doc for _, doc in found} & {"d100", "d025"}


def test_exact_search_gives_k_documents_too(
    inline: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    assert shardrank(*world.index(tmp_path / "exact", *CUT, "index.kind=exact")) == 0
    for k in (K, 1000):
        found = ranked(world, tmp_path / "exact", tmp_path / str(k), f"search.k={k}", OFF)
        assert set(Counter(query for query, _ in found).values()) == {min(k, DOCUMENTS)}


def test_the_audits_recall_is_that_of_the_rankings(
    world: World, index: Path, tmp_path: Path
) -> None:
    """Asked with the same queries, against a product in numpy."""
    version, out = latest(index), tmp_path / "out"
    found = ranked(world, index, out, f"search.k={K}", OFF)
    exact = nearest(index, version, query_vectors(out))
    recall = len(set(found) & exact) / len(exact)
    assert recall >= version.index.audit.recall - 1e-9 >= 0.9 - 1e-9
    assert recall == pytest.approx(version.index.audit.recall, abs=0.005)
    assert version.index.audit.nprobe < 16


def test_everything_refined_is_exact_search(world: World, index: Path, tmp_path: Path) -> None:
    sets = (f"search.k={K}", "search.nprobe=16", "search.depth=400", OFF)
    found = ranked(world, index, tmp_path / "out", *sets)
    assert set(found) == nearest(index, latest(index), query_vectors(tmp_path / "out"))


def test_neither_blocks_nor_memory_change_a_ranking(
    world: World, index: Path, tmp_path: Path
) -> None:
    sets = ("search.k=30", "search.nprobe=1", "search.depth=30", OFF)
    whole = ranked(world, index, tmp_path / "a", *sets)
    assert ranked(world, index, tmp_path / "b", *sets, "search.block_queries=23") == whole
    small = ("search.memory_mb=1", "search.block_queries=9")
    assert ranked(world, index, tmp_path / "c", *sets, *small) == whole


def ranked(world: World, index: Path, out: Path, *sets: str) -> list[tuple[str, str]]:
    """Queries and documents, in the order of the rankings."""
    assert shardrank(*world.rank(index, out, *sets)) == 0
    tables = [pq.read_table(path) for path in sorted((out / "rankings").iterdir())]
    return [(row["query_id"], row["doc_id"]) for table in tables for row in table.to_pylist()]


def query_vectors(out: Path) -> Float32:
    [path] = (out / "units/encode").glob("*.vectors.parquet")
    return matrix(pq.read_table(path)["vector"])


def nearest(index: Path, version: Version, queries: Float32) -> set[tuple[str, str]]:
    """Each query's K nearest documents, by all products of all live passages."""
    names, vectors = [], []
    workspace = Workspace(LocalStorage(str(index)))
    for part in version.parts:
        live = ~read_bitmap(workspace, part.deleted, part.rows)
        vectors.append(matrix(stored(index, part.columns[DENSE].file)["vector"])[live])
        ids = stored(index, part.passages)["doc_id"].to_pylist()
        names += [name for name, kept in zip(ids, live, strict=True) if kept]
    scores = queries @ np.concatenate(vectors).T
    found = set()
    for number, row in enumerate(scores):
        best: dict[str, float] = {}
        for name, score in zip(names, row.tolist(), strict=True):
            best[name] = max(score, best.get(name, score))
        ordered = sorted(best, key=lambda name: (-best[name], name))
        found |= {(f"q{number:02d}", name) for name in ordered[:K]}
    return found


def stored(index: Path, ref: FileRef) -> Any:
    return pq.read_table(index / ref.key)


def test_the_report_of_the_audit_says_what_it_counted(index: Path) -> None:
    audit = json.loads((index / "manifests/000002.json").read_bytes())["indexes"]["dense"]["audit"]
    assert (audit["k"], audit["questions"]) == (K, 60)
    assert audit["depth"] >= K
