import base64
import gzip
import io
import json
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.errors import InputError, RunFailed
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.order import order_key
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import Slice, plan_slices
from shardrank.corpus.validate import Document, Reason, check


def opener(data: bytes) -> SourceOpener:
    def open_it(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    return open_it


def read(data: bytes, name: str, settings: CorpusSettings | None = None) -> list[SourceRow]:
    settings = settings or CorpusSettings()
    pieces = plan_slices([Entry(name, len(data), "v")], opener(data), settings.slice_bytes)
    rows = (row for piece in pieces for row in read_slice(piece, opener(data), settings))
    return [row._replace(names=frozenset()) for row in rows]


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


DOCUMENT = {"_id": "d", "title": "T", "text": "x"}


def test_lines() -> None:
    data = lines(DOCUMENT, {"_id": 7, "text": "y", "other": [1]})
    assert read(data, "a.jsonl") == [
        SourceRow(0, "d", "T", "x"),
        SourceRow(len(lines(DOCUMENT)), 7, None, "y"),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "malformed_json"),
        (b"[1]", "malformed_json"),
        (b"null", "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"_id": "\xff", "text": "x"}', "invalid_utf8"),
        (b'{"_id": "\xed\xa0\x80", "text": "x"}', "invalid_utf8"),
    ],
)
def test_a_broken_line_is_one_row(line: bytes, problem: str) -> None:
    found = read(lines(DOCUMENT) + line + b"\n" + lines(DOCUMENT), "a.jsonl")
    assert [row.problem for row in found] == ["", problem, ""]
    assert found[2][1:] == found[0][1:]


@pytest.mark.parametrize(
    ("line", "doc_id", "text"),
    [
        (b'{"_id": "a", "text": "x", "_id": "b", "text": "y"}', "b", "y"),  # as Python's json
        (
            b'{"_id": 9007199254740993, "text": "x", "n": NaN, "m": -Infinity}',
            9007199254740993,
            "x",
        ),
        (b'{"_id": "a", "text": "\\u0000"}\r', "a", "\0"),
        (b'{"_id": "\\ud83d\\ude00", "text": "\xe2\x80\xa8\xc2\x85"}', "\U0001f600", "\u2028\x85"),
        (b'\t{"_id": "a", "text": "x"} ', "a", "x"),
    ],
)
def test_lines_that_are_read_as_json_says(line: bytes, doc_id: Any, text: str) -> None:
    [found] = read(line, "a.jsonl")
    assert (found.doc_id, found.text, found.problem) == (doc_id, text, "")


def test_a_byte_order_mark_inside_is_one_row() -> None:
    data = lines(DOCUMENT) + b"\xef\xbb\xbf" + lines(DOCUMENT, DOCUMENT)
    assert [row.problem for row in read(data, "a.jsonl")] == ["", "malformed_json", ""]


def test_a_line_over_the_limit_is_not_held() -> None:
    settings = CorpusSettings(max_document_bytes=1)
    long = {"_id": "l", "text": "x" * 3_000_000}
    found = read(lines(DOCUMENT, long, DOCUMENT), "a.jsonl", settings)
    assert [row.problem for row in found] == ["", "document_too_large", ""]


def test_byte_order_mark() -> None:
    assert read(b"\xef\xbb\xbf" + lines(DOCUMENT), "a.jsonl")[0].doc_id == "d"


def test_an_array_is_refused() -> None:
    with pytest.raises(InputError, match="JSON array"):
        read(json.dumps([DOCUMENT], indent=1).encode(), "a.json")


@pytest.mark.parametrize("column", ["_id", "text"])
def test_a_column_missing_in_all_lines(column: str) -> None:
    data = lines(*[{k: v for k, v in DOCUMENT.items() if k != column}] * 3)
    with pytest.raises(InputError, match=f"no column '{column}'.*hold.*title"):
        read(data, "a.jsonl")


def test_a_column_missing_in_some_lines() -> None:
    found = read(lines({"_id": "a"}, DOCUMENT), "a.jsonl")
    assert [row.text for row in found] == [None, "x"]


