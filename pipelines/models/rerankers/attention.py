"""In-context reranking: how much a query attends to each passage of its list (Chen et al. 2024,
arXiv 2410.02642, by their code of the method that they call masked NA calibration).

The passages come first, then the query. A token of a passage is given, by a token of the query's
part on average, the attention of all heads and layers; less what it is given where a query without
content is asked, since some tokens draw attention whatever is asked. A passage's score is the sum
over its tokens, but for those that lie more than two standard deviations below their mean.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.core.protocols import Decoder, ListReranker, ListScores
from shardrank.core.reranker_settings import AttentionSettings
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listed import AskedList, AskingList
from shardrank.models.rerankers.spans import token_ranges

#: What the passages are asked without asking anything.
_CONTENT_FREE = "N/A"


class AttentionReranker:
    """Scores of passages by the attention that they are given (protocol: ListReranker)."""

    def __init__(self, model: Decoder, asking: AskingList, best_last: bool) -> None:
        self._model = model
        self._asking = asking
        self._best_last = best_last

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """Scores of the passages; where not 8 tokens of each fit beside the query, none."""
        order = np.arange(len(passages))[:: -1 if self._best_last else 1]
        names = [str(number + 1) for number in range(len(passages))]
        prompts = self._asking.about_each(
            (query, _CONTENT_FREE), [passages[i] for i in order], names, answer=0
        )
        scores = np.full(len(passages), np.nan, np.float32)
        truncated = np.zeros(len(passages), np.bool_)
        if not prompts:
            return ListScores(scores, truncated, {"too_long": 1})
        asked, unasked = self._watched(prompts)
        scores[order] = [calibrated(a, b) for a, b in zip(asked, unasked, strict=True)]
        truncated[order] = prompts[0].truncated
        return ListScores(scores, truncated, {"calls": len(prompts)})

    def _watched(self, prompts: Sequence[AskedList]) -> Iterator[list[Float32]]:
        """Of each prompt and passage the attention that its tokens are given, float32[tokens]."""
        ranges = [token_ranges(each, self._asking.tokeniser) for each in prompts]
        inputs = [each.input for each in prompts]
        asking = [range(own[-1].start, len(ids)) for own, ids in zip(ranges, inputs, strict=True)]
        found = self._model.attended(inputs, asking)
        for given, places, (_, *passages, _) in zip(found, asking, ranges, strict=True):
            shares = given / np.float32(len(places))
            yield [shares[tokens.start : tokens.stop] for tokens in passages]


def calibrated(asked: Float32, unasked: Float32) -> float:
    """The score of a passage from the attention float32[tokens] with its query, and without."""
    found = asked.astype(np.float64) - unasked
    if len(found) < 2:  # one has no deviation
        return float(found.sum())
    return float(found[found >= found.mean() - 2 * found.std(ddof=1)].sum())


def make_attention(settings: AttentionSettings, language: Language) -> ListReranker:
    """The reranker that the settings ask for."""
    asking = AskingList(
        chat=language.chat,
        tokeniser=language.tokeniser,
        prompt=language.prompt,
        limit=language.limit,
        passage_tokens=settings.passage_tokens,
    )
    return AttentionReranker(language.model, asking, settings.best_last)
