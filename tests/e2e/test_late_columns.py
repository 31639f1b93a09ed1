"""Columns of token vectors through whole flows: made, kept, added to, folded, damaged."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.cards import LateCard
from shardrank.core.files import FileRef
from shardrank.core.late_settings import LateSettings
from shardrank.core.text import passage_text
from shardrank.kernels.residual_codes import ResidualCodec, token_vectors
from shardrank.models.encoders.late import LateEncoder, TokenColumn, load_late
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage
from shardrank.version.manifest import Version
from tests.late_models import DIM, late_model
from tests.world import SMALL_PARTS, World, codec_of, latest, make_world, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, a model of token vectors, and an index with two columns of it: whole and in
    codes."""

    world: World
    model: Path
    index: Path

    @property
    def sets(self) -> tuple[str, ...]:
        return (*SMALL_PARTS, *late("late", self.model), *late("bits", self.model, "stored=2"))


def late(name: str, model: Path, *more: str) -> list[str]:
    given = ("family=late", f"model={model}", "dtype=fp32", *more)
    return [f"encoder.{name}.{each}" for each in given]


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("late")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    model = late_model(root / "model", "pylate-bert")
    found = Scene(make_world(root, models, 30, queries=4), model, root / "index")
    assert shardrank(*found.world.index(found.index, *found.sets)) == 0
    return found


def read(index: Path, ref: FileRef, column: str) -> pa.Array:
    chunks = Workspace(LocalStorage(str(index))).read_table(ref, [column])[column].chunks
    return pa.concat_arrays(chunks)


def check_columns(index: Path, encoder: LateEncoder) -> None:
    """What is stored is what the encoder makes of the parts' texts."""
    version = latest(index)
    codec = codec_of(index, version, "bits")
    assert codec is not None
    assert codec_of(index, version, "late") is None
    for part in version.parts:
        both = (read(index, part.passages, name).to_pylist() for name in ("title", "text"))
        texts = pa.array([passage_text(*each) for each in zip(*both, strict=True)])
        expected = TokenColumn(encoder, None).column(texts)
        whole = read(index, part.columns["late"].file, "vector")
        assert whole.type == pa.list_(pa.list_(pa.float16(), DIM))
        np.testing.assert_allclose(
            token_vectors(whole, None).vectors, token_vectors(expected, None).vectors, atol=1e-3
        )
        coded = read(index, part.columns["bits"].file, "vector")
        assert coded.type == pa.list_(pa.binary(2 + DIM // 4))
        found, held = token_vectors(coded, codec), token_vectors(whole, None)
        np.testing.assert_array_equal(found.ends, held.ends)
        assert np.median((found.vectors * held.vectors).sum(axis=1)) > 0.95


def files(version: Version, name: str) -> list[str]:
    return [part.columns[name].file.sha256 for part in version.parts]


@pytest.fixture(scope="module")
def encoder(scene: Scene) -> LateEncoder:
    return load_late(LateSettings(model=str(scene.model), dtype="fp32"), "cpu")


def test_columns_are_made_and_searched_by_nothing(scene: Scene, encoder: LateEncoder) -> None:
    version = latest(scene.index)
    assert version.indexes.keys() == {"dense"}
    card = version.columns["bits"].card
    assert isinstance(card, LateCard)
    assert (card.stored, card.dim, card.bits) == ("2", DIM, 2)
    check_columns(scene.index, encoder)
    assert shardrank("verify", str(scene.index)) == 0


def test_queries_are_ranked_beside_them(scene: Scene, tmp_path: Path) -> None:
    assert shardrank(*scene.world.rank(scene.index, tmp_path / "out", *SMALL_PARTS)) == 0
    assert (tmp_path / "out" / "run.trec").read_text()


def test_the_same_again_gives_the_same_bytes(scene: Scene, tmp_path: Path) -> None:
    assert shardrank(*scene.world.index(tmp_path / "again", *scene.sets)) == 0
    assert latest(tmp_path / "again").content() == latest(scene.index).content()


def test_a_night_keeps_the_codec_and_embeds_what_is_new(
    scene: Scene, encoder: LateEncoder, tmp_path: Path
) -> None:
    index = Path(shutil.copytree(scene.index, tmp_path / "index"))
    before = latest(index)
    rows = scene.world.rows("corpus")[3:]
    rows += [{"_id": f"new{n}", "text": "shock tube of the wing"} for n in range(5)]
    words = scene.world.index(index, *SMALL_PARTS)
    words[1] = write_lines(tmp_path / "night.jsonl", rows)
    assert shardrank(*words) == 0
    after = latest(index)
    assert codec_of(index, after, "bits") == codec_of(index, before, "bits")
    assert {*files(before, "bits")} & {*files(after, "bits")}
    assert {*files(after, "bits")} - {*files(before, "bits")}
    check_columns(index, encoder)
    assert shardrank("compact", str(index)) == 0
    assert codec_of(index, latest(index), "bits") == codec_of(index, before, "bits")
    check_columns(index, encoder)
    assert shardrank("verify", str(index)) == 0


def test_other_codes_are_fitted_anew(scene: Scene, tmp_path: Path) -> None:
    index = Path(shutil.copytree(scene.index, tmp_path / "index"))
    before = latest(index)
    more = [*scene.sets, "encoder.bits.stored=4", "gate.reembed=true"]
    assert shardrank(*scene.world.index(index, *more)) == 0
    after = latest(index)
    assert files(after, "late") == files(before, "late")
    assert not {*files(after, "bits")} & {*files(before, "bits")}
    codec = codec_of(index, after, "bits")
    assert codec is not None
    assert ResidualCodec.of(codec).bits == 4


def test_an_index_over_token_vectors_is_refused(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [*SMALL_PARTS, *late("late", scene.model), "index.late.kind=ivfpq"]
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 2
    assert "kind" in capsys.readouterr().err


def test_an_incomplete_model_is_refused_before_any_stage(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(scene.model, tmp_path / "model"))
    (model / "1_Dense" / "model.safetensors").unlink()
    index = tmp_path / "index"
    assert shardrank(*scene.world.index(index, *SMALL_PARTS, *late("late", model))) == 2
    assert "1_Dense" in capsys.readouterr().err
    assert not (index / "units").exists()
