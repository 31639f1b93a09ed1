"""No command takes a place for another use, on any storage."""

from pathlib import Path

import pytest

from shardrank.core.errors import InputError
from shardrank.core.protocols import Storage
from shardrank.core.settings import Settings
from shardrank.stages.shared.places import Use, refuse_other_use
from shardrank.storage.s3 import S3Storage

#: What lies in each kind of place once its first run has written something for readers.
SIGNS = {
    Use.INDEX: {"manifests/000012.json": b"whatever"},
    Use.OUT: {"manifest.json": b'{"run": "r", "index_content": "c"}'},
    Use.LABELS: {"manifest.json": b'{"run": "r", "ranking": "q"}'},
}


def refused(storage: Storage, below: str, use: Use) -> str:
    """The message; "" where there is none."""
    settings = Settings(s3=storage.settings) if isinstance(storage, S3Storage) else Settings()
    try:
        refuse_other_use(f"{storage.root}{below}", use, settings)
    except InputError as error:
        return error.message
    return ""


@pytest.mark.parametrize("held", Use)
def test_what_holds_something_else(storage: Storage, held: Use) -> None:
    assert not any(refused(storage, "", use) for use in Use), "nothing is there"
    for key, data in SIGNS[held].items():
        storage.write(key, data)
    for use in Use:
        told = refused(storage, "", use)
        assert told == ("" if use is held else f"{use.name} {storage.root} holds {held.value}.")


def test_an_index_before_its_first_version(storage: Storage) -> None:
    storage.write("runs/begun.json", b"{}")
    assert refused(storage, "", Use.OUT) == f"OUT {storage.root} holds an index."
    assert not refused(storage, "", Use.INDEX)


@pytest.mark.parametrize(
    ("held", "below", "allowed"),
    [
        (Use.INDEX, "/ranked", False),
        (Use.INDEX, "/deep/below/it", False),
        (Use.OUT, "/rankings", False),
        (Use.OUT, "/units/more", False),
        (Use.OUT, "/labels", True),
        (Use.LABELS, "/triplets", False),
        (Use.LABELS, "/about/triplets", False),
        (Use.LABELS, "/other", True),
    ],
)
def test_what_lies_inside(storage: Storage, held: Use, below: str, allowed: bool) -> None:
    for key, data in SIGNS[held].items():
        storage.write(key, data)
    for use in Use:
        told = refused(storage, below, use)
        inside = f"{use.name} {storage.root}{below} lies inside of {storage.root}, which holds"
        assert told == ("" if allowed else f"{inside} {held.value}.")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for below in ("file", "file/deep/below"):
        with pytest.raises(InputError, match=f"{tmp_path}/file is a file"):
            refuse_other_use(str(tmp_path / below), Use.OUT, Settings())


def test_what_is_not_ours_is_no_sign(storage: Storage) -> None:
    for key in ("manifests/deployment.yaml", "runs/run.json", "units/one"):
        storage.write(key, b"{}")
    for data in (b"[1]", b"no json", b'{"name": "app"}'):
        storage.write("manifest.json", data)
        assert not any(refused(storage, below, use) for use in Use for below in ("", "/units"))
