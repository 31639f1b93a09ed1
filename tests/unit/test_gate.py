from dataclasses import replace

import numpy as np
import pytest

from shardrank.core.files import FileRef
from shardrank.core.index_settings import GateSettings
from shardrank.core.model_settings import DENSE
from shardrank.version.drift import drifted, mean_error, outgrown
from shardrank.version.gate import Change, collapsed, refusals, spread
from shardrank.version.indexes import Codec, Shard
from shardrank.version.parts import Counts, Part, StoredColumn

CALM = Change(before=1000, after=1010, changed=30, deleted=10, rows=1020, rejected=10)


def part(passages: int, spread: float = 0.5) -> Part:
    ref = FileRef("parts/a/passages.parquet", 1, "0", passages)
    columns = {DENSE: StoredColumn(ref, spread)}
    return Part("a", ref, ref, columns, None, Counts(passages, passages), ())


def test_a_normal_night_passes() -> None:
    assert refusals(CALM, GateSettings()) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"after": 500, "deleted": 500}, "max_deleted"),
        ({"after": 1501}, "max_change"),
        ({"after": 499}, "max_change"),
        ({"changed": 501}, "max_changed"),
        ({"rejected": 200}, "max_rejected"),
    ],
)
def test_each_limit_refuses_and_names_its_override(changes: dict[str, int], name: str) -> None:
    change = replace(CALM, **changes)
    found = refusals(change, GateSettings())
    [mine] = [refusal for refusal in found if f"gate.{name} = " in refusal.reason]
    key, value = mine.setting.removeprefix("gate.").split("=")
    assert key == name
    # What it names is enough, and allows nothing else.
    assert refusals(change, GateSettings(**{key: float(value)})) == [r for r in found if r != mine]


def test_exactly_at_the_limit_is_allowed() -> None:
    assert refusals(replace(CALM, deleted=100, after=910), GateSettings()) == []


def test_a_first_version_has_nothing_to_lose() -> None:
    assert refusals(Change(0, 5, 0, 0, 5, 0), GateSettings()) == []
    assert refusals(Change(0, 5, 0, 0, 10, 5), GateSettings()) != []


def test_vectors_that_all_point_one_way_are_refused() -> None:
    usual = GateSettings()
    [refusal] = collapsed([part(1000)], [part(200, spread=0.01)], usual)
    assert "spread 0.0100, those stored 0.5000" in refusal.reason
    assert refusal.setting == "gate.min_spread=0"
    off = GateSettings(min_spread=0)
    assert collapsed([part(1000)], [part(200, spread=0.01)], off) == []
    assert collapsed([part(1000)], [part(200, spread=0.2)], usual) == []
    assert collapsed([part(1000)], [part(99, spread=0.0)], usual) == []  # too few to say
    assert collapsed([], [part(200, spread=0.0)], usual) != []


def test_parts_that_lose_all_rows_still_say_how_vectors_spread() -> None:
    emptied = replace(part(1000, spread=0.1), live=Counts())
    assert collapsed([emptied], [part(200, spread=0.1)], GateSettings()) == []


def test_spread() -> None:
    assert spread(np.eye(2, dtype=np.float16)) == pytest.approx(1 - np.sqrt(0.5), abs=1e-6)
    assert spread(np.full((5, 3), 7.0, np.float32)) == pytest.approx(0, abs=1e-6)
    assert spread(np.empty((0, 3), np.float32)) == 1


def test_the_codec_is_kept_while_it_fits() -> None:
    ref = FileRef("codecs/a.faiss", 1, "0")
    codec = Codec(ref, passages=1000, error=0.2)
    assert not outgrown(codec, 3999)
    assert not outgrown(codec, 251)
    assert outgrown(codec, 4000)
    assert outgrown(codec, 250)
    parts = [part(900), part(100)]
    shards = [Shard((0,), ref, 0.2), Shard((1,), ref, 0.5)]
    assert mean_error(shards, parts) == pytest.approx(0.23)
    assert drifted(codec, shards, parts, 0.1)
    assert not drifted(codec, shards, parts, 0.2)
