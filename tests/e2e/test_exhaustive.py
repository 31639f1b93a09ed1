"""Two ways of searching that must agree: an index that leaves nothing out, and exact search."""

import json
from pathlib import Path

import pytest

from tests.world import make_world, shardrank


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("ivfpq", ()),
        ("ivfsq8", ()),
        ("ivfrabitq", ("index.rabitq_bits=1",)),
        ("ivfrabitq", ("index.rabitq_bits=4", "index.dim=5")),
        ("ivfpq", ("index.dim=8",)),
    ],
)
def test_an_index_that_looks_everywhere_gives_what_exact_search_gives(
    inline: pytest.MonkeyPatch,
    models: tuple[Path, Path],
    tmp_path: Path,
    kind: str,
    more: tuple[str, ...],
) -> None:
    """Real tiny models: probed at every list and refined to the bottom, nothing is missed."""
    world = make_world(tmp_path / "world", models, documents=300, queries=12)
    cut = ("passages.max_tokens=16", "passages.part_size=128", "index.shard_passages=300")
    sizes = ("index.pq_bits=4", "index.nlist=8", *more)
    quantised = (f"index.kind={kind}", "audit.target=0", *sizes)
    everything = ("search.nprobe=8", "search.depth=1000", "search.k=50")
    exact, coarse = tmp_path / "exact", tmp_path / kind
    assert shardrank(*world.index(exact, *cut)) == 0
    assert shardrank(*world.index(coarse, *cut, *quantised)) == 0
    assert shardrank(*world.rank(exact, tmp_path / "a", *everything)) == 0
    assert shardrank(*world.rank(coarse, tmp_path / "b", *everything)) == 0
    assert (
        len(
            json.loads((coarse / "manifests/000001.json").read_bytes())["indexes"]["dense"][
                "shards"
            ]
        )
        > 1
    )
    rankings = [tmp_path / name / "rankings/00000.parquet" for name in "ab"]
    assert rankings[0].read_bytes() == rankings[1].read_bytes()