def test_renamed_columns() -> None:
    settings = CorpusSettings(id="docno", text="body", title="head")
    data = {"docno": "1", "body": "b", "head": "h"}
    expected = [SourceRow(0, "1", "h", "b")]
    assert read(lines(data), "a.jsonl", settings) == expected
    columns = {name: [value] for name, value in data.items()}
    assert read(parquet(columns), "a.parquet", settings) == expected


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstd)])
def test_compressed_lines(suffix: str, compress: Any) -> None:
    data = lines(*[{"_id": str(n), "text": "x" * 99} for n in range(5000)])
    plain = read(data, "a.jsonl")
    assert len(plain) == 5000
    assert read(compress(data), f"a.jsonl.{suffix}") == plain
    half = len(data) // 2
    assert read(compress(data[:half]) + compress(data[half:]), f"a.jsonl.{suffix}") == plain
    assert read(compress(b""), f"a.jsonl.{suffix}") == []


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstd)])
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.999])
def test_truncated_compression(suffix: str, compress: Any, keep: float) -> None:
    data = compress(lines(*[{"_id": str(n), "text": hex(hash(n**9))} for n in range(5000)]))
    with pytest.raises(InputError, match=rf"a\.jsonl\.{suffix} is damaged or cut short"):
        read(data[: int(len(data) * keep)], f"a.jsonl.{suffix}")


def frame(data: bytes, window: int) -> bytes:
    """One zstd frame of one raw block, with a window of 2 ** window bytes (RFC 8878, 3.1.1)."""
    block = ((len(data) << 3) | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\0" + bytes([(window - 10) << 3]) + block + data


SKIPPED = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"  # RFC 8878, 3.1.2


def test_zstd_frames() -> None:
    data, one = lines(DOCUMENT), zstd(lines(DOCUMENT))
    assert len(read(frame(data, 27), "a.jsonl.zst")) == 1
    assert len(read(SKIPPED + one + SKIPPED + one + SKIPPED, "a.jsonl.zst")) == 2
    for window in (28, 31):
        with pytest.raises(InputError, match="cannot be read: its zstd window") as caught:
            read(frame(data, window), "a.jsonl.zst")
        assert "--long" in caught.value.hint


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstd)])
def test_a_second_member_that_is_none(suffix: str, compress: Any) -> None:
    whole = compress(lines(DOCUMENT))
    for rest in (b"junk", bytes(512), *(whole[:n] for n in range(1, len(whole)))):
        with pytest.raises(InputError, match="damaged or cut short"):
            read(whole + rest, f"a.jsonl.{suffix}")


def with_codec(codec: int, column: str) -> bytes:
    """A file in whose footer one column has another codec (parquet.thrift: CompressionCodec)."""
    sink = io.BytesIO()
    table = pa.table({"_id": ["a"], "text": ["x"], "other": [1]})
    pq.write_table(table, sink, compression="snappy")
    path = b"\x18" + bytes([len(column)]) + column.encode() + b"\x15"
    assert sink.getvalue().count(path + b"\x02") == 1
    return sink.getvalue().replace(path + b"\x02", path + bytes([2 * codec]))


@pytest.mark.parametrize("codec", [3, 9])  # LZO, and none that there is
def test_a_codec_counts_only_in_columns_that_are_read(codec: int) -> None:
    assert read(with_codec(codec, "other"), "a.parquet") == [SourceRow(0, "a", None, "x")]
    with pytest.raises(InputError, match=r"cannot be read: .*ompression") as caught:
        read(with_codec(codec, "text"), "a.parquet")
    assert "Write it again with" in caught.value.hint


