"""A night on which little changed: every row of the source is read, hashed and compared with what
is stored, against DuckDB and Polars with the same hashes and anti-joins; all on two threads.

Ours refuses rows, finds ids that occur twice and keeps an order besides. Polars has no SHA-256: its
package polars-hash has where it is installed, else Python's hashlib serves.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardrank.core.fingerprint import content_hash
from shardrank.core.schemas import PART_KEYS
from shardrank.core.settings import CorpusSettings, S3Settings
from shardrank.corpus.changes import compare
from shardrank.corpus.first_pass import id_hash, scan_slice
from shardrank.corpus.slices import plan_slices
from shardrank.storage import Sources
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.texts import documents

OURS, DUCKDB, POLARS = "shardrank", "DuckDB", "Polars"
THREADS, SLICES = 2, 2
Row = dict[str, str]


@dataclass(frozen=True)
class Night:
    """The source's file, and the ids and content hashes that are stored."""

    source: Path
    stored: pa.Table


def benchmark(rows: int, kind: str, folder: Path) -> Benchmark:
    """`rows` docstrings as Parquet or as JSON Lines; each hundredth was edited."""
    night = _night(rows, kind, folder)
    contenders, duels = [Contender(OURS, partial(_ours, night), 0)], []
    peers: list[tuple[str, str, Callable[[Night], Callable[[], Any]]]] = [
        (DUCKDB, "duckdb", _duckdb),
        (POLARS, "polars", _polars),
    ]
    for name, module, peer in peers:
        if find_spec(module):
            contenders.append(Contender(name, peer(night), 0))
            duels.append(Duel(OURS, name, floor=1, goal=2))
        else:
            print(f"{name} is not measured: it is absent.")
    name = f"an unchanged night, {'Parquet' if kind == 'parquet' else 'JSON Lines'}"
    return Benchmark(name, "rows", rows, contenders, duels, _differing, THREADS)


def _night(rows: int, kind: str, folder: Path) -> Night:
    texts = documents(5_000)
    before = [
        {"_id": f"d{n}", "title": f"Entry {n}", "text": f"{texts[n % len(texts)]} {n}"}
        for n in range(rows)
    ]
    after = [
        {**row, "text": row["text"] + "!"} if n % 100 == 0 else row for n, row in enumerate(before)
    ]
    source = folder / f"night.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(after), source, row_group_size=-(-rows // SLICES))
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in after), "utf-8")
    return Night(source, _stored(before))


def _stored(rows: Sequence[Row]) -> pa.Table:
    """PART_KEYS of one part."""
    ones = pa.array(np.ones(len(rows), np.int64))
    keys = {
        "id_hash": pa.array([id_hash(row["_id"]) for row in rows], pa.uint64()),
        "doc_id": pa.array([row["_id"] for row in rows]),
        "content_hash": pa.array([content_hash(row["title"], row["text"]) for row in rows]),
        "row": pa.array(np.arange(len(rows))),
        **dict.fromkeys(("rows", "tokens", "truncated"), ones),
    }
    table = pa.table(keys).cast(PART_KEYS)
    return table.sort_by([("id_hash", "ascending"), ("doc_id", "ascending")])


def _differing(wanted: frozenset[str], found: frozenset[str]) -> float:
    return len(wanted ^ found) / len(wanted)


def _ours(night: Night) -> frozenset[str]:
    """What the scan and compare stages do, slices on threads as the executor inline has them."""
    settings, sources = CorpusSettings(), Sources(S3Settings())
    size = night.source.stat().st_size // SLICES + 1 if night.source.suffix == ".jsonl" else 1
    pieces = plan_slices(sources.list(str(night.source)), sources.open, size)
    with ThreadPoolExecutor(THREADS) as pool:
        scans = list(pool.map(lambda piece: scan_slice(piece, sources.open, settings), pieces))
    keys = [(number, scan.keys) for number, scan in enumerate(scans)]
    removed = compare(keys, [(0, night.stored)], "snapshot", ()).removed
    return frozenset(removed["doc_id"].to_pylist())


def _duckdb(night: Night) -> Callable[[], frozenset[str]]:
    import duckdb

    connection = duckdb.connect(config={"threads": THREADS})
    stored = night.stored
    connection.execute("create table stored as select doc_id, content_hash from stored")
    del stored
    read = f"read_parquet('{night.source}')"
    if night.source.suffix == ".jsonl":
        columns = "{_id: 'VARCHAR', title: 'VARCHAR', text: 'VARCHAR'}"
        read = f"read_json('{night.source}', format='newline_delimited', columns={columns})"
    content = r"left(sha256(encode(title) || '\x00'::blob || encode(text)), 32)"
    query = (
        f"select _id from (select _id, {content} as content_hash from {read}) source "
        "anti join stored on source._id = doc_id and source.content_hash = stored.content_hash"
    )
    return lambda: frozenset(row[0] for row in connection.execute(query).fetchall())


def _polars(night: Night) -> Callable[[], frozenset[str]]:
    import polars as pl

    held = pl.from_arrow(night.stored.select(["doc_id", "content_hash"]))
    assert isinstance(held, pl.DataFrame)
    stored = held.lazy()
    content = pl.concat_str(["title", pl.lit("\0"), "text"])
    if find_spec("polars_hash"):
        import polars_hash

        hashes = polars_hash.concat_str(content).chash.sha2_256().str.slice(0, 32)
    else:
        hashes = content.map_batches(_by_hashlib, return_dtype=pl.String)

    def run() -> frozenset[str]:
        scan = pl.scan_parquet if night.source.suffix == ".parquet" else pl.scan_ndjson
        keys = scan(night.source).select("_id", content_hash=hashes)
        here, there = ["_id", "content_hash"], ["doc_id", "content_hash"]
        left = keys.join(stored, how="anti", left_on=here, right_on=there)
        found = left.collect(engine="streaming")
        return frozenset(found["_id"].to_list())

    return run


def _by_hashlib(texts: Any) -> Any:
    import polars as pl

    return pl.Series([sha256(text.encode()).hexdigest()[:32] for text in texts])
