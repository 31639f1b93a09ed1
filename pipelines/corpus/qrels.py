"""Reading relevance judgements.

BEIR's TSV: a header, then query, document, relevance (https://github.com/beir-cellar/beir). TREC's
qrels: query, iteration, document, relevance (https://trec.nist.gov/data/qrels_eng/). A header says
which column is which, so its names must be known ones; a file without one is TREC's.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.errors import InputError
from shardrank.core.evaluation import Judgement
from shardrank.core.protocols import SourceOpener

_HINT = "Give BEIR's TSV (with a header) or TREC's four columns."
#: Names that a header's columns may have, in lower case and with "-" for "_" and blanks.
_QUERY = {"query-id", "queryid", "query", "qid", "topic", "topic-id"}
_ITERATION = {"iteration", "iter", "q0"}
_DOCUMENT = {"corpus-id", "corpusid", "doc-id", "docid", "docno", "document-id", "pid"}
_DOCUMENT |= {"passage-id", "document", "doc", "did"}
_GRADE = {"score", "relevance", "rel", "label", "grade", "judgment", "judgement"}
#: The first bytes of compressed files, and Arrow's names of what reads them.
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
#: Grades are stored as int32.
_MOST = (1 << 31) - 1

#: (line number from 1, line)
Line = tuple[int, str]


@dataclass(frozen=True)
class Columns:
    """How a line is cut, and where in it query, document and grade stand, of so many fields."""

    cut: Callable[[str], list[str]]
    fields: int
    places: tuple[int, int, int]
    form: str


def read_judged(opener: SourceOpener, uri: str, asked: Sequence[str]) -> list[Judgement]:
    """Judgements from a file. Raises InputError where none is of a query in `asked`."""
    with opener(uri) as file:
        judgements = read_qrels(file.read(), uri)
    known = set(asked)
    if not any(judgement.query_id in known for judgement in judgements):
        raise InputError(
            f"{uri} judges no query of this batch: it names {judgements[0].query_id!r}, the "
            f"batch {asked[0]!r}.",
            "Give the judgements that belong to these queries.",
        )
    return judgements


def read_qrels(data: bytes, name: str) -> list[Judgement]:
    """Judgements in the order of the file, each pair of query and document once.

    Args:
        data: the file; it may be packed with gzip or zstandard.
        name: what errors call it.

    Raises:
        InputError: it is empty, no UTF-8, its header's columns are not known, a line is not what
            the format asks for, or a pair is judged twice and differently.
    """
    lines = _lines(_unpacked(data, name), name)
    if not lines:
        raise InputError(f"{name} holds no judgements: it is empty.", _HINT)
    columns = _header(lines[0], name)
    rows = lines[1:] if columns else lines
    if not rows:
        raise InputError(f"{name} holds no judgements: only a header.", _HINT)
    return _once([_parse(row, columns or _TREC, name) for row in rows], rows, name)


def _unpacked(data: bytes, name: str) -> bytes:
    codec = next((codec for magic, codec in _PACKED.items() if data.startswith(magic)), None)
    if codec is None:
        return data
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
            return bytes(stream.read())
    except OSError as error:
        raise InputError(f"{name} is damaged: {error}.", "Copy it again.") from error


def _lines(data: bytes, name: str) -> list[Line]:
    """The lines that are not blank."""
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error}.", _HINT) from error
    return [(n, line.rstrip("\r")) for n, line in enumerate(lines, 1) if line.strip()]


def _by_tabs(line: str) -> list[str]:
    """The fields of a TSV, quoted ones as BEIR's reader takes them."""
    if '"' not in line:
        return [field.strip() for field in line.split("\t")]
    [fields] = csv.reader([line], delimiter="\t", strict=True)
    return [field.strip() for field in fields]


_TREC = Columns(str.split, 4, (0, 2, 3), "query, iteration, document, integer")


def _header(first: Line, name: str) -> Columns | None:
    """What a header says of the columns; None where the first line is a judgement.

    Raises InputError where it is neither: what its columns hold would be a guess.
    """
    names = [_plain_name(field) for field in first[1].split("\t")]
    if len(names) < 3 or _grade(names[-1]) is not None:
        return None
    found = [
        [n for n, f in enumerate(names) if f in known] for known in (_QUERY, _DOCUMENT, _GRADE)
    ]
    others = [f for f in names if f not in _QUERY | _DOCUMENT | _GRADE | _ITERATION]
    if others or any(len(places) != 1 for places in found):
        if len(names) != 3:
            return None
        raise InputError(
            f"{name}, line 1: {first[1][:200]!r} is neither a judgement nor a header of known "
            "columns, such as query-id, corpus-id, score.",
            _HINT,
        )
    [query], [document], [grade] = found
    roles = {query: "query", document: "document", grade: "integer"}
    form = ", ".join(roles.get(n, "iteration") for n in range(len(names)))
    return Columns(_by_tabs, len(names), (query, document, grade), form)


def _plain_name(field: str) -> str:
    return field.strip().strip('"').lower().replace("_", "-").replace(" ", "-")


def _fields(line: Line, cut: Callable[[str], list[str]], name: str) -> list[str]:
    try:
        return cut(line[1])
    except csv.Error as error:
        raise InputError(
            f"{name}, line {line[0]}: {line[1][:200]!r} has quotes that are not in pairs: {error}.",
            _HINT,
        ) from error


def _parse(line: Line, columns: Columns, name: str) -> Judgement:
    fields = _fields(line, columns.cut, name)
    whole = len(fields) == columns.fields and all(fields[n] for n in columns.places)
    query, document, value = (fields[n] for n in columns.places) if whole else ("", "", "")
    grade = _grade(value)
    if grade is None:
        raise InputError(
            f"{name}, line {line[0]}: expected {columns.form}, found {line[1][:200]!r}.", _HINT
        )
    return Judgement(query, document, grade)


def _grade(text: str) -> int | None:
    """A whole number that fits; None for anything else."""
    if not text.strip().removeprefix("-").isdecimal():
        return None
    return int(text) if abs(int(text)) <= _MOST else None


def _once(found: Sequence[Judgement], lines: Sequence[Line], name: str) -> list[Judgement]:
    """Raises InputError where a pair has two grades: which one counts would be a guess."""
    held: dict[tuple[str, str], tuple[int, Judgement]] = {}
    for judgement, (number, _) in zip(found, lines, strict=True):
        pair = judgement.query_id, judgement.doc_id
        first, same = held.setdefault(pair, (number, judgement))
        if same.relevance != judgement.relevance:
            raise InputError(
                f"{name}, lines {first} and {number}: query {pair[0]!r} and document {pair[1]!r} "
                f"are judged {same.relevance} and {judgement.relevance}.",
                "Keep one judgement of each pair.",
            )
    return [judgement for _, judgement in held.values()]
