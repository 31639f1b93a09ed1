"""Whether what is asked for is what an index has; what is not asked for comes from the index."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import AuditSettings, IndexSettings
from shardrank.core.model_settings import DENSE, Bm25Settings, EncoderSettings
from shardrank.core.overrides import parse_settings
from shardrank.core.passage_settings import CutBy, Markup
from shardrank.core.settings import Settings
from shardrank.version.kept_settings import (
    audit_settings,
    further_encoders,
    index_encoder,
    index_settings,
    kept_encoder,
    kept_indexes,
    night_encoder,
    passage_settings,
)
from shardrank.version.manifest import Recipe, StoredEncoder, Version

_INDEX = SimpleNamespace(
    settings=IndexSettings(kind="ivfpq", nlist=64),
    audit_settings=AuditSettings(target=0.9, k=10),
)
#: What a version says of its settings.
_STORED = SimpleNamespace(
    dense=SimpleNamespace(
        settings=EncoderSettings(
            model="org/other", revision="v2", stored="fp32", pooling="auto", trust_remote_code=True
        ),
        card=SimpleNamespace(dtype="int8"),
    ),
    further=(
        StoredEncoder(
            cast(Any, None), EncoderSettings(name="second", model="org/x", trust_remote_code=True)
        ),
    ),
    columns={DENSE: None, "second": None},
    indexes={DENSE: _INDEX},
    index=_INDEX,
)
VERSION = cast(Version, _STORED)

Taken = Callable[[Version, EncoderSettings], EncoderSettings]


def settings(*overrides: str) -> Settings:
    return parse_settings({}, list(overrides))


def test_nothing_asked_is_the_index_own() -> None:
    asked = settings("encoder.batch_tokens=64", "encoder.dtype=auto")
    encoder = index_encoder(VERSION, asked.dense)
    index, without = kept_indexes(VERSION, asked)
    assert (encoder.model, encoder.revision, encoder.stored) == ("org/other", "v2", "fp32")
    assert (encoder.dtype, encoder.batch_tokens) == ("int8", 64)
    assert (index.kind, index.nlist) == ("ivfpq", 64)
    assert (without.of, without.kind) == ("second", "none")
    assert audit_settings(VERSION, settings().audit).k == 10


@pytest.mark.parametrize("taken", [index_encoder, kept_encoder])
def test_what_its_maker_trusted_counts_for_nothing(taken: Taken) -> None:
    assert not taken(VERSION, settings().dense).trust_remote_code
    assert taken(VERSION, settings("encoder.trust_remote_code=true").dense).trust_remote_code


def test_nor_does_it_for_a_further_encoder() -> None:
    """Neither at night nor in a ranking, unless this command trusts it."""
    second = night_encoder(VERSION.further[0], None)
    [ranked] = further_encoders(VERSION, settings())
    assert isinstance(second, EncoderSettings)
    assert second.model == ranked.settings.model == "org/x"
    assert not second.trust_remote_code
    assert not ranked.settings.trust_remote_code
    trusting = settings("encoder.second.trust_remote_code=true")
    assert further_encoders(VERSION, trusting)[0].settings.trust_remote_code


def test_a_night_takes_over_what_it_does_not_set() -> None:
    found, _ = index_settings(VERSION, settings("index.nlist=32"))
    assert (found.kind, found.nlist) == ("ivfpq", 32)
    anew, _ = index_settings(VERSION, settings("index.kind=auto", "index.nlist=none"))
    assert (anew.kind, anew.nlist) == ("auto", None)


def test_so_does_it_the_encoder() -> None:
    made = StoredEncoder(
        cast(Any, None), EncoderSettings(model="org/x", revision="v2", stored="fp32", dim=64)
    )
    kept = night_encoder(made, settings("encoder.dim=32", "encoder.batch_tokens=64").dense)
    assert isinstance(kept, EncoderSettings)
    assert (kept.model, kept.revision, kept.stored, kept.dim) == ("org/x", "v2", "fp32", 32)
    assert kept.batch_tokens == 64
    moved = night_encoder(made, settings("encoder.model=org/y").dense)
    assert isinstance(moved, EncoderSettings)
    assert (moved.model, moved.revision, moved.stored) == ("org/y", None, "fp32")
    words = StoredEncoder(cast(Any, None), Bm25Settings(stop_words="none"))
    [bm25] = settings("encoder.bm25.marks=drop").further
    assert night_encoder(words, bm25) == Bm25Settings(stop_words="none", marks="drop")


@pytest.mark.parametrize(
    ("recipe", "overrides", "cut"),
    [
        ((True, 512, 32), (), (True, None, 32)),
        ((False, 200, 0), (), (False, 200, 0)),
        ((False, 200, 0), ("passages.max_tokens=none", "passages.split=true"), (True, None, 0)),
        ((True, 20, 10), ("passages.max_tokens=40",), (True, 40, 32)),  # 10 is half of 20
    ],
)
def test_and_how_documents_are_cut(
    recipe: tuple[bool, int, int], overrides: tuple[str, ...], cut: tuple[Any, ...]
) -> None:
    made = SimpleNamespace(
        recipe=Recipe("", "", "fp16", *recipe),
        dense=SimpleNamespace(card=SimpleNamespace(max_tokens=512)),
    )
    found = passage_settings(cast(Version, made), settings(*overrides).passages)
    assert (found.split, found.max_tokens, found.overlap) == cut


def test_and_into_what() -> None:
    made = SimpleNamespace(
        recipe=Recipe("", "", "fp16", True, 512, 32, "headings", "markdown", 1),
        dense=SimpleNamespace(card=SimpleNamespace(max_tokens=512)),
    )
    for override, cut in (
        ("split=true", ("headings", "markdown")),
        ("by=sentences", ("sentences", "markdown")),
    ):
        found = passage_settings(cast(Version, made), settings(f"passages.{override}").passages)
        assert (found.by, found.markup) == cut


@pytest.mark.parametrize(
    ("split", "cut", "override", "hint"),
    [
        (
            True,
            ("headings", "markdown"),
            "by=tokens",
            "The index has passages.markup = markdown, and what is not set stays: give "
            "--set passages.markup=plain, too, or leave out passages.by.",
        ),
        (
            True,
            ("headings", "markdown"),
            "split=false",
            "passages.by = headings and passages.markup = markdown, and what is not set stays: "
            "give --set passages.by=tokens --set passages.markup=plain, too, or leave out",
        ),
        (True, ("sentences", "html"), "split=false", "give --set passages.by=tokens, too"),
        (
            False,
            ("tokens", "html"),
            "by=headings",
            "The index has passages.split = false, and what is not set stays: give "
            "--set passages.split=true, too, or leave out passages.by.",
        ),
    ],
)
def test_what_is_kept_and_does_not_go_with_what_is_set(
    split: bool, cut: tuple[CutBy, Markup], override: str, hint: str
) -> None:
    made = SimpleNamespace(
        recipe=Recipe("", "", "fp16", split, 512, 32, *cut, 1),
        dense=SimpleNamespace(card=SimpleNamespace(max_tokens=512)),
    )
    with pytest.raises(SettingsError) as refused:
        passage_settings(cast(Version, made), settings(f"passages.{override}").passages)
    assert hint in str(refused.value.hint)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("encoder.stored=fp16", "encoder.stored is 'fp32' there and 'fp16' here"),  # the default
        ("encoder.pooling=mean", "encoder.pooling is 'auto' there"),
        ("encoder.dtype=bf16", "encoder.dtype is 'int8' there"),
    ],
)
def test_an_encoder_that_is_asked_for_must_agree(override: str, words: str) -> None:
    for taken in (index_encoder, kept_encoder):
        with pytest.raises(SettingsError, match=words):
            taken(VERSION, settings(override).dense)


@pytest.mark.parametrize("agreeing", ["index.kind=auto", "index.kind=ivfpq", "index.nlist=64"])
def test_an_index_that_is_asked_for_must_agree(agreeing: str) -> None:
    assert [index.nlist for index in kept_indexes(VERSION, settings(agreeing))] == [64, None]
    with pytest.raises(SettingsError, match=r"index\.nlist is 64 there and 32 here"):
        kept_indexes(VERSION, settings(agreeing, "index.nlist=32"))


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (("encoder.model=embedded",), ("embedded", None)),  # named, and so not the default
        (("encoder.model=org/new",), ("org/new", None)),
        (("encoder.model=org/new", "encoder.revision=v3"), ("org/new", "v3")),
        (("encoder.model=org/other",), ("org/other", "v2")),
        (("encoder.revision=v3",), ("org/other", "v3")),
    ],
)
def test_a_model_may_be_elsewhere(overrides: tuple[str, ...], place: tuple[Any, ...]) -> None:
    found = index_encoder(VERSION, settings(*overrides).dense)
    assert (found.model, found.revision) == place


def test_work_without_a_model_takes_no_other() -> None:
    with pytest.raises(SettingsError, match=r"encoder\.model is 'org/other' there"):
        kept_encoder(VERSION, settings("encoder.model=embedded").dense)
    assert kept_encoder(VERSION, settings("encoder.model=org/other").dense).revision == "v2"


def test_an_audit_is_stricter_where_it_is_asked_to_be() -> None:
    """Though .95 and 100 are the defaults."""
    found = audit_settings(VERSION, settings("audit.target=0.95", "audit.k=100").audit)
    assert (found.target, found.k) == (0.95, 100)
