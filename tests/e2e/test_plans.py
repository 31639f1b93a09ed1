"""What is refused by planning alone: before Ray, and before anything is written."""

from pathlib import Path

import pytest

from pipelines.core.errors import InputError, SettingsError
from pipelines.core.settings import parse_settings
from pipelines.indexing import plan_indexing
from tests.world import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=3, queries=1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("index.pq_m=5", "index.pq_m = 5 does not divide the vectors' 16 components"),
        ("index.shard_passages=511", "index.shard_passages = 511, but a part has 512 passages"),
    ],
)
def test_index_settings_that_cannot_work(world: World, override: str, words: str) -> None:
    settings = parse_settings({}, [f"encoder.model={world.encoder}", override])
    with pytest.raises(SettingsError, match=words):
        plan_indexing(world.corpus, settings)


def test_a_folder_with_its_queries_is_no_corpus(world: World) -> None:
    settings = parse_settings({}, [f"encoder.model={world.encoder}"])
    with pytest.raises(InputError, match=r"corpus\.jsonl and .*queries\.jsonl"):
        plan_indexing(str(world.root), settings)
    assert plan_indexing(world.corpus, settings).slices
