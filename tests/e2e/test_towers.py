"""Whole commands with encoders that are chains of modules: what is found is what the library's
vectors find."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer

from tests.family_models import save_encoder
from tests.module_models import module_encoder
from tests.world import World, make_world, shardrank

SETS = ("search.k=10", "reranker.model=off", "encoder.dtype=fp32", "encoder.stored=fp32")

pytestmark = pytest.mark.usefixtures("inline")


@pytest.mark.parametrize("family", ["router", "static", "dense"])
def test_rankings_are_those_of_the_librarys_vectors(
    tmp_path: Path, models: tuple[Path, Path], family: str
) -> None:
    encoder = module_encoder(tmp_path / "encoder", family)
    world = make_world(tmp_path / "world", (encoder, models[1]), documents=60, queries=8)
    assert shardrank(*world.index(tmp_path / "index", *SETS)) == 0
    assert shardrank(*world.rank(tmp_path / "index", tmp_path / "out", *SETS)) == 0
    found = pq.read_table(tmp_path / "out" / "rankings").to_pylist()
    wanted = library_scores(encoder, world)
    assert len(found) == 8 * 10
    for row in found:
        score = wanted[row["query_id"]][row["doc_id"]]
        assert row["retrieval_score"] == pytest.approx(score, abs=2e-3), (
            "vectors are stored in fp16"
        )
    for query, scores in wanted.items():
        best = sorted(scores.values())[-10]
        mine = [row["retrieval_score"] for row in found if row["query_id"] == query]
        assert min(mine) >= best - 1e-5


def library_scores(folder: Path, world: World) -> dict[str, dict[str, float]]:
    """The cosine of every query and document."""
    model = SentenceTransformer(str(folder), device="cpu")
    read = [
        map(json.loads, Path(p).read_text().splitlines()) for p in (world.queries, world.corpus)
    ]
    queries, documents = ({row["_id"]: row["text"] for row in rows} for rows in read)
    left = model.encode_query(list(queries.values()), normalize_embeddings=True)
    right = model.encode_document(list(documents.values()), normalize_embeddings=True)
    scores: np.ndarray = left @ right.T
    return {
        query: dict(zip(documents, map(float, row), strict=True))
        for query, row in zip(queries, scores, strict=True)
    }


def texts(path: str) -> dict[str, str]:
    rows = map(json.loads, Path(path).read_text().splitlines())
    return {row["_id"]: row["text"] for row in rows}


def test_a_family_that_is_not_run_is_refused_before_any_work(
    tmp_path: Path, models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = save_encoder(tmp_path / "encoder", "bart")
    world = make_world(tmp_path / "world", (encoder, models[1]), documents=5, queries=1)
    assert shardrank(*world.index(tmp_path / "index", *SETS)) == 2
    assert "gives its decoder's states" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "index").exists()
