"""A benchmark's published files → what `index`, `rank` and `evaluate` take, in a folder.

Queries and judgements are always written, documents only where they cannot be read as they are; and
a settings file for either command, since each has columns of its own.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardrank.core.benchmarks import Benchmark, Rows
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.evaluation import Judgement
from shardrank.core.excluded import EXCLUDED
from shardrank.corpus.published import Row, files_of, rows_of
from shardrank.corpus.qrels import read_qrels

#: Pictures of a row group, which is in memory at once.
_PICTURES = 256
_PICTURED = pa.schema([pa.field("_id", pa.string()), pa.field("image", pa.binary())])


@dataclass(frozen=True)
class Collected:
    """What was written.

    Attributes:
        corpus: what `index` reads: a glob below the source, or the file that was written; "": the
            documents are to be made by hand.
        documents: rows that were written; None: they are read as they are.
        queries: that were written.
        unjudged: queries without a judgement, which are left out.
        grades: how many pairs have which grade, from the highest.
        excluded: documents that queries exclude, each counted once for each query.
    """

    corpus: str
    documents: int | None
    queries: int
    unjudged: int
    grades: Mapping[int, int]
    excluded: int

    @property
    def judgements(self) -> int:
        """Pairs."""
        return sum(self.grades.values())


def collect(benchmark: Benchmark, source: Path, out: Path, part: str, split: str) -> Collected:
    """Write a benchmark to a folder, anew.

    Raises:
        InputError: a file is not there, or not of the published form, or a query excludes what is
            relevant to it.
        SettingsError: the benchmark has parts and none is named, or the other way round; or the
            split is another one than it has.
    """
    _require_part(benchmark, part)
    _require_split(benchmark, split)
    mine = _filled(benchmark, part, split)
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    documents = _documents(mine, source, out, part)
    queries = list(_queries(mine, source, part))
    _require(len(queries), "queries")
    grades = _grades(mine, source, queries, documents.held)
    judged = [query for query in queries if query.id in grades]
    _require(len(judged), "query that is judged")
    _refuse_contradictions(judged, grades)
    _write(out / "queries.jsonl", (query.row(bool(mine.excluded)) for query in judged))
    _write_text(out / "index.toml", _index_settings(mine, documents.written))
    _write_text(out / "rank.toml", _rank_settings(mine))
    return Collected(
        corpus=documents.corpus,
        documents=documents.written,
        queries=len(judged),
        unjudged=len(queries) - len(judged),
        grades=_write_judgements(out / "qrels" / f"{split}.tsv", judged, grades),
        excluded=sum(len(query.excluded) for query in judged),
    )


def _require_part(benchmark: Benchmark, part: str) -> None:
    if benchmark.has_parts != bool(part):
        names = f"such as {', '.join(benchmark.parts)}" if benchmark.parts else "it has none"
        raise SettingsError(f"--part = {part!r}, but of this benchmark: {names}.", "")


def _require_split(benchmark: Benchmark, split: str) -> None:
    if split != benchmark.split and not benchmark.has_splits:
        raise SettingsError(
            f"--split = {split!r}, but this benchmark has one split: {benchmark.split}.",
            "Leave --split out.",
        )


def _write_judgements(
    path: Path, queries: Iterable["PublishedQuery"], grades: Mapping[str, Mapping[str, int]]
) -> dict[int, int]:
    """BEIR's TSV; how many pairs have which grade, from the highest."""
    pairs = [(q.id, doc, grade) for q in queries for doc, grade in grades[q.id].items()]
    lines = (f"{query}\t{doc}\t{grade}" for query, doc, grade in pairs)
    _write_text(path, ["query-id\tcorpus-id\tscore", *lines])
    return dict(sorted(Counter(grade for _, _, grade in pairs).items(), reverse=True))


