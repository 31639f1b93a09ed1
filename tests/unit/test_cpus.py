"""Another kind of CPU finds the same: a process without VNNI and AVX-512 against this one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from shardrank.index.best_rows import CompiledSelector
from shardrank.index.binary import nearest_codes, words
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.index.exact import part_topk
from shardrank.index.nearest import by_products
from shardrank.index.shard import LoadedShard
from shardrank.kernels.machine import is_x86
from shardrank.kernels.rotation_loops import along
from shardrank.models.forward.products import chosen_product, int8_product
from tests.bench.search import part_of
from tests.cpus import AVX2_ONLY

DIM, ROWS = 48, 3000


@pytest.fixture(scope="module", params=["IVF16,SQ8", "IVF16,PQ12x4np"])
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shard and queries, some of which come twice.

    No rotation: faiss's product of floats may differ in last bits from kind to kind.
    """
    folder, random = tmp_path_factory.mktemp("cpus"), np.random.default_rng(0)
    vectors = random.standard_normal((ROWS, DIM), dtype=np.float32)
    made: Any = faiss.index_factory(DIM, request.param, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(1)
    faiss.extract_index_ivf(made).by_residual = False
    made.train(vectors[:1500])
    made.add(vectors)
    faiss.write_index(made, str(folder / "shard"))
    np.save(folder / "queries.npy", np.concatenate([vectors[::31], vectors[::300]]))
    return folder


def answers(folder: Path) -> dict[str, Any]:
    """What lists, documents and exact scores searches find, as hex of their bytes."""
    shard = LoadedShard.load((folder / "shard").read_bytes(), CompiledSelector(int8_product))
    queries = np.load(folder / "queries.npy")
    found = shard.search(queries, 5, 40)
    three = np.arange(ROWS, dtype=np.int32) // 3  # passages of a document
    met = DocumentSearch(shard, three, None).find(queries, Reach(2, 30, 20))
    codes = np.packbits(queries > 0, axis=1)
    exact = part_topk(queries, part_of(queries[::-1].copy()), 20, by_products(int8_product))
    return {
        "found": found.tobytes().hex(),
        "codes": nearest_codes(words(codes[:50]), words(codes), 20).tobytes().hex(),
        "turned": along(queries, queries[:DIM]).tobytes().hex(),
        "documents": met.positions.tobytes().hex(),
        "rows": exact["row"].to_pylist(),
        "scores": exact["score"].to_numpy().tobytes().hex(),
    }


@pytest.mark.skipif(not is_x86(), reason="what is masked are features of x86")
def test_search_and_audit_give_the_same_bytes_without_vnni(given: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.test_cpus", str(given)]
    environment = {**os.environ, **AVX2_ONLY}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told.pop("product") == "pair_product"
    assert told == answers(given)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps({**answers(folder), "product": chosen_product().__name__}))  # type: ignore[attr-defined]
