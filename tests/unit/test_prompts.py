"""Prompt files: what is read, and what is refused."""

from pathlib import Path

import pytest

from shardrank.core.errors import SettingsError
from shardrank.models.text.prompts import METHODS, fill, parse_prompt, read_prompt

POINTWISE = frozenset({"pointwise", "query_likelihood"})
GOOD = 'method: pointwise\nbody: "{query} {doc_content}"\nanswers: ["y", "n"]\n'


def test_a_prompt_is_what_its_file_says(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(GOOD)
    prompt = parse_prompt(read_prompt(str(file)), POINTWISE)
    assert (prompt.method, prompt.answers) == ("pointwise", ("y", "n"))
    assert prompt.text == GOOD


def test_what_is_filled_in_is_not_read_for_slots() -> None:
    slots = {"query": "{doc_content}", "doc_content": "{{x}} {query}"}
    assert fill("a {query}|{doc_content} {{b}}", slots) == "a {doc_content}|{{x}} {query} {b}"


@pytest.mark.parametrize("name", ["relevance", "query-likelihood", "in-context", "e2rank"])
def test_shipped_prompts_are_understood(name: str) -> None:
    assert parse_prompt(read_prompt(name), frozenset(METHODS)).body


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("- a", "no keys and values"),
        ("method: telepathy", "method is 'telepathy'"),
        (GOOD + "few_shot: 3", "a key 'few_shot'"),
        (GOOD + "message_roles: reranker", "a key 'message_roles'"),
        (GOOD.replace("{doc_content}", ""), r"no slot \{doc_content\}"),
        (GOOD.replace("{query}", "{query} {rank}"), r"a slot \{rank\}"),
        (GOOD.replace("{query}", "{query.__class__}"), r"a slot \{query.__class__\}"),
        (GOOD.replace("{query}", "{query!r}"), "with a format"),
        (GOOD.replace("{query}", "{query} {"), "belongs to no slot"),
        (GOOD.replace("{query}", "{query} {}"), "without a name"),
        (GOOD.replace('["y", "n"]', '"y"'), "no list of texts"),
        (GOOD + "suffix: 3", "no text but 3"),
    ],
)
def test_others_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_prompt(text, POINTWISE)


def test_a_prompt_that_nobody_has() -> None:
    with pytest.raises(SettingsError, match="no prompt 'relevanse'") as refused:
        read_prompt("relevanse")
    assert "relevance" in refused.value.hint
    with pytest.raises(SettingsError, match=r"no prompt file x\.yaml"):
        read_prompt("x.yaml")
