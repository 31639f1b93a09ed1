"""A language model that names the best of a few passages at a time (Zhuang et al., SIGIR 2024,
arXiv 2310.09497), by the logits of their labels or in words, perhaps after some reasoning (Rank-R1,
arXiv 2503.06034)."""

from collections.abc import Sequence

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import ListReranker, ListScores
from shardrank.core.reranker_settings import SetwiseSettings
from shardrank.models.rerankers.heard import Heard
from shardrank.models.rerankers.judging import Judge, Reading, make_judge
from shardrank.models.rerankers.language import Language
from shardrank.orders.answers import Permutation
from shardrank.orders.sets import settled, setwise


class SetwiseReranker:
    """The best passages in order, then the others as they were (protocol: ListReranker)."""

    def __init__(self, settings: SetwiseSettings, judge: Judge) -> None:
        self._settings = settings
        self._judge = judge

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """The passages' ranks. Of a set of which the model says nothing, the one that stood best so
        far stays so, and the set is counted; a query with no other sets has no scores."""
        how = self._settings
        heard = Heard(len(passages), how.keep_answers)

        def best(items: tuple[int, ...]) -> int:
            judged = self._judge(query, [passages[item] for item in items])
            heard.take(np.array(items, np.int32), judged)
            return 0 if judged.said is None else int(judged.said[0])

        asking = setwise(how.sort, len(passages), how.top, how.children)
        return heard.ranked(settled(asking, best))


def make_setwise(settings: SetwiseSettings, language: Language) -> ListReranker:
    """The reranker that the settings ask for.

    Raises:
        SettingsError: the vocabulary or the prompt has too few labels for a set.
    """
    shown = min(1 + settings.children, settings.depth)
    judge = make_judge(settings, language, shown, Reading(_longest, _only, mends=False))
    return SetwiseReranker(settings, judge)


def _longest(names: Sequence[str]) -> str:
    return max(names, key=len)


def _only(found: Permutation) -> Int32 | None:
    """The order of an answer that names one passage, and nothing else."""
    named = len(found.order) - found.missing
    return found.order if named == 1 and not found.foreign else None
