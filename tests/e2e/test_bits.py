"""Binary codes of a dense column, through nights: hits have the exact scores of its vectors."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.version.manifest import Version
from tests.world import AUDITED, World, latest, make_world, shardrank, write_lines

SETS = (*AUDITED, "audit.target=0.9", "audit.queries=40", "audit.max_depth=160")
BITS = ("encoder.bits.family=bits", "index.bits.shard_passages=100")
DOCUMENTS = 160
#: More than there are documents.
ALL = 1000

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, and an index with codes from the start."""

    world: World
    index: Path

    def copied(self, to: Path) -> Path:
        return Path(shutil.copytree(self.index, to))

    def ranked(self, index: Path, out: Path, *sets: str) -> list[dict[str, Any]]:
        """What a ranking says, by query and rank."""
        assert shardrank(*self.world.rank(index, out, *SETS, *sets)) == 0
        order = [("query_id", "ascending"), ("rank", "ascending")]
        return pq.read_table(out / "rankings").sort_by(order).to_pylist()

    def require_exact(self, index: Path, folder: Path) -> None:
        """Codes that are refined to the end find what exact search finds, with its scores."""
        exact = self.ranked(index, folder / "exact", "retriever.dense.index=dense")
        bits = ("retriever.bits.index=bits", f"retriever.bits.depth={ALL}")
        assert self.ranked(index, folder / "bits", *bits) == exact


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("bits")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    found = Scene(make_world(root, models, DOCUMENTS, queries=6), root / "index")
    assert shardrank(*found.world.index(found.index, *SETS, *BITS)) == 0
    return found


def codes(index: Path, version: Version) -> list[pa.ChunkedArray]:
    """Of each part, its column."""
    files = [part.columns["bits"].file.key for part in version.parts]
    return [pq.read_table(index / key)["vector"] for key in files]


