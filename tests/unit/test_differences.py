"""What a refusal says of another encoder or cut: from what to what."""

from dataclasses import replace
from typing import Any

from shardrank.core.cards import Bm25Card, EncoderCard
from shardrank.core.model_settings import Bm25Settings, ColumnSettings, EncoderSettings
from shardrank.version.differences import cut_differences, encoder_differences
from shardrank.version.manifest import Recipe, StoredEncoder


def made(settings: EncoderSettings | None = None, **card: Any) -> StoredEncoder:
    """Its fingerprint is that of the card."""
    wanted = settings or EncoderSettings(model="org/x")
    told: dict[str, Any] = {
        "name": wanted.model,
        "weights_sha256": "a" * 64,
        "tokeniser_fingerprint": "t",
        "dim": 16,
        "max_tokens": 512,
        "query_max_tokens": 512,
        "pooling": "mean",
        "normalise": True,
        "query_prompt": "",
        "document_prompt": "",
        "dtype": "fp32",
        **card,
    }
    named = {name: value for name, value in told.items() if name != "name"}
    return StoredEncoder(EncoderCard(fingerprint=str(named), **told), wanted)


def words(settings: ColumnSettings, fingerprint: str) -> StoredEncoder:
    return StoredEncoder(Bm25Card("bm25", fingerprint, "english", "keep"), settings)


def test_nothing_where_both_make_the_same() -> None:
    elsewhere = EncoderSettings(model="/mnt/x", pooling="mean")
    assert not encoder_differences(made(), made(elsewhere))


def test_another_model_and_what_was_set_with_it() -> None:
    before = made(EncoderSettings(model="org/x", revision="v2", pooling="cls"), pooling="cls")
    now = made(EncoderSettings(model="org/y"), weights_sha256="b" * 64, dim=32)
    assert encoder_differences(before, now) == [
        "encoder.model from org/x@v2 to org/y",
        "encoder.pooling from cls to auto",
    ]


def test_weights_that_changed_in_their_place() -> None:
    [told] = encoder_differences(made(), made(weights_sha256="b" * 64))
    assert told == (
        "the weights of org/x, which is named as before: sha256 from aaaaaaaaaaaa… to bbbbbbbbbbbb…"
    )


def test_a_setting_is_told_as_it_works_out() -> None:
    """Not from "auto", but from what that was."""
    asked = EncoderSettings(model="org/x", dtype="bf16", stored="fp32", document_prompt="text: ")
    assert encoder_differences(made(), made(asked, dtype="bf16", document_prompt="text: ")) == [
        "encoder.document_prompt from '' to 'text: '",
        "encoder.dtype from fp32 to bf16",
        "encoder.stored from fp16 to fp32",
    ]


def test_files_beside_the_weights() -> None:
    [told] = encoder_differences(made(), made(tokeniser_fingerprint="u"))
    assert told == "the files of org/x, whose weights are the same: its tokeniser"
    before, now = made(), made()
    object.__setattr__(now.card, "fingerprint", "other")
    [told] = encoder_differences(before, now)
    assert told.endswith(
        "whose weights are the same: its config, its modules or the code that it trusts"
    )


def test_a_further_column_goes_by_its_name() -> None:
    before = words(Bm25Settings(name="words"), "f")
    object.__setattr__(before.card, "stop_words", "none")
    now = words(Bm25Settings(name="words"), "g")
    assert encoder_differences(before, now) == ["encoder.words.stop_words from none to english"]
    same = words(Bm25Settings(name="words"), "another Unicode")
    assert encoder_differences(now, same) == [
        "what counts as a word of encoder.words: by another version of Python or of shardrank"
    ]
    dense = made(EncoderSettings(name="words"))
    assert encoder_differences(before, dense) == ["encoder.words.family from bm25 to dense"]


def test_how_documents_are_cut() -> None:
    before, now = Recipe("", "", "fp16", True, 512, 32), Recipe("", "", "fp16", False, 20, 10)
    assert cut_differences(before, now) == [
        "passages.split from true to false",
        "passages.max_tokens from 512 to 20",
        "passages.overlap from 32 to 10",
    ]
    by, anew = (replace(before, by="headings", markup="html", rules=n) for n in (1, 2))
    assert cut_differences(before, by) == [
        "passages.by from tokens to headings",
        "passages.markup from plain to html",
    ]
    assert cut_differences(by, anew) == ["shardrank's rules of sentences and headings from 1 to 2"]
