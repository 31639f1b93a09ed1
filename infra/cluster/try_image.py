"""Builds the image without Docker: the Dockerfile's lines, in chroots made by debootstrap.

As root, on Debian, with `apt-get install debootstrap iproute2`; it takes some 10 GB and minutes.
Then the image's user runs shardrank in it, without a network. What the base image is to Docker,
debootstrap's smallest Debian is here. What your network needs is given, and can be read only:
`--bind /etc/my.crt --env PIP_CERT=/etc/my.crt`. Mounts and processes end with the script.

    python3 infra/cluster/try_image.py /tmp/image --device cpu
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What Docker sets where a Dockerfile says nothing.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM = (Path("/proc"), Path("/dev"))
#: Runs what follows with a loopback alone.
OFFLINE = ("unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh")
TRIALS = (
    "id -un && shardrank --help > /dev/null",
    "bash -lc 'command -v ray shardrank python'",
    'for n in $(seq 200); do echo \'{"_id": "\'$n\'", "text": "Of number \'$n\'."}\'; done '
    '> corpus.jsonl && echo \'{"_id": "q", "text": "number 7"}\' > queries.jsonl',
    "shardrank index corpus.jsonl index --set cluster.executor=ray --set cluster.cpus=2",
    "shardrank rank index queries.jsonl out && ls out",
    # As in pods: a head that runs no units, a worker, a token, and the command as a job.
    "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(seq -s '' 40) && "
    "ray start --head --num-cpus 0 > /dev/null && "
    "ray start --address 127.0.0.1:6379 --num-cpus 2 > /dev/null && "
    "ray job submit --address http://127.0.0.1:8265 -- "
    "shardrank index $HOME/corpus.jsonl $HOME/second",
)


@dataclass
class Stage:
    """A stage of the Dockerfile: its files, and what the next line finds set."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    workdir: str = "/"
    user: str = "0:0"


@dataclass
class Build:
    """The whole build: where it lies, what was given, and the stages so far."""

    at: Path
    given: dict[str, str]
    binds: Sequence[str]
    arguments: dict[str, str] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)


def main() -> None:
    """Builds, then tries, then says how large it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("at", type=Path, help="an empty folder, which root may fill")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--bind", action="append", default=[], help="a path of this machine")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    if os.getpid() != 1:
        alone = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        os.execvp("unshare", [*alone, sys.executable, *sys.argv])
    network = dict(pair.split("=", 1) for pair in given.env)
    build = Build(given.at, network, given.bind, {"DEVICE": given.device})
    image = built(build, (ROOT / "infra/cluster/Dockerfile").read_text("utf-8"))
    with mounted(image.root, ["/proc", "/dev"]):
        for trial in TRIALS:
            print(f"$ {trial}", flush=True)
            run(image, trial, {"HOME": "/home/shardrank"}, OFFLINE)
    say(image)


def built(build: Build, dockerfile: str) -> Stage:
    """The last stage, after all lines."""
    stage: Stage | None = None
    for word, rest in instructions(dockerfile):
        if word == "ARG":
            name, _, value = rest.partition("=")
            build.arguments.setdefault(name, value)
        elif word == "FROM":
            stage = opened(build, rest)
        else:
            assert stage is not None, f"{word} before FROM"
            print(f"> {word} {rest}", flush=True)
            follow(build, stage, word, rest)
    assert stage is not None
    return stage


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Each instruction and what follows it, on one line."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def opened(build: Build, rest: str) -> Stage:
    """A new stage: a copy of an earlier one, or of Debian."""
    parent, _, name = rest.partition(" AS ")
    root = build.at / name
    if parent in build.stages:
        old = build.stages[parent]
        stage = Stage(root, dict(old.env), old.workdir, old.user)
        subprocess.run(["cp", "-a", old.root, root], check=True)
    else:
        stage = Stage(root)
        base = ["debootstrap", "--variant=minbase", "bookworm", str(root)]
        subprocess.run(base, check=True, stdout=subprocess.DEVNULL)
    build.stages[name] = stage
    return stage


def follow(build: Build, stage: Stage, word: str, rest: str) -> None:
    """Do what one line says."""
    if word == "RUN":
        with mounted(stage.root, ["/proc", "/dev", *build.binds, "/etc/resolv.conf"]):
            run(stage, rest, {**build.arguments, **build.given})
    elif word == "COPY":
        copy(build, stage, rest.split())
    elif word == "ENV":
        name, _, value = rest.partition("=")
        stage.env[name] = value
    elif word == "WORKDIR":
        stage.workdir = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif word == "USER":
        stage.user = rest
    else:
        assert word == "CMD", f"{word} is not understood"
        json.loads(rest)


def run(stage: Stage, line: str, also: dict[str, str], within: Sequence[str] = ()) -> None:
    """Run a line in a stage, as its user; a line that fails ends the build."""
    environment = [f"{name}={value}" for name, value in {**also, **stage.env}.items()]
    inside = ["sh", "-c", f"cd {stage.workdir} && {{ {line}\n}}"]
    command = ["chroot", f"--userspec={stage.user}", str(stage.root), "env", "-i", *environment]
    subprocess.run([*within, *command, *inside], check=True)


@contextmanager
def mounted(root: Path, paths: Sequence[str]) -> Iterator[None]:
    """This machine's paths in a chroot, and gone from it again, with the places made for them."""
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(_bound(root, Path(path)))
        yield


@contextmanager
def _bound(root: Path, path: Path) -> Iterator[None]:
    place = root / path.relative_to("/")
    made = not place.exists()
    if made and path.is_dir():
        place.mkdir(parents=True)
    elif made:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    subprocess.run(["mount", "--rbind", path, place], check=True)
    if path not in SYSTEM:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", place], check=True)
        if made:
            place.rmdir() if path.is_dir() else place.unlink()


def copy(build: Build, stage: Stage, words: list[str]) -> None:
    """From the repository or from an earlier stage; a folder's content, as Docker copies it."""
    source = ROOT
    if words[0].startswith("--from="):
        source = build.stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    place = stage.root / target.lstrip("/")
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__") if source == ROOT else None
            shutil.copytree(path, place, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(path, place if not target.endswith("/") else place / path.name)


def say(image: Stage) -> None:
    """The size of the image and of its largest packages."""
    for home in ("tmp", "home/shardrank"):
        for path in (image.root / home).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else os.unlink(path)
    packages = image.root / "opt/shardrank/lib/python3.11/site-packages"
    largest = sorted(packages.iterdir(), key=_megabytes, reverse=True)[:12]
    print(f"image: {_megabytes(image.root)} MB, of which {_megabytes(packages)} MB by pip")
    print(", ".join(f"{path.name} {_megabytes(path)}" for path in largest))


def _megabytes(path: Path) -> int:
    told = subprocess.run(["du", "-sxm", path], check=True, capture_output=True, text=True)
    return int(told.stdout.split()[0])


if __name__ == "__main__":
    main()