#: A file of polars 2.1 with a column of 128-bit integers: _id "a", text "x", other 1.
INT128 = """
UEFSMRUEFQoVHEwVAhUAAAAotS/9IAUpAAABAAAAYRUAFRAVIiwVAhUQFQYVBhw2ACgBYRgBYQAAACi1L/0gCEEAAAIAAAAC
AQADFQwZNQAGEBkYA19pZBUMFgIWahaOASY+JggcNgAoAWEYAWEAABUEFQoVHEwVAhUAAAAotS/9IAUpAAABAAAAeBUAFRAV
IiwVAhUQFQYVBhw2ACgBeBgBeAAAACi1L/0gCEEAAAIAAAACAQADFQwZNQAGEBkYBHRleHQVDBYCFmoWjgEmlgIm4AEcNgAo
AXgYAXgAABUAFSwVLiwVAhUAFQYVBhw2AAAAACi1L/0gFnUAAEACAAAAAgEBAAEAMuACFQ4ZJQAGGRgFb3RoZXIVDBYCFlYW
WCa+Azw2AAAAGRECGRgBYRkYAWEVABkWAAAZEQIZGAF4GRgBeBUAGRYAABkcFj4VWBYAAAAZHBaWAhVYFgAAABkcFr4DFVgW
AAAAFQIZTEgEcm9vdBUGABUMJQIYA19pZCUATBwAAAAVDCUCGAR0ZXh0JQBMHAAAABUOFSAVAhgFb3RoZXIAFgIZHBk8JswB
HBUMGTUABhAZGANfaWQVDBYCFmoWjgEmPiYIHDYAKAFhGAFhAAAWlgUVFBbSBBUiACakAxwVDBk1AAYQGRgEdGV4dBUMFgIW
ahaOASaWAibgARw2ACgBeBgBeAAAFqoFFRYW9AQVIgAmlgQcFQ4ZJQAGGRgFb3RoZXIVDBYCFlYWWCa+Azw2AAAAFsAFFRYA
FqoCFgImCBb0AhQAABkcGAxBUlJPVzpzY2hlbWEYqAIvLy8vLzlRQUFBQUVBQUFBOHYvLy94UUFBQUFFQUFFQUFBQUtBQXNB
Q0FBS0FBUUErUC8vL3d3QUFBQUlBQWdBQUFBRUFBTUFBQUJzQUFBQVFBQUFBQVFBQUFDTS8vLy9LQUFBQUJBQUFBQUlBQUFB
QVFJQUFBQUFBQUQwLy8vL2dBQUFBQUVBQUFBSUFBa0FCQUFJQUFVQUFBQnZkR2hsY2dBQUFNVC8vLzhZQUFBQUVBQUFBQWdB
QUFBQkZBQUFBQUFBQU1ULy8vOEVBQUFBZEdWNGRBQUFBQURzLy8vL0xBQUFBQ0FBQUFBWUFBQUFBUlFBQUJBQUVnQUVBQkFB
RVFBSUFBQUFEQUFBQUFBQS9QLy8vd1FBQkFBREFBQUFYMmxrQUE9PQAYTlBvbGFycyAocHl0aG9uKSB2ZXJzaW9uIDIuMS4w
IChidWlsZCA3ZjkwMmJkM2ZmZDI3ZmY4MmQxNDI3OGEwOWEyOTVmZjJmN2FlZDkyKRk8HAAAHAAAHAAAAHoCAABQQVIx
"""


def test_a_type_that_pyarrow_lacks_counts_only_in_columns_that_are_read() -> None:
    data = base64.b64decode(INT128)
    with pytest.raises(pa.ArrowNotImplementedError, match="more than 64 bits"):
        pq.ParquetFile(io.BytesIO(data))
    assert read(data, "a.parquet") == [SourceRow(0, "a", None, "x")]
    with pytest.raises(InputError, match="column 'other' holds fixed_size_binary"):
        read(data, "a.parquet", CorpusSettings(id="other"))


def test_a_wrong_suffix_is_named() -> None:
    with pytest.raises(InputError, match=r"a\.jsonl\.gz is not what .* JSON, not compressed"):
        read(lines(DOCUMENT), "a.jsonl.gz")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.int64(), pa.uint8()]
)
def test_parquet_id_types(kind: pa.DataType) -> None:
    value = 7 if pa.types.is_integer(kind) else "7"
    data = parquet({"_id": pa.array([value], kind), "text": ["x"]})
    assert read(data, "a.parquet") == [SourceRow(0, value, None, "x")]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (pa.array([2**64 - 1, None], pa.uint64()), 2**64 - 1),
        (pa.array([9007199254740993, None]), 9007199254740993),
        (pa.array([Decimal(10**37), None], pa.decimal128(38, 0)), 10**37),
        (pa.array([Decimal(-7), None], pa.decimal256(76, 0)), -7),
        (pa.array([7, None]).dictionary_encode(), 7),
        (pa.array([UUID(int=7).bytes, None], pa.uuid()), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_parquet_numbers_as_ids(values: pa.Array, found: Any) -> None:
    rows = read(parquet({"_id": values, "text": ["x", "y"]}), "a.parquet")
    assert [row.doc_id for row in rows] == [found, None]


def test_parquet_dictionaries_and_nulls() -> None:
    ids = pa.array(["a", None, "a"]).dictionary_encode()
    data = parquet({"_id": ids, "text": ["x", "y", None], "title": pa.nulls(3)})
    assert [row[1:4] for row in read(data, "a.parquet")] == [
        ("a", None, "x"),
        (None, None, "y"),
        ("a", None, None),
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("_id", [1.5]),
        ("_id", [Decimal("1.5")]),
        ("_id", [True]),
        ("_id", [["a"]]),
        ("_id", [datetime(2026, 1, 1)]),
        ("text", [1]),
        ("text", [["a"]]),
        ("text", pa.array([bytes(16)], pa.uuid())),
        ("text", pa.array(["{}"], pa.json_())),
        ("title", [{"a": "b"}]),
    ],
)
def test_parquet_types_that_cannot_hold_it(column: str, values: Any) -> None:
    data = parquet({"_id": ["a"], "text": ["x"], column: values})
    with pytest.raises(InputError, match=rf"a\.parquet: column '{column}' holds"):
        read(data, "a.parquet")


