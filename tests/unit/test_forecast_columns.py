"""What columns beside the first take: a row for each family, and the stages that they add."""

from dataclasses import replace
from typing import Any

import pytest

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.bits_settings import BitsSettings
from shardrank.core.cards import (
    AnchorCard,
    BitsCard,
    Bm25Card,
    ColumnCard,
    EncoderCard,
    LateCard,
    LearnedCard,
    MuveraCard,
    SparseCard,
    WriterCard,
    WrittenCard,
)
from shardrank.core.image_settings import ImageSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.learned_settings import LearnedSettings
from shardrank.core.model_settings import (
    Bm25Settings,
    ColumnSettings,
    EncoderSettings,
    SparseSettings,
    values_of,
)
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.reranker_settings import MaxsimSettings
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written_settings import WrittenSettings
from shardrank.forecast.cluster_time import forecast
from shardrank.forecast.columns import ROWS, Column, Made, Takes, Texts, takes
from shardrank.forecast.model import Model
from shardrank.forecast.rates import AVX2, VNNI, ZEN_4, Rates
from shardrank.forecast.work import Reranking, Searching, Work
from shardrank.models.encoders.registry import families, family_of
from shardrank.version.sizing import CodecPlan
from tests.unit.test_forecast import cluster, named, work

TEXTS = Texts(passage=100, query=10)
MODEL = Model(1_000_000, "fp32", far=1_000)
LATE_CARD = LateCard("m", "", "", "", 128, 300, 32, "", "", "fp32", 1.0, "fp16", True)


def made(settings: Any, card: ColumnCard, **other: Any) -> Takes:
    return takes(Made(settings, card, TEXTS, documents=MODEL, queries=MODEL, **other))


LATE = made(LateSettings(model="m"), LATE_CARD)
PLAID = made(LateSettings(model="m", stored="2"), replace(LATE_CARD, stored="2"), sampled=2048)


def column(name: str, family: str, known: Takes, **other: Any) -> Column:
    values: dict[str, Any] = {"of": "", "sampled": 0, "plan": None, "shard_passages": 1_000_000}
    return Column(name, family, takes=known, **{**values, **other})


def test_every_family_has_a_row() -> None:
    assert set(ROWS) == set(families())


def test_what_reads_texts_says_how_much_of_them() -> None:
    """Families that are made of another column's values read none."""
    settings: list[ColumnSettings] = [
        EncoderSettings(),
        Bm25Settings(),
        SparseSettings(model="m"),
        LateSettings(model="m"),
        AnchorSettings(),
        ImageSettings(model="m"),
        BitsSettings(),
        MuveraSettings(),
        LearnedSettings(),
        WrittenSettings(model="m"),
        ViewsSettings(),
    ]
    assert {each.family for each in settings} == set(families())
    for each in settings:
        family = family_of(each)
        assert (family.reads is None) == (values_of(each) is not None)
        if family.reads:
            assert (family.reads.sides is not None) == family.runs_a_model


def test_an_input_costs_its_tokens_and_their_pairs() -> None:
    assert Model(100, "fp32").flops(10, 3) == 3 * 10 * 200
    assert Model(0, "fp32", far=7).flops(10) == 4 * 7 * 10 * 10
    assert Model(0, "fp32", near=7, reach=4).flops(10) == 4 * 7 * 10 * 4


def test_dense_by_hand() -> None:
    card = EncoderCard("", "", "", "", 64, 512, 512, "", True, "", "", "fp32")
    found = made(EncoderSettings(stored="fp32"), card)
    assert (found.dim, found.held, int(found.bytes)) == (64, 1, 262)
    assert found.passage.flops == MODEL.flops(102)
    assert found.query.flops == MODEL.flops(12)


def test_words_by_hand() -> None:
    found = takes(Made(Bm25Settings(), Bm25Card("", "", "none", "keep"), TEXTS))
    assert (found.dim, found.passage.model) == (0, None)
    assert found.passage.counted == 100
    known = takes(Made(Bm25Settings(), Bm25Card("", "", "none", "keep"), replace(TEXTS, held=50.0)))
    assert known.held == 50


def test_terms_of_a_model_are_no_more_than_it_keeps() -> None:
    card = SparseCard("", "", "", "", 30_000, 512, 512, "", "", "fp32", top=20)
    assert made(SparseSettings(model="m"), card).held == 20


