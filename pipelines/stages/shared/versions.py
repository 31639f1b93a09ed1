"""The versions of an index: found by their manifests, opened and read."""

from dataclasses import dataclass

from shardrank.core.errors import InputError, IntegrityError
from shardrank.stages.run.workspace import Workspace
from shardrank.version.manifest import Version, version_key, version_number

#: What the first run of an INDEX settled, for the time until its first version says so.
BEGUN = "runs/begun.json"


@dataclass(frozen=True)
class Published:
    """A version and its number; `new` is false where it was there before.

    `offered` is what a run found when it came to the same content: its changes, and who it was.
    """

    number: int
    version: Version
    new: bool
    offered: Version | None = None

    @property
    def found(self) -> Version:
        """Whose changes tell of the run that ended here."""
        return self.offered or self.version


def missing_files(workspace: Workspace, version: Version) -> list[str]:
    """Keys of the version's files that are not there with their length; by listings alone."""
    folders = {ref.key.split("/")[0] for ref in version.files}
    there = {e.key: e.bytes for folder in folders for e in workspace.storage.list(folder)}
    return [ref.key for ref in version.files if there.get(ref.key) != ref.bytes]


def readable_version(workspace: Workspace, number: int) -> Version | None:
    """None where its manifest is damaged: going back to a sound version must not need it."""
    try:
        return read_version(workspace, number)
    except IntegrityError:
        return None


def version_numbers(workspace: Workspace) -> list[int]:
    """Of all committed versions, ascending; also of those that a stale listing does not show yet.

    A newest version that went unseen would cost gc its files: it may keep none but old ones.
    """
    listed = (version_number(entry.key) for entry in workspace.storage.list("manifests"))
    numbers = sorted(number for number in listed if number is not None)
    latest = numbers[-1] if numbers else 0
    while workspace.storage.exists(version_key(latest + 1)):
        latest += 1
        numbers.append(latest)
    return numbers


def read_version(workspace: Workspace, number: int) -> Version:
    """The version of that number. Raises InputError where it was never committed."""
    key = version_key(number)
    return Version.parse(workspace.storage.read(key), key)


def latest_version(workspace: Workspace) -> Published | None:
    """What readers see; None where nothing was published yet."""
    numbers = version_numbers(workspace)
    if not numbers:
        return None
    return Published(numbers[-1], read_version(workspace, numbers[-1]), new=False)


def existing_versions(workspace: Workspace) -> list[int]:
    """The numbers of all versions, ascending. Raises InputError where there is none."""
    numbers = version_numbers(workspace)
    if not numbers:
        root = workspace.storage.root
        hint = "Build one first: shardrank index CORPUS INDEX."
        if workspace.storage.exists(BEGUN):
            hint = f"Its first run has not come to an end: shardrank status {root}."
        raise InputError(f"{root} holds no published version of an index.", hint)
    return numbers


def existing_version(workspace: Workspace, number: int) -> Version:
    """The version of that number. Raises InputError where the index has none of it."""
    numbers = existing_versions(workspace)
    if number not in numbers:
        raise InputError(
            f"{workspace.storage.root} has no version {number}; it has "
            f"{', '.join(map(str, numbers))}.",
            "See shardrank versions INDEX.",
        )
    return read_version(workspace, number)


def open_version(workspace: Workspace) -> Published:
    """The latest version. Raises InputError where the folder is no index, or has no version."""
    number = existing_versions(workspace)[-1]
    return Published(number, read_version(workspace, number), new=False)
