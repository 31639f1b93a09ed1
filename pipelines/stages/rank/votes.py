"""Votes: at which rank each retriever has a passage's document, as text in front of the passage
(after Vote-in-Context, arXiv 2511.01617): a language model that sees a list then knows who found
what. The paper says it by the order of passages and by repeating those that several found; here
each stands once, with its ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.topk import ranks
from shardrank.stages.rank.block_scores import places
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True)
class Votes:
    """What was found for a block: HITS as one list, and those of each retriever, by its name."""

    hits: FileRef
    lists: tuple[FileRef, ...]
    retrievers: tuple[str, ...]


def votes_of(hits: FileRef, lists: Sequence[FileRef], retrievers: Sequence[str]) -> Votes:
    """Where one retriever alone was asked, its list is the only one."""
    return Votes(hits, tuple(lists) or (hits,), tuple(retrievers))


def with_votes(workspace: Workspace, votes: Votes, pairs: pa.Table) -> pa.Table:
    """The pairs (query, part, row, text, …) with "(dense: 3, bm25: -) " before each text; a dash
    where the retriever has not found the document, or nothing knows the pair's."""
    asked = pc.unique(pairs["query"])
    lists = [_read(workspace, ref, asked) for ref in votes.lists]
    documents = _by_place([_read(workspace, votes.hits, asked), *lists])
    found = [_by_document(hits) for hits in lists]
    texts = []
    for key, text in zip(places(pairs), pairs["text"].to_pylist(), strict=True):
        document = (key[0], documents.get(key, ""))
        told = (str(ranked.get(document, "-")) for ranked in found)
        each = ", ".join(
            f"{name}: {rank}" for name, rank in zip(votes.retrievers, told, strict=True)
        )
        texts.append(f"({each}) {text}")
    at = pairs.column_names.index("text")
    return pairs.set_column(at, "text", pa.array(texts, pa.string()))


def _read(workspace: Workspace, ref: FileRef, queries: pa.Array) -> pa.Table:
    hits = workspace.read_table(ref)
    return hits.filter(pc.is_in(hits["query"], value_set=queries))


def _by_place(tables: Sequence[pa.Table]) -> Mapping[tuple[int, int, int], str]:
    both = (zip(places(hits), hits["doc_id"].to_pylist(), strict=True) for hits in tables)
    return dict(chain.from_iterable(both))


def _by_document(hits: pa.Table) -> Mapping[tuple[int, str], int]:
    keys = zip(hits["query"].to_pylist(), hits["doc_id"].to_pylist(), strict=True)
    return dict(zip(keys, ranks(hits).tolist(), strict=True))
