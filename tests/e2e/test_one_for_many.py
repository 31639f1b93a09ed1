"""Columns of one vector for many, MUVERA's and learnt ones, through whole flows: made of token
vectors in codes, searched, kept by a night, made again when what they are made of changes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.kernels.residual_codes import token_vectors
from shardrank.models.encoders.learned import Learned, LearnedCodec
from shardrank.models.encoders.muvera import Muvera
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage
from shardrank.version.manifest import Version
from tests.late_models import DIM, late_model
from tests.world import SMALL_PARTS, World, codec_of, latest, make_world, shardrank, write_lines

LATE = ("family=late", "dtype=fp32", "stored=4")
MUVERA = ("family=muvera", "repetitions=3", "planes=2", "inner=4")
LEARNED = ("family=learned", "dim=16", "tokens=64", "passages=20", "steps=5")

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, a model of token vectors, and an index with columns that are made of theirs."""

    world: World
    model: Path
    index: Path

    @property
    def sets(self) -> tuple[str, ...]:
        late = ("family=late", f"model={self.model}", *LATE[1:])
        each = {"late": late, "muvera": MUVERA, "learned": LEARNED}
        return (
            *SMALL_PARTS,
            *(f"encoder.{name}.{one}" for name, told in each.items() for one in told),
        )


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("one")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    model = late_model(root / "model", "pylate-bert")
    found = Scene(make_world(root, models, 40, queries=4), model, root / "index")
    assert shardrank(*found.world.index(found.index, *found.sets)) == 0
    return found


def read(index: Path, ref: FileRef) -> pa.Array:
    return pa.concat_arrays(Workspace(LocalStorage(str(index))).read_table(ref)["vector"].chunks)


def codec(index: Path, version: Version, name: str) -> bytes:
    found = codec_of(index, version, name)
    assert found is not None
    return found


def check_columns(index: Path) -> None:
    """Each is what its encoder makes of the stored codes, whichever unit made it."""
    version = latest(index)
    source = codec(index, version, "late")
    settings = version.columns["muvera"].settings
    makers = {
        "muvera": Muvera(settings, DIM, source),  # type: ignore[arg-type]
        "learned": Learned(LearnedCodec.of(codec(index, version, "learned")), source),
    }
    for part in version.parts:
        tokens = read(index, part.columns["late"].file)
        for name, maker in makers.items():
            stored = matrix(pa.chunked_array([read(index, part.columns[name].file)]))
            made = matrix(pa.chunked_array([maker.column(tokens)]))
            np.testing.assert_allclose(stored, made, atol=2e-2)


def test_columns_are_made_of_codes_and_have_indexes(scene: Scene) -> None:
    version = latest(scene.index)
    assert version.indexes.keys() == {"dense", "muvera", "learned"}
    assert [version.dim(name) for name in ("late", "muvera", "learned")] == [0, 3 * 4 * 4, 16]
    check_columns(scene.index)
    assert shardrank("verify", str(scene.index)) == 0


def test_hits_are_those_of_the_vectors_products(scene: Scene, tmp_path: Path) -> None:
    """The only retriever ranks by the product of the query's vector and the passages'."""
    out, sets = tmp_path / "out", ["search.k=3", "retriever.muvera.index=muvera"]
    assert shardrank(*scene.world.rank(scene.index, out, "reranker.model=off", *sets)) == 0
    asked = [read_all(out, f"encode-{name}") for name in ("late", "muvera")]
    version = latest(scene.index)
    settings = version.columns["muvera"].settings
    queries = Muvera(settings, DIM, None).queries(asked[0])  # type: ignore[arg-type]
    np.testing.assert_allclose(
        matrix(pa.chunked_array([asked[1]])), matrix(pa.chunked_array([queries])), atol=1e-5
    )
    stored = [read(scene.index, part.columns["muvera"].file) for part in version.parts]
    products = matrix(pa.chunked_array([queries])) @ matrix(pa.chunked_array(stored)).T
    lines = [line.split() for line in (out / "run.trec").read_text().splitlines()]
    best = [float(line[4]) for line in lines if line[3] == "1"]
    np.testing.assert_allclose(sorted(best), sorted(products.max(axis=1)), rtol=1e-4)


