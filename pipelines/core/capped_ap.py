"""Average precision of the first k, divided by what could be found among k.

INQUIRE's AP@50 (inquire-benchmark/INQUIRE, src/metrics.py, `ap_at_k`; arXiv:2411.02537, appendix):
trec_eval divides by all relevant documents, so that of 200 nobody could find more than 50 / 200.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ir_measures import Measure, ParamInfo
from ir_measures.util import Metric

from shardrank.core.arrays import Bool


def capped_ap(found: Bool, relevant: int) -> float:
    """Σ P@i over the relevant places i of the first k, divided by min(relevant, k).

    Args:
        found: bool[k], whether the i-th document is relevant; false where there is none.
        relevant: documents that are relevant, at least one.
    """
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    return float(precision[found].sum() / min(relevant, len(found)))


_PARAMETERS = {
    "cutoff": ParamInfo(dtype=int, required=True),  # type: ignore[no-untyped-call]
    "rel": ParamInfo(dtype=int, default=1),  # type: ignore[no-untyped-call]
}


class _CappedAP(Measure):
    """The measure, which ir-measures computes as one that is defined at runtime."""

    __name__ = "CappedAP"
    NAME = __name__
    PRETTY_NAME = "Average precision, divided by what k documents can hold"
    SUPPORTED_PARAMS = _PARAMETERS

    def runtime_impl(self, qrels: Any, run: Any) -> Iterator[Metric]:
        """Of each query that has documents; ir-measures hands over data frames, sorted."""
        k, least = self.params["cutoff"], self["rel"]
        relevant = qrels[qrels["relevance"] >= least].groupby("query_id")["doc_id"].agg(set)
        for query, documents in run.groupby("query_id")["doc_id"]:
            mine = relevant.get(query, set())
            found = np.zeros(k, np.bool_)
            first = [doc in mine for doc in documents.head(k)]
            found[: len(first)] = first
            yield Metric(query, self, capped_ap(found, len(mine)) if mine else 0.0)


CappedAP = _CappedAP()  # type: ignore[no-untyped-call]
