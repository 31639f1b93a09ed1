"""What rerankers in turn need: the stages of each, by the road that its reranker takes.

A reranker of pairs is swept over the parts. One of lists is given a query's passages together: a
sweep gathers their texts, and a unit is some queries. One of columns is swept over the parts, and
runs no model. Between two, the hits are put in order again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from shardrank.forecast.encode_needs import encode_need
from shardrank.forecast.merge_needs import bucket
from shardrank.forecast.model import number_bytes
from shardrank.forecast.needs import (
    COUNT_MEMORY,
    HIT_BYTES,
    MERGED_MEMORY,
    PAIR_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    REF_MEMORY,
    SCORE_BYTES,
    Need,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.search_speed import maxsim_s, terms_s
from shardrank.forecast.work import Reranking, Work
from shardrank.version.sizing import (
    BYTES_PER_TOKEN,
    pairs_per_list_unit,
    pairs_per_unit,
)

#: Bytes in memory of each row while it is worked on, measured at 819,200 pairs.
PAIR_MEMORY = 200

#: Bytes of a logit.
_LOGIT_BYTES = 4

#: Bytes of a query's term and its weight.
_TERM_BYTES = 12


@dataclass(frozen=True)
class Runs:
    """The units of a sweep for so many pairs: how many, and the parts and pairs of one.

    Pairs are taken to lie evenly over the parts.
    """

    units: int
    parts: int
    pairs: float

    @classmethod
    def of(cls, work: Work, pairs: int) -> "Runs":
        if not pairs:
            return cls(0, 0, 0.0)
        hits = work.queries * work.k
        touched = min(work.parts, hits)
        parts = min(touched, math.ceil(pairs_per_unit(pairs) * touched / pairs))
        return cls(math.ceil(touched / parts), parts, pairs * parts / touched)


@dataclass(frozen=True)
class ListUnits:
    """The units of reranking by lists: how many in a block, and the queries of one."""

    of_block: int
    queries: int

    @classmethod
    def of(cls, work: Work, each: Reranking) -> "ListUnits":
        depth = work.listed(each)
        queries = max(1, round(pairs_per_list_unit(work.pairs(each)) / depth))
        queries = min(queries, work.block_rows)
        return cls(math.ceil(work.block_rows / queries), queries)


def rerank_needs(work: Work, rates: Rates) -> Iterator[Need]:
    """Of all rerankers in order."""
    for number, each in enumerate(work.rerankers, 1):
        if number > 1:
            yield _reorder(work, work.rerankers[number - 2], number - 1, rates)
        stage = "rerank" if number == len(work.rerankers) else f"rerank-{number}"
        if each.sees == "pairs":
            yield _pairs(work, each, stage, rates)
        elif each.sees == "columns":
            if each.reads not in {search.column for search in work.searched}:
                yield encode_need(work, work.column(each.reads), rates)
            yield _columns(work, each, stage, rates)
        else:
            yield _texts(work, each, f"texts-{stage}", rates)
            yield _lists(work, each, stage, rates)


def score_files(work: Work, each: Reranking) -> int:
    """Files that hold a block's scores."""
    if each.sees != "lists":
        return Runs.of(work, work.pairs(each)).units
    return ListUnits.of(work, each).of_block


def model_bytes(work: Work, each: Reranking) -> float:
    """Memory of an actor for the model: its weights, what it keeps of its longest prompt, and the
    logits of a token that it writes."""
    tokens, number = work.tokens(each), number_bytes(each.model.dtype)
    logits = each.terms * _LOGIT_BYTES if tokens.written else 0
    return (each.weights + tokens.kept * each.kept) * number + logits


def sweep(work: Work, pairs: int, rates: Rates, passage_bytes: float) -> Need:
    """A run of parts looks for its pairs in its buckets' files of every block, which its spec
    names, and reads so many bytes of each passage."""
    runs, each = Runs.of(work, pairs), bucket(work)
    buckets = math.ceil(runs.parts / each)
    hits = work.queries * work.k * min(1, buckets * each / work.parts)
    blocks = min(work.blocks, runs.pairs)
    passages = runs.parts * work.part_rows * passage_bytes
    return Need(
        "",
        runs.units,
        "task",
        work_s=hits / rates.read_rows_per_core_s + passages / rates.part_bytes_per_core_s,
        files=blocks * buckets + runs.parts,
        bytes=hits * PAIR_BYTES + passages,
        memory=PROCESS_BYTES + max(runs.pairs, work.block_rows * work.k) * PAIR_MEMORY,
        spec=(blocks * (1 + buckets) + runs.parts) * REF_BYTES,
    )