def read_all(out: Path, stage: str) -> pa.Array:
    """What a stage of encoding queries wrote, of the one block that there is."""
    [file] = (out / "units" / stage).glob("*.vectors.parquet")
    key = str(file.relative_to(out))
    table = Workspace(LocalStorage(str(out))).read_unchecked(key)
    return pa.concat_arrays(table["vector"].chunks)


def test_a_night_keeps_codecs_and_makes_what_is_new(scene: Scene, tmp_path: Path) -> None:
    index = Path(shutil.copytree(scene.index, tmp_path / "index"))
    before = latest(index)
    rows = scene.world.rows("corpus")[3:]
    rows += [{"_id": f"new{n}", "text": "shock tube of the wing"} for n in range(5)]
    words = scene.world.index(index, *SMALL_PARTS)
    words[1] = write_lines(tmp_path / "night.jsonl", rows)
    assert shardrank(*words) == 0
    assert latest(index).columns == before.columns
    check_columns(index)
    assert shardrank("compact", str(index)) == 0
    assert latest(index).columns == before.columns
    check_columns(index)
    assert shardrank("verify", str(index)) == 0


def test_columns_of_columns_may_have_any_names(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest sorts them by name: here what is made of others stands before these."""
    index, late = tmp_path / "index", ("family=late", f"model={scene.model}", *LATE[1:])
    each = {
        "zz": late,
        "mm": (*MUVERA, "of=zz"),
        "aa": ("family=bits", "of=mm", "rotation=random"),
    }
    sets = [*SMALL_PARTS, *(f"encoder.{name}.{one}" for name, told in each.items() for one in told)]
    assert shardrank(*scene.world.index(index, *sets)) == 0
    before = latest(index)
    words = scene.world.index(index, *SMALL_PARTS)
    rows = scene.world.rows("corpus")[3:]
    words[1] = write_lines(tmp_path / "night.jsonl", rows)
    assert shardrank(*words) == 0
    assert latest(index).columns == before.columns
    ask = ["reranker.model=off", "retriever.aa.index=aa"]
    assert shardrank(*scene.world.rank(index, tmp_path / "out", *ask)) == 0
    ref = before.columns["zz"].codec
    assert ref is not None
    damaged = bytearray((index / ref.key).read_bytes())
    damaged[-1] ^= 1
    (index / ref.key).write_bytes(damaged)
    assert shardrank("verify", str(index)) != 0
    assert ref.key in capsys.readouterr().out


def test_what_they_are_made_of_changes_them(scene: Scene, tmp_path: Path) -> None:
    index = Path(shutil.copytree(scene.index, tmp_path / "index"))
    before = latest(index)
    more = [*scene.sets, "encoder.late.stored=2", "gate.reembed=true"]
    assert shardrank(*scene.world.index(index, *more)) == 0
    after = latest(index)
    for name in ("late", "muvera", "learned"):
        files = [{part.columns[name].file.sha256 for part in v.parts} for v in (before, after)]
        assert not files[0] & files[1]
    assert after.columns["learned"].codec != before.columns["learned"].codec
    check_columns(index)


def test_what_is_not_there_is_not_read(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [*SMALL_PARTS, "encoder.muvera.family=muvera"]
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 2
    assert "'late', which no [[encoder]] before it makes" in capsys.readouterr().err


def test_tokens_are_those_of_the_stored_codes(scene: Scene) -> None:
    """There is something to make vectors of."""
    version = latest(scene.index)
    tokens = token_vectors(
        read(scene.index, version.parts[0].columns["late"].file),
        codec(scene.index, version, "late"),
    )
    assert len(tokens.vectors) > tokens.rows
