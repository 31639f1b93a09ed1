import io
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import Entry, SourceOpener, TokenPlaces, TokenSpans
from shardrank.core.schemas import PICTURES, REJECTED, passages_schema
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.cut_rule import CutRule, full_text
from shardrank.corpus.first_pass import ScanResult, scan_slice
from shardrank.corpus.passages import cut_document, windows
from shardrank.corpus.second_pass import CutPart, cut_slice
from shardrank.corpus.slices import plan_slices
from shardrank.corpus.validate import Document

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789:.é漢"


class TinyTokeniser:
    """Words become a first letter and then `##` letters, each a token; or bytes, as GPT-2 does."""

    fingerprint = "tiny"
    specials = 2

    def __init__(self, kind: str = "wordpiece") -> None:
        if kind == "wordpiece":
            vocab = ["[UNK]", *LETTERS, *("##" + letter for letter in LETTERS)]
            self._inner = Tokenizer(
                models.WordPiece({t: n for n, t in enumerate(vocab)}, unk_token="[UNK]")
            )
            self._inner.normalizer = normalizers.BertNormalizer(strip_accents=False)
            self._inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        else:
            vocab = sorted(pre_tokenizers.ByteLevel.alphabet())
            self._inner = Tokenizer(models.BPE({t: n for n, t in enumerate(vocab)}, []))
            self._inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.vocab_size = len(vocab)

    def encode(self, texts: Sequence[str]) -> list[TokenSpans]:
        return [self._spans(text) for text in texts]

    def _spans(self, text: str) -> TokenSpans:
        found = self._inner.encode(text, add_special_tokens=False)
        offsets = np.array(found.offsets, np.int32).reshape(-1, 2)
        words = np.array([-1 if w is None else w for w in found.word_ids], np.int32)
        ids = np.array(found.ids, np.int32)
        places = TokenPlaces(offsets[:, 0], offsets[:, 1], words)
        return TokenSpans(ids, int(offsets[-1, 1]) if len(ids) else 0, lambda: places)


