"""Whether faiss is there, by which indexes with a codec are made."""

from importlib.util import find_spec

from shardrank.core.errors import SettingsError


def require_faiss(kind: str) -> None:
    """Raise SettingsError where this Python has no faiss, and the kind of index needs it."""
    if kind.startswith("ivf") and find_spec("faiss") is None:
        raise SettingsError(
            f"An index of kind {kind} needs faiss, which is not installed here.",
            "Install shardrank[cpu], or shardrank[gpu] on machines with one; or set "
            "index.kind = exact.",
        )