def test_parquet_column_missing() -> None:
    with pytest.raises(InputError, match="no column '_id'; it has doc, text") as caught:
        read(parquet({"doc": ["a"], "text": ["x"]}), "a.parquet")
    assert "corpus.id=" in caught.value.hint


def test_parquet_invalid_utf8_is_one_row() -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 3, pa.array([b"ok", b"\xff\xfe", b"fine"], pa.binary()).buffers()
    )
    found = read(parquet({"_id": ["a", "b", "c"], "text": bad}), "a.parquet")
    assert [(row.doc_id, row.text, row.problem) for row in found] == [
        ("a", "ok", ""),
        ("b", None, "invalid_utf8"),
        ("c", "fine", ""),
    ]


class Pickled(pa.ExtensionType):  # type: ignore[misc]
    """Like Ray's: its values run code when they become Python objects."""

    touched = False

    def __init__(self) -> None:
        super().__init__(pa.binary(), "shardrank.test.pickled")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> "Pickled":
        return cls()

    def __arrow_ext_scalar_class__(self) -> type:
        return PickledScalar


class PickledScalar(pa.ExtensionScalar):  # type: ignore[misc]
    def as_py(self, **_: Any) -> None:
        Pickled.touched = True


@pytest.fixture
def pickled() -> Any:
    pa.register_extension_type(Pickled())
    yield pa.ExtensionArray.from_storage(Pickled(), pa.array([b"payload"]))
    pa.unregister_extension_type("shardrank.test.pickled")


def test_pickled_columns_are_refused_untouched(pickled: pa.Array) -> None:
    with pytest.raises(InputError, match="column 'text' holds extension"):
        read(parquet({"_id": ["a"], "text": pickled}), "a.parquet")
    marked = parquet({"_id": ["a"], "text": ["x"], "gone": pickled})
    with pytest.raises(InputError, match=r"column 'gone' holds extension.*not booleans"):
        read(marked, "a.parquet", CorpusSettings(tombstone="gone"))
    assert read(parquet({"_id": ["a"], "text": ["x"], "other": pickled}), "a.parquet")
    assert not Pickled.touched


def test_a_file_that_shrank() -> None:
    data = lines(DOCUMENT)
    piece = Slice("a.jsonl", "v", "jsonl", "", 0, len(data) + 1)
    with pytest.raises(InputError, match="fewer than when it was listed"):
        list(read_slice(piece, opener(data), CorpusSettings()))
    table = parquet({"_id": ["a"], "text": ["x"]})
    piece = Slice("a.parquet", "v", "parquet", "", 0, 2)
    with pytest.raises(InputError, match="fewer than when it was listed"):
        list(read_slice(piece, opener(table), CorpusSettings()))


class ChangingFile:
    """An opener whose file has the version "v" the first `openings` times."""

    def __init__(self, data: bytes, openings: int) -> None:
        self.data, self.openings = data, openings

    def __call__(self, uri: str, version: str | None = None) -> BinaryIO:
        self.openings -= 1
        if version is not None and version != ("v" if self.openings >= 0 else "w"):
            raise InputError(f"{uri} changed.")
        return io.BytesIO(self.data)


