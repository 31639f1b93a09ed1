"""export: a block's scores become training rows in one of the label formats."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import token_lists
from pipelines.core.fingerprint import canonical_json
from pipelines.core.labels.choose import suspects
from pipelines.core.labels.formats import NOTHING, Format, Rows, build_rows, get_format
from pipelines.core.labels.schemas import SET_ASIDE
from pipelines.core.labels.scored import Origin, Scored, mix
from pipelines.core.labels.sketch import sketch
from pipelines.core.protocols import Int64
from pipelines.core.settings import LabelSettings
from pipelines.core.text import passage_text
from pipelines.core.units import Done, FileRef, Unit
from pipelines.corpus.scan import id_hash
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.score import METADATA
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace

#: Suspected false negatives kept of each block, for a person to look at.
SUSPECTS = 100


def export(
    context: Context,
    out: Workspace,
    form: Format,
    queries: Sequence[FileRef],
    scored: Sequence[Done],
    gathered: Sequence[Done],
) -> list[Done]:
    """One marker a block: outputs "rows", "ids", "set_aside" and "suspects"; facts "pairs" (what
    became of each positive-negative pair) and "set_aside" (queries by reason)."""
    common = {
        "format": form.name,
        "passages": [done.outputs["passages"].json() for done in gathered],
        "settings": context.settings.label.deciding(),
    }
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
        for number, (ref, done) in enumerate(zip(queries, scored, strict=True))
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
        block = self._block(spec)
        scored = block.scored(settings)
        rows = build_rows(form, scored, settings)
        outputs = self._write(spec, form, block, rows, settings)
        aside = _set_aside(block, rows)
        outputs["set_aside"] = self.workspace.write_table(
            f"{form.name}/set-aside/{spec['block']:05d}.parquet", aside
        )
        found = suspects(scored, settings)
        outputs["suspects"] = self.workspace.write_scratch(
            unit, "suspects.parquet", block.suspects(*found)
        )
        reasons = {
            row["values"]: row["counts"] for row in aside["reason"].value_counts().to_pylist()
        }
        facts = {"pairs": dict(sorted(rows.pairs.items())), "set_aside": reasons}
        counts = {
            "rows": len(rows.query),
            "queries": len(block.query_ids),
            "used": len(np.unique(rows.query)),
            "set_aside": aside.num_rows,
            "suspects": len(found[0]),
        }
        return Result(outputs, counts, facts)

    def _block(self, spec: Mapping[str, Any]) -> "Block":
        queries = self.out.read_table(FileRef.parse(spec["queries"]), ["query_id", "text"])
        scores = self.workspace.read_table(FileRef.parse(spec["scores"]))
        finite = scores.filter(pc.is_valid(scores["score"]))
        places = _places(finite)
        found = []
        for ref in spec["passages"]:
            piece = self.workspace.read_table(FileRef.parse(ref))
            found.append(piece.filter(pa.array(np.isin(_places(piece), places))))
        passages = pa.concat_tables(found).combine_chunks()
        order = np.argsort(_places(passages))
        at = order[np.searchsorted(_places(passages)[order], places)]
        metadata = scores.schema.metadata[METADATA]
        ids, texts = queries["query_id"].to_pylist(), queries["text"].to_pylist()
        return Block(ids, texts, finite, passages, at, metadata)

    def _write(
        self,
        spec: Mapping[str, Any],
        form: Format,
        block: "Block",
        rows: Rows,
        settings: LabelSettings,
    ) -> dict[str, FileRef]:
        number, write = spec["block"], self.workspace.write_table
        metadata = {METADATA: block.provenance(form, settings)}
        ids = block.ids(rows).replace_schema_metadata(metadata)
        outputs = {"ids": write(f"{form.name}/ids/{number:05d}.parquet", ids)}
        if form.name == "tevatron":
            lines = block.tevatron(rows)
            data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
            key = f"{form.name}/{number:05d}.jsonl"
            outputs["rows"] = self.workspace.storage.write(key, data, len(lines))
        else:
            table = block.table(form, rows, settings).replace_schema_metadata(metadata)
            outputs["rows"] = write(f"{form.name}/{number:05d}.parquet", table)
        return outputs


@dataclass(frozen=True)
class Block:
    """A block's queries, its finite scores, and the passage of each (`at` into `passages`)."""

    query_ids: list[str]
    queries: list[str]
    scores: pa.Table
    passages: pa.Table
    at: Int64
    metadata: bytes

    def scored(self, settings: LabelSettings) -> Scored:
        """As arrays; passages are sketched only where near-duplicates are looked for."""
        number = {name: n for n, name in enumerate(self.query_ids)}
        query = np.array([number[q] for q in self.scores["query_id"].to_pylist()], np.int32)
        keys = np.array([id_hash(name) for name in self.query_ids], np.uint64)
        origins = {origin.name.lower(): int(origin) for origin in Origin}
        grade = pc.fill_null(self.scores["grade"], 0).to_numpy()
        sketches = None
        if settings.near_duplicate is not None:
            sketches = sketch(token_lists(self.passages["tokens"]))[self.at]
        return Scored(
            query=query,
            query_key=keys[query],
            key=mix(_places(self.scores).astype(np.uint64)),
            origin=np.array([origins[o] for o in self.scores["origin"].to_pylist()], np.int8),
            rank=pc.fill_null(self.scores["retrieval_rank"], 0).to_numpy(),
            retrieval=self.scores["retrieval_score"].to_numpy(),
            positive=grade >= settings.min_grade,
            score=self.scores["score"].to_numpy(),
            sketch=sketches,
        )

    def texts(self, settings: LabelSettings) -> pa.Array:
        """What stands for each candidate: its text, or its id, DOC_ID#PASSAGE."""
        if settings.text == "id":
            pairs = zip(
                self.scores["doc_id"].to_pylist(), self.scores["passage"].to_pylist(), strict=True
            )
            return pa.array([f"{doc}#{passage}" for doc, passage in pairs], pa.string())
        titles, texts = (self.passages[name].to_pylist() for name in ("title", "text"))
        joined = [passage_text(title, text) for title, text in zip(titles, texts, strict=True)]
        return pa.array(joined, pa.string()).take(pa.array(self.at))

    def table(self, form: Format, rows: Rows, settings: LabelSettings) -> pa.Table:
        """The file that a trainer loads: query, the format's passages, its label, the weight."""
        names = self.query_ids if settings.text == "id" else self.queries
        texts = self.texts(settings).take(pa.array(rows.passages))
        columns: dict[str, Any] = {
            "query": pa.array(names, pa.string()).take(pa.array(rows.query)),
            **_passage_columns(form, rows, texts),
        }
        if form.label and rows.labels is not None:
            columns[form.label.removesuffix("[]")] = _label_column(form, rows)
        if rows.weight is not None:
            columns["weight"] = pa.array(rows.weight)
        return pa.table(columns)

    def ids(self, rows: Rows) -> pa.Table:
        """Where each row comes from, beside it: ids, passages, origins and scores."""
        query = pa.array(self.query_ids, pa.string()).take(pa.array(rows.query))
        taken = self.scores.take(pa.array(rows.passages))
        offsets = pa.array(rows.offsets.astype(np.int32))
        listed = {
            name: pa.ListArray.from_arrays(offsets, taken[name].combine_chunks())
            for name in ("doc_id", "passage", "origin", "grade", "score")
        }
        return pa.table({"query_id": query, **listed})

    def tevatron(self, rows: Rows) -> list[dict[str, Any]]:
        """One line a query: its positives and negatives, each once."""
        titles, texts = (self.passages[name].to_pylist() for name in ("title", "text"))
        ids = self.scores["doc_id"].to_pylist()

        def passages(numbers: Any) -> list[dict[str, str]]:
            unique = dict.fromkeys(int(n) for n in numbers)
            at = [(ids[n], int(self.at[n])) for n in unique]
            return [{"docid": doc, "title": titles[a], "text": texts[a]} for doc, a in at]

        pairs = rows.passages.reshape(-1, 2)
        edges = np.flatnonzero(np.diff(rows.query, prepend=-1, append=-1))
        return [
            {
                "query_id": self.query_ids[rows.query[begin]],
                "query": self.queries[rows.query[begin]],
                "positive_passages": passages(pairs[begin:end, 0]),
                "negative_passages": passages(pairs[begin:end, 1]),
            }
            for begin, end in pairwise(edges)
        ]

    def suspects(self, rows: Any, gap: Any) -> pa.Table:
        """The first suspected false negatives, with their texts."""
        rows, gap = rows[:SUSPECTS], gap[:SUSPECTS]
        taken = self.scores.select(["query_id", "doc_id", "score"]).take(pa.array(rows))
        number = dict(zip(self.query_ids, self.queries, strict=True))
        asked = [number[name] for name in taken["query_id"].to_pylist()]
        texts = self.passages["text"].take(pa.array(self.at[rows]))
        beside = {"above": pa.array(gap), "query": pa.array(asked, pa.string()), "text": texts}
        for name, column in beside.items():
            taken = taken.append_column(name, column)
        return taken

    def provenance(self, form: Format, settings: LabelSettings) -> bytes:
        """What every file's metadata says: teachers, format, loss, settings."""
        teachers = json.loads(self.metadata)
        made = {"format": form.name, "loss": form.loss, "source": form.source}
        return canonical_json({**teachers, **made, "settings": settings.deciding()})


