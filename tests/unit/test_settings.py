from pathlib import Path

import pytest

from shardrank.core.errors import SettingsError
from shardrank.core.overrides import parse_settings
from shardrank.flows.options import load_settings


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
    assert (settings.dense.model, settings.reranker.model) == (folder, "embedded")
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
