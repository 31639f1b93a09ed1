"""Pictures beside texts through whole flows: indexed, searched by text and by picture, changed,
rejected, folded."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrow_columns import matrix
from shardrank.core.image_settings import ImageSettings
from shardrank.core.pictured import pictured
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.models.encoders.registry import family_of
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage
from tests.image_models import noise, saved, tiny_clip
from tests.world import SMALL_PARTS, latest, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")

_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Scene:
    """A corpus of pictures, and its models."""

    root: Path
    encoder: Path
    reranker: Path
    model: Path

    @property
    def corpus(self) -> Path:
        return self.root / "corpus.parquet"

    def index(self, index: Path, corpus: Path, *sets: str) -> int:
        image = (f"encoder.image.{each}" for each in ("family=image", f"model={self.model}"))
        return self._run("index", (corpus, index), (*SMALL_PARTS, *image, *sets))

    def rank(self, index: Path, queries: Path, out: Path, by: str, reranker: str = "off") -> int:
        sets = (f"retriever.{by}.index={by}", f"reranker.model={reranker}")
        return self._run("rank", (index, queries, out), sets)

    def _run(self, command: str, places: Sequence[Path], sets: Sequence[str]) -> int:
        every = (f"encoder.model={self.encoder}", "corpus.image=image", *sets)
        return shardrank(command, *map(str, places), *(w for s in every for w in ("--set", s)))

    def image_encoder(self) -> ColumnEncoder:
        settings = ImageSettings(model=str(self.model))
        family = family_of(settings)
        return family.load(settings, "cpu", family.read(settings, None), Codecs())


def documents() -> list[Row]:
    """Six of a text and a picture, three pictures, three texts."""
    texts = [f"wing flow {word}" for word in "heat lift drag wave gas jet".split()]  # noqa: SIM905
    both = [
        {"_id": f"b{n}", "text": text, "image": saved(noise(n))} for n, text in enumerate(texts)
    ]
    shown = [{"_id": f"p{n}", "text": None, "image": saved(noise(10 + n))} for n in range(3)]
    told = [{"_id": f"t{n}", "text": f"plate theory {n}", "image": None} for n in range(3)]
    return [*both, *shown, *told]


def write(path: Path, rows: Sequence[Row], struct: bool = True) -> None:
    """Rows as Parquet, the pictures as plain bytes or as Hugging Face has them."""
    names = [name for name in ("_id", "text") if name in rows[0]]
    columns: list[Any] = [pa.array([row[name] for row in rows], pa.string()) for name in names]
    pictures = [row["image"] for row in rows]
    if struct:
        held = [p if isinstance(p, dict) or p is None else {"bytes": p} for p in pictures]
        columns.append(pa.array(held, _STRUCT))
    else:
        columns.append(pa.array(pictures, pa.binary()))
    pq.write_table(pa.table(columns, [*names, "image"]), path, row_group_size=5)


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> Scene:
    root = tmp_path_factory.mktemp("images")
    found = Scene(root, *models, tiny_clip(root / "clip"))
    write(found.corpus, documents())
    assert found.index(root / "index", found.corpus) == 0
    return found


@pytest.fixture
def index(scene: Scene) -> Path:
    return scene.root / "index"


def vectors(index: Path) -> dict[str, Any]:
    """Of each document that is live and in one passage, its vector in the column."""
    version, found = latest(index), {}
    workspace = Workspace(LocalStorage(str(index)))
    for part in version.parts:
        ids = workspace.read_table(part.passages, ["doc_id"])["doc_id"].to_pylist()
        column = matrix(workspace.read_table(part.columns["image"].file)["vector"])
        found |= dict(zip(ids, column.astype(np.float32), strict=True))
    return found


def first(out: Path) -> dict[str, str]:
    """The document that each query has at rank 1."""
    table = pq.read_table(out / "rankings")
    both = table.filter(pc.equal(table["rank"], 1))
    return dict(zip(both["query_id"].to_pylist(), both["doc_id"].to_pylist(), strict=True))


def test_what_is_stored_is_what_the_encoder_makes(scene: Scene, index: Path) -> None:
    rows = documents()
    texts = pa.array([row["text"] or "" for row in rows])
    read = pictured(texts, pa.array([row["image"] for row in rows], pa.binary()))
    expected = matrix(pa.chunked_array([scene.image_encoder().column(read)]))
    held = vectors(index)
    for row, vector in zip(rows, expected.astype(np.float32), strict=True):
        np.testing.assert_allclose(held[row["_id"]], vector, atol=1e-3)
    assert latest(index).live.documents == 12
    assert shardrank("verify", str(index)) == 0


def test_a_text_finds_pictures(scene: Scene, index: Path, tmp_path: Path) -> None:
    queries = Path(write_lines(tmp_path / "q.jsonl", [{"_id": "q", "text": "wing flow heat"}]))
    assert scene.rank(index, queries, tmp_path / "out", "image") == 0
    asked = scene.image_encoder().queries(pa.array(["wing flow heat"])).flatten().to_numpy()
    scores = {doc: float(vector @ asked) for doc, vector in vectors(index).items()}
    assert first(tmp_path / "out") == {"q": max(scores, key=lambda doc: scores[doc])}


def test_a_picture_finds_itself(scene: Scene, index: Path, tmp_path: Path) -> None:
    asked = [{"_id": f"q{n}", "image": saved(noise(10 + n), "JPEG", quality=95)} for n in range(3)]
    bad = {"_id": "broken", "image": asked[0]["image"][:300]}
    write(tmp_path / "q.parquet", [*asked, bad], struct=False)
    assert scene.rank(index, tmp_path / "q.parquet", tmp_path / "out", "image") == 0
    assert first(tmp_path / "out") == {f"q{n}": f"p{n}" for n in range(3)}
    rejected = pq.read_table(tmp_path / "out/rejected/queries.parquet").to_pylist()
    assert [(row["doc_id"], row["reason"]) for row in rejected] == [("broken", "image_broken")]


@pytest.mark.parametrize(
    ("by", "reranked", "said"),
    [("dense", False, "no retriever here sees"), ("image", True, "a reranker reads texts alone")],
)
def test_a_picture_is_not_asked_of_who_reads_texts(
    scene: Scene,
    index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    by: str,
    reranked: bool,
    said: str,
) -> None:
    write(tmp_path / "q.parquet", [{"_id": "q", "image": saved(noise(3))}])
    reranker = str(scene.reranker) if reranked else "off"
    assert scene.rank(index, tmp_path / "q.parquet", tmp_path / "out", by, reranker) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_night_sees_a_changed_picture(scene: Scene, index: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(index, tmp_path / "index"))
    before, rows = vectors(index), documents()
    rows[7] = {**rows[7], "image": saved(noise(50))}
    write(tmp_path / "night.parquet", rows)
    assert scene.index(index, tmp_path / "night.parquet") == 0
    changes = latest(index).changes
    assert (changes.changed, changes.embedded, changes.unchanged) == (1, 1, 11)
    after = vectors(index)
    moved = [doc for doc in before if not np.array_equal(before[doc], after[doc])]
    assert moved == ["p1"]
    assert shardrank("compact", str(index)) == 0
    folded = vectors(index)
    assert all(np.array_equal(folded[doc], after[doc]) for doc in after)
    assert sum(part.pictures is not None for part in latest(index).parts) == 1
    assert shardrank("verify", str(index)) == 0


def test_texts_audit_an_index_of_pictures(scene: Scene, tmp_path: Path) -> None:
    queries = write_lines(
        tmp_path / "q.jsonl", [{"_id": f"q{n}", "text": "wing"} for n in range(3)]
    )
    more = [{"_id": f"m{n}", "text": f"jet {n}", "image": None} for n in range(30)]
    write(tmp_path / "more.parquet", [*documents(), *more])
    lists = ("index.image.kind=ivfsq8", "index.image.nlist=1", "audit.k=5")
    asked = (f"audit.query_file={queries}", *lists)
    assert scene.index(tmp_path / "index", tmp_path / "more.parquet", *asked) == 0
    found = latest(tmp_path / "index").indexes["image"]
    assert (found.plan.kind, found.audit.questions) == ("ivfsq8", 3)


def test_bad_pictures_are_rejected_and_counts_add_up(scene: Scene, tmp_path: Path) -> None:
    whole = saved(noise(1), "JPEG")
    bad = {
        "image_is_path": {"bytes": None, "path": "http://example.org/cat.png"},
        "image_unknown": b"/etc/passwd",
        "image_broken": whole[: len(whole) // 2],
        "image_too_large": saved(noise(2)) + bytes(70_000),
        "image_too_many_pixels": saved(noise(3, 300, 300)),
        "image_unusual": saved(noise(4, 1, 400)),
        "missing_text": None,
    }
    rows = [{"_id": reason, "text": "wing", "image": image} for reason, image in bad.items()]
    rows[-1] = {**rows[-1], "text": None}
    write(tmp_path / "bad.parquet", [*documents(), *rows])
    limits = ("corpus.max_image_bytes=65536", "corpus.max_image_pixels=80000")
    more = ("gate.max_rejected=1",)
    assert scene.index(tmp_path / "index", tmp_path / "bad.parquet", *limits, *more) == 0
    changes = latest(tmp_path / "index").changes
    assert (changes.rows, changes.added, changes.rejected) == (12 + len(bad), 12, len(bad))
    [folder] = (tmp_path / "index" / "runs").glob("*/rejected")
    rejected = pq.read_table(folder).to_pylist()
    assert {row["doc_id"]: row["reason"] for row in rejected} == {name: name for name in bad}


def test_pictures_are_asked_for_where_they_cannot_be(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Path(write_lines(tmp_path / "c.jsonl", [{"_id": "a", "text": "x", "image": "a.png"}]))
    pq.write_table(pa.table({"_id": ["a"], "text": ["x"], "image": ["a.png"]}), tmp_path / "c.pq")
    (tmp_path / "c.pq").rename(tmp_path / "c.parquet")
    for corpus, said in ((lines, "is JSON Lines"), (tmp_path / "c.parquet", "holds string")):
        assert scene.index(tmp_path / "index", corpus) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert scene.index(tmp_path / "index", scene.corpus, "corpus.image=none") == 2
    assert "no column of pictures is named" in " ".join(capsys.readouterr().err.split())


def test_texts_that_were_there_are_missed(
    scene: Scene, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside pictures a file needs no text; but one that is named, or was met before, does."""
    bare = [{"_id": row["_id"], "image": row["image"]} for row in documents() if row["image"]]
    write(tmp_path / "bare.parquet", bare)
    assert scene.index(tmp_path / "new", tmp_path / "bare.parquet", "corpus.text=caption") == 2
    assert "No file has a column 'caption' (corpus.text)" in capsys.readouterr().err
    copied = shutil.copytree(index, tmp_path / "index")
    assert scene.index(copied, tmp_path / "bare.parquet") == 2
    assert "No file has a column 'text' (corpus.text)" in capsys.readouterr().err


