"""Publishing over every storage: one winner a number, and nothing that was committed is lost."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from shardrank.core.cards import EncoderCard
from shardrank.core.errors import CommitConflict, InputError
from shardrank.core.index_settings import AuditSettings, IndexSettings
from shardrank.core.model_settings import DENSE, EncoderSettings
from shardrank.core.protocols import Storage
from shardrank.flows.upkeep import history, roll_back
from shardrank.stages.index.publish import made_now, publish
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import latest_version, read_version, version_numbers
from shardrank.version.indexes import Audit, Index
from shardrank.version.manifest import Changes, Recipe, StoredEncoder, Version
from shardrank.version.parts import Counts, Part, StoredColumn
from shardrank.version.sizing import CodecPlan

PUBLISHERS = 8


def version(workspace: Workspace, name: str, parent: int = 0) -> Version:
    """A version of one part, whose file exists."""
    ref = workspace.storage.write(f"parts/{name}/passages.parquet", name.encode(), rows=1)
    part = Part(name, ref, ref, {DENSE: StoredColumn(ref, 1.0)}, None, Counts(1, 1, 1, 0), ())
    card = EncoderCard("model", "", "", "", 8, 16, 16, "mean", True, "", "", "fp32")
    return Version(
        parent=parent,
        parts=(part,),
        columns={DENSE: StoredEncoder(card, EncoderSettings())},
        indexes={
            DENSE: Index(
                column=DENSE,
                plan=CodecPlan("exact", 0, 0, 0, False, 0, 0),
                settings=IndexSettings(),
                codec=None,
                counts=None,
                shards=(),
                audit=Audit("exact", 100, 0.9, 1.0, 0, 0, (), 0),
                audit_settings=AuditSettings(),
            )
        },
        recipe=Recipe("", "", "fp16", True, 16, 0),
        part_size=1,
        changes=Changes(),
        made=made_now("index", "run", ""),
    )


def compete(workspace: Workspace, rounds: int) -> list[tuple[int, str]]:
    """In each round all publishers try for the same number at once; (number, attempt) that won."""
    barrier = threading.Barrier(PUBLISHERS)

    def publisher(number: int) -> list[tuple[int, str]]:
        won = []
        for turn in range(rounds):
            mine = version(workspace, f"{turn}-{number}", parent=turn)
            barrier.wait()
            with contextlib.suppress(CommitConflict):
                won.append((publish(workspace, mine).number, mine.made.attempt))
            barrier.wait()
        return won

    with ThreadPoolExecutor(PUBLISHERS) as pool:
        return [win for wins in pool.map(publisher, range(PUBLISHERS)) for win in wins]


def check_rounds(workspace: Workspace, rounds: int) -> None:
    won = compete(workspace, rounds)
    assert sorted(number for number, _ in won) == list(range(1, rounds + 1))
    assert version_numbers(workspace) == list(range(1, rounds + 1))
    for number, attempt in won:
        assert read_version(workspace, number).made.attempt == attempt


def test_one_publisher_wins_each_number(storage: Storage) -> None:
    check_rounds(Workspace(storage), rounds=5)


@pytest.mark.slow
def test_a_hundred_rounds(storage: Storage) -> None:
    check_rounds(Workspace(storage), rounds=100)


def test_readers_never_see_a_mixed_version(storage: Storage) -> None:
    check_readers(Workspace(storage), published=20)


@pytest.mark.slow
def test_readers_of_many_versions(storage: Storage) -> None:
    check_readers(Workspace(storage), published=100)


def check_readers(workspace: Workspace, published: int) -> None:
    """Readers loop while versions are published, and every fifth time another is rolled back to;
    each that they see is one of them."""
    first = publish(workspace, version(workspace, "n0")).version
    known, done = {first.made.attempt: first}, threading.Event()
    seen: list[Version] = []

    def reader() -> None:
        while not done.is_set():
            found = latest_version(workspace)
            assert found
            seen.append(found.version)

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(reader) for _ in range(2)]
        for n in range(1, published + 1):
            made = publish(workspace, version(workspace, f"n{n}", parent=len(known)))
            known[made.version.made.attempt] = made.version
            if n % 5 == 0:
                back = roll_back(workspace, n - 3, "")
                known[back.version.made.attempt] = back.version
        done.set()
        [task.result() for task in readers]
    assert len(seen) > 5
    assert all(found == known[found.made.attempt] for found in seen)
    assert len(history(workspace)) == len(known) == 1 + published + published // 5


def test_the_same_content_is_not_published_twice(storage: Storage) -> None:
    workspace = Workspace(storage)
    published = publish(workspace, version(workspace, "a"))
    again = publish(workspace, replace(version(workspace, "a"), parent=1))
    assert (published.number, published.new, again.number, again.new) == (1, True, 1, False)
    assert again.version == published.version


def test_a_version_whose_files_are_gone_is_not_rolled_back_to(storage: Storage) -> None:
    workspace = Workspace(storage)
    publish(workspace, version(workspace, "a"))
    publish(workspace, version(workspace, "b", parent=1))
    storage.delete("parts/a/passages.parquet")
    with pytest.raises(InputError, match="3 of the 3 files of version 1 are gone"):
        roll_back(workspace, 1, "")
    with pytest.raises(InputError, match="has no version 7; it has 1, 2"):
        roll_back(workspace, 7, "")
