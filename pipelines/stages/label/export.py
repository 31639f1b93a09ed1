"""export: a block's scores become training rows in one of the label formats."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.settings import LabelSettings
from shardrank.core.settings_base import DECIDING
from shardrank.core.units import Done, Stage, Unit
from shardrank.labels.choose import suspects
from shardrank.labels.formats import Format, TrainingRows, get_format
from shardrank.labels.itself import itself
from shardrank.stages.label.gather import BlockGathered, places_of
from shardrank.stages.label.score import METADATA, ScoredBlock, passages_of
from shardrank.stages.label.training_rows import ExportBlock
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace


@dataclass(frozen=True)
class ExportInputs:
    """What rows are made from: a file of queries and scores a block, and the candidates' texts.

    With `ignore_same_id` the document with a query's id is the query.
    """

    queries: Sequence[FileRef]
    scored: Sequence[Done[ScoredBlock]]
    gathered: Sequence[Sequence[BlockGathered]]
    ignore_same_id: bool


@dataclass(frozen=True)
class ExportSpec:
    """A block's queries and scores, its candidates' passages, and what becomes of them."""

    block: int
    queries: FileRef
    scores: FileRef
    passages: tuple[FileRef, ...]
    format: str
    ignore_same_id: bool
    settings: Annotated[LabelSettings, DECIDING]


@dataclass(frozen=True)
class Exported:
    """A block's training rows.

    Attributes:
        rows, ids: the rows, and the ids that they are of, row by row.
        set_aside: queries without a row.
        suspects: likely false negatives.
        pairs: what became of how many pairs of a positive and a negative.
        reasons: for which how many queries were set aside.
    """

    rows: FileRef
    ids: FileRef
    set_aside: FileRef
    suspects: FileRef
    pairs: Mapping[str, int]
    reasons: Mapping[str, int]


EXPORT = Stage("export", ExportSpec, Exported)


def export(
    context: Context, out: Workspace, form: Format, inputs: ExportInputs
) -> list[Done[Exported]]:
    """The rows of each block; count "itself": candidates left out because they are the query."""
    specs = [
        ExportSpec(
            block=number,
            queries=queries,
            scores=done.made.scores,
            passages=tuple(each.passages for each in gathered),
            format=form.name,
            ignore_same_id=inputs.ignore_same_id,
            settings=context.settings.label,
        )
        for number, (queries, done, gathered) in enumerate(
            zip(inputs.queries, inputs.scored, inputs.gathered, strict=True)
        )
    ]
    return run_stage(context, EXPORT, specs, [Step(partial(Export, context.workspace, out))])


@dataclass(frozen=True)
class Export:
    """A block's scores and texts → its training rows, and what was left out."""

    workspace: Workspace
    out: Workspace

    def __call__(self, unit: Unit[ExportSpec], tables: Tables) -> Result[Exported]:
        spec, settings, form = unit.spec, unit.spec.settings, get_format(unit.spec.format)
        whole = self._block(spec, settings)
        block = _without_itself(whole, settings, spec.ignore_same_id)
        scored = block.scored(settings)
        rows, suspected = form.build(scored, settings), suspects(scored, settings)
        aside = block.set_aside(rows)
        files, ids = self._write(unit, form, block, rows)
        made = Exported(
            rows=files,
            ids=ids,
            set_aside=self._table(f"{form.about}/set-aside", spec, aside),
            suspects=self.workspace.write_scratch(
                unit, "suspects.parquet", block.suspects(*suspected)
            ),
            pairs=dict(sorted(rows.pairs.items())),
            reasons=dict(sorted(Counter(aside["reason"].to_pylist()).items())),
        )
        counts = {
            "rows": files.rows,
            "queries": len(block.query_ids),
            "used": len(np.unique(rows.query)),
            "set_aside": aside.num_rows,
            "suspects": len(suspected[0]),
            "itself": whole.scores.num_rows - block.scores.num_rows,
        }
        return Result(made, counts)

    def _block(self, spec: ExportSpec, settings: LabelSettings) -> ExportBlock:
        queries = self.out.read_table(spec.queries, ["query_id", "text"])
        scores = self.workspace.read_table(spec.scores)
        finite = scores.filter(pc.is_valid(scores["score"]))
        lost = scores.filter(pc.is_null(scores["score"]))
        lost = lost.filter(pc.greater_equal(lost["grade"], settings.min_grade))
        names = ["title", "text", "tokens"]
        return ExportBlock(
            query_ids=queries["query_id"].to_pylist(),
            queries=queries["text"].to_pylist(),
            scores=finite,
            passages=passages_of(self.workspace, spec.passages, places_of(finite), names),
            unscored=frozenset(lost["query_id"].to_pylist()),
            metadata=scores.schema.metadata[METADATA],
        )

    def _write(
        self, unit: Unit[ExportSpec], form: Format, block: ExportBlock, rows: TrainingRows
    ) -> tuple[FileRef, FileRef]:
        """Rows and their ids. Empty tables stay among the units: loaders stumble over them."""
        spec, settings = unit.spec, unit.spec.settings
        metadata = {METADATA: block.provenance(form, settings)}
        ids = block.ids(rows).replace_schema_metadata(metadata)
        if not ids.num_rows:
            empty = self.workspace.write_scratch(unit, "empty.parquet", ids)
            return empty, empty
        ids_file = self._table(f"{form.about}/ids", spec, ids)
        if form.name == "tevatron":
            lines = block.tevatron(rows)
            data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
            key = f"{form.name}/{spec.block:05d}.jsonl"
            return self.workspace.storage.write(key, data, len(lines)), ids_file
        table = block.table(form, rows, settings).replace_schema_metadata(metadata)
        return self._table(form.name, spec, table), ids_file

    def _table(self, folder: str, spec: ExportSpec, table: pa.Table) -> FileRef:
        return self.workspace.write_table(f"{folder}/{spec.block:05d}.parquet", table)


def _without_itself(
    block: ExportBlock, settings: LabelSettings, ignore_same_id: bool
) -> ExportBlock:
    """The block without candidates that are the query, whatever the format makes of candidates."""
    own = itself(block.candidates(settings), ignore_same_id)
    names = block.scores["query_id"].filter(pa.array(own)).to_pylist()
    others = pa.array(~own)
    return replace(
        block,
        scores=block.scores.filter(others),
        passages=block.passages.filter(others),
        found_itself=frozenset(names),
    )
