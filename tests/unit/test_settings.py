import pytest

from pipelines.core.errors import SettingsError
from pipelines.core.overrides import parse_settings


@pytest.mark.parametrize("prompt", ["query: ", " x", "a=b ", " ", ""])
def test_the_blanks_of_a_value_are_kept(prompt: str) -> None:
    settings = parse_settings({}, [f"encoder.query_prompt={prompt}"])
    assert settings.encoder.query_prompt == prompt


@pytest.mark.parametrize("none", ["none", " None ", "null"])
def test_none_is_spelled_with_or_without_blanks(none: str) -> None:
    tables = {"encoder": {"query_prompt": "query: "}}
    settings = parse_settings(tables, [f"encoder.query_prompt={none}"])
    assert settings.encoder.query_prompt is None


def test_blanks_around_names_and_numbers_do_not_matter() -> None:
    assert parse_settings({}, [" search.k = 7 "]).search.k == 7


def test_an_audit_that_is_shallower_than_its_k() -> None:
    assert parse_settings({}, ["audit.k=7", "audit.max_depth=7"]).audit.max_depth == 7
    for tables in ({}, {"audit": {"k": 200}}):
        with pytest.raises(SettingsError) as refused:
            parse_settings(tables, ["audit.max_depth=99"])
        k = 200 if tables else 100
        assert refused.value.message == f"audit.max_depth = 99 is below audit.k = {k}."
        assert "as many hits" in refused.value.hint