def two_documents(kind: str) -> tuple[Slice, bytes]:
    if kind == "parquet":
        data, end = parquet({"_id": ["a", "b"], "text": ["x", "y"]}), 2
    else:
        data = lines(DOCUMENT, DOCUMENT)
        end = len(data)
    return Slice(f"a.{kind}", "v", "parquet" if kind == "parquet" else "jsonl", "", 0, end), data


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_that_changed_is_refused_before_its_first_row(kind: str) -> None:
    piece, data = two_documents(kind)
    with pytest.raises(InputError, match="changed"):
        next(read_slice(piece, ChangingFile(data, 0), CorpusSettings()))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused_at_the_end(kind: str) -> None:
    piece, data = two_documents(kind)
    reading = read_slice(piece, ChangingFile(data, 1), CorpusSettings())
    assert len([next(reading), next(reading)]) == 2
    with pytest.raises(InputError, match="changed"):
        next(reading)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_change_is_not_called_damage(kind: str) -> None:
    piece, data = two_documents(kind)
    with pytest.raises(InputError, match="changed"):
        list(read_slice(piece, ChangingFile(data[:-3], 1), CorpusSettings()))


def test_a_footer_is_read_of_the_file_that_was_listed() -> None:
    piece, data = two_documents("parquet")
    with pytest.raises(InputError, match="changed"):
        plan_slices([Entry(piece.uri, len(data), "v")], ChangingFile(data, 0), 1000)


class LostConnection(io.BytesIO):
    def readinto(self, buffer: Any) -> int:
        raise ConnectionResetError(104, "Connection reset by peer")

    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError(104, "Connection reset by peer")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_lost_connection_may_be_tried_again(kind: Any) -> None:
    piece = Slice(f"a.{kind}", "v", kind, "", 0, 10)
    with pytest.raises(RunFailed, match="Connection reset"):
        list(
            read_slice(piece, lambda uri, version=None: LostConnection(b"x" * 99), CorpusSettings())
        )


def test_large_parquet_rows_come_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    iterate = pq.ParquetFile.iter_batches

    def spy(self: Any, batch_size: int, **options: Any) -> Any:
        sizes.append(batch_size)
        return iterate(self, batch_size, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    texts = [str(n) * 1_000_000 for n in range(10)]
    assert len(read(parquet({"_id": list("abcdefghij"), "text": texts}), "a.parquet")) == 10
    assert sizes == [8]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, None], pa.int8()),
        pa.array([2**63, 2**63 + 1, None], pa.uint64()),
        pa.array([0.1, 0.2, None]),
        pa.array([Decimal("1.5"), Decimal("1.6"), None], pa.decimal128(38, 1)),
        pa.array([1, 2, None], pa.timestamp("ns", "UTC")),
        pa.array([1, 2, None], pa.timestamp("ms")),
        pa.array([1, 2, None], pa.date32()),
        pa.array(["1", "2", None]),
        pa.array(["1", "2", None]).dictionary_encode(),
        pa.array([b"1", b"2", None], pa.large_binary()),
    ],
)
def test_parquet_orders(values: pa.Array) -> None:
    settings = CorpusSettings(order="at")
    data = parquet({"_id": ["a", "b", "c"], "text": ["x", "y", "z"], "at": values})
    found = [check(row, settings) for row in read(data, "a.parquet", settings)]
    assert found[2] == Reason.MISSING_ORDER
    assert isinstance(found[0], Document)
    assert isinstance(found[1], Document)
    assert found[0].order < found[1].order


@pytest.mark.parametrize(
    "values", [pa.array([True]), pa.array([[1]]), pa.array([1], pa.time64("us"))]
)
def test_parquet_columns_without_order(values: pa.Array) -> None:
    data = parquet({"_id": ["a"], "text": ["x"], "at": values})
    with pytest.raises(InputError, match=r"column 'at' holds .* not numbers, times or text"):
        read(data, "a.parquet", CorpusSettings(order="at"))


def test_times_of_any_unit_are_one_order() -> None:
    units = [pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")]
    moment = datetime(2026, 11, 29, 1, 2, 3)
    read_as = [
        read(
            parquet({"_id": ["a"], "text": ["x"], "at": pa.array([moment], unit)}),
            "a.parquet",
            CorpusSettings(order="at"),
        )[0].order
        for unit in units
    ]
    assert len({order_key(value) for value in read_as}) == 1
