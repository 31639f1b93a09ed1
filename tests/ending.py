"""Ending a run at any change of its storage, without a process: a fake kill -9."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pytest

from shardrank.storage.local import LocalStorage


class Killed(BaseException):
    """Ends the run at once: no `except Exception` on the way holds it up."""


_COUNTING = Lock()


@dataclass
class Counter:
    """Counts changes of the storage; ends the run at one of them, before or after it."""

    at: int
    before: bool
    count: int = 0
    key: str = ""

    def guard(self, key: str, write: Any) -> Any:
        with _COUNTING:  # units run on threads
            self.count += 1
            mine = self.count == self.at
        if mine:
            self.key = key
        if mine and self.before:
            raise Killed
        result = write()
        if mine:
            raise Killed
        return result


@contextlib.contextmanager
def counted(counter: Counter) -> Iterator[None]:
    """Every write, create and delete of local storage goes through the counter."""
    write, create, delete = LocalStorage.write, LocalStorage.create, LocalStorage.delete

    def counted_write(self: LocalStorage, key: str, data: bytes, rows: int = 0) -> Any:
        return counter.guard(key, lambda: write(self, key, data, rows))

    def counted_create(self: LocalStorage, key: str, data: bytes) -> None:
        counter.guard(key, lambda: create(self, key, data))

    def counted_delete(self: LocalStorage, key: str) -> None:
        counter.guard(key, lambda: delete(self, key))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStorage, "write", counted_write)
        patch.setattr(LocalStorage, "create", counted_create)
        patch.setattr(LocalStorage, "delete", counted_delete)
        yield