def _passage_columns(form: Format, rows: Rows, texts: pa.Array) -> dict[str, Any]:
    [*first, last] = form.columns
    if last.endswith("[]"):
        offsets = pa.array(rows.offsets.astype(np.int32))
        return {last.removesuffix("[]"): pa.ListArray.from_arrays(offsets, texts)}
    names = [*first, last]
    if last.endswith("*"):
        repeated = rows.width - len(first)
        names = [*first, *(f"{last.removesuffix('*')}_{n + 1}" for n in range(repeated))]
    at = np.arange(len(rows.query)) * rows.width
    return {name: texts.take(pa.array(at + n)) for n, name in enumerate(names)}


def _label_column(form: Format, rows: Rows) -> pa.Array:
    labels = pa.array(rows.labels, pa.float32())
    if not (form.label or "").endswith("[]"):
        return labels
    return pa.ListArray.from_arrays(pa.array(rows.label_offsets.astype(np.int32)), labels)


def _set_aside(block: Block, rows: Rows) -> pa.Table:
    """Every query without a row, with its reason."""
    used = set(rows.query.tolist())
    reasons = {
        name: rows.set_aside.get(number, NOTHING)
        for number, name in enumerate(block.query_ids)
        if number not in used
    }
    columns = [pa.array(list(reasons), pa.string()), pa.array(list(reasons.values()), pa.string())]
    return pa.Table.from_arrays(columns, schema=SET_ASIDE)


def _places(table: pa.Table) -> Int64:
    part, row = (table[name].to_numpy().astype(np.int64) for name in ("part", "row"))
    places: Int64 = (part << 32) | row
    return places
