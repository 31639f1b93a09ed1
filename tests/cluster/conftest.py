"""One cluster of three nodes for all tests of this folder, an S3 that it sees, and a world."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.flow import Flow, Left, upload
from tests.cluster.ground import Cluster, forwarded, standing
from tests.inline import installed
from tests.stores import REAL_S3, new_bucket
from tests.world import World, make_world, shardrank, tiny_models


@dataclass(frozen=True)
class Ground:
    """A cluster, an S3 by its URL here and by its URL there, and a world."""

    cluster: Cluster
    endpoint: str
    inside: str
    world: World

    def flow(self, *sets: str) -> tuple[Flow, Left]:
        """The commands in a bucket of their own, and what they leave there."""
        root = f"s3://{new_bucket(self.endpoint)}"
        upload(self.world.root, f"{root}/source", self.endpoint)
        there = ("cluster.actors=2", f"s3.endpoint={self.inside}")
        flow = Flow(self.world, f"{root}/source", root, (*sets, *there))
        return flow, Left(root, self.endpoint)

    def quiet(self, root: Path, *sets: str) -> dict[str, Any]:
        """What a run in this process leaves, where nothing happens to it."""
        flow = Flow(self.world, str(self.world.root), str(root), sets)
        with installed():
            assert [shardrank(*words) for words in flow.commands.values()] == [0, 0, 0]
        return Left(str(root)).seen()


@pytest.fixture(scope="package")
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """The real S3 where one is given, else the double; its keys are in the environment."""
    if REAL_S3 in os.environ:
        yield os.environ[REAL_S3]
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield str(request.getfixturevalue("moto_endpoint"))


@pytest.fixture(scope="package")
def ground(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Nodes begin with the environment of this process, so they have the keys."""
    root = tmp_path_factory.mktemp("ground")
    world = make_world(root / "world", tiny_models(root / "models"), documents=600, queries=12)
    with standing() as cluster, forwarded(endpoint, cluster.gateway) as inside:
        yield Ground(cluster, endpoint, inside, world)