def _filled(benchmark: Benchmark, part: str, split: str) -> Benchmark:
    """The benchmark with part and split in its globs."""

    def fill(glob: str) -> str:
        return glob.replace("{part}", part).replace("{split}", split)

    documents, queries, judged = benchmark.documents, benchmark.queries, benchmark.judged
    return replace(
        benchmark,
        documents=documents and replace(documents, glob=fill(documents.glob)),
        queries=replace(queries, glob=fill(queries.glob)),
        judged=replace(judged, glob=fill(judged.glob)),
    )


@dataclass(frozen=True)
class PublishedQuery:
    """A query; documents that it excludes, and those that its row lists as relevant or marks, with
    their grades."""

    id: str
    text: str
    excluded: tuple[str, ...]
    relevant: Mapping[str, int]

    def row(self, excludes: bool) -> Row:
        """As a line of queries.jsonl."""
        found: dict[str, Any] = {"_id": self.id, "text": self.text}
        return found | ({EXCLUDED: list(self.excluded)} if excludes else {})


@dataclass(frozen=True)
class _Documents:
    """What `index` reads, how many rows were written for it (None: none were), and the ids of those
    that have a text, where some may not."""

    corpus: str
    written: int | None = None
    held: frozenset[str] | None = None


def _documents(benchmark: Benchmark, source: Path, out: Path, part: str) -> _Documents:
    rows = benchmark.documents
    if rows is None:
        return _Documents("")
    if rows.readable:
        files_of(source, rows.glob)
        return _Documents(str(source / rows.glob))
    if rows.image:
        path = out / "corpus.parquet"
        return _Documents(str(path), _write_pictures(path, rows_of(source, rows), rows))
    held: set[str] = set()
    texts = (row for row in _of_part(source, rows, part) if _note(row, rows, held))
    path = out / "corpus.jsonl"
    count = _write(path, ({"_id": _id(row, rows), "text": row[rows.text]} for row in texts))
    _require(count, f"documents of {part!r}" if part else "documents")
    return _Documents(str(path), count, frozenset(held) if rows.of_part else None)


def _note(row: Row, rows: Rows, held: set[str]) -> bool:
    """Whether a row has a text; then its id is kept in mind, if it decides over queries."""
    there = row[rows.text] is not None
    if there and rows.of_part:
        held.add(_id(row, rows))
    return there


def _id(row: Row, rows: Rows) -> str:
    """As ids are written: whole numbers as decimal digits."""
    value = row[rows.id]
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InputError(f"{rows.glob}: {rows.id} is {value!r} in a row, which is no id.", "")
    return str(value)


def _require(count: int, what: str) -> None:
    if not count:
        raise InputError(
            f"The files hold no {what}.", "Look at --part and --split, and at the files."
        )


def _of_part(source: Path, rows: Rows, part: str, *columns: str) -> Iterator[Row]:
    for row in rows_of(source, rows, columns):
        if not rows.of_part or row[rows.of_part] == part:
            yield row


def _write_pictures(path: Path, found: Iterator[Row], rows: Rows) -> int:
    """Each picture once, by its id; how many there are."""
    seen: set[str] = set()
    waiting: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, _PICTURED) as writer:
        for row in found:
            name, picture = _id(row, rows), row[rows.image]
            if name in seen:
                continue
            seen.add(name)
            data = picture["bytes"] if isinstance(picture, dict) else picture
            waiting.append({"_id": name, "image": data})
            if len(waiting) == _PICTURES:
                writer.write_table(pa.Table.from_pylist(waiting, _PICTURED))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, _PICTURED))
    return len(seen)


def _queries(benchmark: Benchmark, source: Path, part: str) -> Iterator[PublishedQuery]:
    rows, judged = benchmark.queries, benchmark.judged
    before = ""
    if benchmark.before:
        before = files_of(source, benchmark.before)[0].read_text("utf-8") + " "
    columns = [*filter(None, (benchmark.excluded, judged.grade))]
    columns += [judged.document] if judged.form in ("lists", "marks") else []
    found = _of_part(source, rows, part, *columns)
    if judged.form == "marks":
        yield from _marked(found, rows, benchmark)
        return
    for row in found:
        listed = row[judged.document] if judged.form == "lists" else ()
        excluded = row[benchmark.excluded] if benchmark.excluded else ()
        yield PublishedQuery(
            id=_id(row, rows),
            text=before + _text(row, rows),
            excluded=tuple(each for each in excluded or () if each != benchmark.nothing),
            relevant=dict.fromkeys(map(str, listed or ()), 1),
        )