def numbered(lengths: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


@settings(max_examples=500)
@given(
    lengths=st.lists(st.integers(1, 30), max_size=40),
    room=st.integers(1, 40),
    overlap=st.integers(0, 50),
)
def test_windows(lengths: list[int], room: int, overlap: int) -> None:
    words = numbered(lengths)
    found = windows(words, room, overlap)
    assert all(0 < last - first <= room for first, last in found)
    assert sorted({t for first, last in found for t in range(first, last)}) == list(
        range(len(words))
    )
    for (first, last), (next_first, next_last) in pairwise(found):
        assert first < next_first <= last < next_last, "forward, and no token between them"
    longest = dict(enumerate(lengths))
    for cut in {cut for piece in found for cut in piece if 0 < cut < len(words)}:
        inside = words[cut - 1] == words[cut]
        assert not inside or longest[words[cut]] > room, "cut inside a word that fits"


@given(lengths=st.lists(st.integers(1, 4), min_size=30, max_size=200), room=st.integers(20, 40))
def test_windows_are_full_and_overlap(lengths: list[int], room: int) -> None:
    found = windows(numbered(lengths), room, 8)
    assert all(last - first >= room - 6 for first, last in found), "no tiny window, no tiny tail"
    for (_, last), (first, _) in pairwise(found[:-1]):
        assert 8 <= last - first <= 8 + 3


def test_what_fits_is_one_window() -> None:
    assert windows(numbered([3, 4]), 7, 2) == [(0, 7)]
    assert windows(numbered([]), 7, 2) == []


def test_a_word_longer_than_the_room_is_cut_inside() -> None:
    assert windows(numbered([25]), 10, 4) == [(0, 10), (6, 16), (12, 22), (15, 25)]


def test_overlap_over_half_the_room_does_not_crawl() -> None:
    assert len(windows(numbered([1] * 1000), 10, 9)) < 210


def rule(max_tokens: int = 22, split: bool = True, prompt: str = "") -> CutRule:
    return CutRule(max_tokens, overlap=4, split=split, prompt=prompt, specials=2)


@pytest.mark.parametrize("kind", ["wordpiece", "bytes"])
@pytest.mark.parametrize("prompt", ["", "passage: "])
@pytest.mark.parametrize("title", ["", "a title"])
def test_a_document_that_fits_has_the_ids_of_the_whole_string(
    kind: str, prompt: str, title: str
) -> None:
    document, whole = Document(0, "d", title, " some text "), rule(200, prompt=prompt)
    tokeniser = TinyTokeniser(kind)
    [spans] = tokeniser.encode([full_text(document, whole)])
    [passage] = cut_document(document, spans, whole)
    assert full_text(document, whole) == prompt + (f"{title} " if title else "") + " some text "
    assert passage.text == document.text
    assert not passage.truncated
    assert np.array_equal(passage.tokens, spans.ids)


@pytest.mark.parametrize("kind", ["wordpiece", "bytes"])
@given(
    text=st.lists(st.text("abc漢é", min_size=1, max_size=9), min_size=20, max_size=60),
    title=st.sampled_from(["", "ti", "two words"]),
)
def test_windows_of_a_document(kind: str, text: list[str], title: str) -> None:
    document, cut, tokeniser = (
        Document(0, "d", title, " ".join(text)),
        rule(40),
        TinyTokeniser(kind),
    )
    [spans] = tokeniser.encode([full_text(document, cut)])
    [head] = tokeniser.encode([title])
    passages = cut_document(document, spans, cut)
    end = 0
    for passage in passages:
        assert len(passage.tokens) <= cut.room
        assert np.array_equal(passage.tokens[: len(head.ids)], head.ids)
        # To a byte tokeniser the space after the title is a token too.
        body = passage.tokens[len(head.ids) :].tolist()
        assert body in (_ids(tokeniser, passage.text), _ids(tokeniser, " " + passage.text))
        start = document.text.index(passage.text)
        assert document.text[end:start].strip() == "" or start <= end
        end = max(end, document.text.rindex(passage.text) + len(passage.text))
    assert end == len(document.text)
    assert not any(passage.truncated for passage in passages)


def _ids(tokeniser: TinyTokeniser, text: str) -> list[int]:
    return [int(token) for token in tokeniser.encode([text])[0].ids]


def test_a_title_takes_half_the_room_at_most() -> None:
    document = Document(0, "d", "t" * 50, "word " * 30)
    [spans] = TinyTokeniser().encode([full_text(document, rule())])
    passages = cut_document(document, spans, rule())
    assert all(p.truncated and len(p.tokens) <= 20 for p in passages)
    assert all(np.array_equal(p.tokens[:10], spans.ids[:10]) for p in passages)
    assert passages[0].text.startswith("word word")


@pytest.mark.parametrize("kept", ["Q" * 4096, "\x01" * 4096, "a " * 2048])
def test_a_long_title_is_not_stored_with_each_passage(kept: str) -> None:
    """The first is one token, the second none."""
    document, whole = (
        Document(0, "d", kept * 50, "word " * 1000),
        Document(0, "d", kept, "word " * 9),
    )
    [long, just] = TinyTokeniser().encode([full_text(d, rule()) for d in (document, whole)])
    passages = cut_document(document, long, rule())
    assert len(passages) > 200
    assert {(passage.title, passage.truncated) for passage in passages} == {(kept, True)}
    assert next(p.title for p in cut_document(whole, just, rule())) == kept
    [once] = cut_document(document, long, rule(split=False))
    assert (once.title, once.text) == (document.title, document.text)


def test_without_splitting_a_long_document_is_cut_and_flagged() -> None:
    document, cut = Document(0, "d", "t", "word " * 30), rule(split=False)
    [spans] = TinyTokeniser().encode([full_text(document, cut)])
    [passage] = cut_document(document, spans, cut)
    assert (passage.text, passage.truncated) == (document.text, True)
    assert np.array_equal(passage.tokens, spans.ids[:20])


def test_a_rule_without_room_is_refused() -> None:
    with pytest.raises(SettingsError, match="leave no passage"):
        CutRule(3, 0, True, "", 2)


# cut_slice


def cut(
    values: Sequence[object], skip: frozenset[int] = frozenset(), part_size: int = 5
) -> list[CutPart]:
    data = "".join(json.dumps(value) + "\n" for value in values).encode()
    opener = opener_of(data)
    [piece] = plan_slices([Entry("a.jsonl", len(data), "v")], opener, 1 << 20)
    columns, tokeniser = CorpusSettings(), TinyTokeniser()
    return list(cut_slice(piece, opener, columns, rule(), tokeniser, skip, part_size))


def opener_of(data: bytes) -> SourceOpener:
    def opener(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    return opener


def documents(count: int, words: int) -> list[dict[str, str]]:
    return [{"_id": f"d{n}", "title": "ti", "text": "word " * words} for n in range(count)]


def test_parts_close_between_documents() -> None:
    parts = cut(documents(8, 9))
    tables = [part.passages for part in parts]
    assert all(table.schema == passages_schema(TinyTokeniser().vocab_size) for table in tables)
    assert tables[0].schema.field("tokens").type == pa.list_(pa.uint16())
    ids = [set(table["doc_id"].to_pylist()) for table in tables]
    assert sum(map(len, ids)) == len(set().union(*ids)) == 8
    assert all(5 <= table.num_rows < 5 + 3 for table in tables[:-1])
    for table in tables:
        per_document: dict[str, list[int]] = {}
        for row in table.to_pylist():
            per_document.setdefault(row["doc_id"], []).append(row["passage"])
            assert row["content_hash"] == content_hash("ti", "word " * 9)
            assert 0 < len(row["tokens"]) <= 20
        assert all(numbers == list(range(len(numbers))) for numbers in per_document.values())


def test_a_batch_boundary_changes_nothing() -> None:
    [part] = cut(documents(600, 1), part_size=10_000)
    assert part.passages["doc_id"].to_pylist() == [f"d{n}" for n in range(600)]


def test_what_is_passed_over_and_what_is_rejected() -> None:
    values = [
        {"_id": "a", "text": "kept"},
        {"_id": "a", "text": "a duplicate"},
        {"_id": "", "text": "rejected by the scan"},
        {"_id": "z", "text": "\u0001\u0002"},
    ]
    second = len(json.dumps(values[0])) + 1
    [part] = cut(values, skip=frozenset([second]))
    assert part.passages["text"].to_pylist() == ["kept"]
    assert part.rejected.schema == REJECTED
    assert part.rejected.drop_columns(["row"]).to_pylist() == [
        {"source": "a.jsonl", "doc_id": "z", "stage": "ingest", "reason": "no_tokens"}
    ]


def test_only_rejects_make_a_part_without_passages() -> None:
    [part] = cut([{"_id": "z", "text": "\u0001"}])
    assert (part.passages.num_rows, part.rejected.num_rows) == (0, 1)
    assert cut([{"_id": "z", "text": ""}]) == []


# cut_slice of pictures


def pictured(texts: Sequence[str | None]) -> tuple[list[CutPart], ScanResult]:
    """Documents with a picture each, in one row group; and what scanning them finds."""
    out = io.BytesIO()
    Image.new("RGB", (4, 3)).save(out, "PNG")
    ids = [f"d{n}" for n in range(len(texts))]
    pictures = pa.array([out.getvalue()] * len(texts), pa.large_binary())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"_id": ids, "text": texts, "image": pictures}), sink)
    data = sink.getvalue().to_pybytes()
    columns, opener = CorpusSettings(image="image"), opener_of(data)
    [piece] = plan_slices([Entry("a.parquet", len(data), "v")], opener, 1 << 20)
    parts = cut_slice(piece, opener, columns, rule(), TinyTokeniser(), frozenset(), 100)
    return list(parts), scan_slice(piece, opener, columns)


def test_a_picture_lies_beside_the_first_passage() -> None:
    [part], scanned = pictured(["word " * 30, None, "\u0001"])
    assert part.pictures is not None
    assert part.pictures.schema == PICTURES
    shown = [each is not None for each in part.pictures["picture"].to_pylist()]
    assert shown == [number == 0 for number in part.passages["passage"].to_pylist()]
    assert shown.count(True) == 3 < len(shown)
    assert hashes(part.passages) == hashes(scanned.keys)


def hashes(table: pa.Table) -> dict[str, str]:
    ids, found = table["doc_id"].to_pylist(), table["content_hash"].to_pylist()
    return dict(zip(ids, found, strict=True))


def test_parts_close_by_the_bytes_of_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.corpus.second_pass.PICTURE_BYTES", 100)
    parts, _ = pictured(["word"] * 6)
    assert len(parts) > 1
    assert sum(part.passages.num_rows for part in parts) == 6
    assert all(part.pictures and part.pictures.num_rows < 6 for part in parts)
