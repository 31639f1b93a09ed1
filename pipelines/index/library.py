"""Whether faiss is there, by which all kinds of index but exact search are made."""

from importlib.util import find_spec

from shardrank.core.errors import SettingsError


def require_faiss(kind: str) -> None:
    """Raise SettingsError where this Python has no faiss, and the kind of index needs it."""
    if kind != "exact" and find_spec("faiss") is None:
        raise SettingsError(
            f"An index of kind {kind} needs faiss, which is not installed here.",
            "Install shardrank[cpu], or shardrank[gpu] on machines with one; or set "
            "index.kind = exact.",
        )
