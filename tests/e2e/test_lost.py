"""A sweep whose outcomes have other names, as from workers with another version of the code."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shardrank.stages.run.inline import Inline
from tests.world import make_world, shardrank


def test_units_without_an_outcome_end_the_run_in_words(
    inline: pytest.MonkeyPatch,
    models: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = make_world(tmp_path / "world", models, documents=10, queries=2)

    whole = Inline.sweep

    def renaming(*everything: Any) -> Iterator[Any]:
        for ended in whole(*everything):
            yield replace(ended, outcome=replace(ended.outcome, unit="another"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inline, "sweep", renaming)
        assert shardrank(*world.index(tmp_path / "index")) == 1
    assert "1 of 1 units have no outcome" in capsys.readouterr().err
