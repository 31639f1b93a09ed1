"""One small local Ray for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shardrank.core.pools import Resources
from shardrank.core.settings import ClusterSettings
from shardrank.stages.run.cluster import connect
from tests.world import tiny_models


@pytest.fixture(scope="session")
def cluster() -> Iterator[Resources]:
    with connect(ClusterSettings(cpus=2, object_store_mb=256), lambda sentence: None) as executor:
        yield executor.resources


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_models(tmp_path_factory.mktemp("models"))
