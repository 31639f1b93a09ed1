"""Questions for an audit that are real queries, by a further encoder of texts."""

from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from shardrank.core.arrow_columns import refuse_not_finite
from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.corpus.queries import read_queries
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import Sourced, load_column_encoder
from shardrank.stages.shared.encode import write_blocks
from shardrank.stages.shared.sample import Sampled
from shardrank.storage import Sources
from shardrank.version.manifest import StoredEncoder


@dataclass(frozen=True)
class AskedSpec:
    """A block of queries, the fingerprint of the encoder's card, and its codec."""

    queries: FileRef
    encoder: str
    codec: FileRef | None


def query_questions(
    context: Context, column: str, encoder: StoredEncoder, file: str
) -> list[FileRef]:
    """Files of the values that an encoder of texts gives the queries of a file; `column` is that of
    the index that is audited."""
    settings = context.settings
    sources = Sources(settings.s3)
    listing = sources.listing(file, settings.corpus.allow_unread)
    batch = read_queries(listing.read, sources.open, settings.corpus)
    if not batch.table.num_rows:
        raise InputError(f"{file} holds no usable query.", "Queries need an id and a text.")
    texts = write_blocks(context.workspace, batch.table, settings.search.block_queries)
    specs = [AskedSpec(ref, encoder.card.fingerprint, encoder.codec) for ref in texts]
    stage = Stage("questions", AskedSpec, Sampled).of(column)
    pool = context.model_pool(len(specs))
    make = partial(Ask, context.workspace, Sourced(encoder, None), pool.device)
    return [done.made.sample for done in run_stage(context, stage, specs, [Step(make, pool)])]


class Ask:
    """A block of queries → their values."""

    def __init__(self, workspace: Workspace, wanted: Sourced, device: str) -> None:
        self._workspace, self._name = workspace, wanted.encoder.card.name
        self._encoder = load_column_encoder(workspace, wanted, device)

    def __call__(self, unit: Unit[AskedSpec], tables: Tables) -> Result[Sampled]:
        texts = self._workspace.read_table(unit.spec.queries, ["text"])["text"]
        column = self._encoder.queries(pa.concat_arrays(texts.chunks))
        refuse_not_finite(column, f"The encoder {self._name!r}", "queries of the audit")
        ref = self._workspace.write_scratch(unit, "sample.parquet", pa.table({"vector": column}))
        return Result(Sampled(ref), {"rows": len(column)})
