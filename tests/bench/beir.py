"""Collections in BEIR's layout: all documents of one, or a share of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from shardrank.core.evaluation import Judgement
from shardrank.corpus.qrels import read_qrels

#: The judgements that are taken where a collection has several files of them.
FIRST = "test.tsv"


@dataclass(frozen=True)
class Collection:
    """Files of a collection, and a folder for what is made of it.

    Attributes:
        every: of the documents that no query is judged by each so many-th is kept; 1: all are.
    """

    source: Path
    folder: Path
    every: int = 1

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def queries(self) -> Path:
        return self.source / "queries.jsonl"

    @property
    def qrels(self) -> Path:
        """The test judgements, or else the first by name."""
        files = sorted((self.source / "qrels").glob("*.tsv"))
        return next((path for path in files if path.name == FIRST), files[0])

    @property
    def judgements(self) -> list[Judgement]:
        return read_qrels(self.qrels.read_bytes(), str(self.qrels))

    def corpus(self) -> Path:
        """The documents; where some are left out, a new file of the others in their order."""
        whole = self.source / "corpus.jsonl"
        if self.every == 1:
            return whole
        judged = {judgement.doc_id for judgement in self.judgements}
        lines = whole.read_text("utf-8").splitlines(keepends=True)
        kept = [
            line
            for number, line in enumerate(lines)
            if number % self.every == 0 or json.loads(line)["_id"] in judged
        ]
        return _written(self.folder / "corpus.jsonl", kept)

    def halves(self) -> tuple[Path, Path]:
        """The judgements in two files, by the hash of their query."""
        return self._half(0), self._half(1)

    def _half(self, number: int) -> Path:
        rows = [j for j in self.judgements if half(j.query_id) == number]
        lines = [f"{j.query_id}\t{j.doc_id}\t{j.relevance}\n" for j in rows]
        head = "query-id\tcorpus-id\tscore\n"
        return _written(self.folder / f"half-{number}.tsv", [head, *lines])


def half(query_id: str) -> int:
    """0 or 1, of a query's id alone."""
    return blake2b(query_id.encode(), digest_size=1).digest()[0] & 1


def _written(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), "utf-8")
    return path
