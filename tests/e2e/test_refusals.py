"""What the command line refuses: the exit code, and words that say what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shardrank.index import library
from shardrank.storage.local import LocalStorage
from tests.tiny_models import tiny_encoder
from tests.world import World, latest, make_world, shardrank, snapshot, write_lines

SMALL = ("passages.part_size=16", "search.k=10", "reranker.depth=4")
IVFPQ = (
    "passages.max_tokens=16",
    "passages.part_size=128",
    "index.kind=ivfpq",
    "index.pq_bits=4",
    "index.nlist=8",
    "index.shard_passages=400",
    "audit.k=10",
    "audit.queries=32",
)

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=40, queries=3)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    """Enough passages to train a quantiser on."""
    return make_world(tmp_path_factory.mktemp("large"), models, documents=300, queries=3)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, world: World, inline: object) -> Path:
    index = tmp_path_factory.mktemp("built") / "index"
    assert shardrank(*world.index(index, *SMALL)) == 0
    return index


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory, large: World, inline: object) -> Path:
    index = tmp_path_factory.mktemp("quantised") / "index"
    assert shardrank(*large.index(index, *IVFPQ, "audit.target=0")) == 0
    return index


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What went to standard error since the last look."""
    return lambda: capsys.readouterr().err


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_missing_corpus(world: World, tmp_path: Path, said: Said) -> None:
    missing = str(tmp_path / "nowhere.jsonl")
    assert shardrank("index", missing, *world.index(tmp_path / "index")[2:]) == 2
    assert f"There is no file, folder or match for {missing!r}" in said()
    assert not (tmp_path / "index").exists()


def test_an_empty_corpus(world: World, tmp_path: Path, said: Said) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", [])
    assert shardrank("index", corpus, *world.index(tmp_path / "index")[2:]) == 2
    assert "0 rows, and none can be indexed. It is empty." in " ".join(said().split())
    assert shardrank("versions", str(tmp_path / "index")) == 2
    assert f"has not come to an end: shardrank status {tmp_path / 'index'}" in said()


def test_an_empty_folder(world: World, tmp_path: Path, said: Said) -> None:
    assert shardrank("index", str(tmp_path), *world.index(tmp_path.parent / "index")[2:]) == 2
    assert f"The folder '{tmp_path}' holds no file." in said()


def test_an_index_inside_its_corpus(world: World, said: Said) -> None:
    inside = world.root / "index"
    assert shardrank("index", str(world.root), *world.index(inside)[2:]) == 2
    assert "lies inside CORPUS" in said()
    assert not inside.exists()


def test_a_place_that_holds_something_else(
    world: World, built: Path, tmp_path: Path, said: Said
) -> None:
    other, out = shutil.copytree(built, tmp_path / "other"), tmp_path / "out"
    before = sorted(other.rglob("*"))
    assert shardrank(*world.rank(built, other, *SMALL)) == 2
    assert f"OUT {other} holds an index." in said()
    assert shardrank(*world.rank(built, other / "ranked", *SMALL)) == 2
    assert f"lies inside of {other}, which holds an index." in said()
    assert sorted(other.rglob("*")) == before
    assert shardrank(*world.rank(other, out, *SMALL)) == 0
    for words in (world.index(out), ["plan", *world.index(out)]):
        assert shardrank(*words) == 2
        assert f"INDEX {out} holds a ranking." in said()
    below = str(out / "units/labels")
    assert shardrank("label", str(out), below, "-f", "triplets", "--qrels", world.qrels) == 2
    assert f"lies inside of {out}, which holds a ranking." in said()


def test_a_plan_refuses_what_the_run_refuses(world: World, said: Said) -> None:
    command = world.index(world.root / "below")
    command[1] = str(world.root)
    for words in (command, ["plan", *command]):
        assert shardrank(*words) == 2
        assert "lies inside CORPUS" in said()


