"""What rerankers in turn take: their stages, the arithmetic of each, and what a model keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shardrank.core.reranker_settings import (
    CrossSettings,
    MaxsimSettings,
    PairwiseSettings,
    TermsSettings,
)
from shardrank.forecast.cluster_time import Forecast, forecast
from shardrank.forecast.columns import Column, Cost, Takes
from shardrank.forecast.misfits import misfits
from shardrank.forecast.model import Model
from shardrank.forecast.rates import Rates
from shardrank.forecast.rerank_needs import ListUnits, Runs, model_bytes, score_files
from shardrank.forecast.work import Reranking
from shardrank.models.folder.decoder_size import kept_numbers
from shardrank.models.folder.layout import read_layout
from shardrank.models.forward.decoder import load_decoder
from shardrank.models.forward.packed_decoder import PackedDecoder
from shardrank.models.size import decoder_size
from tests.tiny_decoders import tiny_decoder
from tests.tiny_language import tiny_language
from tests.unit.test_forecast import CROSS, LANGUAGE, MINILM, WINDOWS, cluster, named, work

MAXSIM = Reranking(MaxsimSettings(), "columns", Model(0, "fp32"), 300, 0, reads="late")
#: 40 token vectors of 128 components a passage, and 32 a query.
TOKENS = Takes(128, 40, 32, 40 * 128 * 2, Cost(), Cost(MINILM, 1, 32))
LATE = (Column("late", "late", "", TOKENS, 0, None, 1_000_000),)

TERMS = Reranking(TermsSettings(), "columns", Model(0, "fp32"), 300, 0, reads="sparse")
#: 63 terms of a passage, and 10 of a query.
SPARSE = Takes(0, 63, 10, 63 * 8, Cost(), Cost(MINILM, 1, 32))


def stages(found: Forecast) -> list[str]:
    return [stage.need.stage for stage in found.of("rank")][3:-2]


@pytest.mark.parametrize(
    ("rerankers", "expected"),
    [
        ((), []),
        ((CROSS,), ["rerank"]),
        ((LANGUAGE,), ["texts-rerank", "rerank"]),
        ((MAXSIM,), ["encode-late", "rerank"]),
        ((CROSS, MAXSIM), ["rerank-1", "reorder-1", "encode-late", "rerank"]),
        ((CROSS, LANGUAGE), ["rerank-1", "reorder-1", "texts-rerank", "rerank"]),
        (
            (LANGUAGE, CROSS, CROSS),
            ["texts-rerank-1", "rerank-1", "reorder-1", "rerank-2", "reorder-2", "rerank"],
        ),
    ],
)
def test_stages_are_those_of_the_flow(
    rerankers: tuple[Reranking, ...], expected: list[str]
) -> None:
    some = work(rerankers=rerankers, columns=LATE)
    assert stages(forecast(some, cluster(), Rates())) == expected


def test_each_reranker_has_its_own_depth() -> None:
    """A cascade's first sweep is that of the same reranker alone."""
    deep = replace(CROSS, settings=CrossSettings(depth=90))
    both = forecast(work(rerankers=(deep, CROSS)), cluster(), Rates())
    alone = [forecast(work(rerankers=(each,)), cluster(), Rates()) for each in (deep, CROSS)]
    for stage, other in zip(("rerank-1", "rerank"), alone, strict=True):
        assert replace(named(both, stage).need, stage="rerank") == named(other, "rerank").need


def test_columns_by_hand() -> None:
    """A unit's 256 pairs of 32 and 40 tokens, and the values of its parts."""
    some = work(10**6, 1_000, rerankers=(MAXSIM,), columns=LATE)
    idle = Rates(
        read_rows_per_core_s=1e30,
        part_bytes_per_core_s=1e30,
        decoded_components_per_core_s=1e30,
        maxsim_flops_per_core_s=1e9,
    )
    need = named(forecast(some, cluster(1, 2), idle), "rerank").need
    runs = Runs.of(some, some.pairs(MAXSIM))
    assert need.work_s == pytest.approx(2 * runs.pairs * 32 * 40 * 128 / 1e9)
    assert (need.runner, need.model, need.flops) == ("task", None, 0.0)
    assert need.bytes > runs.parts * some.part_rows * 40 * 128 * 2
    assert score_files(some, MAXSIM) == runs.units


def test_terms_by_hand() -> None:
    """Each of a query's 10 terms is looked for among 63 in 6 steps."""
    columns = (Column("sparse", "sparse", "", SPARSE, 0, None, 1_000_000),)
    some = work(10**6, 1_000, rerankers=(TERMS,), columns=columns)
    idle = Rates(
        read_rows_per_core_s=1e30,
        part_bytes_per_core_s=1e30,
        decoded_components_per_core_s=1e30,
        scattered_numbers_per_core_s=1e9,
    )
    need = named(forecast(some, cluster(1, 2), idle), "rerank").need
    runs = Runs.of(some, some.pairs(TERMS))
    assert need.work_s == pytest.approx(runs.pairs * 10 * 6 / 1e9)
    assert need.bytes > runs.parts * some.part_rows * 63 * 8 + runs.pairs * 10 * 12
    assert (need.runner, need.model, need.flops) == ("task", None, 0.0)


