"""What the stages of the index flow need, from the way in which they read and write."""

import math

from shardrank.forecast.needs import (
    PART_SPEC_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    REF_MEMORY,
    SPECIALS,
    Need,
    forward_flops,
    model_memory,
    part_files,
    part_memory,
    read_parts_s,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work
from shardrank.version.recall import depth_grid, followed, probe_grid
from shardrank.version.sizing import KEYS_PER_RANGE, SAMPLED_PARTS_PER_UNIT

#: Bytes of a document's key: stored (MedQuAD: 36.8), and in memory.
KEY_BYTES = 37
KEY_MEMORY = 80

#: Bytes in memory of each token of a part that is cut: text, span and id.
CUT_MEMORY = 12

#: faiss's k-means: rounds for the lists; vectors that PQ looks at, at most.
LIST_ROUNDS = 10
MOST_CODEBOOK_ROWS = 65_536

#: A component is turned and coded by RaBitQ in as long as so many multiply-adds: 13 µs for a vector
#: of 384 with codes of several bits (one core of an Emerald Rapids beside other work, 2026-11-29).
RABITQ_PRODUCTS = 1_100


def index_needs(work: Work, rates: Rates) -> list[Need]:
    """Of all stages in order, for a new index. Exact search trains, builds and audits nothing."""
    quantised = (_sample, _train, _build, _audit) if work.index.kind != "exact" else ()
    return [stage(work, rates) for stage in (_scan, _compare, _ingest, _embed, *quantised)]


def _scan(work: Work, rates: Rates) -> Need:
    return Need(
        "scan",
        work.slices,
        "task",
        work_s=work.slice_text / rates.scanned_bytes_per_core_s,
        files=3,
        bytes=work.slice_text + work.slice_documents * KEY_BYTES,
        memory=PROCESS_BYTES + 2 * work.slice_text,
        spec=2 * REF_BYTES,
    )


def _compare(work: Work, rates: Rates) -> Need:
    """A unit reads the keys of all slices, one file after another, and keeps those of its range."""
    keys = work.documents
    held = min(keys, KEYS_PER_RANGE) + work.slice_documents
    comparing = min(keys, KEYS_PER_RANGE) / rates.compared_keys_per_core_s
    return Need(
        "compare",
        math.ceil(keys / KEYS_PER_RANGE),
        "task",
        work_s=keys / rates.read_rows_per_core_s + comparing,
        files=work.slices + 1,
        bytes=keys * KEY_BYTES,
        memory=PROCESS_BYTES + held * KEY_MEMORY,
        spec=work.slices * 1.5 * REF_BYTES,
    )


def _ingest(work: Work, rates: Rates) -> Need:
    passages = work.slice_passages
    tokenising = passages * work.passage_tokens / rates.tokens_per_core_s
    cutting = passages / rates.cut_passages_per_core_s
    cut = work.part_rows * work.passage_tokens * CUT_MEMORY
    return Need(
        "ingest",
        work.slices,
        "task",
        work_s=tokenising + cutting,
        files=2 + 2 * work.slice_parts,
        bytes=work.slice_text + passages * work.passage_bytes + work.slice_documents * KEY_BYTES,
        memory=PROCESS_BYTES + 2 * work.slice_text + cut,
        spec=3 * REF_BYTES,
        gathered=work.parts * 2 * REF_MEMORY,
    )


def _embed(work: Work, rates: Rates) -> Need:
    rows = work.part_rows
    return Need(
        "embed",
        work.parts,
        "model",
        work_s=read_parts_s(work, rows, rates),
        files=3,
        bytes=rows * work.row_bytes,
        memory=PROCESS_BYTES
        + model_memory(work.encoder)
        + rows * (work.passage_tokens * 8 + work.dim * 10),
        spec=2 * REF_BYTES,
        flops=forward_flops(work.encoder, rows * (work.passage_tokens + SPECIALS)),
        model=work.encoder,
        gathered=work.parts * 4 * REF_MEMORY,
        steps=3,
    )


def _sample(work: Work, rates: Rates) -> Need:
    """A few rows of nearly every part, and each is read whole."""
    drawn = min(work.parts, work.index.train_rows)
    together = min(drawn, SAMPLED_PARTS_PER_UNIT)
    rows = together * work.part_rows
    return Need(
        "sample",
        math.ceil(drawn / SAMPLED_PARTS_PER_UNIT),
        "task",
        work_s=read_parts_s(work, rows, rates),
        files=part_files(work, rows),
        bytes=rows * work.row_bytes,
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
        bytes=rows * work.row_bytes + work.sizes.shard,
        memory=PROCESS_BYTES + work.sizes.build + part_memory(work),
        spec=work.shard_parts * PART_SPEC_BYTES,
    )


def _audit(work: Work, rates: Rates) -> Need:
    """Nearest documents by one product, then a search at every nprobe of the grid; of each document
    a score, and one at each effort."""
    rows, grid = work.shard_rows, probe_grid(work.index.nlist)
    efforts = len(grid) * len(depth_grid(work.audited, work.audited_depth))
    exact = work.questions * rows * work.dim
    seen = work.index.searched(work.dim) / work.dim
    probed = exact * seen * sum(grid) / work.index.nlist
    found = work.questions * followed(work.audited) * 4 * (1 + efforts)
    return Need(
        "audit",
        work.shards,
        "task",
        work_s=read_parts_s(work, rows, rates)
        + exact / rates.fp32_products_per_core_s
        + probed / rates.int8_products_per_core_s,
        files=part_files(work, rows) + 2,
        bytes=rows * work.row_bytes + work.sizes.shard + found,
        memory=PROCESS_BYTES + 2 * work.sizes.shard + part_memory(work) + 2 * found,
        spec=work.shard_parts * PART_SPEC_BYTES,
        gathered=5 * found,  # two shards' tables, both together, and what is left
    )