def _text(row: Row, rows: Rows) -> str:
    value = row[rows.text]
    if not isinstance(value, str):
        raise InputError(f"{rows.glob}: {rows.text} is {value!r} in a row, which is no text.", "")
    return value


def _marked(found: Iterable[Row], rows: Rows, benchmark: Benchmark) -> Iterator[PublishedQuery]:
    """Queries by their texts, numbered as they come; each row is one of their pairs."""
    judged = benchmark.judged
    pairs: dict[str, dict[str, int]] = {}
    for row in found:
        mine = pairs.setdefault(_text(row, rows), {})
        mine[str(row[judged.document])] = int(row[judged.grade])
    for number, (text, relevant) in enumerate(pairs.items()):
        yield PublishedQuery(f"q{number:04d}", text, (), relevant)


def _grades(
    benchmark: Benchmark,
    source: Path,
    queries: Iterable[PublishedQuery],
    held: frozenset[str] | None,
) -> dict[str, dict[str, int]]:
    """A query → a document → its grade. `held`: documents that have a text; None: all may."""
    if benchmark.judged.form in ("lists", "marks"):
        every = {query.id: dict(query.relevant) for query in queries}
        if held is not None:
            every = {name: {d: g for d, g in of.items() if d in held} for name, of in every.items()}
        return {name: of for name, of in every.items() if of}
    found: dict[str, dict[str, int]] = {}
    for judgement in _judgements(benchmark, source):
        found.setdefault(judgement.query_id, {})[judgement.doc_id] = judgement.relevance
    return found


def _judgements(benchmark: Benchmark, source: Path) -> Iterator[Judgement]:
    judged = benchmark.judged
    if judged.form == "pairs":
        rows = Rows(judged.glob, judged.query, judged.document, form="csv")
        for row in rows_of(source, rows):
            yield Judgement(row[judged.query], row[judged.document], 1)
        return
    for path in files_of(source, judged.glob):
        data = path.read_bytes()
        # T2Ranking's header of TREC's four columns, in which the second has no name.
        head, _, rest = data.partition(b"\n")
        yield from read_qrels(rest if head.split(b"\t")[:2] == [b"qid", b"-"] else data, str(path))


def _refuse_contradictions(
    queries: Iterable[PublishedQuery], grades: Mapping[str, Mapping[str, int]]
) -> None:
    """As BRIGHT's run.py asserts."""
    for query in queries:
        both = sorted(set(query.excluded) & set(grades[query.id]))
        if both:
            raise InputError(
                f"The query {query.id!r} excludes {both[0]!r}, which is judged for it.",
                "Give the files as they are published.",
            )


def _index_settings(benchmark: Benchmark, written: int | None) -> list[str]:
    rows = benchmark.documents
    if rows is None or (written is not None and not rows.image):
        return ["# The corpus has the columns that index looks for."]
    if rows.image:
        return ["[corpus]", 'image = "image"']
    names = {"id": rows.id, "text": rows.text} | ({"title": rows.title} if rows.title else {})
    return ["[corpus]", *(f"{key} = {json.dumps(name)}" for key, name in names.items())]


def _rank_settings(benchmark: Benchmark) -> list[str]:
    excludes = [f"exclude = {json.dumps(EXCLUDED)}"] if benchmark.excluded else []
    metrics = json.dumps(list(benchmark.metrics))
    return ["[search]", f"k = {benchmark.k}", *excludes, "", "[evaluate]", f"metrics = {metrics}"]


def _write(path: Path, rows: Iterable[Row]) -> int:
    return _write_text(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def _write_text(path: Path, lines: Iterable[str]) -> int:
    """How many lines there are."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(f"{line}\n")
            count += 1
    return count
