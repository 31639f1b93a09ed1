"""A night, a compaction, a rollback and a collection, ended before and after each change of the
storage: a reader sees the old version or the new one, whole, and the next run completes."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shardrank.flows.verify import verify
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import open_version
from shardrank.storage.local import LocalStorage
from tests.ending import Counter, Killed, counted
from tests.world import World, make_world, shardrank, write_lines

SETS = ("passages.max_tokens=16", "passages.part_size=8", "index.kind=exact", "compact.fold=2")

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """An index of two versions, and the corpora of its nights."""

    world: World
    root: Path

    def settings(self) -> list[str]:
        values = (f"encoder.model={self.world.encoder}", *SETS)
        return [word for value in values for word in ("--set", value)]

    def index(self, index: Path, night: int) -> list[str]:
        corpus = str(self.root / f"{night}.jsonl")
        return ["index", corpus, str(index), *self.settings(), "--set", "gate.max_deleted=1"]


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> Scene:
    root = tmp_path_factory.mktemp("scene")
    for night in range(3):
        texts = {f"d{n}": f"wing flow heat shock {'wave ' * (n % 9)}" for n in range(12)}
        texts |= {f"d{n}": f"plate lift {'drag ' * night}" for n in range(night)}
        texts.pop(f"d{11 - night}")
        write_lines(root / f"{night}.jsonl", ({"_id": d, "text": t} for d, t in texts.items()))
    found = Scene(make_world(root / "world", models, documents=2, queries=1), root)
    for night in range(2):
        assert shardrank(*found.index(root / "index", night)) == 0
    return found


Command = Callable[[Scene, Path], list[str]]
COMMANDS: dict[str, Command] = {
    "index": lambda scene, index: scene.index(index, 2),
    "compact": lambda scene, index: ["compact", str(index), *scene.settings()],
    "rollback": lambda scene, index: ["rollback", str(index), "1"],
    "gc": lambda scene, index: ["gc", str(index), "--keep", "1", "--grace", "0", "--delete"],
}


def whole(index: Path) -> dict[str, Any]:
    """What a reader sees: the content of the latest version, every file of which is checked."""
    workspace = Workspace(LocalStorage(str(index)))
    version = open_version(workspace).version
    assert [p for piece in verify(workspace, version) for p in piece.problems] == []
    return version.content()


def files(index: Path) -> set[str]:
    """Every file that a version may list; a run that is repeated may leave more of the others."""
    keys = {entry.key for entry in LocalStorage(str(index)).list("")}
    return {key for key in keys if not key.startswith(("runs/", "units/"))}


@pytest.mark.parametrize(
    "name",
    # Of index, some writes are tried in test_recovery.py.
    [pytest.param(n, marks=pytest.mark.slow) if n == "index" else n for n in COMMANDS],
)
def test_ended_at_every_change(scene: Scene, tmp_path: Path, name: str) -> None:
    command = COMMANDS[name]
    counter = Counter(at=0, before=True)
    done = tmp_path / "done"
    shutil.copytree(scene.root / "index", done)
    before = whole(done)
    with counted(counter):
        assert shardrank(*command(scene, done)) == 0
    after = whole(done)
    assert counter.count > (0 if name == "rollback" else 3)
    for at in range(1, counter.count + 1):
        for first in (True, False):
            index = tmp_path / f"{at}-{first}"
            shutil.copytree(scene.root / "index", index)
            with counted(Counter(at, first)), pytest.raises(Killed):
                shardrank(*command(scene, index))
            assert whole(index) in (before, after)
            assert shardrank(*command(scene, index)) == 0
            assert whole(index) == after
            assert name == "rollback" or files(index) == files(done)
            shutil.rmtree(index)
