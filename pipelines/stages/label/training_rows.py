"""A query block's scores and texts as the tables that a trainer loads."""

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float32, Int32
from shardrank.core.arrow_columns import token_lists
from shardrank.core.fingerprint import canonical_json
from shardrank.core.settings import LabelSettings
from shardrank.core.text import passage_text
from shardrank.corpus.first_pass import id_hash
from shardrank.labels.choose import NO_POSITIVE
from shardrank.labels.formats import NOTHING, Format, TrainingRows
from shardrank.labels.itself import Candidate
from shardrank.labels.scored import Origin, Scored, mix
from shardrank.labels.sketch import sketch
from shardrank.labels.tables import SET_ASIDE

#: Suspected false negatives kept of each block, for a person to look at.
SUSPECTS = 100

#: A string column of Arrow holds so many bytes.
STRING_LIMIT = (1 << 31) - 1

#: Why a query gives nothing.
UNSCORED_POSITIVE = "a teacher's score of its positive is not finite"
ONLY_ITSELF = "no candidate but the query itself"


@dataclass(frozen=True)
class ExportBlock:
    """A block of queries.

    Attributes:
        query_ids, queries: ids and texts.
        scores: scores_schema, those that are finite.
        passages: title, text and tokens beside each.
        unscored: queries with a positive that a teacher could not score.
        metadata: what the scores' file says of the teachers.
        found_itself: queries that had themselves among their candidates.
    """

    query_ids: list[str]
    queries: list[str]
    scores: pa.Table
    passages: pa.Table
    unscored: frozenset[str]
    metadata: bytes
    found_itself: frozenset[str] = frozenset()

    def candidates(self, settings: LabelSettings) -> list[Candidate]:
        """What each row of the scores is of."""
        text_of = dict(zip(self.query_ids, self.queries, strict=True))
        grades = pc.fill_null(self.scores["grade"], 0).to_pylist()
        ids = (self.scores[name].to_pylist() for name in ("query_id", "doc_id"))
        rows = zip(*ids, self._texts(), grades, strict=True)
        return [
            Candidate(query, text_of[query], doc, title, text, grade >= settings.min_grade)
            for query, doc, (title, text), grade in rows
        ]

    def scored(self, settings: LabelSettings) -> Scored:
        """As arrays; passages are sketched only where near-duplicates are looked for."""
        number = {name: n for n, name in enumerate(self.query_ids)}
        query = np.array([number[q] for q in self.scores["query_id"].to_pylist()], np.int32)
        keys = np.array([id_hash(name) for name in self.query_ids], np.uint64)
        origins = {origin.name.lower(): int(origin) for origin in Origin}
        grade = pc.fill_null(self.scores["grade"], 0).to_numpy()
        pairs = zip(*(self.scores[n].to_pylist() for n in ("doc_id", "passage")), strict=True)
        documents = np.array([id_hash(f"{doc} {passage}") for doc, passage in pairs], np.uint64)
        sketches = None
        if settings.near_duplicate is not None:
            sketches = sketch(token_lists(self.passages["tokens"]))
        return Scored(
            query=query,
            query_key=keys[query],
            key=mix(documents),
            origin=np.array([origins[o] for o in self.scores["origin"].to_pylist()], np.int8),
            rank=pc.fill_null(self.scores["retrieval_rank"], 0).to_numpy(),
            retrieval=self.scores["retrieval_score"].to_numpy(),
            positive=grade >= settings.min_grade,
            judged=pc.is_valid(self.scores["grade"]).to_numpy(),
            weak=(grade > 0) & (grade < settings.min_grade),
            score=self.scores["score"].to_numpy(),
            sketch=sketches,
        )

    def texts(self, settings: LabelSettings, wanted: Any) -> pa.Array:
        """What stands for the candidates wanted: their texts, or ids, DOC_ID#PASSAGE."""
        if settings.text == "id":
            pairs = zip(*(self.scores[n].to_pylist() for n in ("doc_id", "passage")), strict=True)
            found = pa.array([f"{doc}#{passage}" for doc, passage in pairs], pa.string())
        else:
            found = pa.array([passage_text(*pair) for pair in self._texts()], pa.string())
        lengths = pc.binary_length(found).to_numpy()
        if int(lengths[wanted].astype(np.int64).sum()) > STRING_LIMIT:
            found = found.cast(pa.large_string())
        return found.take(pa.array(wanted))

    def _texts(self) -> list[tuple[str, str]]:
        titles, texts = (self.passages[name].to_pylist() for name in ("title", "text"))
        return list(zip(titles, texts, strict=True))

    def table(self, form: Format, rows: TrainingRows, settings: LabelSettings) -> pa.Table:
        """The file that a trainer loads: query, the format's passages, its label, the weight."""
        names = self.query_ids if settings.text == "id" else self.queries
        texts = self.texts(settings, rows.passages)
        columns: dict[str, Any] = {
            "query": pa.array(names, pa.string()).take(pa.array(rows.query)),
            **_passage_columns(form, rows, texts),
        }
        if form.label and rows.labels is not None:
            columns[form.label.removesuffix("[]")] = _label_column(form, rows)
        if rows.weight is not None:
            columns["weight"] = pa.array(rows.weight)
        return pa.table(columns)

    def ids(self, rows: TrainingRows) -> pa.Table:
        """Where each row comes from, beside it: ids, passages, origins and scores."""
        query = pa.array(self.query_ids, pa.string()).take(pa.array(rows.query))
        taken = self.scores.take(pa.array(rows.passages))
        offsets = pa.array(rows.offsets.astype(np.int32))
        listed = {
            name: pa.ListArray.from_arrays(offsets, taken[name].combine_chunks())
            for name in ("doc_id", "passage", "origin", "grade", "score")
        }
        return pa.table({"query_id": query, **listed})

    def tevatron(self, rows: TrainingRows) -> list[dict[str, Any]]:
        """One line a query: its positives and negatives, each once."""
        texts, ids = self._texts(), self.scores["doc_id"].to_pylist()

        def passages(numbers: Any) -> list[dict[str, str]]:
            unique = dict.fromkeys(int(n) for n in numbers)
            return [{"docid": ids[n], "title": texts[n][0], "text": texts[n][1]} for n in unique]

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

    def suspects(self, rows: Int32, gap: Float32) -> pa.Table:
        """The first suspected false negatives, with their texts."""
        rows, gap = rows[:SUSPECTS], gap[:SUSPECTS]
        taken = self.scores.select(["query_id", "doc_id", "score"]).take(pa.array(rows))
        text_of = dict(zip(self.query_ids, self.queries, strict=True))
        asked = [text_of[name] for name in taken["query_id"].to_pylist()]
        texts = self.passages["text"].take(pa.array(rows))
        beside = {"above": pa.array(gap), "query": pa.array(asked, pa.string()), "text": texts}
        for name, column in beside.items():
            taken = taken.append_column(name, column)
        return taken

    def set_aside(self, rows: TrainingRows) -> pa.Table:
        """Every query without a row, with its reason."""
        used = set(rows.query.tolist())
        reasons = {
            name: self._reason(name, rows.set_aside.get(number, NOTHING))
            for number, name in enumerate(self.query_ids)
            if number not in used
        }
        columns = [pa.array(list(values), pa.string()) for values in (reasons, reasons.values())]
        return pa.Table.from_arrays(columns, schema=SET_ASIDE)

    def _reason(self, query_id: str, reason: str) -> str:
        if reason in (NO_POSITIVE, NOTHING) and query_id in self.unscored:
            return UNSCORED_POSITIVE
        return ONLY_ITSELF if reason == NOTHING and query_id in self.found_itself else reason

    def provenance(self, form: Format, settings: LabelSettings) -> bytes:
        """What every file's metadata says: teachers, format, loss, settings."""
        teachers = json.loads(self.metadata)
        made = {"format": form.name, "loss": form.loss, "source": form.source}
        return canonical_json({**teachers, **made, "settings": settings.deciding()})


def _passage_columns(form: Format, rows: TrainingRows, texts: pa.Array) -> dict[str, Any]:
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


def _label_column(form: Format, rows: TrainingRows) -> pa.Array:
    labels = pa.array(rows.labels, pa.float32())
    if not (form.label or "").endswith("[]"):
        return labels
    return pa.ListArray.from_arrays(pa.array(rows.label_offsets.astype(np.int32)), labels)
