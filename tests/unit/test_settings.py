from pathlib import Path
from typing import Any

import pytest

from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import IndexSettings
from shardrank.core.model_settings import Bm25Settings, EncoderSettings
from shardrank.core.overrides import parse_settings
from shardrank.core.rank_settings import RetrieverSettings
from shardrank.core.reranker_settings import MaxsimSettings
from shardrank.core.settings import Settings
from shardrank.flows.options import load_settings

DENSE, BM25 = EncoderSettings(), Bm25Settings()


@pytest.mark.parametrize("prompt", ["query: ", " x", "a=b ", " ", ""])
def test_the_blanks_of_a_value_are_kept(prompt: str) -> None:
    settings = parse_settings({}, [f"encoder.query_prompt={prompt}"])
    assert settings.dense.query_prompt == prompt


@pytest.mark.parametrize("none", ["none", " None ", "null"])
def test_none_is_spelled_with_or_without_blanks(none: str) -> None:
    tables = {"encoder": {"query_prompt": "query: "}}
    settings = parse_settings(tables, [f"encoder.query_prompt={none}"])
    assert settings.dense.query_prompt is None


def test_none_is_a_word_where_the_setting_has_one() -> None:
    tables = {"label": {"curriculum": "score-gap"}}
    assert parse_settings(tables, ["label.curriculum=none"]).label.curriculum == "none"
    for override in ("search.k=none", "search.no=none", "no.k=none"):
        with pytest.raises(SettingsError):
            parse_settings({}, [override])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", ["label.ceiling", "label.temperature", "gate.max_change"])
