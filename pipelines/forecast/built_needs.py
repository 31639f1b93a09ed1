"""What indexes over columns need, by their kind: how they are trained, built and audited."""

import math
from collections.abc import Callable
from dataclasses import replace

from shardrank.core.model_settings import DENSE
from shardrank.forecast.columns import Column
from shardrank.forecast.needs import (
    PART_SPEC_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    Need,
    part_files,
    part_memory,
    read_parts_s,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.search_speed import search_s
from shardrank.forecast.work import Work
from shardrank.version.recall import depth_grid, followed, probe_grid
from shardrank.version.sizing import SAMPLED_PARTS_PER_UNIT, Kind

#: Rounds of k-means for the lists; vectors that faiss's for codebooks looks at, at most.
LIST_ROUNDS = 10
MOST_CODEBOOK_ROWS = 65_536

#: A component is turned and coded by RaBitQ in as long as so many multiply-adds: 13 µs for a vector
#: of 384 with codes of several bits (one core of an Emerald Rapids beside other work, 2026-11-29).
RABITQ_PRODUCTS = 1_100


#: Bytes of a posting, of a passage and of a word in an inverted shard; in memory, of a posting.
_POSTING, _PASSAGE, _WORD, _POSTING_MEMORY = 6, 4, 16, 14

#: Of Heaps' law: so many tokens have 14.5 times as many words, to the power of .5, as in Cranfield.
_WORDS, _GROWTH = 14.5, 0.5

#: Share of a passage's token vectors that have centroids of their own, and the bytes of each.
_DISTINCT, _MET = 0.55, 8


def index_over(work: Work, column: Column, rates: Rates) -> list[Need]:
    """Of the index over a further column; nothing where there is none."""
    if column.plan is None:
        return []
    kind, over = column.plan.kind, work.over(column)
    return _KINDS.get(kind, _quantised)(over, column, rates)


def vector_index(work: Work, name: str, rates: Rates) -> list[Need]:
    """Of an index over dense vectors, of a column with such a name, if it is not the first one's.
    Exact search trains, builds and audits nothing."""
    if work.index.kind == "exact":
        return []
    asked = _sample(work, rates, "questions", work.questions)
    stages = [_sample(work, rates), _train(work, rates), _build(work, rates), asked]
    return [_of(need, name) for need in (*stages, _audit(work, rates))]


def shard_bytes(work: Work, column: Column) -> float:
    """Of one full shard's file, of a work that is `Work.over` the column."""
    rows, held = work.shard_rows, column.takes.held
    if work.index.kind == "inverted":
        words = _words(rows * work.passage_tokens)
        return rows * (held * _POSTING + _PASSAGE) + words * _WORD
    if work.index.kind == "plaid":
        distinct = min(held * _DISTINCT, work.index.nlist)
        return rows * (distinct * _MET + 8) + work.index.nlist * 8.0
    return work.sizes.shard if work.index.kind not in ("maxsim", "binary") else 0.0


def _words(tokens: float) -> float:
    """Different ones."""
    return float(_WORDS * tokens**_GROWTH)


def _of(need: Need, name: str) -> Need:
    return replace(need, stage=f"{need.stage}-{name}") if name else need


def _quantised(work: Work, column: Column, rates: Rates) -> list[Need]:
    return vector_index(work, column.name, rates)


def _nothing(work: Work, column: Column, rates: Rates) -> list[Need]:
    return []


def _inverted(work: Work, column: Column, rates: Rates) -> list[Need]:
    """Postings; and where words are counted, in how many passages each is."""
    build = _swept(work, column, rates, "build", shard_bytes(work, column))
    if column.family != "bm25":
        return [_of(build, column.name)]
    words = _words(work.passages * work.passage_tokens) * _WORD
    count = _swept(work, column, rates, "count", words / work.shards)
    total = Need(
        "total",
        1,
        "task",
        work_s=words / rates.part_bytes_per_core_s,
        files=work.shards + 1,
        bytes=2 * words,
        memory=PROCESS_BYTES + 4 * words,
        spec=work.shards * REF_BYTES,
    )
    return [_of(need, column.name) for need in (build, count, total)]


def _swept(work: Work, column: Column, rates: Rates, stage: str, written: float) -> Need:
    """A unit goes through the terms, or the tokens' centroids, of a shard's parts."""
    rows = work.shard_rows
    held = rows * column.takes.held
    return Need(
        stage,
        work.shards,
        "task",
        work_s=read_parts_s(work, rows, rates) + held / rates.inverted_terms_per_core_s,
        files=part_files(work, rows) + 1,
        bytes=rows * work.vector_row_bytes + written,
        memory=PROCESS_BYTES + held * _POSTING_MEMORY + 2 * written + part_memory(work),
        spec=work.shard_parts * PART_SPEC_BYTES,
    )


def _plaid(work: Work, column: Column, rates: Rates) -> list[Need]:
    written = shard_bytes(work, column)
    build = _swept(work, column, rates, "build", written)
    asked = _sample(work, rates, "questions", work.questions)
    audit = _compared(work, column, rates, written)
    return [_of(need, column.name) for need in (build, asked, audit)]


def _binary(work: Work, column: Column, rates: Rates) -> list[Need]:
    """Its questions are vectors of the column that the codes are of."""
    asked = _sample(work, rates, "questions", work.questions)
    audit = _compared(work, column, rates, 0.0)
    return [_of(asked, "" if column.of == DENSE else column.of), _of(audit, column.name)]


def _compared(work: Work, column: Column, rates: Rates, shard: float) -> Need:
    """An audit: each question is compared with all passages, and searched at the greatest effort;
    what that finds is refined at each."""
    rows, asked = work.shard_rows, replace(work, queries=work.questions, depth=work.audited_depth)
    whole = replace(asked, index=replace(work.index, kind=_EXACT[work.index.kind], nlist=0))
    efforts = len(probe_grid(min(work.index.nlist, 64))) * len(
        depth_grid(work.audited, work.audited_depth)
    )
    found = work.questions * followed(work.audited) * 4.0 * (1 + efforts)
    both = search_s(whole, column, rates) + search_s(asked, column, rates)
    return Need(
        "audit",
        work.shards,
        "task",
        work_s=2 * read_parts_s(work, rows, rates) + both,
        files=part_files(work, rows) + 2,
        bytes=rows * work.vector_row_bytes + shard + found,
        memory=PROCESS_BYTES + 2 * shard + part_memory(work) + 2 * found,
        spec=work.shard_parts * PART_SPEC_BYTES,
        gathered=5 * found,
    )


def _sample(work: Work, rates: Rates, stage: str = "sample", wanted: int = 0) -> Need:
    """A few rows of nearly every part, whose vectors are read whole."""
    drawn = min(work.parts, wanted or work.index.train_rows)
    together = min(drawn, SAMPLED_PARTS_PER_UNIT)
    rows = together * work.part_rows
    return Need(
        stage,
        math.ceil(drawn / SAMPLED_PARTS_PER_UNIT),
        "task",
        work_s=read_parts_s(work, rows, rates),
        files=part_files(work, rows),
        bytes=rows * work.vector_row_bytes,
        memory=PROCESS_BYTES + part_memory(work),
        spec=together * PART_SPEC_BYTES,
    )


def _train(work: Work, rates: Rates) -> Need:
    """One unit; its rotation is a second or so, and left out."""
    plan = work.index
    dim = plan.searched(work.dim)
    lists = LIST_ROUNDS * plan.train_rows * plan.nlist * dim / rates.fp32_products_per_core_s
    books = min(plan.train_rows, MOST_CODEBOOK_ROWS) if plan.kind == "ivfpq" else 0
    files = math.ceil(min(work.parts, plan.train_rows) / SAMPLED_PARTS_PER_UNIT)
    return Need(
        "train",
        1,
        "task",
        work_s=lists + books * dim / rates.codebook_components_per_core_s,
        files=files,
        bytes=plan.train_rows * work.dim * 4,
        memory=PROCESS_BYTES + work.sizes.training,
        spec=files * REF_BYTES,
        spread=True,
    )


def _build(work: Work, rates: Rates) -> Need:
    plan, rows = work.index, work.shard_rows
    dim = plan.searched(work.dim)
    codes = {"ivfpq": 1 << plan.pq_bits, "ivfrabitq": RABITQ_PRODUCTS}.get(plan.kind, 0)
    products = rows * dim * (plan.nlist + codes + (dim if plan.opq else 0))
    return Need(
        "build",
        work.shards,
        "task",
        work_s=read_parts_s(work, rows, rates) + products / rates.fp32_products_per_core_s,
        files=part_files(work, rows) + 2,
        bytes=rows * work.vector_row_bytes + work.sizes.shard,
        memory=PROCESS_BYTES + work.sizes.build + part_memory(work),
        spec=work.shard_parts * PART_SPEC_BYTES,
    )


def _audit(work: Work, rates: Rates) -> Need:
    """Nearest documents by one product, then a search through all lists, whose hits at every effort
    of the grid are scored; of each document a score, and one at each effort."""
    rows, depths = work.shard_rows, depth_grid(work.audited, work.audited_depth)
    efforts = len(probe_grid(work.index.nlist)) * len(depths)
    exact = work.questions * rows * work.dim
    refined = work.questions * min(rows, work.audited_depth * work.document_passages)
    found = work.questions * followed(work.audited) * 4 * (1 + efforts)
    return Need(
        "audit",
        work.shards,
        "task",
        work_s=2 * read_parts_s(work, rows, rates)
        + exact / rates.exact_products_per_core_s
        + exact * work.index.searched(work.dim) / work.dim / rates.int8_products_per_core_s
        + refined / rates.refined_pairs_per_core_s,
        files=part_files(work, rows) + 2,
        bytes=rows * work.vector_row_bytes + work.sizes.shard + found,
        memory=PROCESS_BYTES + 2 * work.sizes.shard + part_memory(work) + 2 * found,
        spec=work.shard_parts * PART_SPEC_BYTES,
        gathered=5 * found,  # two shards' tables, both together, and what is left
    )


#: What an approximate kind is audited against.
_EXACT: dict[Kind, Kind] = {"binary": "exact", "plaid": "maxsim"}

_KINDS: dict[Kind, Callable[[Work, Column, Rates], list[Need]]] = {
    "inverted": _inverted,
    "maxsim": _nothing,
    "plaid": _plaid,
    "binary": _binary,
}