def test_lists_by_hand() -> None:
    """20 documents in windows of 4 at a stride of 2, written: nine calls of four passages."""
    some = work(10**6, 1_000, rerankers=(LANGUAGE,), passage_tokens=40, query_tokens=10)
    rates = Rates(
        bf16_flops_per_core_s=1e12,
        written_numbers_per_core_s=1e9,
        read_rows_per_core_s=1e6,
        tokens_per_core_s=1e6,
        request_s=0.0,
        unit_s=0.0,
    )
    read = 9 * (150 + 10) + 36 * (40 + 6)
    written = 9 * 16 + 36 * 6
    units = ListUnits.of(some, LANGUAGE)
    assert (units.queries, units.of_block) == (8, 125)  # a 128th of 20,000 pairs
    stage = named(forecast(some, cluster(1, 2), rates), "rerank")
    assert (stage.need.units, stage.waves) == (125, 63)
    model = 8 * read * 2 * 90_000_000 / 1e12
    writing = 8 * written * 10**8 / 1e9
    reading = 8 * 20 / 1e6 + 8 * read / 1e6
    assert stage.last_s == pytest.approx(model + writing + reading)
    prompt = 150 + 10 + 4 * (50 + 6) + 4 * 6 + 16  # the longest passages, and an answer
    held = 2 * (10**8 + prompt * 1_000) + 4 * 50_000
    assert model_bytes(some, LANGUAGE) == held
    assert stage.need.memory == pytest.approx(0.8e9 + held, rel=1e-3)


def test_a_gpu_writes_by_its_memory() -> None:
    some, rates = work(10**6, 1_000, rerankers=(LANGUAGE,)), Rates()
    need = named(forecast(some, cluster(1, 2, gpus=1), rates), "rerank").need
    bytes_ = need.moved * 2
    stage = named(forecast(some, cluster(1, 2, gpus=1), rates), "rerank")
    assert stage.last_s > bytes_ / rates.gpu_written_bytes_per_s
    assert rates.numbers_per_s(2, "cuda") == rates.gpu_written_bytes_per_s / 2


def test_a_model_that_is_too_large_is_named_with_its_stage() -> None:
    large = replace(LANGUAGE, model=Model(10**10, "bf16"), weights=10**10)
    some = work(10**6, 1_000, rerankers=(CROSS, large))
    said = misfits(forecast(some, cluster(1, 2, memory_bytes=16e9), Rates()))
    assert "rerank: a worker needs 20.8 GB" in " ".join(said)
    assert not [line for line in said if line.startswith("rerank-1")]


def test_collate_reads_what_each_reranker_wrote() -> None:
    one, two = (
        named(forecast(work(rerankers=r), cluster(), Rates()), "collate").need
        for r in ((LANGUAGE,), (CROSS, LANGUAGE))
    )
    some = work(rerankers=(CROSS, LANGUAGE))
    both = score_files(some, CROSS) + score_files(some, LANGUAGE)
    assert two.files - one.files == both + 2


def test_pairs_in_both_orders_cost_what_they_are() -> None:
    pairs = PairwiseSettings(model="m", depth=20, passage_tokens=50)
    some = replace(LANGUAGE, settings=pairs)
    assert work(rerankers=(some,)).asked(some).calls == 20 * 19
    assert work(rerankers=(some,)).tokens(some).written == 0
    assert WINDOWS.depth == pairs.depth


@pytest.mark.parametrize("name", ["llama", "llama, tied, wide heads", "qwen3", "gemma", "phi3"])
def test_a_token_keeps_what_a_decoder_keeps_of_it(tmp_path: Path, name: str) -> None:
    layout = read_layout(tiny_decoder(tmp_path, name), plain=True)
    decoder = load_decoder(tmp_path, "fp32", False, "cpu", None)
    assert isinstance(decoder, PackedDecoder)
    kept = decoder._stem(np.arange(1, 13, dtype=np.int32), 12)
    held = sum(x.numel() for pair in kept._layers.values() for x in pair)
    assert kept_numbers(layout.config) * 12 == held


def test_older_names_of_a_config_are_understood() -> None:
    assert kept_numbers({"n_layer": 3, "n_head": 4, "n_embd": 32}) == 2 * 3 * 32
    shared = {"num_hidden_layers": 3, "num_attention_heads": 4, "num_kv_heads": 1}
    assert kept_numbers({**shared, "hidden_size": 32}) == 2 * 3 * 8
    assert kept_numbers({"model_type": "mamba"}) == 0


def test_numbers_of_a_decoder_are_those_of_the_library(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny_language(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = decoder_size(read_layout(folder, plain=True))
    assert found.held == sum(each.numel() for each in model.parameters())
    layers = [
        each.numel()
        for name, each in model.named_parameters()
        if each.ndim > 1 and ".layers." in name
    ]
    assert found.multiplied == sum(layers)
    assert found.terms == model.config.vocab_size