def test_what_is_told(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    audit = latest(scene.index).indexes["bits"].audit
    assert shardrank(*scene.world.index(scene.copied(tmp_path / "index"), *SETS)) == 0
    found = f"index binary, over bits; Recall@5 {audit.recall:.3f} (target 0.9)"
    assert f"{found} at depth {audit.depth}" in " ".join(capsys.readouterr().out.split())
    assert shardrank("plan", *scene.world.index(tmp_path / "new", *SETS, *BITS)) == 0
    assert "bits: bits of dense, " in " ".join(capsys.readouterr().out.split())


def test_what_a_version_holds(scene: Scene) -> None:
    version = latest(scene.index)
    index, encoder = version.indexes["bits"], version.columns["bits"]
    assert (index.plan.kind, index.source, index.scored) == ("binary", "dense", "dense")
    assert index.codec
    assert index.codec.file == encoder.codec
    assert len(index.shards) > 1
    assert all(shard.file is None for shard in index.shards)
    assert all(column.type == pa.binary(2) for column in codes(scene.index, version))
    assert sum(map(len, codes(scene.index, version))) == version.live.passages


def test_the_audit_goes_by_depth_alone(scene: Scene) -> None:
    audit = latest(scene.index).indexes["bits"].audit
    assert {point.nprobe for point in audit.points} == {1}
    assert [point.depth for point in audit.points] == [5, 10, 20, 40, 80, 160]
    recall = [point.recall for point in audit.points]
    assert recall == sorted(recall)
    assert recall[0] < 0.9 <= audit.recall == min(r for r in recall if r >= 0.9)
    assert recall[-1] == 1


@pytest.mark.parametrize("more", [(), ("encoder.bits.bits=2", "encoder.bits.rotation=none")])
def test_hits_have_exact_scores(scene: Scene, more: tuple[str, ...], tmp_path: Path) -> None:
    index = scene.copied(tmp_path / "index")
    asked = ("encoder.bits.asked=codes", *more)
    if more:  # the column is made again, since its encoder is another
        made = (*SETS, *BITS, *asked, "gate.reembed=true")
        assert shardrank(*scene.world.index(index, *made)) == 0
        assert codes(index, latest(index))[0].type == pa.binary(4)
    scene.require_exact(index, tmp_path)
    few = scene.ranked(index, tmp_path / "few", "retriever.bits.index=bits", "search.depth=10")
    dense = scene.ranked(index, tmp_path / "all", "retriever.dense.index=dense", f"search.k={ALL}")
    known = {(row["query_id"], row["doc_id"]): row for row in dense}
    for row in few:  # a document may be found by another passage than its best
        best = known[row["query_id"], row["doc_id"]]
        same = row["passage"] == best["passage"]
        assert (row["retrieval_score"] == best["retrieval_score"]) == same
        assert row["retrieval_score"] <= best["retrieval_score"]


def test_what_is_not_named_is_not_searched_twice(scene: Scene, tmp_path: Path) -> None:
    exact = scene.ranked(scene.index, tmp_path / "dense", "retriever.dense.index=dense")
    assert scene.ranked(scene.index, tmp_path / "all") == exact


def test_feedback_and_hubs_go_by_the_vectors(scene: Scene, tmp_path: Path) -> None:
    def ranked(column: str) -> list[dict[str, Any]]:
        more = (f"retriever.{column}.index={column}", f"retriever.{column}.depth={ALL}")
        asked = (f"retriever.{column}.feedback=3", f"retriever.{column}.hubness=0.5")
        return scene.ranked(scene.index, tmp_path / column, *more, *asked)

    assert ranked("bits") == ranked("dense")


def test_nights(scene: Scene, tmp_path: Path) -> None:
    """A night brings, changes and deletes documents; parts are compacted; the codec stays, and so
    do the codes of what stays."""
    index, before = scene.copied(tmp_path / "index"), latest(scene.index)
    rows = scene.world.rows("corpus")
    tonight = [{**row, "text": row["text"] + " wing"} for row in rows[:10]] + rows[40:]
    tonight += [{"_id": f"new{n}", "text": f"{rows[n]['text']} shock"} for n in range(30)]
    words = scene.world.index(index, *SETS)
    words[1] = write_lines(tmp_path / "night.jsonl", tonight)
    assert shardrank(*words) == 0
    version = latest(index)
    assert version.columns["bits"] == before.columns["bits"]
    assert version.live.documents == len(tonight)
    scene.require_exact(index, tmp_path / "night")
    model = ("--set", f"encoder.model={scene.world.encoder}")
    assert shardrank("compact", str(index), *model) == 0
    assert sum(part.rows for part in latest(index).parts) == latest(index).live.passages
    scene.require_exact(index, tmp_path / "compact")
    assert shardrank("verify", str(index)) == 0
    assert shardrank("gc", str(index), "--keep", "1") == 0
    assert shardrank("verify", str(index)) == 0
    scene.require_exact(index, tmp_path / "gc")


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("encoder.bits.of=words",), "made of the column 'words', which no [[encoder]] before"),
        (("encoder.bm25.family=bm25", "encoder.bits.of=bm25"), "holds no dense vectors"),
        (("index.bits.nlist=4",), "index.bits.nlist"),
        (("encoder.bits.bits=3",), "bits"),
    ],
)
def test_settings_that_are_refused(
    scene: Scene, sets: tuple[str, ...], said: str, tmp_path: Path, capsys: Any
) -> None:
    words = ("encoder.bm25.family=bm25",) if "encoder.bits.of=bm25" in sets else ()
    rest = tuple(each for each in sets if each not in words)
    assert shardrank(*scene.world.index(tmp_path / "index", *SETS, *words, *BITS, *rest)) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_retriever_has_no_lists_to_probe(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    asked = ("retriever.bits.index=bits", "retriever.bits.nprobe=3")
    assert shardrank(*scene.world.rank(scene.index, tmp_path / "out", *SETS, *asked)) == 2
    assert "nprobe, which an index of kind binary" in " ".join(capsys.readouterr().err.split())


def test_a_retriever_has_no_token_vectors(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    asked = ("retriever.dense.index=dense", "retriever.dense.query_pool=2")
    assert shardrank(*scene.world.rank(scene.index, tmp_path / "out", *SETS, *asked)) == 2
    assert "sets query_pool" in " ".join(capsys.readouterr().err.split())


def test_too_few_passages_for_itq(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    words = scene.world.index(tmp_path / "index", *SETS, *BITS)
    words[1] = write_lines(tmp_path / "few.jsonl", scene.world.rows("corpus")[:3])
    assert shardrank(*words) == 2
    assert "rotation = itq needs 16 at least" in " ".join(capsys.readouterr().err.split())


def test_an_audit_below_its_target(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    sets = (*SETS, "audit.max_depth=5", "audit.target=0.99", *BITS)
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "Raise bits of the codes or audit.max_depth" in said
