"""Two nights of a real collection: what the second costs, and whether it answers like a rebuild.

    python -m tests.bench.nights CORPUS.jsonl FOLDER [--set table.key=value …]

The first night's corpus is the collection without ADDED of its documents; on the second these come,
CHANGED are edited and DELETED are gone. Then the second corpus is indexed anew, beside.
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

from shardrank.corpus.part_keys import live_keys
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.versions import open_version
from shardrank.storage import LocalStorage
from shardrank.version.manifest import Version
from tests.bench.command import shardrank

CHANGED, ADDED, DELETED = 0.02, 0.01, 0.01
EDIT = " This paragraph was revised last night."


@dataclass(frozen=True)
class Run:
    """An index command: its wall time, and the version that it published."""

    seconds: float
    version: Version


def write_nights(corpus: Path, folder: Path) -> tuple[Path, Path]:
    """The corpora of both nights, JSON Lines in the order of the collection."""
    rows = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
    ids = [row["_id"] for row in rows]
    rng = random.Random(0)
    rng.shuffle(ids)
    one, many = round(len(rows) * ADDED), round(len(rows) * CHANGED)
    new, gone, edited = set(ids[:one]), set(ids[one : 2 * one]), set(ids[-many:])
    first = [row for row in rows if row["_id"] not in new]
    second = [
        {**row, "text": row["text"] + EDIT} if row["_id"] in edited else row
        for row in rows
        if row["_id"] not in gone
    ]
    return _write(folder / "first.jsonl", first), _write(folder / "second.jsonl", second)


def _write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def run_index(corpus: Path, index: Path, sets: list[str]) -> Run:
    """The command as a user gives it, in a process of its own."""
    seconds = shardrank("index", corpus, index, *(f"--set={value}" for value in sets))
    return Run(seconds, open_version(Workspace(LocalStorage(str(index)))).version)


def live_documents(index: Path, version: Version) -> dict[str, tuple[str, int]]:
    """Content hash and passages of every live document, by id."""
    workspace, found = Workspace(LocalStorage(str(index))), {}
    for part in version.parts:
        deleted = read_bitmap(workspace, part.deleted, part.rows)
        for row in live_keys(workspace.read_table(part.keys), deleted).to_pylist():
            found[row["doc_id"]] = (row["content_hash"], row["rows"])
    return found


def recalls(night: Version, rebuilt: Version) -> list[str]:
    """What both audits measured, at the effort that each of them chose."""
    lines = []
    for name, chosen in (("the night", night.index.audit), ("the rebuild", rebuilt.index.audit)):
        at = (chosen.nprobe, chosen.depth)
        found = [recall_at(version, *at) for version in (night, rebuilt)]
        lines.append(
            f"at the effort of {name} (nprobe {at[0]}, depth {at[1]}): Recall@{chosen.k} "
            f"{found[0]:.4f} after the night, {found[1]:.4f} rebuilt"
        )
    return lines


def recall_at(version: Version, nprobe: int, depth: int) -> float:
    """From the measured curve that the version keeps."""
    points = {(p.nprobe, p.depth): p.recall for p in version.index.audit.points}
    return points[nprobe, depth]


def main() -> None:
    """Run the three builds and print what they cost and hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    arguments = parser.parse_args()
    nights = write_nights(arguments.corpus, arguments.folder)
    index, anew = arguments.folder / "index", arguments.folder / "anew"
    full = run_index(nights[0], index, arguments.sets)
    night = run_index(nights[1], index, arguments.sets)
    rebuilt = run_index(nights[1], anew, arguments.sets)
    names = ("added", "changed", "deleted")
    changes = {name: getattr(night.version.changes, name) for name in names}
    before, after = (live_documents(index, run.version) for run in (full, night))
    wanted = live_documents(anew, rebuilt.version)
    same = after.keys() == wanted.keys()
    known = {doc_id: digest for doc_id, (digest, _) in before.items()}
    differing = sum(n for doc_id, (digest, n) in wanted.items() if digest != known.get(doc_id))
    print(f"full build {full.seconds:.0f} s, second night {night.seconds:.0f} s")
    print(f"ratio {night.seconds / full.seconds:.3f}; {changes}")
    embedded = night.version.changes.embedded
    print(f"passages embedded {embedded:,}; of new and changed documents {differing:,}")
    print(f"same ids live as in a rebuild: {same}")
    for line in recalls(night.version, rebuilt.version):
        print(line)


if __name__ == "__main__":
    main()