def _pairs(work: Work, each: Reranking, stage: str, rates: Rates) -> Need:
    """The model reads the queries too, and writes a file for each block."""
    pairs = work.pairs(each)
    swept, runs = sweep(work, pairs, rates, work.passage_bytes), Runs.of(work, pairs)
    blocks = min(work.blocks, runs.pairs)
    return replace(
        swept,
        stage=stage,
        runner="model",
        files=swept.files + 2 * blocks,
        memory=swept.memory + model_bytes(work, each),
        flops=each.model.flops(work.tokens(each).read / work.listed(each), runs.pairs),
        model=each.model,
        gathered=runs.units * blocks * REF_MEMORY,
        steps=3,
    )


def _columns(work: Work, each: Reranking, stage: str, rates: Rates) -> Need:
    """Values take the place of texts, and products that of a model. A part's values are held as
    they are stored, and once more as they are read."""
    column, pairs = work.column(each.reads), work.pairs(each)
    takes = column.takes
    stored, asked = takes.bytes, takes.asked * (takes.dim * 4 or _TERM_BYTES)
    compare_s = maxsim_s if takes.dim else terms_s
    swept, runs = sweep(work, pairs, rates, stored), Runs.of(work, pairs)
    blocks, passages = min(work.blocks, runs.pairs), min(runs.pairs, runs.parts * work.part_rows)
    return replace(
        swept,
        stage=stage,
        work_s=swept.work_s + compare_s(runs.pairs, passages, column, rates),
        files=swept.files + 2 * blocks,
        bytes=swept.bytes + runs.pairs * asked,
        memory=swept.memory + 2 * work.part_rows * stored + runs.pairs * asked,
        gathered=runs.units * blocks * REF_MEMORY,
    )


def _texts(work: Work, each: Reranking, stage: str, rates: Rates) -> Need:
    """The texts go into a file for each list unit that has pairs here."""
    pairs = work.pairs(each)
    swept, runs = sweep(work, pairs, rates, work.passage_bytes), Runs.of(work, pairs)
    files = min(runs.pairs, work.blocks * ListUnits.of(work, each).of_block)
    texts = runs.pairs * _text_bytes(work)
    return replace(
        swept,
        stage=stage,
        files=swept.files + files,
        bytes=swept.bytes + texts,
        memory=swept.memory + 2 * texts,
        gathered=runs.units * files * REF_MEMORY,
    )


def _lists(work: Work, each: Reranking, stage: str, rates: Rates) -> Need:
    """A unit reads its lists, a file of every run of parts with passages of them."""
    units, tokens = ListUnits.of(work, each), work.tokens(each)
    input_ = max(1.0, tokens.read / max(1, work.asked(each).prompts))
    pairs = units.queries * work.listed(each)
    files = min(pairs, Runs.of(work, work.pairs(each)).units)
    texts = pairs * _text_bytes(work)
    return Need(
        stage,
        work.blocks * units.of_block,
        "model",
        work_s=pairs / rates.read_rows_per_core_s
        + units.queries * tokens.read / rates.tokens_per_core_s,
        files=files + 2,
        bytes=texts + pairs * SCORE_BYTES,
        memory=PROCESS_BYTES + model_bytes(work, each) + 2 * texts,
        spec=(files + 1) * REF_BYTES,
        flops=each.model.flops(input_, units.queries * tokens.read / input_),
        moved=units.queries * tokens.written * float(each.weights),
        model=each.model,
        gathered=work.blocks * units.of_block * REF_MEMORY,
        steps=3,
    )


def _text_bytes(work: Work) -> float:
    """Of a passage."""
    return work.passage_tokens * BYTES_PER_TOKEN


def _reorder(work: Work, before: Reranking, number: int, rates: Rates) -> Need:
    """A block's hits and scores are read, and its hits written anew, by parts too."""
    rows, files = work.block_rows * work.k, score_files(work, before)
    touched = min(work.parts, rows)
    buckets = math.ceil(touched / bucket(work))
    scored = work.block_rows * work.listed(before)
    return Need(
        f"reorder-{number}",
        work.blocks,
        "task",
        work_s=(scored + rows) / rates.read_rows_per_core_s + rows / rates.merged_hits_per_core_s,
        files=files + 2 + buckets,
        bytes=rows * (2 * HIT_BYTES + PAIR_BYTES) + scored * SCORE_BYTES,
        memory=PROCESS_BYTES + rows * MERGED_MEMORY,
        spec=(files + 1) * REF_BYTES,
        gathered=work.blocks * (touched * COUNT_MEMORY + buckets * REF_MEMORY),
    )
