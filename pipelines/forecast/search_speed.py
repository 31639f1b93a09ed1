"""How long a shard is searched, by the kind of its index: seconds of a core for all queries."""

import math
from collections.abc import Callable

from shardrank.forecast.columns import Column
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work
from shardrank.version.sizing import Kind


def search_s(work: Work, column: Column | None, rates: Rates) -> float:
    """Of a work that is `Work.over` the column; none: the first one, as it is."""
    if work.index.kind in _OF_COLUMNS:
        assert column is not None
        return _OF_COLUMNS[work.index.kind](work, column, rates)
    return _exact(work, rates) if work.index.kind == "exact" else _lists(work, rates)


def maxsim_s(pairs: float, passages: float, column: Column, rates: Rates) -> float:
    """Of so many pairs, of so many different passages whose vectors are read or decoded."""
    takes = column.takes
    products = 2.0 * pairs * takes.asked * takes.held * takes.dim
    decoded = passages * takes.held * takes.dim
    return products / rates.maxsim_flops_per_core_s + decoded / rates.decoded_components_per_core_s


def terms_s(pairs: float, passages: float, column: Column, rates: Rates) -> float:
    """Of so many pairs of sparse vectors, of so many different passages that are read: each term of
    a query is looked for among those of a passage, by halves."""
    takes = column.takes
    steps = pairs * takes.asked * math.log2(1 + takes.held)
    read = passages * takes.held / rates.decoded_components_per_core_s
    return steps / rates.scattered_numbers_per_core_s + read


def _refining(work: Work, rates: Rates) -> float:
    return work.queries * work.candidates / rates.refined_pairs_per_core_s


def _exact(work: Work, rates: Rates) -> float:
    """All products in 8 bits, and exact scores of what may be among the best."""
    products = work.queries * work.shard_rows * work.dim
    scored = work.queries * work.candidates / rates.exact_pairs_per_core_s
    rounded = work.shard_rows * work.dim / rates.scattered_numbers_per_core_s
    return products / rates.exact_products_per_core_s + scored + rounded


def _lists(work: Work, rates: Rates) -> float:
    """Lists chosen and scanned, hits refined. All shards share the codec's lists, and yet each
    chooses them anew for every query."""
    choosing = work.queries * work.index.nlist * work.dim
    scanning = work.queries * work.shard_rows * work.dim * work.nprobe / work.index.nlist
    return (choosing + scanning) / rates.int8_products_per_core_s + _refining(work, rates)


def _binary(work: Work, column: Column, rates: Rates) -> float:
    """Codes of all passages, of which the best are scored by the vectors."""
    products = work.queries * work.shard_rows * column.takes.compared
    return products / rates.code_products_per_core_s + _refining(work, rates)


def _inverted(work: Work, column: Column, rates: Rates) -> float:
    terms = work.queries * column.takes.asked * work.shard_rows / rates.posting_rows_per_core_s
    return terms + work.queries * work.shard_rows / rates.ranked_rows_per_core_s


def _maxsim(work: Work, column: Column, rates: Rates) -> float:
    return maxsim_s(work.queries * work.shard_rows, work.shard_rows, column, rates)


def _plaid(work: Work, column: Column, rates: Rates) -> float:
    """Centroids for each token, the passages met by these, and MaxSim of the best; see
    `shardrank.version.recall.TokenCosts`."""
    takes, lists, rows = column.takes, max(1, work.index.nlist), work.shard_rows
    near = work.queries * takes.asked * lists * takes.dim / rates.int8_products_per_core_s
    met = min(1.0, takes.asked * min(work.nprobe, lists) * takes.held / lists)
    tokens = work.queries * rows * met * takes.asked * takes.held
    pairs = work.queries * work.candidates
    scored = maxsim_s(pairs, min(pairs, rows), column, rates)
    return near + tokens / rates.centroid_tokens_per_core_s + scored


_OF_COLUMNS: dict[Kind, Callable[[Work, Column, Rates], float]] = {
    "binary": _binary,
    "inverted": _inverted,
    "maxsim": _maxsim,
    "plaid": _plaid,
}
