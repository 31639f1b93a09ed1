"""write: what a language model writes about the queries of a batch, some of them a unit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from shardrank.core.cards import WriterCard
from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.schemas import WRITTEN
from shardrank.core.units import Done, Stage, Unit
from shardrank.core.writer_settings import QueryWriterSettings
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.models.forward.threads import use_threads
from shardrank.models.text_writer import TOGETHER, load_writer
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import KEY

#: Where people find the texts.
TEXTS = "written/queries.parquet"


@dataclass(frozen=True)
class PlannedWriter:
    """A writer: its settings, with what they leave out, and its card."""

    settings: QueryWriterSettings
    card: WriterCard


@dataclass(frozen=True)
class WriteSpec:
    """A file with the texts of some queries, the fingerprint of the writer's card, and what its
    texts are: "parts" or "passages"."""

    queries: FileRef
    writer: str
    makes: str


@dataclass(frozen=True)
class WrittenBlock:
    """A file of what was written: query (by its row in the unit's file), number and text."""

    texts: FileRef


@dataclass(frozen=True)
class Wrote:
    """What was written about the queries of a batch.

    Attributes:
        file: WRITTEN, in the order of the queries.
        table: the same.
        counts: of the model: see `Written`; "texts" are all that there are.
    """

    file: FileRef
    table: pa.Table
    counts: Mapping[str, int]


WRITE = Stage("write", WriteSpec, WrittenBlock)


def write(context: Context, queries: pa.Table, writer: PlannedWriter) -> Wrote:
    """Texts about the queries (QUERIES), kept in the run's folder as people read them.

    Raises:
        InputError: there is not one.
    """
    begins = range(0, queries.num_rows, TOGETHER)
    pieces = [queries.slice(begin, TOGETHER) for begin in begins]
    specs = [_spec(context.workspace, piece, writer) for piece in pieces]
    pool = context.model_pool(len(specs))
    step = Step(partial(Write, context.workspace, writer, pool.device), pool)
    dones = run_stage(context, WRITE, specs, [step])
    table = pa.concat_tables(
        [_named(context.workspace, *both) for both in zip(pieces, dones, strict=True)]
    )
    counts = sum((Counter(done.counts) for done in dones), Counter[str]())
    if not table.num_rows:
        _refuse(context, writer, dones, counts)
    ref = context.workspace.write_table(TEXTS, table)
    told = {name: count for name, count in counts.items() if name != "rows"}
    return Wrote(ref, table, {"texts": table.num_rows, **told})


def _spec(workspace: Workspace, queries: pa.Table, writer: PlannedWriter) -> WriteSpec:
    texts = encode_table(queries.select(["text"]))
    ref = workspace.write_content(KEY, texts, queries.num_rows)
    return WriteSpec(ref, writer.card.fingerprint, writer.settings.makes)


def _named(workspace: Workspace, queries: pa.Table, done: Done[WrittenBlock]) -> pa.Table:
    """WRITTEN: a unit's texts, by the ids of its queries."""
    found = workspace.read_table(done.made.texts)
    ids = queries["query_id"].take(found["query"])
    return pa.table([ids, found["number"], found["text"]], schema=WRITTEN)


def _refuse(
    context: Context,
    writer: PlannedWriter,
    dones: Sequence[Done[WrittenBlock]],
    counts: Mapping[str, int],
) -> None:
    """Raise InputError: a batch about which nothing is written would be searched as it is."""
    context.workspace.forget(WRITE.name, dones)
    raise InputError(
        f"{writer.card.name} wrote no text about any query: {counts.get('empty', 0):,} answers "
        f"are empty, {counts.get('unfit', 0):,} queries do not fit into the prompt.",
        "Name a model that follows instructions, another writer.prompt, or a larger "
        "writer.max_tokens.",
    )


class Write:
    """Some queries → texts about each. Those that are pictures alone have none, and no query is a
    part of itself."""

    def __init__(self, workspace: Workspace, writer: PlannedWriter, device: str) -> None:
        self._workspace = workspace
        use_threads(1)
        self._writer = load_writer(writer.settings, device, writer.card)

    def __call__(self, unit: Unit[WriteSpec], tables: Tables) -> Result[WrittenBlock]:
        asked = self._workspace.read_table(unit.spec.queries)["text"].to_pylist()
        told = [row for row, text in enumerate(asked) if text.strip()]
        written = self._writer.write([asked[row] for row in told])
        rows, same = [], 0
        for row, texts in zip(told, written.texts, strict=True):
            others = [text for text in texts if text != asked[row].strip()]
            kept = others if unit.spec.makes == "parts" else texts
            same += len(texts) - len(kept)
            rows += [(row, number, text) for number, text in enumerate(kept)]
        ref = self._workspace.write_scratch(unit, "texts.parquet", _table(rows))
        counts = Counter(written.counts)
        counts["repeated"] += same
        return Result(WrittenBlock(ref), {"rows": len(rows), **counts})


def _table(rows: Sequence[tuple[int, int, str]]) -> pa.Table:
    queries, numbers, texts = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "query": pa.array(queries, pa.int32()),
            "number": pa.array(numbers, pa.int32()),
            "text": pa.array(texts, pa.string()),
        }
    )
