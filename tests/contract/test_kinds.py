"""Every kind of index, by whole commands: what it finds does not depend on how it is asked."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.settings import Settings
from tests.inline import installed
from tests.late_models import late_model
from tests.sparse_models import sparse_encoder
from tests.world import World, make_world, tiny_models, write_lines

pytestmark = pytest.mark.usefixtures("inline")

K, DOCUMENTS, QUERIES = 9, 640, 11
_IVF = {"nlist": 2, "pq_m": 4, "pq_bits": 4, "shard_passages": 256}
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "exact": ("dense", {"kind": "exact"}),
    "ivfpq": ("dense", {"kind": "ivfpq", **_IVF}),
    "ivfsq8": ("dense", {"kind": "ivfsq8", "nlist": 2, "shard_passages": 256}),
    "ivfrabitq": ("dense", {"kind": "ivfrabitq", "nlist": 2, "shard_passages": 256}),
    "first": ("dense", {"kind": "ivfpq", "dim": 8, **_IVF}),
    "first-rabitq": (
        "dense",
        {"kind": "ivfrabitq", "dim": 8, "rabitq_bits": 4, "nlist": 2, "shard_passages": 256},
    ),
    "first-of-all": ("dense", {"kind": "ivfsq8", "dim": 8, "nlist": 1, "shard_passages": 256}),
    "words": ("bm25", {"shard_passages": 256}),
    "terms": ("sparse", {"shard_passages": 256}),
    "bits": ("bits", {"shard_passages": 256}),
    "maxsim": ("late", {"kind": "exact"}),
    "plaid": ("late", {"kind": "plaid", "shard_passages": 256}),
}


@pytest.fixture(scope="module", autouse=True)
def inline() -> object:
    with installed() as patch:
        yield patch


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("kinds")
    return make_world(root / "world", tiny_models(root / "models"), DOCUMENTS, QUERIES)


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(sparse_encoder(tmp_path_factory.mktemp("splade") / "model", "bert"))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(late_model(tmp_path_factory.mktemp("late") / "model", "st-bert"))


def settings(world: World, models: tuple[str, str], kind: str, **search: object) -> Settings:
    (terms, tokens), (column, index) = models, KINDS[kind]
    encoders: list[dict[str, object]] = [{"model": str(world.encoder)}]
    if column == "bm25":
        encoders.append({"family": "bm25"})
    if column == "bits":
        encoders.append({"family": "bits", "bits": 2})
    if column == "sparse":
        encoders.append({"family": "sparse", "model": terms})
    if column == "late":
        encoders.append({"family": "late", "model": tokens, "stored": "4", "centroids": 32})
    return Settings.model_validate(
        {
            "encoder": encoders,
            "index": [{"of": column, **index}],
            "audit": {"target": 0, "k": K},
            "gate": {"max_deleted": 1},
            "passages": {"part_size": 64},
            "retriever": [{"index": column}],
            "search": {"k": K, **search},
            "reranker": [{"model": "off"}],
        }
    )


def ranked(index: Path, world: World, out: Path, given: Settings) -> list[dict[str, object]]:
    package.rank(index, world.queries, out, settings=given)
    order = [("query_id", "ascending"), ("rank", "ascending")]
    return pq.read_table(out / "rankings").sort_by(order).to_pylist()


def test_the_audit_compares_with_whole_vectors(
    world: World, terms: str, tokens: str, tmp_path: Path
) -> None:
    """Among the candidates of one component are few of the nearest by all; of all, all are."""
    given = settings(world, (terms, tokens), "first-of-all")
    recalls = []
    for dim in (1, None):
        [one] = given.index
        kind = one.model_copy(update={"dim": dim})
        audit = given.audit.model_copy(update={"max_depth": 2 * K})
        asked = given.model_copy(update={"index": (kind,), "audit": audit})
        made = package.index(world.corpus, tmp_path / f"{dim}", settings=asked)
        assert made.version.index.plan.dim == (dim or 0)
        recalls.append(made.version.index.audit.recall)
    assert recalls[0] < 0.8 < 0.95 < recalls[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_index(world: World, terms: str, tokens: str, kind: str, tmp_path: Path) -> None:
    """In blocks of one query, of some, or of all; with little memory; and after a night that
    deletes every document that was first."""
    models = (terms, tokens)
    index, given = tmp_path / "index", settings(world, models, kind)
    made = package.index(world.corpus, index, settings=given)
    column, wanted = KINDS[kind]
    without = {"bits": "binary"}.get(column, "inverted")
    plan = made.version.indexes[column].plan.kind
    assert plan == {"maxsim": "maxsim"}.get(kind, wanted.get("kind", without))
    whole = ranked(index, world, tmp_path / "whole", given)
    counts = dict.fromkeys((row["query_id"] for row in whole), 0)
    for row in whole:
        counts[row["query_id"]] += 1
    # A query may share no word with most documents; of vectors each is near to some degree.
    assert set(counts.values()) == {K} or column in ("bm25", "sparse")
    for number, search in enumerate(
        ({"block_queries": 1}, {"block_queries": 4}, {"block_queries": 4, "memory_mb": 1})
    ):
        asked = settings(world, models, kind, **search)
        assert ranked(index, world, tmp_path / f"{number}", asked) == whole
    first = {row["doc_id"] for row in whole if row["rank"] == 1}
    night = write_lines(
        tmp_path / "night.jsonl", ({"_id": d, "deleted": True} for d in sorted(map(str, first)))
    )
    deleting = given.model_copy(
        update={"corpus": given.corpus.model_copy(update={"tombstone": "deleted"})}
    )
    package.index(night, index, mode="upsert", settings=deleting)
    after = ranked(index, world, tmp_path / "after", given)
    assert first.isdisjoint(row["doc_id"] for row in after)
    if column != "bm25":  # whose words weigh more or less without them
        kept = {(r["query_id"], r["doc_id"]): r["retrieval_score"] for r in whole}
        again = {(r["query_id"], r["doc_id"]): r["retrieval_score"] for r in after}
        assert all(again[pair] == kept[pair] for pair in kept.keys() & again.keys())