def test_token_vectors_take_a_vector_each() -> None:
    assert LATE.bytes == pytest.approx(LATE.held * 128 * 2, rel=0.01)
    assert 80 < LATE.held < 102
    seen = takes(
        Made(LateSettings(model="m"), LATE_CARD, replace(TEXTS, read=103, held=90), None, MODEL)
    )
    assert (seen.held, seen.passage.tokens) == (90, 103)
    assert LATE.fit.flops == 0


def test_codes_of_tokens_are_of_centroids() -> None:
    assert PLAID.bytes == pytest.approx(PLAID.held * (128 / 4 + 4), rel=0.01)
    assert PLAID.centroids == 4096  # 16 · √(2048 · 90) is 6,869
    assert PLAID.passage.products == PLAID.held * 4096 * 128
    assert PLAID.fit.flops == 2048 * PLAID.passage.flops


def test_bits_are_bits() -> None:
    found = made(BitsSettings(bits=2), BitsCard("bits", "", 384, 2), sampled=4096)
    assert int(found.bytes) == 97
    assert found.passage.model is None
    still = made(BitsSettings(rotation="none"), BitsCard("bits", "", 384, 1), sampled=4096)
    assert still.fit.work_s(Rates()) < found.fit.work_s(Rates()) / 10


def test_one_vector_for_many_is_made_of_these() -> None:
    muvera = made(MuveraSettings(), MuveraCard("", "", dim=2560, width=128), source=LATE)
    learned = made(LearnedSettings(), LearnedCard("", "", 1024), source=LATE)
    assert (int(muvera.bytes), int(learned.bytes)) == (5126, 2054)
    assert learned.passage.products == 8192 * (LATE.held * 128 + 1024)
    many = made(
        MuveraSettings(repetitions=40), MuveraCard("", "", dim=5120, width=128), source=LATE
    )
    assert many.passage.products == 2 * muvera.passage.products


def test_anchors_are_pairs() -> None:
    card = AnchorCard("", "", "", "", "", 32, 16, "", 512, "fp32", "fp16")
    found = made(AnchorSettings(anchor_queries=32, anchor_passages=16), card, sampled=68)
    assert int(found.bytes) == 70
    assert found.passage.inputs == 32
    assert found.query.inputs == 16
    assert found.fit.inputs == 32 * 16


WRITTEN = takes(
    Made(
        WrittenSettings(model="m", count=4),
        WrittenCard("m", "", WriterCard("m", "", "", "", "", 512, "fp32")),
        TEXTS,
        documents=MODEL,
        queries=MODEL,
        sampled=1000,
    )
)


def test_texts_are_written_token_by_token_and_read_by_others() -> None:
    assert (WRITTEN.dim, WRITTEN.held, WRITTEN.written) == (0, 4, 60)
    assert WRITTEN.passage.tokens == 102 + 60
    assert WRITTEN.fit.inputs == 1000
    bm25 = Bm25Card("", "", "none", "keep")
    more, less = (takes(Made(Bm25Settings(), bm25, TEXTS, s)) for s in (WRITTEN, None))
    assert more.passage.counted - less.passage.counted == 60
    card = EncoderCard("", "", "", "", 64, 512, 512, "", True, "", "", "fp32")
    assert made(EncoderSettings(), card, source=WRITTEN).passage.tokens == 102 + 60
    views = made(ViewsSettings(), replace(LATE_CARD, family="views"), source=WRITTEN)
    assert (views.held, views.asked, views.passage.tokens) == (5, 1, 162)
    assert views.bytes == pytest.approx(5 * 256, rel=0.02)


def test_what_reads_texts_beside_a_column_asks_by_texts() -> None:
    words = takes(Made(Bm25Settings(), Bm25Card("", "", "none", "keep"), TEXTS, WRITTEN))
    plan = CodecPlan.without("inverted", 0)
    both = (
        column("written", "written", WRITTEN, sampled=1000),
        column("words", "bm25", words, of="written", plan=plan),
    )
    searches = (Searching("words", 100, 1, 100),)
    some = replace(work(10**6, 10_000), columns=both, searches=searches)
    found = forecast(some, cluster(), Rates())
    made_ = [stage.need.stage for stage in found.of("index")]
    assert made_[4:8] == ["draw-written", "fit-written", "embed-written", "embed-words"]
    asked = [stage.need.stage for stage in found.of("rank")]
    assert asked[:3] == ["encode", "encode-words", "search-words"]
    embed = named(found, "embed-words").need
    assert embed.bytes > some.part_rows * (some.passage_bytes + WRITTEN.bytes)


