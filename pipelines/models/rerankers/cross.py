"""A cross-encoder on one device: (query, passage) → a logit (Nogueira & Cho 2019, 1901.04085).

Of a classifier with two labels, the score is the relevant one's logit less the other's. That is
log(p / (1 - p)) of its softmax's p, by which monoBERT ranks (Nogueira et al. 2019, 1910.14424), and
what the one logit of a classifier with a sigmoid is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from shardrank.core.arrays import Bool, Float32, Int32
from shardrank.core.cards import RerankerCard
from shardrank.core.protocols import PairScores
from shardrank.core.reranker_settings import CrossSettings
from shardrank.core.tally import spend
from shardrank.models.cards import check_fingerprint, read_reranker_card, settled
from shardrank.models.folder.modern import is_modern
from shardrank.models.folder.packable import is_packable
from shardrank.models.folder.reranker_folder import RerankerFolder, read_reranker_folder
from shardrank.models.forward.adapter import adapter_files, load_adapter
from shardrank.models.forward.batches import ModelInputs, Runner, make_runner
from shardrank.models.forward.held import held
from shardrank.models.forward.network import Classifier, told_types
from shardrank.models.forward.packed import PackedClassifier
from shardrank.models.forward.packed_modern import ModernClassifier, read_modern_state
from shardrank.models.forward.state import model_files, read_state
from shardrank.models.rerankers.headed import load_headed
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser


@dataclass(frozen=True)
class Cuts:
    """How much of each pair fits: int32[n] query tokens, int32[n] passage tokens, bool[n] cut."""

    queries: Int32
    passages: Int32
    truncated: Bool


class CrossEncoderReranker:
    """A classifier with one label or two (protocol: Reranker). Logits are raw: no sigmoid."""

    def __init__(
        self, classifier: Classifier, tokeniser: FastTokeniser, card: RerankerCard, runner: Runner
    ) -> None:
        self.card = card
        self._tokeniser = tokeniser
        self._classifier = classifier
        self._runner = runner
        self._template = tokeniser.pair_template()
        types = self._template.all_types
        self._typed = told_types(classifier, tokeniser.typed, types)

    @property
    def tokeniser(self) -> FastTokeniser:
        return self._tokeniser

    @property
    def prompt(self) -> str:
        return self.card.prompt

    def score(
        self, queries: Sequence[Int32], passages: Sequence[Int32], left: Int32, right: Int32
    ) -> PairScores:
        """Score pair i, (queries[left[i]], passages[right[i]]), for all i: int32[n] each.

        Ids hold no special tokens. A pair that is too long loses the end of its passage; only a
        query that fills the input alone is cut too, to leave the passage one token.
        """
        template, room = self._template, self.card.max_tokens - self._template.specials
        cuts = cut_pairs(_lengths(queries)[left], _lengths(passages)[right], room)

        def row(i: int) -> Int32:
            query = queries[left[i]][: cuts.queries[i]]
            return template.ids(query, passages[right[i]][: cuts.passages[i]])

        def types(i: int) -> Int32:
            return template.types(cuts.queries[i], cuts.passages[i])

        lengths = (template.specials + cuts.queries + cuts.passages).astype(np.int32)
        inputs = ModelInputs(lengths, row, types if self._typed else None)
        logits = self._runner.run(inputs, self._classifier, self._classifier.labels)
        spend("truncated", int(cuts.truncated.sum()))
        return PairScores(_relevance(logits, self.card.relevant), cuts.truncated)


def _relevance(logits: Float32, relevant: int | None) -> Float32:
    """float32[n, labels] → float32[n]: the one logit; of two the relevant less the other.

    `relevant` is which of the two; none: there is one.
    """
    if relevant is None:
        return logits[:, 0]
    return logits[:, relevant] - logits[:, 1 - relevant]


def cut_pairs(queries: Int32, passages: Int32, room: int) -> Cuts:
    """Cut passages, then queries, so that a pair has at most `room` tokens without special ones.

    Args:
        queries: int32[n], tokens of each pair's query.
        passages: int32[n], tokens of each pair's passage.
        room: tokens that fit, at least 2.
    """
    kept_queries = np.minimum(queries, room - 1)
    kept_passages = np.minimum(passages, room - kept_queries)
    truncated = (kept_queries < queries) | (kept_passages < passages)
    return Cuts(kept_queries, kept_passages, truncated)


def load_reranker(
    settings: CrossSettings, device: str, planned: RerankerCard | None = None
) -> CrossEncoderReranker:
    """Load the reranker that the settings name: an adapter on its base, or a whole model.

    Args:
        settings: the [reranker] table.
        device: torch's name of a device, such as "cpu" or "cuda".
        planned: the card that the run was planned with, as which the model here must be.

    Raises:
        InputError: the model is absent, incomplete, or no classifier with one label or two.
        IntegrityError: the model here is another one.
        SettingsError: a setting asks for more than the model has.
    """
    card = read_reranker_card(settled(settings, planned))
    check_fingerprint(settings.model, (planned or card).fingerprint, card.fingerprint)
    folder = read_reranker_folder(settings)
    runner = make_runner(folder.layout, settings.batch_tokens, device, card.dtype)
    tokeniser, trusted = load_tokeniser(folder.layout), settings.trust_remote_code
    classifier = (
        load_headed(folder.head, card, tokeniser, trusted, runner)
        if folder.head
        else _load_classifier(folder, card.dtype, trusted, runner.device)
    )
    return CrossEncoderReranker(classifier, tokeniser, card, runner)


def _load_classifier(
    folder: RerankerFolder, dtype: str, trusted: bool, device: torch.device
) -> Classifier:
    """The library's, where the folder is none that we run ourselves."""
    layout = folder.layout
    if folder.adapter is not None or is_packable(layout.config) or is_modern(layout.config):
        make = partial(_packed, folder, dtype, device)
        return held(make, _files(folder), ["reranker", dtype, str(device)])
    from shardrank.models.forward.padded import (
        load_classifier,  # transformers takes seconds to import
    )

    return load_classifier(layout.transformer, dtype, trusted, device)


def _packed(folder: RerankerFolder, dtype: str, device: torch.device) -> Classifier:
    """An adapter belongs to a BERT, which is packable."""
    layout = folder.layout
    if folder.adapter is not None:
        state = load_adapter(folder.adapter, layout)
    elif is_packable(layout.config):
        state = read_state(layout)
    else:
        state = read_modern_state(layout).moved(device)
        return ModernClassifier(state, layout.config, dtype)
    return PackedClassifier(state.moved(device), layout.config, dtype)


def _files(folder: RerankerFolder) -> list[Path]:
    """What its classifier is read from."""
    adapter = [] if folder.adapter is None else adapter_files(folder.adapter)
    return [*model_files(folder.layout), *adapter]


def _lengths(rows: Sequence[Int32]) -> Int32:
    return np.array([len(row) for row in rows], np.int32)
