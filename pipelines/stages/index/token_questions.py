"""Questions for the audit of an index over token vectors.

They are the real queries that the settings name; or else held-out passages: a passage has no query
side, which only the model could give it, so the first of its stored token vectors are the question,
as many as a query of the usual length has.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.units import Stage, Unit
from shardrank.kernels.residual_codes import token_vectors
from shardrank.stages.index.query_questions import query_questions
from shardrank.stages.index.wanted import WantedIndex
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import read_codec
from shardrank.stages.shared.open_tokens import load_token_part
from shardrank.stages.shared.sample import Draw, DrawnPart, Sampled, plan_sample
from shardrank.version.sampling import draw

#: Of a question that is a passage, at most: what ColBERT's queries have.
QUESTION_TOKENS = 32


@dataclass(frozen=True)
class HeldOutSpec:
    """Parts that give passages, the seed, and what codes of token vectors are of."""

    parts: tuple[DrawnPart, ...]
    seed: int
    codec: FileRef | None


def token_questions(context: Context, wanted: WantedIndex) -> list[FileRef]:
    """Files of token vectors; of held-out passages also part and row."""
    file = context.settings.audit.query_file
    if file is None:
        return _held_out(context, wanted)
    return query_questions(context, wanted.column, wanted.encoder, file)


def _held_out(context: Context, wanted: WantedIndex) -> list[FileRef]:
    seed, count = wanted.settings.seed + 1, context.settings.audit.queries
    plan = plan_sample(wanted.parts, Draw("questions", wanted.column, count, seed))
    specs = [HeldOutSpec(each.parts, seed, wanted.encoder.codec) for each in plan]
    stage = Stage("questions", HeldOutSpec, Sampled).of(wanted.column)
    dones = run_stage(context, stage, specs, [Step(partial(HeldOut, context.workspace))])
    return [done.made.sample for done in dones]


@dataclass(frozen=True)
class HeldOut:
    """Parts → the beginnings of some of their passages, as questions."""

    workspace: Workspace

    def __call__(self, unit: Unit[HeldOutSpec], tables: Tables) -> Result[Sampled]:
        codec = read_codec(self.workspace, unit.spec.codec)
        drawn = (self._draw(each, unit.spec.seed, codec) for each in unit.spec.parts)
        table = pa.concat_tables(drawn)
        ref = self.workspace.write_scratch(unit, "sample.parquet", table)
        return Result(Sampled(ref), {"rows": table.num_rows})

    def _draw(self, drawn: DrawnPart, seed: int, codec: bytes | None) -> pa.Table:
        part = load_token_part(self.workspace, drawn.part, codec)
        live = np.flatnonzero(part.rows.live)
        rows = live[draw(drawn.part.id, len(live), drawn.count, seed)]
        asked = beginnings(token_vectors(part.column.take(pa.array(rows)), codec))
        return pa.table(
            {
                "part": pa.array(np.full(len(rows), drawn.part.ordinal, np.int32)),
                "row": pa.array(rows.astype(np.int32)),
                "vector": asked.array(pa.float32()),
            }
        )


def beginnings(passages: TokenVectors) -> TokenVectors:
    """The first token vectors of each, at most QUESTION_TOKENS."""
    sizes = np.diff(passages.ends)
    place = np.arange(passages.ends[-1]) - np.repeat(passages.ends[:-1], sizes)
    ends = np.concatenate([[0], np.cumsum(np.minimum(sizes, QUESTION_TOKENS), dtype=np.int64)])
    return TokenVectors(ends, passages.vectors[place < QUESTION_TOKENS])