EVERY = (
    column("late", "late", LATE),
    column(
        "plaid",
        "late",
        PLAID,
        sampled=2048,
        plan=replace(CodecPlan.without("plaid", 0), nlist=PLAID.centroids),
    ),
    column("exact", "late", LATE, plan=CodecPlan.without("maxsim", 0)),
    column(
        "bits",
        "bits",
        made(BitsSettings(), BitsCard("bits", "", 384, 1), sampled=4096),
        of="dense",
        sampled=4096,
        plan=replace(CodecPlan.without("binary", 0), nlist=1),
    ),
    column(
        "bm25",
        "bm25",
        takes(Made(Bm25Settings(), Bm25Card("", "", "none", "keep"), TEXTS)),
        plan=CodecPlan.without("inverted", 0),
    ),
    column(
        "muvera",
        "muvera",
        made(MuveraSettings(), MuveraCard("", "", dim=2560, width=128), source=LATE),
        of="late",
        plan=CodecPlan("ivfrabitq", 1024, 2560, 1, False, 65_536, 0),
    ),
)


def with_columns(**other: Any) -> Work:
    searches = tuple(Searching(c.name, 100, 8, 100) for c in EVERY if c.plan)
    return replace(work(10**6, 10_000, **other), columns=EVERY, searches=searches)


def test_stages_are_those_of_the_flows() -> None:
    found = forecast(with_columns(rerankers=(MAXSIM,)), cluster(), Rates())
    made_ = [stage.need.stage for stage in found.of("index")]
    assert made_[4:] == [
        "embed-late",
        *("draw-plaid", "fit-plaid", "embed-plaid"),
        "embed-exact",
        *("draw-bits", "fit-bits", "embed-bits"),
        "embed-bm25",
        "embed-muvera",
        *("sample", "train", "build", "questions", "audit"),
        *("build-plaid", "questions-plaid", "audit-plaid"),
        *("questions", "audit-bits"),
        *("build-bm25", "count-bm25", "total-bm25"),
        *(f"{name}-muvera" for name in ("sample", "train", "build", "questions", "audit")),
    ]
    ranked = [stage.need.stage for stage in found.of("rank")]
    names = ("late", "plaid", "exact", "bits", "bm25", "muvera")  # muvera is of late
    assert ranked[:7] == ["encode", *(f"encode-{name}" for name in names)]
    assert ranked[7:12] == [f"search-{name}" for name in names[1:]]
    assert ranked[12:] == ["merge", "encode-late", "rerank", "collate", "deliver"]


MAXSIM = Reranking(MaxsimSettings(), "columns", Model(0, "fp32"), 300, 0, reads="late")


def test_token_vectors_weigh_on_what_reads_them() -> None:
    """A hundred vectors a passage are read by the stages that make, search and rerank by them."""
    some = with_columns(rerankers=(MAXSIM,))
    found = forecast(some, cluster(), Rates())
    late = some.passages * LATE.bytes
    assert named(found, "embed-late").need.units * named(found, "embed-late").need.bytes > late
    assert named(found, "search-exact").need.units * named(found, "search-exact").need.bytes > late
    rerank = named(found, "rerank").need
    assert rerank.memory > some.part_rows * LATE.bytes


def test_a_reranker_encodes_queries_that_no_retriever_has() -> None:
    some = replace(with_columns(rerankers=(MAXSIM,)), searches=())
    found = [stage.need.stage for stage in forecast(some, cluster(), Rates()).of("rank")]
    assert found == ["encode", "search", "merge", "encode-late", "rerank", "collate", "deliver"]


def test_kinds_of_cpus_differ_in_what_types_are_worth() -> None:
    zen, vnni, old = (Rates().on(cpu, cpu.products) for cpu in (ZEN_4, VNNI, AVX2))
    assert zen.bf16_flops_per_core_s > zen.fp32_flops_per_core_s
    assert vnni.bf16_flops_per_core_s < vnni.fp32_flops_per_core_s < vnni.int8_flops_per_core_s
    assert old.bf16_flops_per_core_s < old.fp32_flops_per_core_s
    assert Rates().on(VNNI, 2 * VNNI.products).fp32_flops_per_core_s == 2 * VNNI.fp32
