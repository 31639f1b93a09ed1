"""Reading relevance judgements.

BEIR's TSV: a header, then query, document, relevance (https://github.com/beir-cellar/beir). TREC's
qrels: query, iteration, document, relevance (https://trec.nist.gov/data/qrels_eng/).
"""

from collections.abc import Sequence

from pipelines.core.errors import InputError
from pipelines.core.evaluation import Judgement
from pipelines.core.protocols import SourceOpener

_HINT = "Give BEIR's TSV (with a header) or TREC's four columns."


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
    """Judgements in the order of the file; the format is told from its first line.

    Args:
        data: the file.
        name: what errors call it.

    Raises:
        InputError: it is empty, no UTF-8, or a line is not what the format asks for.
    """
    lines = _lines(data, name)
    if not lines:
        raise InputError(f"{name} holds no judgements: it is empty.", _HINT)
    first = lines[0][1].split("\t")
    beir = len(first) == 3 and not _is_integer(first[2])
    rows = lines[1:] if beir else lines
    if not rows:
        raise InputError(f"{name} holds no judgements: only a header.", _HINT)
    return [_parse(number, line, beir, name) for number, line in rows]


def _lines(data: bytes, name: str) -> list[tuple[int, str]]:
    """(line number from 1, line) of the lines that are not blank."""
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error}.", _HINT) from error
    return [(n, line.rstrip("\r")) for n, line in enumerate(lines, 1) if line.strip()]


def _parse(number: int, line: str, beir: bool, name: str) -> Judgement:
    fields = [f.strip() for f in line.split("\t")] if beir else line.split()
    wanted = 3 if beir else 4
    if len(fields) != wanted or not all(fields) or not _is_integer(fields[-1]):
        form = "query, document, integer" if beir else "query, iteration, document, integer"
        raise InputError(f"{name}, line {number}: expected {form}, found {line[:200]!r}.", _HINT)
    return Judgement(fields[0], fields[-2], int(fields[-1]))


def _is_integer(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()
