"""A lease over a store's four calls: one holder, given up, outlived, or lost."""

import os
import time
from pathlib import Path
from threading import Thread

import pytest

from shardrank.core.errors import CommitConflict, RunFailed
from shardrank.stages.run.locks import held
from shardrank.stages.run.workspace import Workspace
from shardrank.storage import LocalStorage
from shardrank.storage.lease import Holder, Lease


@pytest.fixture
def store(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path))


def lease(store: LocalStorage, beat: float = 0.05, ttl: float = 0.4) -> Lease:
    return Lease(store, "runs/lock", beat, ttl)


def left_behind(store: LocalStorage, **changed: object) -> None:
    """What a holder that was killed leaves."""
    told = vars(Holder.here()) | changed
    store.write("runs/lock/000000000007.json", Holder(**told).to_bytes())  # type: ignore[arg-type]


def test_one_holds_it_and_the_next_is_told_who(store: LocalStorage) -> None:
    with lease(store).held():
        with pytest.raises(CommitConflict, match=f"process {os.getpid()} on"), lease(store).held():
            pass
        time.sleep(0.6)  # it lives longer than one without a sign of life would
        with pytest.raises(CommitConflict, match="in use"), lease(store).held():
            pass
    with lease(store).held():
        pass


def test_only_the_newest_is_kept(store: LocalStorage) -> None:
    for _ in range(4):
        with lease(store).held():
            pass
    assert [entry.key for entry in store.list("runs/lock")] == ["runs/lock/000000000004.json"]


def test_that_of_a_process_that_is_gone_is_free(store: LocalStorage) -> None:
    left_behind(store, began="1")
    with lease(store, ttl=60).held():
        assert [e.key for e in store.list("runs/lock")] == ["runs/lock/000000000008.json"]


def test_that_of_another_machine_ends_by_its_age(store: LocalStorage) -> None:
    left_behind(store, boot="another")
    with pytest.raises(CommitConflict, match="sign of life 0 s ago"), lease(store).held():
        pass
    time.sleep(0.5)
    with lease(store).held():
        pass


def test_a_holder_that_lost_it_does_not_take_it_back(store: LocalStorage) -> None:
    with lease(store).held():
        store.write("runs/lock/000000000002.json", Holder.here().to_bytes())
        time.sleep(0.2)
        before = store.read("runs/lock/000000000001.json")
        time.sleep(0.2)
        assert store.read("runs/lock/000000000001.json") == before


def test_of_many_at_once_one_gets_it(store: LocalStorage) -> None:
    got: list[int] = []

    def run(number: int) -> None:
        try:
            with lease(store, ttl=30).held():
                got.append(number)
                time.sleep(0.5)
        except CommitConflict:
            pass

    threads = [Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_what_nobody_understands_is_held_until_it_is_old(store: LocalStorage) -> None:
    store.write("runs/lock/000000000003.json", b"not ours")
    with pytest.raises(CommitConflict, match="somebody gave a sign of life"), lease(store).held():
        pass
    time.sleep(0.5)
    with lease(store).held():
        pass


@pytest.mark.parametrize(
    "changed", [{"space": "pid:[1]"}, {"space": ""}, {"host": "other"}, {"boot": ""}]
)
def test_a_process_that_cannot_be_seen_from_here_may_live(
    store: LocalStorage, changed: dict[str, str]
) -> None:
    """Containers of one machine share its start, and not their processes."""
    left_behind(store, began="1", **changed)
    with pytest.raises(CommitConflict), lease(store).held():
        pass


def test_a_store_that_does_not_answer_frees_nothing(
    store: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(store)

    def fails(self: LocalStorage, key: str) -> bytes:
        raise RunFailed("no answer")

    monkeypatch.setattr(LocalStorage, "read", fails)
    with pytest.raises(RunFailed), lease(store).held():
        pass


def test_one_that_was_slow_does_not_take_a_number_that_is_passed(
    store: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LocalStorage.create

    def late(self: LocalStorage, key: str, data: bytes) -> None:
        monkeypatch.setattr(LocalStorage, "create", whole)
        store.write("runs/lock/000000000002.json", Holder.here().to_bytes())
        whole(self, key, data)

    monkeypatch.setattr(LocalStorage, "create", late)
    with pytest.raises(CommitConflict, match="a moment ago"), lease(store).held():
        pass
    assert [entry.key for entry in store.list("runs/lock")] == ["runs/lock/000000000002.json"]


def test_who_waits_is_told_once_and_gets_it(
    store: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardrank.stages.run.locks.LOOK_EVERY", 0.05)
    workspace, told = Workspace(store), []

    def hold() -> None:
        with held(workspace, "lock", None):
            time.sleep(0.4)

    thread = Thread(target=hold)
    thread.start()
    time.sleep(0.1)
    with pytest.raises(CommitConflict), held(workspace, "lock", None):
        pass
    with held(workspace, "lock", told.append):
        thread.join()
    assert len(told) == 1
    assert "locked by process" in told[0]