def test_who_ranks_decides_how_many_pictures_run_at_once(
    scene: Scene, index: Path, tmp_path: Path
) -> None:
    queries = write_lines(tmp_path / "q.jsonl", [{"_id": "q", "text": "wing"}])
    sets = (f"encoder.model={scene.encoder}", "retriever.image.index=image", "reranker.model=off")
    own = ("encoder.image.family=image", f"encoder.image.model={scene.model}")
    words = ["rank", str(index), str(queries), str(tmp_path / "out")]
    every = (*sets, *own, "encoder.image.batch_images=4")
    assert shardrank(*words, *(w for s in every for w in ("--set", s))) == 0


def test_deletions_alone_need_no_pictures(scene: Scene, index: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(index, tmp_path / "index")
    pq.write_table(pa.table({"_id": ["t0"], "gone": [True]}), tmp_path / "gone.parquet")
    words = ["index", str(tmp_path / "gone.parquet"), str(copied), "--mode", "upsert"]
    sets = (f"encoder.model={scene.encoder}", "corpus.image=image", "corpus.tombstone=gone")
    assert shardrank(*words, *(w for s in sets for w in ("--set", s))) == 0
    assert latest(copied).live.documents == len(documents()) - 1


def test_an_audit_without_a_usable_query_says_so(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = write_lines(tmp_path / "q.jsonl", [{"_id": "q1", "text": " "}])
    lists = ("index.image.kind=ivfsq8", "index.image.nlist=1", "audit.k=5")
    more = [{"_id": f"m{n}", "text": f"jet {n}", "image": None} for n in range(30)]
    write(tmp_path / "more.parquet", [*documents(), *more])
    asked = (f"audit.query_file={queries}", *lists)
    assert scene.index(tmp_path / "index", tmp_path / "more.parquet", *asked) == 2
    assert "holds no usable query" in capsys.readouterr().err