def test_numbers_are_finite(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        parse_settings({}, [f"{name}={value}"])


def test_folders_of_models_are_named_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers run elsewhere. A name that is a word stays one, even beside a folder called so."""
    monkeypatch.chdir(tmp_path)
    for name in ("ce", "embedded", "retrieval"):
        Path(name).mkdir()
    names = ("encoder.model=ce", "reranker.model=embedded", "label.teachers=retrieval,ce,org/ce")
    settings = load_settings(None, list(names))
    folder = str(tmp_path / "ce")
    assert (settings.dense.model, settings.reranker[0].model) == (folder, "embedded")
    assert settings.label.teachers == ("retrieval", folder, "org/ce")
    assert not load_settings(None, []).dense.model_fields_set


def test_blanks_around_names_and_numbers_do_not_matter() -> None:
    assert parse_settings({}, [" search.k = 7 "]).search.k == 7


def test_an_audit_that_is_shallower_than_its_k() -> None:
    assert parse_settings({}, ["audit.k=7", "audit.max_depth=7"]).audit.max_depth == 7
    for tables in ({}, {"audit": {"k": 200}}):
        with pytest.raises(SettingsError) as refused:
            parse_settings(tables, ["audit.max_depth=99"])
        k = 200 if tables else 100
        assert refused.value.message == f"audit.max_depth = 99 is below audit.k = {k}."
        assert "as many documents" in refused.value.hint


def test_questions_are_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, kept in [
        ("asked.jsonl", f"{tmp_path}/asked.jsonl"),
        ("s3://b/asked", "s3://b/asked"),
    ]:
        assert load_settings(None, [f"audit.query_file={given}"]).audit.query_file == kept


def written(folder: Path, toml: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(toml)
    return path


ARRAY = """
[[encoder]]
model = "org/e"
[[encoder]]
family = "bm25"
stop_words = "none"
[[encoder]]
name = "second"
model = "org/s"
"""


def test_encoders_are_an_array_or_one_table(tmp_path: Path) -> None:
    several = load_settings(written(tmp_path, ARRAY))
    assert several.dense == EncoderSettings(model="org/e")
    words = Bm25Settings(stop_words="none")
    assert several.further == (words, EncoderSettings(name="second", model="org/s"))
    one = load_settings(written(tmp_path, '[encoder]\nmodel = "org/e"\ndim = 8\n'))
    assert one.encoder == (EncoderSettings(model="org/e", dim=8),)
    assert (one.dense, one.further) == (one.encoder[0], ())


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("encoder.dim=8", 0),  # without a name it is the first's
        ("encoder.dense.dim=8", 0),
        ("encoder.second.dim=8", 2),
        ("encoder.bm25.stop_words=english", 1),
    ],
)
def test_an_override_is_of_the_encoder_that_it_names(
    override: str, changed: int, tmp_path: Path
) -> None:
    before, after = (load_settings(written(tmp_path, ARRAY), sets) for sets in ((), (override,)))
    key, value = override.split(".")[-1].split("=")
    assert str(getattr(after.encoder[changed], key)) == value
    others = [n for n in range(3) if n != changed]
    assert [after.encoder[n] for n in others] == [before.encoder[n] for n in others]
    assert len(after.encoder) == 3


def test_an_override_adds_the_table_that_it_names() -> None:
    assert parse_settings({}, ["encoder.bm25.family=bm25"]).encoder == (DENSE, BM25)
    sets = ["encoder.words.family=bm25", "encoder.words.stop_words=none", "encoder.model=org/e"]
    first, words = parse_settings({}, sets).encoder
    assert first == EncoderSettings(model="org/e")
    assert words == Bm25Settings(name="words", stop_words="none")
    second = parse_settings({"encoder": {"dim": 8}}, ["encoder.second.model=org/s"]).encoder
    assert second == (EncoderSettings(dim=8), EncoderSettings(name="second", model="org/s"))


def test_a_reranker_without_a_model_is_told_by_its_family() -> None:
    assert parse_settings({}, ["reranker.maxsim.depth=5"]).rerankers == (MaxsimSettings(depth=5),)
    tables = {"reranker": [{"model": "org/c"}, {"family": "maxsim"}]}
    cross, maxsim = parse_settings(tables, ["reranker.maxsim.of=colbert"]).rerankers
    assert (cross.called, maxsim.called) == ("org/c", "colbert")


def test_a_retriever_is_told_by_its_name() -> None:
    [words] = parse_settings({}, ["retriever.bm25.k1=0.9"]).retriever
    assert (words.called, words.index, words.k1, words.b) == ("bm25", "bm25", 0.9, 0.75)
    sets = ["retriever.bm25.k1=0.9", "retriever.dense.k=7", "retriever.bm25.b=0.4"]
    found = parse_settings({}, sets).retriever
    assert [(each.called, each.k, each.k1, each.b) for each in found] == [
        ("bm25", None, 0.9, 0.4),
        ("dense", 7, 1.5, 0.75),
    ]


def test_retrievers_of_one_index() -> None:
    sets = ["retriever.near.index=dense", "retriever.far.index=dense", "retriever.near.nprobe=2"]
    found = parse_settings({}, sets).retriever
    assert found == (
        RetrieverSettings(index="dense", name="near", nprobe=2),
        RetrieverSettings(index="dense", name="far"),
    )
    tables = {"retriever": [{"name": "near"}, {}]}
    assert [each.k for each in parse_settings(tables, ["retriever.dense.k=3"]).retriever] == [
        None,
        3,
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_overrides_of_indexes_does_not_matter(turned: bool) -> None:
    sets = ["index.nlist=4", "index.bm25.shard_passages=10"]
    settings = parse_settings({}, sets[::-1] if turned else sets)
    assert settings.index_of("dense") == IndexSettings(nlist=4)
    assert settings.index_of("bm25") == IndexSettings(of="bm25", shard_passages=10)
    assert settings.index_of("other") == IndexSettings(of="other")


@pytest.mark.parametrize(
    ("overrides", "message", "hint"),
    [
        (["encoder.x.family=splade9"], "no family splade9", "'dense', 'bm25'"),
        (["encoder.x.y=1"], "no setting encoder.y", "family, name, model, revision"),
        (["encoder.y=1"], "no setting encoder.y", "family, name, model, revision"),
        (
            ["encoder.x.family=bm25", "encoder.x.model=org/e"],
            "no setting encoder.model",
            "Known here: family, name, stop_words, marks, of, texts.",
        ),
        (["encoder.x.family=bm25", "encoder.x.stop_words=no"], "encoder.stop_words = 'no'", ""),
        (["encoder.Words.family=bm25"], "encoder.name = 'Words'", ""),
        (["retriever.bm25.k3=1"], "no setting retriever.k3", "index, name, k, nprobe"),
        (["retriever.bm25.k1=-1"], "retriever.k1 = '-1'", ""),
        (["index.bm25.lists=1"], "no setting index.lists", "of, kind, dim, exact_below"),
        (["search.a.k=1"], "one table [search]", "Leave 'a' out"),
        (["encoder.a.b.c=1"], "'encoder.a.b.c=1' is not table.key=value", "search.k=10"),
        (["encoder..dim=1"], "'encoder..dim=1' is not table.key=value", "search.k=10"),
    ],
)
def test_what_is_wrong_with_an_override_is_said(
    overrides: list[str], message: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings({}, overrides)
    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"encoder": [{}, {"family": "bm25"}, {"family": "bm25"}]}, "encoder]] tables .* 'bm25'"),
        ({"encoder": [{}, {"family": "bm25", "name": "dense"}]}, "encoder]] tables .* 'dense'"),
        ({"encoder": [{}, {"model": "org/e"}]}, "encoder]] tables .* 'dense'"),
        ({"index": [{}, {"of": "dense"}]}, "index]] tables .* 'dense'"),
        ({"retriever": [{"name": "a"}, {"index": "a"}]}, "retriever]] tables .* 'a'"),
    ],
)
def test_two_tables_of_one_name_are_refused(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_settings(tables, [])


@pytest.mark.parametrize(
    "encoder",
    [{"family": "bm25"}, {"name": "words"}, [{"family": "bm25"}, {}], [{"name": "other"}, {}], []],
)
def test_the_first_encoder_is_the_dense_one(encoder: Any) -> None:
    with pytest.raises(SettingsError, match=r"first \[\[encoder\]\] is not of family dense"):
        parse_settings({"encoder": encoder}, [])


def test_tables_outside_an_array() -> None:
    for encoder in (3, "bm25", [{}, "bm25"]):
        with pytest.raises(SettingsError, match="'encoder' is outside any table"):
            parse_settings({"encoder": encoder}, [])


def test_an_object_says_what_its_classes_are() -> None:
    """Where only what was set is taken over."""
    given = Settings(encoder=(DENSE, BM25), index=(IndexSettings(nlist=4),))
    taken = load_settings(given, ["encoder.bm25.stop_words=none"])
    assert taken.encoder == (DENSE, Bm25Settings(stop_words="none"))
    assert taken.index == given.index
    assert load_settings(load_settings(given)).encoder == given.encoder
    one = Settings.model_validate({"encoder": EncoderSettings(dim=8)})
    assert load_settings(one).encoder == (EncoderSettings(dim=8),)
    assert "model" not in load_settings(one).dense.model_fields_set


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("encodr.model=x", "Did you mean encoder? "),
        ("encoder.modle=x", "Did you mean encoder.model? "),
        ("encoder.normalize=true", "Did you mean encoder.normalise? "),
        ("encoder.bm25.stopwords=none", "Did you mean encoder.stop_words? "),
        ("encoder.words.family=spars", "Did you mean sparse? "),
        ("search.nlist=3", "Did you mean index.nlist? "),
        ("index.kind=IVF-PQ", "Did you mean ivfpq?"),
        ("nlist=3", "Did you mean index.nlist?"),
        ("zzz.q=1", "Known here: "),
        ("index.kind=zzz", ""),
    ],
)
def test_what_may_be_meant(override: str, meant: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings({}, [override])
    assert refused.value.hint.startswith(meant)
    assert meant or not refused.value.hint
    table, _, key = override.partition("=")[0].rpartition(".")
    if "family" not in override and table.count(".") == 0 and table:
        with pytest.raises(SettingsError) as refused:
            parse_settings({table: {key: override.partition("=")[2]}}, [])
        assert refused.value.hint.startswith(meant), "in TOML too"


def test_what_was_set_is_told_of_what_decides_results_alone() -> None:
    secret = "events.command=curl -H 'Authorization: Bearer s3cr3t' http://h"
    others = ["cluster.actors=2", "s3.endpoint=http://h:1", "log.format=json", "events.on=failed"]
    given = load_settings(None, ["search.k=7", secret, *others]).given()
    assert given == {"search": {"k": 7}}


@pytest.mark.parametrize("endpoint", ["https://ann:s3cr3t@h:9000", "http://ann@h", "ann:s3cr3t@h"])
def test_an_endpoint_holds_no_user(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="holds a user or a password") as refused:
        load_settings(None, [f"s3.endpoint={endpoint}"])
    assert "ann" not in f"{refused.value}{refused.value.hint}"
