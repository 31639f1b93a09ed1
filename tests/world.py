"""Small corpora, tiny models, and the command line in this process."""

import json
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from shardrank.core.protocols import Storage
from shardrank.jobs.cli import main
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.ranked_runs import MANIFEST, RankOrigin
from shardrank.stages.shared.versions import latest_version
from shardrank.storage.local import LocalStorage
from shardrank.version.manifest import Version
from tests.tiny_models import WORDS, tiny_encoder, tiny_reranker

#: Each of these is one token of the tiny BERT tokeniser.
VOCABULARY = tuple(dict.fromkeys(WORDS[6:]))
#: What must be equal, byte for byte, however a run was cut, scaled or resumed.
INDEX_FOLDERS = ("parts", "shards", "codecs", "terms", "deletions")
OUT_FILES = ("run.trec", "metrics.json")
#: Several parts of a small corpus, nights that may do anything, and no model that reranks.
SMALL_PARTS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=24",
    "index.kind=exact",
    "gate.max_deleted=1",
    "gate.max_changed=1",
    "gate.max_change=100",
    "reranker.model=off",
)
#: Parts of more passages, which are audited.
AUDITED = (
    "passages.max_tokens=24",
    "passages.overlap=0",
    "passages.part_size=64",
    "index.kind=exact",
    "audit.k=5",
    "gate.max_deleted=1",
    "gate.max_changed=1",
    "gate.max_change=100",
    "search.k=10",
    "search.block_queries=4",
    "reranker.model=off",
)


def codec_of(index: Path, version: Version, name: str) -> bytes | None:
    """What the encoder of a column learnt; None: nothing."""
    ref = version.columns[name].codec
    return None if ref is None else LocalStorage(str(index)).read_checked(ref)


@dataclass(frozen=True)
class World:
    """A corpus, queries and judgements on disk, and the models for them."""

    root: Path
    encoder: Path
    reranker: Path

    @property
    def corpus(self) -> str:
        return str(self.root / "corpus.jsonl")

    @property
    def queries(self) -> str:
        return str(self.root / "queries.jsonl")

    @property
    def qrels(self) -> str:
        return str(self.root / "qrels.tsv")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Of the corpus or the queries."""
        text = (self.root / f"{name}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def index(self, index: Path | str, *sets: str) -> list[str]:
        """Arguments of `shardrank index`."""
        return ["index", self.corpus, str(index), *self._sets(*sets)]

    def rank(self, index: Path | str, out: Path | str, *sets: str) -> list[str]:
        """Arguments of `shardrank rank`."""
        files = [str(index), self.queries, str(out), "--qrels", self.qrels]
        return ["rank", *files, *self._sets(*sets)]

    def _sets(self, *sets: str) -> list[str]:
        models = (f"encoder.model={self.encoder}", f"reranker.model={self.reranker}")
        return [word for value in (*models, *sets) for word in ("--set", value)]


def tiny_models(folder: Path) -> tuple[Path, Path]:
    """A bi-encoder and a cross-encoder of a few kilobytes, with one tokeniser."""
    encoder = tiny_encoder(folder / "encoder", "bert", dim=16)
    return encoder, tiny_reranker(folder / "reranker", "bert")


def make_world(root: Path, models: tuple[Path, Path], documents: int, queries: int) -> World:
    """Random documents of 5 to 45 words; a query is a few words of the document it should find."""
    rng = random.Random(documents)
    texts = {f"d{n:04d}": rng.choices(VOCABULARY, k=rng.randint(5, 45)) for n in range(documents)}
    asked = {f"q{n:03d}": rng.choice(sorted(texts)) for n in range(queries)}
    root.mkdir(parents=True, exist_ok=True)
    write_lines(root / "corpus.jsonl", ({"_id": d, "text": " ".join(w)} for d, w in texts.items()))
    rows = ({"_id": q, "text": " ".join(texts[d][:4])} for q, d in asked.items())
    write_lines(root / "queries.jsonl", rows)
    lines = [f"{query}\t{doc}\t1" for query, doc in asked.items()]
    (root / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return World(root, *models)


def write_lines(path: Path, rows: Iterable[Any]) -> str:
    """JSON Lines; a row that is a string already is written as it stands."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def shardrank(*words: str) -> int:
    """Run the command line in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["shardrank", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def snapshot(index: Path, out: Path | None = None) -> dict[str, Any]:
    """What a reader of these folders sees."""
    return snapshot_of(LocalStorage(str(index)), LocalStorage(str(out)) if out else None)


def snapshot_of(index: Storage, out: Storage | None = None) -> dict[str, Any]:
    """The bytes of every file, and the versions and the ranking's manifest without how they were
    made."""
    kept: dict[str, Any] = _files(index, INDEX_FOLDERS) | _versions(index)
    if out is not None:
        kept |= _files(out, ("rankings",))
        kept |= {name: out.read(name) for name in OUT_FILES}
        kept[MANIFEST] = _without_origin(out.read(MANIFEST))
    return kept


def versions(index: Path) -> dict[str, Any]:
    """The content of every committed version, by its file's key."""
    return _versions(LocalStorage(str(index)))


def latest(index: Path) -> Version:
    """What the last command left published."""
    found = latest_version(Workspace(LocalStorage(str(index))))
    assert found
    return found.version


def _versions(index: Storage) -> dict[str, Any]:
    keys = [entry.key for entry in index.list("manifests")]
    return {key: Version.parse(index.read(key), key).content() for key in keys}


def _without_origin(manifest: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(manifest)
    assert set(told.pop("made")) == {field.name for field in fields(RankOrigin)}
    return told


def _files(storage: Storage, folders: Sequence[str]) -> dict[str, bytes]:
    keys = [entry.key for folder in folders for entry in storage.list(folder)]
    return {key: storage.read(key) for key in keys}
