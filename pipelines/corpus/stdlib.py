"""The corpus that is always there: docstrings of the Python standard library, and known-item
queries over them.

The first sentence of a docstring says what the thing does, the rest explains it. Whoever wrote the
sentence had the rest in mind, so "first sentence → rest of the docstring" is a retrieval task with
honest answers and no download. Sources are parsed with ``ast`` and never imported: importing
``antigravity`` opens a browser.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TESTS = {"test", "tests", "idle_test"}
_OTHERS = {"site-packages", "dist-packages"}
_NOT_EVERYWHERE = {"idlelib", "lib2to3", "distutils", "turtledemo"}  # gone, or packaged apart
SKIPPED_FOLDERS = frozenset(_TESTS | _OTHERS | _NOT_EVERYWHERE)
HELD_OUT_BELOW = 51  # of 256: about a fifth of the modules
MIN_QUERY_WORDS = 3
MAX_QUERY_WORDS = 40  # what is longer is a table or a paragraph without a full stop
MIN_REST_WORDS = 5
DEMO_QUERIES = 240

_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n")
_SIGNATURE = re.compile(r"^[\w.]+\(")
_Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class StdlibPassage:
    """One docstring, split: ``summary`` is its first sentence, ``text`` the rest of it. Where the
    docstring is hardly more than a sentence, ``text`` is all of it and ``summary`` is empty.

    There is no title: with the name in the text, the task is to recognise the name.
    """

    doc_id: str
    text: str
    summary: str

    @property
    def module(self) -> str:
        """Top-level module, the unit of the split into training and test."""
        return self.doc_id.partition(".")[0]


@dataclass(frozen=True)
class KnownItem:
    """A query with its one right answer."""

    query_id: str
    text: str
    doc_id: str


def held_out(module: str) -> bool:
    """Whether a module's queries are for testing only, by the hash of its top-level name.

    A hash of the name, not a random draw over what is installed: the weights shipped with the
    project were trained under one version of Python, and must not meet their training queries in
    the demo under another.
    """
    top = (
        module.partition(".")[0].removeprefix("_py").removeprefix("_")
    )  # _pydatetime is datetime's twin
    return hashlib.sha256(top.encode()).digest()[2] < HELD_OUT_BELOW


def stdlib_documents(root: Path | None = None) -> list[StdlibPassage]:
    """Return every docstring under ``root`` (default: this interpreter's library), in the order of
    their ids.
    """
    folder = root or Path(sysconfig.get_path("stdlib"))
    passages: dict[str, StdlibPassage] = {}
    for path, module in _modules(folder):
        for name, docstring in _docstrings(path, module):
            # A setter repeats its getter's name: the first one stays.
            passages.setdefault(name, _passage(name, docstring))
    return [passages[name] for name in sorted(passages)]


def known_item_queries(passages: list[StdlibPassage], *, test: bool) -> list[KnownItem]:
    """Return the queries of held-out modules (``test``) or of all others, in the order of their
    documents.

    A sentence that opens several docstrings, or a text that occurs twice, has no one right answer:
    both are left out.
    """
    sentences = Counter(passage.summary.casefold() for passage in passages)
    texts = Counter(passage.text for passage in passages)
    return [
        KnownItem(f"q-{passage.doc_id}", passage.summary, passage.doc_id)
        for passage in passages
        if held_out(passage.module) == test
        and _is_query(passage)
        and sentences[passage.summary.casefold()] == 1
        and texts[passage.text] == 1
    ]


def demo_queries(passages: list[StdlibPassage], limit: int = DEMO_QUERIES) -> list[KnownItem]:
    """Return at most ``limit`` test queries: those with the lowest hashes, in the order of their
    documents.
    """
    queries = known_item_queries(passages, test=True)
    lowest = sorted(queries, key=lambda query: hashlib.sha256(query.query_id.encode()).digest())
    return sorted(lowest[:limit], key=lambda query: query.query_id)


def write_demo(folder: Path) -> tuple[int, int]:
    """Write corpus.jsonl, queries.jsonl and qrels/test.tsv (BEIR) to ``folder``; return (documents,
    queries).
    """
    passages = stdlib_documents()
    queries = demo_queries(passages)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    documents = [{"_id": p.doc_id, "text": p.text} for p in passages]
    _write_lines(
        folder / "corpus.jsonl", [json.dumps(row, ensure_ascii=False) for row in documents]
    )
    _write_lines(
        folder / "queries.jsonl",
        [json.dumps({"_id": q.query_id, "text": q.text}, ensure_ascii=False) for q in queries],
    )
    judgements = [f"{query.query_id}\t{query.doc_id}\t1" for query in queries]
    _write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judgements])
    return len(passages), len(queries)


def _write_lines(path: Path, lines: list[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _modules(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (file, dotted module name), sorted. Folders whose name is no identifier hold no
    modules.
    """
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if SKIPPED_FOLDERS.isdisjoint(parts) and all(part.isidentifier() for part in parts):
            yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _docstrings(path: Path, module: str) -> Iterator[tuple[str, str]]:
    """Yield (qualified name, docstring) of a file; nothing where it does not parse (templates,
    Python 2).
    """
    try:
        with tokenize.open(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(file.read())
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    yield from _walk(tree, module)


def _walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, _Definition):
        docstring = ast.get_docstring(node, clean=False)
        if docstring and docstring.strip():
            yield name, inspect.cleandoc(docstring)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _walk(child, f"{name}.{child.name}")
        elif isinstance(child, ast.stmt | ast.ExceptHandler):
            yield from _walk(child, name)


def _passage(name: str, docstring: str) -> StdlibPassage:
    """Split a docstring into its first sentence and the rest; keep it whole where too little would
    be left, or where the rest says the sentence again.
    """
    sentence, rest = _split(docstring)
    if len(rest.split()) < MIN_REST_WORDS or sentence.casefold() in _one_line(rest).casefold():
        return StdlibPassage(name, docstring.strip(), "")
    return StdlibPassage(name, rest, sentence)


def _split(docstring: str) -> tuple[str, str]:
    """Return (first sentence on one line, rest). A sentence ends at a full stop or at an empty
    line.
    """
    pieces = _SENTENCE_END.split(docstring.strip(), maxsplit=1)
    return _one_line(pieces[0]), pieces[1].strip() if len(pieces) > 1 else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_query(passage: StdlibPassage) -> bool:
    """Whether a summary can be asked: long enough, and a sentence rather than a signature."""
    words = passage.summary.split()
    return MIN_QUERY_WORDS <= len(words) <= MAX_QUERY_WORDS and not _SIGNATURE.match(
        passage.summary
    )
