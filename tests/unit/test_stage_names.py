"""No name that a user gives makes a stage meet another one."""

import ast
from collections.abc import Iterator

import pytest

from shardrank.core.units import Stage
from tests.unit.test_house import ROOT

EMBED = Stage("embed", dict, dict)


def test_a_stage_is_told_from_others_by_a_name() -> None:
    assert EMBED.of("late").name == "embed-late"
    assert EMBED.of("dense") == EMBED


@pytest.mark.parametrize("name", ["embed-late", "first-merge"])
def test_a_name_with_a_hyphen_takes_no_second_one(name: str) -> None:
    with pytest.raises(ValueError, match="could stand for, too"):
        Stage(name, dict, dict).of("late")


def given_names() -> Iterator[tuple[str, ast.expr]]:
    """Where a stage is named: the line, and the name as it is written there."""
    for path in sorted((ROOT / "pipelines").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name("Stage"), args=[name, *_]):
                    yield f"{path.name}:{node.lineno}", name
                case ast.Call(func=ast.Name("Draw"), args=[name, *_]):
                    yield f"{path.name}:{node.lineno}", name
                case ast.Call(
                    func=ast.Name("replace"),
                    args=[ast.Name(stage)],
                    keywords=[ast.keyword("name", name)],
                ) if stage.isupper():
                    yield f"{path.name}:{node.lineno}", name


def test_before_the_hyphen_all_is_ours() -> None:
    """So a user's name comes into a stage's by `Stage.of` alone, behind a hyphen. Rerankers, and
    the stages that are handed theirs, are told apart by numbers: their steps have no other."""
    found = dict(given_names())
    assert len(found) > 40
    for line, name in found.items():
        match name:
            case ast.Constant(str(text)):
                assert "-" not in text, line
            case ast.JoinedStr():
                assert "-" not in ast.unparse(name), line
            case _:
                assert ast.unparse(name) in ("stage", "wanted.stage"), line
