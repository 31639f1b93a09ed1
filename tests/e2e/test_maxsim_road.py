"""MaxSim over stored token vectors, from the command to the rankings and the labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.late_settings import LateSettings
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.core.token_vectors import TokenVectors
from shardrank.models.encoders.registry import family_of
from tests.inline import installed
from tests.late_models import late_model
from tests.world import World, make_world, shardrank, tiny_models

DEPTH = 7
SETS = ("passages.max_tokens=40", "passages.part_size=20", "search.k=20")


@dataclass(frozen=True)
class Setting:
    """An index with a column of token vectors, and what made it."""

    root: Path
    world: World
    model: Path

    def run(self, command: str, *words: str) -> int:
        """The exit code of a command, after whose words come --set's."""
        given = (f"encoder.model={self.world.encoder}", *SETS)
        parted = [word for value in given for word in ("--set", value)]
        return shardrank(command, *words, *parted)

    def rank(self, name: str, *sets: str, overwrite: bool = False) -> int:
        """Of `shardrank rank` into a folder of that name."""
        told = ("reranker.family=maxsim", f"reranker.depth={DEPTH}", *sets)
        words = [word for value in told for word in ("--set", value)]
        folders = (str(self.root / "index"), self.world.queries, str(self.root / name))
        words += ["--overwrite"] if overwrite else []
        return self.run("rank", *folders, "--qrels", self.world.qrels, *words)

    def scores(self, name: str) -> dict[tuple[str, str], float]:
        """Of the reranked documents of its rankings, by query and document."""
        return {
            (row["query_id"], row["doc_id"]): row["rerank_score"]
            for row in _rows(self.root / name / "rankings")
            if row["rerank_score"] is not None
        }


def _rows(folder: Path) -> list[dict[str, Any]]:
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.iterdir())]).to_pylist()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray, and without reports, which take a second each."""
    with installed() as patch:
        for report in ("report.write_report", "label_report.write_label_report"):
            patch.setattr(f"shardrank.flows.{report}", lambda *given: None)
        yield


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    root = tmp_path_factory.mktemp("maxsim")
    world = make_world(root / "world", tiny_models(root / "models"), documents=60, queries=9)
    made = Setting(root, world, late_model(root / "late", "st-bert"))
    late = ("encoder.late.family=late", f"encoder.late.model={made.model}")
    late += ("encoder.codes.family=late", f"encoder.codes.model={made.model}")
    late += ("encoder.codes.stored=4", "encoder.codes.centroids=16")
    words = [word for value in late for word in ("--set", value)]
    with installed():
        assert made.run("index", world.corpus, str(root / "index"), *words) == 0
        assert made.rank("out") == 0
    return made


def _encoder(setting: Setting) -> ColumnEncoder:
    settings = LateSettings(model=str(setting.model))
    family = family_of(settings)
    return family.load(settings, "cpu", family.read(settings, None), Codecs())


def test_scores_are_those_of_the_encoder_and_numpy(setting: Setting) -> None:
    encoder = _encoder(setting)
    texts, asked = (
        {row["_id"]: row["text"] for row in setting.world.rows(name)}
        for name in ("corpus", "queries")
    )
    found = setting.scores("out")
    assert len(found) == 9 * DEPTH
    short = [pair for pair in found if len(texts[pair[1]].split()) < 20]
    queries = TokenVectors.of(encoder.queries(pa.array([asked[query] for query, _ in short])))
    passages = TokenVectors.of(encoder.column(pa.array([texts[document] for _, document in short])))
    for number, pair in enumerate(short):
        products = queries.text(number) @ passages.text(number).T
        assert found[pair] == pytest.approx(products.max(axis=1).sum(), abs=2e-3)


def test_codes_are_near(setting: Setting) -> None:
    with _quiet():
        assert setting.rank("codes", "reranker.of=codes") == 0
    found, whole = setting.scores("codes"), setting.scores("out")
    assert found.keys() == whole.keys()
    assert found != whole
    assert [found[pair] for pair in whole] == pytest.approx([*whole.values()], rel=0.05)


def test_queries_of_fewer_vectors(setting: Setting) -> None:
    with _quiet():
        assert setting.rank("fewer", "reranker.query_pool=4") == 0
    found, whole = setting.scores("fewer"), setting.scores("out")
    assert found.keys() == whole.keys()
    assert all(found[pair] < score + 1e-4 for pair, score in whole.items())
    assert found != whole


def test_blocks_and_units_change_nothing(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.stages.shared.pairs_by_part.pairs_per_unit", lambda pairs: 10)
    with _quiet():
        assert setting.rank("cut", "search.block_queries=4") == 0
    assert len(list((setting.root / "cut" / "units" / "rerank").iterdir())) > 2
    assert setting.scores("cut") == setting.scores("out")
    whole, cut = (setting.root / name / "run.trec" for name in ("out", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


def test_what_was_scored_deeper_serves(setting: Setting) -> None:
    with _quiet():
        assert setting.rank("again") == 0
        whole, units = setting.scores("again"), setting.root / "again" / "units" / "rerank"
        before = {each.name: each.stat().st_mtime_ns for each in units.iterdir()}
        assert setting.rank("again", "reranker.depth=3", overwrite=True) == 0
    assert {each.name: each.stat().st_mtime_ns for each in units.iterdir()} == before
    few = setting.scores("again")
    assert len(few) == 9 * 3
    assert few.items() <= whole.items()


def test_a_teacher(setting: Setting) -> None:
    """The run's own scores, and those of candidates that it did not score."""
    labels = setting.root / "labels"
    told = ("reranker.family=maxsim", "label.teachers=late", "label.depth=10")
    words = [word for value in told for word in ("--set", value)]
    with _quiet():
        out = str(setting.root / "out")
        code = setting.run(
            "label", out, str(labels), "-f", "pointwise", "--qrels", setting.world.qrels, *words
        )
    assert code == 0
    rows, known = _rows(labels / "scores"), setting.scores("out")
    by_pair = {(row["query_id"], row["doc_id"]): row["score"] for row in rows}
    assert {pair: by_pair[pair] for pair in known} == known
    assert len(by_pair) > len(known)
    assert np.isfinite([*by_pair.values()]).all()


def test_a_column_that_is_none(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    with _quiet():
        assert setting.rank("none", "reranker.of=dense") == 2
        assert setting.rank("none", "reranker.of=other") == 2
    told = " ".join("".join(capsys.readouterr()).split())
    assert "names 'dense', and the index has a column of family dense" in told
    assert "names 'other', and the index has no such column" in told
    assert "Columns of token vectors: codes, late." in told
