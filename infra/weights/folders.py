"""Where converted models lie, and how one is written: whole or not at all, and held to the sha256
of its files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

VARIABLE = "SHARDRANK_WEIGHTS"

#: What a converted model consists of, by the file's name: "1_Pooling/config.json" lies in a folder.
Files = Mapping[str, bytes]


def weights_folder() -> Path:
    """The folder of all converted models: that of the variable, else one in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(VARIABLE) or Path(cache) / "shardrank" / "weights").expanduser()


def run(name: str, sha256: Mapping[str, str], convert: Callable[[], Files], about: str) -> None:
    """What a converter does as a script: convert into the folder given by ``--out``, or by default
    into ``name`` in `weights_folder`; nothing where it lies there already.

    Raises:
        SystemExit: a file came out with another sha256.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, default=weights_folder() / name, help="the folder")
    out = parser.parse_args().out
    if _is_there(out, sha256):
        print(f"{name}: {out} is there already")
        return
    write(out, convert(), sha256)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{name}: {out}, {size / 1e6:.0f} MB")


def write(out: Path, files: Files, sha256: Mapping[str, str]) -> None:
    """Write the files beside ``out`` and then put them in its place.

    Raises:
        SystemExit: a file has another sha256 than the one pinned; ``out`` is as it was.
    """
    for name, pinned in sha256.items():
        if (digest := hashlib.sha256(files[name]).hexdigest()) != pinned:
            raise SystemExit(f"{name} came out with the sha256 {digest}, not the pinned {pinned}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    for name, content in files.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_bytes(content)
    made.chmod(0o755)
    shutil.rmtree(out, ignore_errors=True)
    made.rename(out)


def _is_there(out: Path, sha256: Mapping[str, str]) -> bool:
    return all((out / name).is_file() and _digest(out / name) == sha256[name] for name in sha256)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_json(value: Any) -> bytes:
    """A JSON file's bytes."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