def test_a_plan_of_a_small_upsert_keeps_the_codec(
    large: World, quantised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone, so few passages could not train one."""
    few = write_lines(tmp_path / "few.jsonl", [{"_id": "new", "text": "one more"}])
    command = large.index(quantised, *IVFPQ, "audit.target=0")
    command[1] = few
    assert shardrank("plan", *command, "--mode", "upsert") == 0
    printed = " ".join(capsys.readouterr().out.split())
    live = latest(quantised).live.passages
    assert "8 lists" in printed
    assert "that of version 000001 while it serves" in printed
    assert f"for about {live + 1:,} passages" in printed


def test_no_such_column(world: World, tmp_path: Path, said: Said) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", [{"docno": "a", "body": "wing"}])
    command = ["index", corpus, *world.index(tmp_path / "index")[2:]]
    for words in (command, ["plan", *command]):
        assert shardrank(*words) == 2
        message = said()
        assert "has no column '_id'; its rows hold docno, body" in message
        assert "--set corpus.id=NAME" in message
    assert not (tmp_path / "index").exists(), "before any work"


@pytest.mark.parametrize(
    ("qrels", "words"),
    [
        ("", "holds no judgements"),
        ("query-id\tcorpus-id\tscore\nq000\td0001\n", "line 2: expected query, document, integer"),
        ("query-id\tcorpus-id\tscore\nzzz\td0001\t1\n", "judges no query of this batch"),
    ],
)
def test_bad_judgements(
    world: World, built: Path, tmp_path: Path, said: Said, qrels: str, words: str
) -> None:
    (tmp_path / "qrels.tsv").write_text(qrels)
    command = world.rank(built, tmp_path / "out", *SMALL)
    command[command.index(world.qrels)] = str(tmp_path / "qrels.tsv")
    assert shardrank(*command) == 2
    assert words in said()


@pytest.mark.parametrize("setting", ["encoder.model", "reranker.model"])
def test_an_unknown_model(
    world: World, built: Path, tmp_path: Path, said: Said, setting: str
) -> None:
    name = str(tmp_path / "no-model")
    command = world.rank(built, tmp_path / "out", f"{setting}={name}")
    if setting == "encoder.model":
        command = world.index(tmp_path / "index", f"{setting}={name}")
    assert shardrank(*command) == 2
    assert f"There is no model folder {name!r}" in said()


def test_another_model_than_the_index_has(
    world: World, built: Path, tmp_path: Path, said: Said
) -> None:
    other = tiny_encoder(tmp_path / "other", "bert-st", dim=16)
    command = world.rank(built, tmp_path / "out", f"encoder.model={other}")
    assert shardrank(*command) == 2
    message = said()
    assert str(other) in message
    assert "is not the one the index was built with" in message


def test_a_model_whose_files_changed_since(world: World, tmp_path: Path, said: Said) -> None:
    folder = tiny_encoder(tmp_path / "encoder", "bert", dim=16)
    own = (f"encoder.model={folder}", *SMALL)
    assert shardrank(*world.index(tmp_path / "index", *own)) == 0
    shutil.rmtree(folder)
    tiny_encoder(folder, "bert", dim=32)
    assert shardrank(*world.rank(tmp_path / "index", tmp_path / "out", *own)) == 2
    assert "is not the one the index was built with" in said()


@pytest.mark.parametrize("planned", [False, True])
def test_more_actors_than_the_cluster_holds(
    world: World, tmp_path: Path, said: Said, planned: bool
) -> None:
    command = world.index(tmp_path / "index", "cluster.actors=4", "cluster.cpus=2")
    assert shardrank(*(["plan"] if planned else []), *command) == 2
    message = said()
    assert "4 actors × 0.75 CPU + 0.25 CPU for reading = 3.25 CPUs" in message
    assert "the cluster has 2" in message
    assert "Set cluster.actors to 2 or fewer" in message
    assert not (tmp_path / "index/units").exists()


@pytest.mark.parametrize("name", ["passages", "dense", "keys"])
def test_a_damaged_part(world: World, built: Path, tmp_path: Path, said: Said, name: str) -> None:
    """Found where it is read: texts by the reranker alone, of the parts that were hit."""
    index = tmp_path / "index"
    shutil.copytree(built, index)
    damaged = sorted(index.glob(f"parts/*/{name}*.parquet"))
    for path in damaged:
        flip_a_byte(path)
    assert shardrank(*world.rank(index, tmp_path / "out", *SMALL)) == 2
    message = said()
    assert any(f"{path} is not the file that was written" in message for path in damaged)
    assert "Restore it" in message
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_damaged_shard(large: World, quantised: Path, tmp_path: Path, said: Said) -> None:
    index = tmp_path / "index"
    shutil.copytree(quantised, index)
    damaged = sorted(index.glob("shards/*.faiss"))[-1]
    flip_a_byte(damaged)
    assert shardrank(*large.rank(index, tmp_path / "out", "search.k=10")) == 2
    assert f"{damaged} is not the file that was written" in said()


def test_a_missing_shard(large: World, quantised: Path, tmp_path: Path, said: Said) -> None:
    index = tmp_path / "index"
    shutil.copytree(quantised, index)
    gone = sorted(index.glob("shards/*.faiss"))[0]
    gone.unlink()
    assert shardrank(*large.rank(index, tmp_path / "out", "search.k=10")) == 2
    assert f"{gone} is missing, though a manifest lists it" in said()


def test_a_damaged_manifest(world: World, built: Path, tmp_path: Path, said: Said) -> None:
    index = tmp_path / "index"
    shutil.copytree(built, index)
    (index / "manifests/000001.json").write_text('{"format": 1}')
    assert shardrank(*world.rank(index, tmp_path / "out", *SMALL)) == 2
    assert "manifests/000001.json is not a sound version manifest: its format is 1" in said()


def test_a_folder_that_is_no_index(world: World, tmp_path: Path, said: Said) -> None:
    assert shardrank(*world.rank(tmp_path / "index", tmp_path / "out")) == 2
    assert "holds no published version of an index" in said()


def test_two_runs_on_one_index(world: World, tmp_path: Path, said: Said) -> None:
    index = tmp_path / "index"
    with LocalStorage(str(index)).lock("runs/lock"):
        assert shardrank(*world.index(index, *SMALL)) == 1
    assert "runs/lock is locked by process" in said()
    assert shardrank(*world.index(index, *SMALL)) == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("search.kk=3", "search.kk. Did you mean search.k? Known here: k, nprobe, depth"),
        ("serach.k=3", "setting serach. Did you mean search? Known here: corpus, passages"),
        ("search.k=many", "Setting search.k = 'many'"),
        ("search.k=0", "Setting search.k = '0'"),
        ("k=3", "'k=3' is not table.key=value"),
    ],
)
def test_an_unknown_setting(
    world: World, tmp_path: Path, said: Said, setting: str, words: str
) -> None:
    assert shardrank(*world.index(tmp_path / "index", setting)) == 2
    assert words in " ".join(said().split())


def test_an_audit_that_misses_its_target_publishes_nothing(
    large: World, tmp_path: Path, said: Said
) -> None:
    index = tmp_path / "index"
    coarse = ("index.pq_m=1", "audit.max_depth=10", "audit.target=1")
    assert shardrank(*large.index(index, *IVFPQ, *coarse)) == 3
    message = said()
    assert "below the target 1; nothing was published" in message
    assert "Raise index.bytes_per_vector or audit.max_depth, or lower audit.target" in message
    assert not (index / "manifests").exists()
    assert shardrank(*large.index(index, *IVFPQ, *coarse[:2], "audit.target=0")) == 0
    assert [path.name for path in (index / "manifests").iterdir()] == ["000001.json"]


def test_an_out_that_holds_another_run(
    world: World, built: Path, tmp_path: Path, said: Said
) -> None:
    out = tmp_path / "out"
    assert shardrank(*world.rank(built, out, *SMALL)) == 0
    first = snapshot(built, out)
    other = world.rank(built, out, *SMALL, "search.k=5")
    assert shardrank(*other) == 2
    assert "holds the output of another run" in said()
    assert snapshot(built, out) == first
    assert shardrank(*other, "--overwrite") == 0
    assert snapshot(built, out) != first
    assert shardrank(*world.rank(built, out, *SMALL), "--overwrite") == 0
    assert snapshot(built, out) == first


def test_k_beyond_the_corpus_is_no_error(world: World, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert shardrank(*world.rank(built, out, "search.k=1000", "reranker.model=off")) == 0
    lines = (out / "run.trec").read_text().splitlines()
    assert len(lines) == 3 * 40
    assert json.loads((out / "metrics.json").read_bytes())["retrieved"]["Recall@100"] == 1.0


def test_compact_asks_the_audits_questions_of_a_model_that_moved(
    large: World, tmp_path: Path
) -> None:
    index, encoder = tmp_path / "index", shutil.copytree(large.encoder, tmp_path / "encoder")
    own = (f"encoder.model={encoder}", f"audit.query_file={large.queries}", "audit.target=0")
    assert shardrank(*large.index(index, *IVFPQ, *own)) == 0
    moved = encoder.rename(tmp_path / "moved")
    for stage in ("encode", "audit"):
        shutil.rmtree(index / "units" / stage)
    assert shardrank("compact", str(index), "--set", f"encoder.model={moved}") == 0
    assert list((index / "units" / "encode").glob("*.json"))
    assert latest(index).index.audit.questions == 3


def test_a_query_that_was_mended_is_no_longer_set_aside(
    world: World, built: Path, tmp_path: Path
) -> None:
    out, queries = tmp_path / "out", tmp_path / "queries.jsonl"
    command, good = world.rank(built, out, *SMALL), Path(world.queries).read_text()
    command[2] = str(queries)
    for text, aside in [(f"{good}{{}}\n", True), (good, False)]:
        queries.write_text(text)
        assert shardrank(*command) == 0
        assert (out / "rejected" / "queries.parquet").exists() == aside


def test_what_is_no_ranking_is_not_evaluated(world: World, tmp_path: Path, said: Said) -> None:
    (tmp_path / "manifest.json").write_text("{}")  # as labels have one
    assert shardrank("evaluate", str(tmp_path), world.qrels) == 2
    assert "is not the manifest of a ranking by this shardrank (run: Field required)" in said()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("chat_template.jinja", "{{ messages }}", "renders texts for"),
        ("tokenizer_config.json", '{"truncation_side": "left"}', "cuts long texts on the 'left'"),
        ("tokenizer.json", '{"version": "1.0", "model', "holds no complete tokeniser"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
    ],
)
def test_tokenisers_that_cannot_be_followed(
    name: str, text: str, message: str, world: World, built: Path, tmp_path: Path, said: Said
) -> None:
    """By the driver, before any work: as encoder, in a forecast, and as reranker."""
    for model in (world.encoder, world.reranker):
        shutil.copytree(model, tmp_path / model.name)
        (tmp_path / model.name / name).write_text(text)
    encoder, reranker = (
        f"{each}.model={tmp_path / each}" for each in (world.encoder.name, world.reranker.name)
    )
    index, out = tmp_path / "index", tmp_path / "out"
    assert shardrank(*world.index(index, encoder, *SMALL)) == 2
    assert shardrank("plan", *world.index(index, encoder, *SMALL)) == 2
    assert shardrank(*world.rank(built, out, reranker, *SMALL)) == 2
    assert " ".join(said().split()).count(message) == 3
    assert not index.exists()
    assert not out.exists()


def test_a_codec_that_cannot_be_trained_costs_no_embedding(
    world: World, tmp_path: Path, said: Said
) -> None:
    index = tmp_path / "index"
    assert shardrank(*world.index(index, *SMALL, "index.kind=ivfpq", "index.nlist=4")) == 2
    assert "trains on at least 9984 vectors" in said()
    assert (index / "units/ingest").is_dir()
    assert not (index / "units/embed").exists()


@pytest.mark.parametrize("kind", ["ivfpq", "auto"])
def test_without_faiss_nothing_that_needs_it_is_begun(
    large: World,
    quantised: Path,
    tmp_path: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    sets = (*IVFPQ, f"index.kind={kind}", "index.exact_below=100")
    assert shardrank(*large.index(tmp_path / "index", *sets)) == 2
    assert "needs faiss, which is not installed here" in said()
    assert not (tmp_path / "index/units/embed").exists()
    assert (tmp_path / "index/units").exists() == (kind == "auto")  # once passages are counted
    assert shardrank(*large.rank(quantised, tmp_path / "out")) == 2
    assert "needs faiss" in said()
