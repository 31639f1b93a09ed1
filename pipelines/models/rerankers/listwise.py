"""A language model that puts windows of passages in order.

By the logits of the first token (FIRST: Gangi Reddy et al., EMNLP 2024, arXiv 2406.15657), or as it
writes the order (RankGPT: Sun et al., EMNLP 2023, arXiv 2304.09542; RankZephyr, arXiv 2312.02724).
Windows slide from the end of the list to its front.
"""

from collections.abc import Sequence

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import ListReranker, ListScores
from shardrank.core.reranker_settings import ListwiseSettings
from shardrank.models.rerankers.heard import Heard
from shardrank.models.rerankers.judging import Judge, Reading, make_judge
from shardrank.models.rerankers.language import Language
from shardrank.orders.answers import Permutation
from shardrank.orders.windows import Windows


class ListwiseReranker:
    """An order of passages, window by window (protocol: ListReranker)."""

    def __init__(self, windows: Windows, judge: Judge, keeps_answers: bool) -> None:
        self._windows = windows
        self._judge = judge
        self._keeps = keeps_answers

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """The passages' ranks. A window of which the model says nothing keeps its order, and is
        counted; a query with no other windows has no scores."""
        heard = Heard(len(passages), self._keeps)
        order = np.arange(len(passages), dtype=np.int32)
        for window in self._windows.windows(len(passages)):
            if len(window) > 1:
                places = order[window.start : window.stop].copy()
                judged = self._judge(query, [passages[place] for place in places])
                heard.take(places, judged)
                if judged.said is not None:
                    order[window.start : window.stop] = places[judged.said]
        return heard.ranked(order)


def make_listwise(settings: ListwiseSettings, language: Language) -> ListReranker:
    """The reranker that the settings ask for.

    Raises:
        SettingsError: the vocabulary or the prompt has too few identifiers for a window.
    """
    windows = Windows(settings.window, settings.stride, settings.passes)
    shown = min(settings.window, settings.depth)
    judge = make_judge(settings, language, shown, Reading(_every, _named, mends=True))
    return ListwiseReranker(windows, judge, settings.keep_answers)


def _every(names: Sequence[str]) -> str:
    return " > ".join(names)


def _named(found: Permutation) -> Int32 | None:
    """The order of an answer that names any passage, mended by RankGPT's rule."""
    return found.order if found.parsed else None
