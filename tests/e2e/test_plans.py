"""What is refused by planning alone: before Ray, and before anything is written."""

from pathlib import Path

import pytest

from shardrank.core.errors import InputError, SettingsError
from shardrank.core.overrides import parse_settings
from shardrank.core.settings import Settings
from shardrank.flows.index_plan import IndexPlan, plan_indexing
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage
from tests.world import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=3, queries=1)


def plan(world: World, corpus: str, settings: Settings) -> IndexPlan:
    """Of an index that is not there."""
    return plan_indexing(
        corpus, Workspace(LocalStorage(f"{world.root}-index")), "snapshot", settings
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("index.pq_m=5", "index.pq_m = 5 does not divide the vectors' 16 components"),
        ("index.dim=17", "index.dim = 17 is more than the vectors' 16 components"),
        ("index.shard_passages=511", "index.shard_passages = 511, but a part has 512 passages"),
    ],
)
def test_index_settings_that_cannot_work(world: World, override: str, words: str) -> None:
    settings = parse_settings({}, [f"encoder.model={world.encoder}", override])
    with pytest.raises(SettingsError, match=words):
        plan(world, world.corpus, settings)


def test_a_folder_with_its_queries_is_no_corpus(world: World) -> None:
    settings = parse_settings({}, [f"encoder.model={world.encoder}"])
    with pytest.raises(InputError, match=r"corpus\.jsonl and .*queries\.jsonl"):
        plan(world, str(world.root), settings)
    assert plan(world, world.corpus, settings).source.slices
