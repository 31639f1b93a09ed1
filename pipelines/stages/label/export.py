"""export: a block's scores become training rows in one of the label formats."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.settings import LabelSettings
from shardrank.core.units import Done, FileRef, Unit
from shardrank.labels.choose import suspects
from shardrank.labels.formats import Format, TrainingRows, get_format
from shardrank.labels.itself import itself
from shardrank.stages.label.score import METADATA, passages_of, places_of
from shardrank.stages.label.training_rows import ExportBlock
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace


@dataclass(frozen=True)
class ExportInputs:
    """What rows are made from: a file of queries and scores a block, and the candidates' texts.

    With `ignore_same_id` the document with a query's id is the query.
    """

    queries: Sequence[FileRef]
    scored: Sequence[Done]
    gathered: Sequence[Done]
    ignore_same_id: bool


def export(context: Context, out: Workspace, form: Format, inputs: ExportInputs) -> list[Done]:
    """One marker a block: outputs "rows", "ids", "set_aside" and "suspects"; facts "pairs" (what
    became of each positive-negative pair) and "set_aside" (queries by reason); count "itself":
    candidates left out because they are the query."""
    common = {
        "format": form.name,
        "ignore_same_id": inputs.ignore_same_id,
        "passages": [done.outputs["passages"].json() for done in inputs.gathered],
        "settings": context.settings.label.deciding(),
    }
    blocks = zip(inputs.queries, inputs.scored, strict=True)
    units = [
        Unit(
            "export",
            {
                "block": number,
                "queries": ref.json(),
                "scores": done.outputs["scores"].json(),
                **common,
            },
        )
        for number, (ref, done) in enumerate(blocks)
    ]
    return run_stage(context, "export", units, [Step(partial(Export, context.workspace, out))])


@dataclass(frozen=True)
class Export:
    """A block's scores and texts → its training rows, and what was left out."""

    workspace: Workspace
    out: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        spec = unit.spec
        settings, form = LabelSettings(**spec["settings"]), get_format(spec["format"])
        whole = self._block(spec, settings)
        block = _without_itself(whole, settings, spec["ignore_same_id"])
        scored = block.scored(settings)
        rows, suspected = form.build(scored, settings), suspects(scored, settings)
        aside = block.set_aside(rows)
        outputs = {
            **self._write(unit, form, block, rows, settings),
            "set_aside": self._table(form, "set-aside", spec, aside),
            "suspects": self.workspace.write_scratch(
                unit, "suspects.parquet", block.suspects(*suspected)
            ),
        }
        counts = {
            "rows": outputs["rows"].rows,
            "queries": len(block.query_ids),
            "used": len(np.unique(rows.query)),
            "set_aside": aside.num_rows,
            "suspects": len(suspected[0]),
            "itself": whole.scores.num_rows - block.scores.num_rows,
        }
        reasons = Counter(aside["reason"].to_pylist())
        facts = {
            "pairs": dict(sorted(rows.pairs.items())),
            "set_aside": dict(sorted(reasons.items())),
        }
        return Result(outputs, counts, facts)

    def _block(self, spec: Mapping[str, Any], settings: LabelSettings) -> ExportBlock:
        queries = self.out.read_table(FileRef.parse(spec["queries"]), ["query_id", "text"])
        scores = self.workspace.read_table(FileRef.parse(spec["scores"]))
        finite = scores.filter(pc.is_valid(scores["score"]))
        lost = scores.filter(pc.is_null(scores["score"]))
        lost = lost.filter(pc.greater_equal(lost["grade"], settings.min_grade))
        refs = [FileRef.parse(ref) for ref in spec["passages"]]
        names = ["title", "text", "tokens"]
        return ExportBlock(
            query_ids=queries["query_id"].to_pylist(),
            queries=queries["text"].to_pylist(),
            scores=finite,
            passages=passages_of(self.workspace, refs, places_of(finite), names),
            unscored=frozenset(lost["query_id"].to_pylist()),
            metadata=scores.schema.metadata[METADATA],
        )

    def _write(
        self,
        unit: Unit,
        form: Format,
        block: ExportBlock,
        rows: TrainingRows,
        settings: LabelSettings,
    ) -> dict[str, FileRef]:
        """Rows and their ids. Empty tables stay among the units: loaders stumble over them."""
        metadata = {METADATA: block.provenance(form, settings)}
        ids = block.ids(rows).replace_schema_metadata(metadata)
        if not ids.num_rows:
            empty = self.workspace.write_scratch(unit, "empty.parquet", ids)
            return {"rows": empty, "ids": empty}
        outputs = {"ids": self._table(form, "ids", unit.spec, ids)}
        if form.name == "tevatron":
            lines = block.tevatron(rows)
            data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
            key = f"{form.name}/{unit.spec['block']:05d}.jsonl"
            outputs["rows"] = self.workspace.storage.write(key, data, len(lines))
        else:
            table = block.table(form, rows, settings).replace_schema_metadata(metadata)
            outputs["rows"] = self._table(form, "", unit.spec, table)
        return outputs

    def _table(
        self, form: Format, folder: str, spec: Mapping[str, Any], table: pa.Table
    ) -> FileRef:
        place = f"{form.name}/{folder}" if folder else form.name
        return self.workspace.write_table(f"{place}/{spec['block']:05d}.parquet", table)


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
