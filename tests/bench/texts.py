"""What the model benchmarks read: docstrings of the standard library, at their natural lengths."""

import hashlib

from shardrank.corpus.stdlib import StdlibPassage, known_item_queries, stdlib_documents


def documents(count: int) -> list[str]:
    """The `count` docstrings whose ids have the lowest hashes, in the order of the hashes."""
    chosen = sorted(stdlib_documents(), key=_hash)[:count]
    return [passage.text for passage in chosen]


def questions(count: int) -> list[str]:
    """The first `count` test queries: first sentences of docstrings."""
    return [query.text for query in known_item_queries(stdlib_documents(), test=True)[:count]]


def _hash(passage: StdlibPassage) -> bytes:
    return hashlib.sha256(passage.doc_id.encode()).digest()
