"""An encoder as a reranker of lists: a prompt that holds a query and the first of its passages is
embedded as a new query, and all passages are put in order by their cosine with it (E²Rank: Liu et
al. 2025, arXiv 2510.22733).

The prompt goes through the folder's chat template, and its vector is that of its last token. A
passage is embedded as the index embeds it, and ends in the token that the prompt's file names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int32
from shardrank.core.cards import RerankerCard
from shardrank.core.protocols import ListScores
from shardrank.core.reranker_settings import EnrichedSettings
from shardrank.models.cards import check_fingerprint, read_encoder_card, settled
from shardrank.models.encoders.dense import load_tower
from shardrank.models.encoders.embedder import Embedder, Side
from shardrank.models.enriched_cards import (
    METHODS,
    encoder_of,
    end_of_passages,
    enriched_card,
    query_layout,
)
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.rerankers.listed import AskingList
from shardrank.models.text.chat import Chat
from shardrank.models.text.prompts import parse_prompt


@dataclass(frozen=True)
class PassageSide:
    """How passages become vectors.

    Attributes:
        side: the longest passage, and what each begins with.
        end: int32[0 or 1], the token that each ends in beside those of the tokeniser.
    """

    embedder: Embedder
    side: Side
    end: Int32

    def embed(self, passages: Sequence[str]) -> tuple[Float32, Bool]:
        """float32[n, dim], and bool[n], whether a passage was cut."""
        tokeniser = self.embedder.tokeniser
        room = self.side.max_tokens - tokeniser.specials - len(self.end)
        found = tokeniser.encode([self.side.prompt + text for text in passages])
        rows = [np.concatenate([each.ids[:room], self.end]) for each in found]
        cut = np.array([len(each.ids) > room for each in found], np.bool_)
        return self.embedder.embed(rows, self.side), cut


class EnrichedReranker:
    """Cosines of passages with a query that has seen the first of them (protocol: ListReranker)."""

    def __init__(
        self, passages: PassageSide, queries: Embedder, asking: AskingList, listed: int
    ) -> None:
        self._passages = passages
        self._queries = queries.of_inputs()
        self._asking = asking
        self._listed = listed

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """Scores of the passages; where the prompt has no room for 8 tokens of each, none."""
        listed = passages[: self._listed]
        names = [str(number + 1) for number in range(len(listed))]
        closing = self._asking.chat.closing
        asked = self._asking.about(query, listed, names, answer=len(closing))
        if asked is None:
            none = np.full(len(passages), np.nan, np.float32)
            return ListScores(none, np.zeros(len(passages), np.bool_), {"too_long": 1})
        ids = np.concatenate([asked.input, closing])
        [vector] = self._queries.embed([ids], Side(self._asking.limit, ""))
        vectors, truncated = self._passages.embed(passages)
        truncated[: len(listed)] |= asked.truncated
        return ListScores(vectors @ vector, truncated, {"calls": 1 + len(passages)})


def load_enriched(
    settings: EnrichedSettings, device: str, planned: RerankerCard
) -> EnrichedReranker:
    """The reranker that was planned as `planned`, whose prompt it holds.

    Raises:
        InputError: the model is absent, incomplete or unsupported.
        IntegrityError: the model here is another one.
    """
    own = settled(settings, planned)
    found = enriched_card(own, planned.prompt)
    check_fingerprint(settings.model, planned.fingerprint, found.fingerprint)
    encoder = encoder_of(own)
    card = read_encoder_card(encoder, renders=True)
    towers = read_encoder_folder(encoder).towers
    documents = load_tower(towers.documents, encoder, card, device)
    one = towers.documents == towers.queries
    queries = documents if one else load_tower(towers.queries, encoder, card, device)
    prompt = parse_prompt(planned.prompt, METHODS)
    asking = AskingList(
        chat=Chat(query_layout(own).transformer, queries.tokeniser),
        tokeniser=queries.tokeniser,
        prompt=prompt,
        limit=card.query_max_tokens,
        passage_tokens=settings.passage_tokens,
    )
    passages = PassageSide(
        embedder=documents,
        side=Side(card.max_tokens, card.document_prompt),
        end=end_of_passages(documents.tokeniser, prompt),
    )
    return EnrichedReranker(passages, queries, asking, settings.passages)
