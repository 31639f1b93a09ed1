"""Columns beside the first: added later, kept, changed, refused, damaged, collected."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrays import Float32, Int32
from shardrank.core.cards import EncoderCard
from shardrank.models.encoders.dense import BiEncoder
from shardrank.version.manifest import Version
from tests.world import VOCABULARY, World, latest, make_world, shardrank, write_lines

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=24",
    "index.kind=exact",
    "gate.max_deleted=1",
    "gate.max_changed=1",
    "gate.max_change=100",
    "search.k=12",
    "search.block_queries=4",
    "reranker.depth=3",
)
BM25 = ("encoder.bm25.family=bm25", "index.bm25.shard_passages=40")
DOCUMENTS = 40

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, an index of dense vectors alone, and one with a BM25 column from the start."""

    world: World
    dense: Path
    both: Path

    def rank(self, index: Path, out: Path, *sets: str) -> dict[str, Any]:
        """What a ranking leaves, but for how it was made."""
        assert shardrank(*self.world.rank(index, out, *SETS, *sets)) == 0
        return ranked(out)


def ranked(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = {p.name: p.read_bytes() for p in (out / "rankings").iterdir()}
    found |= {name: (out / name).read_bytes() for name in ("run.trec", "metrics.json")}
    told = json.loads((out / "manifest.json").read_text())
    del told["made"], told["index_version"]
    return found | {"manifest": told}


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("scene")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    found = Scene(make_world(root, models, DOCUMENTS, queries=6), root / "dense", root / "both")
    assert shardrank(*found.world.index(found.dense, *SETS)) == 0
    assert shardrank(*found.world.index(found.both, *SETS, *BM25)) == 0
    return found


def copied(index: Path, to: Path) -> Path:
    return Path(shutil.copytree(index, to))


def units(index: Path, *stages: str) -> dict[str, int]:
    """When each marker of these stages was written."""
    found = (path for stage in stages for path in (index / "units" / stage).glob("*.json"))
    return {path.name: path.stat().st_mtime_ns for path in found}


def columns(version: Version, name: str) -> list[str]:
    return [part.columns[name].file.sha256 for part in version.parts]


def files(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def night(scene: Scene, root: Path, index: Path, *sets: str, texts: int = 30) -> None:
    """Another corpus: some documents are gone, some changed, some new."""
    rows = [json.loads(line) for line in Path(scene.world.corpus).read_text().splitlines()]
    rows = [row for n, row in enumerate(rows) if n % 7]
    for n, row in enumerate(rows[:5]):
        row["text"] += f" {VOCABULARY[n]} {VOCABULARY[n]}"
    rows += [{"_id": f"new{n}", "text": f"{VOCABULARY[n]} shock tube"} for n in range(texts)]
    words = scene.world.index(index, *SETS, *sets)
    words[1] = write_lines(root / "night.jsonl", rows)
    assert shardrank(*words) == 0


# A column that is added later.


def test_a_column_added_later_is_as_from_the_start(scene: Scene, tmp_path: Path) -> None:
    index = copied(scene.dense, tmp_path / "index")
    before, embedded = latest(index), units(index, "embed", "ingest")
    assert shardrank(*scene.world.index(index, *SETS, *BM25)) == 0
    version = latest(index)
    assert version.parent == 1
    assert units(index, "embed", "ingest") == embedded
    assert columns(version, "dense") == columns(before, "dense")
    assert version.content() == latest(scene.both).content()
    one, other = (scene.rank(i, tmp_path / f"{i.name}-out") for i in (index, scene.both))
    assert one == other
    assert [each["name"] for each in one["manifest"]["retrievers"]] == ["dense", "bm25"]


def test_a_night_that_does_not_name_a_column_keeps_it(scene: Scene, tmp_path: Path) -> None:
    """And its statistics: all is as in a new index of that night's corpus."""
    index, fresh = copied(scene.both, tmp_path / "index"), tmp_path / "fresh"
    night(scene, tmp_path, index)
    night(scene, tmp_path, fresh, *BM25)
    version, new = latest(index), latest(fresh)
    assert version.indexes.keys() == {"dense", "bm25"}
    assert version.indexes["bm25"].settings.shard_passages == 40
    counts = version.indexes["bm25"].counts
    assert counts
    assert counts == new.indexes["bm25"].counts
    assert counts.passages == version.live.passages
    assert all(part.columns.keys() == {"dense", "bm25"} for part in version.parts)
    sets = ("retriever.bm25.k=100", "search.k=100", "reranker.model=off")
    one, other = (scene.rank(i, tmp_path / f"{i.name}-out", *sets) for i in (index, fresh))
    names = ("00000.parquet", "00001.parquet", "run.trec", "metrics.json")
    assert {name: one[name] for name in names} == {name: other[name] for name in names}


def test_an_upsert_adds_a_column_to_all_that_is_stored(scene: Scene, tmp_path: Path) -> None:
    """Not only to what it brings."""
    index, fresh = copied(scene.dense, tmp_path / "index"), tmp_path / "fresh"
    rows = [json.loads(line) for line in Path(scene.world.corpus).read_text().splitlines()]
    more = [{"_id": "new", "text": "shock tube"}, {**rows[3], "text": "wing"}]
    words = scene.world.index(index, *SETS, *BM25)
    words[1] = write_lines(tmp_path / "more.jsonl", more)
    assert shardrank(*words, "--mode", "upsert") == 0
    words = scene.world.index(fresh, *SETS, *BM25)
    words[1] = write_lines(tmp_path / "all.jsonl", [*rows[:3], *more, *rows[4:]])
    assert shardrank(*words) == 0
    alone = ("retriever.bm25.k=50", "search.k=50", "reranker.model=off")
    one, other = (scene.rank(i, tmp_path / f"{i.name}-out", *alone) for i in (index, fresh))
    assert one["run.trec"] == other["run.trec"]
    assert latest(index).indexes["bm25"].counts == latest(fresh).indexes["bm25"].counts


def test_another_cut_makes_all_columns_again(scene: Scene, tmp_path: Path) -> None:
    index, fresh = copied(scene.both, tmp_path / "index"), tmp_path / "fresh"
    other = (*SETS, "passages.max_tokens=24")
    assert shardrank(*scene.world.index(index, *other)) == 3
    assert shardrank(*scene.world.index(index, *other, "gate.reembed=true")) == 0
    assert shardrank(*scene.world.index(fresh, *other, *BM25)) == 0
    assert latest(index).content() == latest(fresh).content()
    assert latest(index).live.passages < latest(scene.both).live.passages


def test_the_same_corpus_again_publishes_nothing(scene: Scene, tmp_path: Path) -> None:
    index = copied(scene.both, tmp_path / "index")
    for sets in ((), BM25):
        assert shardrank(*scene.world.index(index, *SETS, *sets)) == 0
        assert latest(index).parent == 0


def test_other_stop_words_are_refused_until_they_are_allowed(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, fresh = copied(scene.both, tmp_path / "index"), tmp_path / "fresh"
    words = (*SETS, *BM25, "encoder.bm25.stop_words=none")
    before = files(index)
    assert shardrank(*scene.world.index(index, *words)) == 3
    assert "encoder.bm25.stop_words from english to none" in capsys.readouterr().err
    changed = {name for name, at in files(index).items() if before.get(name) != at}
    assert {name for name in changed if not name.startswith("runs/")} == set()
    embedded, old = units(index, "embed", "ingest"), latest(index)
    assert shardrank(*scene.world.index(index, *words, "gate.reembed=true")) == 0
    version = latest(index)
    assert units(index, "embed", "ingest") == embedded
    assert columns(version, "dense") == columns(old, "dense")
    assert columns(version, "bm25") != columns(old, "bm25")
    assert shardrank(*scene.world.index(fresh, *words)) == 0
    assert version.content() == latest(fresh).content()
    assert scene.rank(index, tmp_path / "a") == scene.rank(fresh, tmp_path / "b")


def test_another_type_of_a_second_vector_column_is_made(scene: Scene, tmp_path: Path) -> None:
    """Its encoder is the same: only how its vectors are stored is not."""
    index, model = tmp_path / "index", f"encoder.other.model={scene.world.encoder}"
    wide = (*SETS, model, "encoder.other.stored=fp32")
    assert shardrank(*scene.world.index(index, *SETS, model)) == 0
    assert shardrank(*scene.world.index(index, *wide)) == 3
    assert shardrank(*scene.world.index(index, *wide, "gate.reembed=true")) == 0
    part = latest(index).parts[0].columns["other"].file
    assert pq.read_table(index / part.key)["vector"].type.value_type == pa.float32()
    assert shardrank(*scene.world.index(fresh := tmp_path / "fresh", *wide)) == 0
    assert latest(index).content() == latest(fresh).content()
    assert scene.rank(index, tmp_path / "a") == scene.rank(fresh, tmp_path / "b")


def test_a_second_vector_column_stays_in_its_type(
    scene: Scene, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    """Though the machine of a later night, or of a ranking, would begin it in another."""
    index, model = tmp_path / "index", f"encoder.other.model={scene.world.encoder}"
    machine = "shardrank.models.encoders.registry.multiplies_bf16"
    with inline.context() as patch:
        patch.setattr(machine, lambda: True)
        assert shardrank(*scene.world.index(index, *SETS, model)) == 0
    card = latest(index).columns["other"].card
    assert isinstance(card, EncoderCard)
    assert card.dtype == "bf16"
    with inline.context() as patch:
        patch.setattr(machine, lambda: False)
        for sets in ((), (model,)):
            assert shardrank(*scene.world.index(index, *SETS, *sets)) == 0
            assert latest(index).parent == 0
        night(scene, tmp_path, index)
        scene.rank(index, tmp_path / "out", model)
    assert latest(index).columns["other"].card == card


def test_what_the_first_encoder_sets_aside_may_break_others_too(
    scene: Scene, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    model, encode = f"encoder.other.model={scene.world.encoder}", BiEncoder.encode_ids

    def broken(self: BiEncoder, ids: Sequence[Int32]) -> Float32:
        vectors = encode(self, ids)
        vectors[0] = np.nan
        return vectors

    with inline.context() as patch:
        patch.setattr(BiEncoder, "encode_ids", broken)
        sets = (*SETS, model, "gate.max_rejected=1")
        assert shardrank(*scene.world.index(tmp_path, *sets)) == 0
    version = latest(tmp_path)
    assert version.changes.rejected == len(version.parts) > 1
    assert shardrank("verify", str(tmp_path)) == 0


# What is refused before any work.

ON_INDEX = {
    "index.strange.shard_passages=5": "no [[encoder]] is called so",
    "index.bm25.nlist=4": "index.bm25.nlist is of vectors",
    "index.bm25.kind=exact": "index.bm25.kind is of vectors",
    "encoder.bm25.family=bm24": "There is no family",
    "encoder.bm25.pooling=mean": "There is no setting encoder.pooling",
}
ON_RANK = {
    "retriever.strange.k=5": "no index over 'strange'",
    "retriever.dense.k1=1": "sets k1",
    "retriever.bm25.nprobe=3": "sets nprobe",
    "retriever.bm25.depth=3": "sets depth",
    "fusion.weights=1": "fusion.weights has 1 numbers, for 2 retrievers: dense, bm25",
    "fusion.weights=1,2,3": "fusion.weights has 3 numbers",
    "fusion.weights=-1,1": "none may be negative",
    "encoder.bm25.stop_words=none": "encoder.stop_words",
    "encoder.strange.model=x": "no column 'strange'",
}


@pytest.mark.parametrize("wrong", ON_INDEX)
def test_index_refuses(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    sets = (*SETS, *BM25) if "bm25" in wrong or "strange" in wrong else SETS
    before = files(scene.both)
    for index in (scene.both, tmp_path / "new"):
        assert shardrank(*scene.world.index(index, *sets, wrong)) == 2
        assert ON_INDEX[wrong] in " ".join(capsys.readouterr().err.split())
    assert files(scene.both) == before
    assert files(tmp_path) == {}


@pytest.mark.parametrize("wrong", ON_RANK)
def test_rank_refuses(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert shardrank(*scene.world.rank(scene.both, tmp_path, *SETS, wrong)) == 2
    assert ON_RANK[wrong] in " ".join(capsys.readouterr().err.split())
    assert files(tmp_path) == {}


def test_retrievers_of_one_name_are_refused(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ("retriever.bm25.k=5", "retriever.dense.k=5", "retriever.dense.name=bm25")
    assert shardrank(*scene.world.rank(scene.both, tmp_path, *SETS, *sets)) == 2
    assert "Two [[retriever]] tables are called 'bm25'" in capsys.readouterr().err


# Damage, collection, rollback.


def _listed(version: Version) -> dict[str, list[str]]:
    """Files of a version that only a BM25 column has."""
    index = version.indexes["bm25"]
    assert index.counts
    return {
        "terms": [index.counts.terms.key],
        "postings": [shard.file.key for shard in index.shards if shard.file],
        "column": [part.columns["bm25"].file.key for part in version.parts],
    }


@pytest.mark.parametrize("kind", ["terms", "postings", "column"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_verify_finds_damage(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, how: str
) -> None:
    index = copied(scene.both, tmp_path / "index")
    assert shardrank("verify", str(index)) == 0
    key = _listed(latest(index))[kind][0]
    data = bytearray((index / key).read_bytes())
    data[len(data) // 2] ^= 1
    capsys.readouterr()
    if how == "gone":
        (index / key).unlink()
    else:
        (index / key).write_bytes(data if how == "flipped" else data[:-1])
    assert shardrank("verify", str(index)) == 2
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert key.split("/")[-1][:12] in "".join(said.split())
    out = tmp_path / "out"  # nor does a search take it for sound
    code = shardrank(*scene.world.rank(index, out, *SETS))
    assert code != 0 or kind == "column"


def test_gc_keeps_what_the_version_lists(scene: Scene, tmp_path: Path) -> None:
    index = copied(scene.both, tmp_path / "index")
    words = ("retriever.bm25.k=12", "reranker.model=off")  # no bit of which depends on a batch
    first = scene.rank(index, tmp_path / "first", *words)
    night(scene, tmp_path, index)
    night(scene, tmp_path, index, texts=3)
    before = scene.rank(index, tmp_path / "before")
    listed = {ref.key for ref in latest(index).files}
    assert shardrank("gc", str(index), "--keep", "1", "--grace", "0", "--delete") == 0
    left = {name for name in files(index) if name.split("/")[0] not in ("runs", "units")}
    assert left == listed | {"manifests/000003.json"}
    assert shardrank("verify", str(index)) == 0
    assert scene.rank(index, tmp_path / "after") == before
    # What was collected is made again where it is needed again.
    assert shardrank(*scene.world.index(index, *SETS)) == 0
    assert shardrank("verify", str(index)) == 0
    again = scene.rank(index, tmp_path / "again", *words)
    assert again["run.trec"] == first["run.trec"]


def test_rollback_and_compact(scene: Scene, tmp_path: Path) -> None:
    index = copied(scene.dense, tmp_path / "index")
    assert shardrank(*scene.world.index(index, *SETS, *BM25)) == 0
    first = scene.rank(index, tmp_path / "first")
    night(scene, tmp_path, index)
    second = scene.rank(index, tmp_path / "second")
    assert second["run.trec"] != first["run.trec"]
    model = ("--set", f"encoder.model={scene.world.encoder}")
    assert shardrank("compact", str(index), *model) == 0
    assert all(part.deleted is None for part in latest(index).parts)
    assert latest(index).indexes["bm25"].settings.shard_passages == 40
    assert scene.rank(index, tmp_path / "compacted")["run.trec"] == second["run.trec"]
    assert shardrank("rollback", str(index), "2") == 0
    assert scene.rank(index, tmp_path / "back") == first
    assert shardrank("rollback", str(index), "1") == 0
    assert latest(index).indexes.keys() == {"dense"}
    assert scene.rank(index, tmp_path / "dense") == scene.rank(scene.dense, tmp_path / "one")
    assert shardrank("verify", str(index)) == 0


# Strange corpora and queries.


def corpus_of(root: Path, texts: Sequence[str]) -> str:
    root.mkdir(parents=True, exist_ok=True)
    return write_lines(
        root / "c.jsonl", ({"_id": f"d{n}", "text": text} for n, text in enumerate(texts))
    )


def asked(
    scene: Scene, root: Path, texts: Sequence[str], queries: Sequence[str], *sets: str
) -> Any:
    """The rows of a ranking of these queries over these texts."""
    index, out = root / "index", root / "out"
    words = scene.world.index(index, *SETS, *BM25)
    words[1] = corpus_of(root, texts)
    assert shardrank(*words) == 0
    words = scene.world.rank(index, out, *SETS, *sets)
    words[2] = write_lines(
        root / "q.jsonl", ({"_id": f"q{n}", "text": text} for n, text in enumerate(queries))
    )
    assert shardrank(*words[:4], *words[6:]) == 0
    return pq.read_table(out / "rankings").to_pylist()


@pytest.mark.parametrize("texts", [["is a"], ["is the"] * 3, ["wing"], ["wing", "flow", "is"]])
def test_words_that_say_nothing(scene: Scene, tmp_path: Path, texts: list[str]) -> None:
    """Documents of stop words alone, one document, and no word that two share."""
    queries = ["the is a", "zzz", "wing", "wing zzz the"]
    rows = asked(scene, tmp_path / "one", texts, queries, "retriever.bm25.k=9")
    found = [f"d{n}" for n, text in enumerate(texts) if text == "wing"]
    assert [(r["query_id"], r["doc_id"]) for r in rows] == [
        (query, doc) for query in ("q2", "q3") for doc in found
    ]
    parts = "passages.part_size=1"
    rows = asked(scene, tmp_path / "two", texts, queries, "reranker.model=off", parts)
    assert len(rows) == len(texts) * len(queries)
    for row in rows:
        assert row["retrieval_score"] < 2 / 61 + 1e-6


def test_two_retrievers_over_one_index(scene: Scene, tmp_path: Path) -> None:
    sets = (
        "retriever.flat.index=bm25",
        "retriever.flat.k1=0",
        "retriever.steep.index=bm25",
        "retriever.steep.k1=9",
        "reranker.model=off",
    )
    texts = ["wing", "wing wing wing flow", "wing flow flow flow heat heat", "heat"]
    rows = asked(scene, tmp_path, texts, ["wing flow"], *sets)
    told = json.loads((tmp_path / "out/manifest.json").read_text())["retrievers"]
    assert [(r["name"], r["column"], r["bm25"]["k1"]) for r in told] == [
        ("flat", "bm25", 0.0),
        ("steep", "bm25", 9.0),
    ]
    assert {row["doc_id"] for row in rows} == {"d0", "d1", "d2"}


def test_blocks_of_many_queries(scene: Scene, tmp_path: Path) -> None:
    """Five thousand queries, a thousand or all of them in a block; with little memory, too."""
    words = [*VOCABULARY, "zzz", "is"]
    count = len(words)
    texts = [f"{words[n % count]} {words[n * 7 // 5 % count]}" for n in range(5000)]
    path = write_lines(
        tmp_path / "q.jsonl", ({"_id": f"q{n}", "text": text} for n, text in enumerate(texts))
    )
    found = []
    for size, memory in ((1000, 1024), (5000, 1024), (1000, 1)):
        out = tmp_path / f"{size}-{memory}"
        layout = (f"search.block_queries={size}", f"search.memory_mb={memory}")
        sets = (*layout, "search.k=5", "reranker.model=off")
        command = scene.world.rank(scene.both, out, *SETS, *sets)
        command[2] = path
        assert shardrank(*command[:4], *command[6:]) == 0
        assert len(list((out / "rankings").iterdir())) == 5000 // size
        found.append(pq.read_table(out / "rankings"))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    assert found[0].num_rows == 5000 * 5
