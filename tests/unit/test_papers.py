"""What travels is typed: papers become JSON and come back as they were."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.files import FileRef
from shardrank.core.fingerprint import canonical_json
from shardrank.core.papers import files_in, from_json, to_json
from shardrank.core.settings import CorpusSettings
from shardrank.core.settings_base import DECIDING
from shardrank.core.units import Done, Stage, Unit, done_json, read_done


class Kind(StrEnum):
    """Of a piece."""

    ROUND = "round"
    FLAT = "flat"


@dataclass(frozen=True)
class Piece:
    """A file, and what it is."""

    file: FileRef
    kind: Kind
    weight: float | None


@dataclass(frozen=True)
class Box:
    """Pieces, and how they are read."""

    pieces: tuple[Piece, ...]
    counts: Mapping[str, int]
    corpus: Annotated[CorpusSettings, DECIDING]


names = st.text(max_size=8)
files = st.builds(FileRef, names, st.integers(0, 2**60), names, st.integers(0, 2**40))
floats = st.none() | st.floats(allow_nan=False, allow_infinity=False)
pieces = st.builds(Piece, files, st.sampled_from(Kind), floats)
boxes = st.builds(
    Box,
    st.lists(pieces, max_size=3).map(tuple),
    st.dictionaries(names, st.integers(0, 2**60), max_size=3),
    st.builds(CorpusSettings, id=st.text(min_size=1, max_size=5)),
)


@given(boxes)
def test_papers_come_back_as_they_were(box: Box) -> None:
    assert from_json(Box, to_json(box)) == box
    assert canonical_json(to_json(from_json(Box, to_json(box)))) == canonical_json(to_json(box))
    assert list(files_in(box)) == [piece.file for piece in box.pieces]


@given(boxes)
def test_markers_come_back_as_they_were(box: Box) -> None:
    stage = Stage("try", Piece, Box)
    done: Done[Box] = Done("unit", box, {"rows": 3}, 1.5)
    assert read_done(stage, done_json(done)) == done


def test_a_unit_is_named_by_what_changes_results() -> None:
    box = Box((), {}, CorpusSettings())
    name = Unit("try", box).id
    resized = replace(box, corpus=CorpusSettings(allow_unread=True))
    assert Unit("try", resized).id == name
    assert Unit("try", replace(box, corpus=CorpusSettings(text="body"))).id != name
    assert Unit("other", box).id != name


def test_what_is_another_kinds_is_refused_by_its_first_fault() -> None:
    with pytest.raises(ValueError, match=r"^pieces: Field required$"):
        from_json(Box, {"counts": {}, "corpus": {}})
    odd = {"file": to_json(FileRef("a", 1, "b")), "kind": "odd", "weight": 1}
    with pytest.raises(ValueError, match=r"^pieces\.0\.kind: Input should be 'round' or 'flat'$"):
        from_json(Box, {"pieces": [odd], "counts": {}, "corpus": {}})
    with pytest.raises(ValueError, match="corpus"):
        from_json(Box, {"pieces": [], "counts": {}, "corpus": {"unknown": 1}})
