"""What the stages of the index flow need, from the way in which they read and write."""

import math

from shardrank.forecast.built_needs import index_over, vector_index
from shardrank.forecast.column_needs import column_needs
from shardrank.forecast.model import SPECIALS
from shardrank.forecast.needs import PROCESS_BYTES, REF_BYTES, REF_MEMORY, Need
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import KEY_BYTES, Work
from shardrank.version.sizing import KEYS_PER_RANGE

#: Bytes of a document's key in memory.
KEY_MEMORY = 80

#: Bytes in memory of each token of a part that is cut: text, span and id.
CUT_MEMORY = 12


def index_needs(work: Work, rates: Rates) -> list[Need]:
    """Of all stages in order, for a new index."""
    made = [stage(work, rates) for stage in (_scan, _compare, _ingest, _embed)]
    further = [need for column in work.columns for need in column_needs(work, column, rates)]
    indexes = [need for column in work.columns for need in index_over(work, column, rates)]
    return [*made, *further, *vector_index(work, "", rates), *indexes]


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
        tokenises=True,
    )


def _embed(work: Work, rates: Rates) -> Need:
    rows = work.part_rows
    return Need(
        "embed",
        work.parts,
        "model",
        work_s=rows * work.row_bytes / rates.part_bytes_per_core_s
        + rates.look_up_s(work.encoder, work.passage_tokens, rows),
        files=3,
        bytes=rows * work.row_bytes,
        memory=PROCESS_BYTES
        + work.encoder.memory
        + rows * (work.passage_tokens * 8 + work.dim * 10),
        spec=2 * REF_BYTES,
        flops=work.encoder.flops(work.passage_tokens + SPECIALS, rows),
        model=work.encoder,
        gathered=work.parts * 4 * REF_MEMORY,
        steps=3,
    )
