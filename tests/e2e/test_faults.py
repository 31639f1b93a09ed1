"""Index and rank in an S3 that fails every fifth request: exact, and no conflict where none is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.retries.standard import ExponentialBackoff

from shardrank.core.settings import S3Settings
from shardrank.storage import LocalStorage, S3Storage
from shardrank.storage.client import filesystem
from tests.faults import FAULTS, Faults, failing
from tests.stores import KINDS, endpoint_of, new_bucket
from tests.world import World, make_world, shardrank, snapshot_of

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=24",
    "index.kind=exact",
    "gate.max_deleted=1",
    "search.k=5",
    "reranker.depth=3",
)
SHARE, TIMEOUT = 0.2, 0.4

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Nights:
    """Two corpora of one index, and the queries over the second."""

    first: World
    second: World

    def run(self, index: str, out: str, *sets: str) -> None:
        assert shardrank(*self.first.index(index, *SETS, *sets)) == 0
        assert shardrank(*self.second.index(index, *SETS, *sets)) == 0
        assert shardrank(*self.second.rank(index, out, *SETS, *sets)) == 0


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> Nights:
    roots = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    first, second = (make_world(root, models, documents=30, queries=4) for root in roots)
    lines = Path(first.corpus).read_text("utf-8").splitlines()
    Path(second.corpus).write_text("\n".join([*lines[3:], '{"_id": "new", "text": "heat"}']))
    return Nights(first, second)


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory, nights: Nights, inline: pytest.MonkeyPatch
) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("whole")
    nights.run(str(root / "index"), str(root / "out"))
    return snapshot_of(LocalStorage(str(root / "index")), LocalStorage(str(root / "out")))


@pytest.fixture(params=KINDS)
def endpoint(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An S3; only the waits between attempts are shorter than a user's."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.01)
    return endpoint_of(request.param, request, monkeypatch)


def check_runs(endpoint: str, nights: Nights, expected: dict[str, Any], runs: int) -> None:
    for seed in range(runs):
        faults = Faults(SHARE, seed, silence=1.5 * TIMEOUT)
        base = f"s3://{new_bucket(endpoint)}"
        with failing(endpoint, faults) as proxy:
            nights.run(
                f"{base}/index", f"{base}/out", f"s3.endpoint={proxy}", f"s3.timeout={TIMEOUT}"
            )
        direct = S3Settings(endpoint=endpoint)
        found = snapshot_of(S3Storage(f"{base}/index", direct), S3Storage(f"{base}/out", direct))
        assert found == expected, f"seed {seed}"
        assert min(faults.counts[kind] for kind in FAULTS) > 2, "every fault was met"
        assert 0.1 < 1 - faults.counts["none"] / faults.counts.total() < 0.3


def test_a_failing_store(endpoint: str, nights: Nights, expected: dict[str, Any]) -> None:
    check_runs(endpoint, nights, expected, runs=1)


@pytest.mark.slow
def test_fifty_runs_on_a_failing_store(
    endpoint: str, nights: Nights, expected: dict[str, Any]
) -> None:
    check_runs(endpoint, nights, expected, runs=50)


def test_a_sound_store_gives_what_local_disk_gives(
    endpoint: str, nights: Nights, expected: dict[str, Any]
) -> None:
    settings = S3Settings(endpoint=endpoint)
    base = f"s3://{new_bucket(endpoint)}"
    filesystem(settings).pipe_file(
        f"{base}/corpus/corpus.jsonl", Path(nights.first.corpus).read_bytes()
    )
    words = nights.first.index(f"{base}/index", *SETS, f"s3.endpoint={endpoint}")
    assert shardrank("index", f"{base}/corpus/*.jsonl", *words[2:]) == 0
    nights.run(f"{base}/index", f"{base}/out", f"s3.endpoint={endpoint}")
    found = snapshot_of(S3Storage(f"{base}/index", settings), S3Storage(f"{base}/out", settings))
    assert found == expected
