"""A learned sparse encoder on one device: texts → terms of its vocabulary, with weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor

from shardrank.core.arrays import Int32, Int64
from shardrank.core.cards import SparseCard
from shardrank.core.errors import InputError
from shardrank.core.model_settings import SparseSettings
from shardrank.core.sparse import SparseRows, strongest
from shardrank.models.cards import check_fingerprint, settled
from shardrank.models.encoders.embedder import Side
from shardrank.models.encoders.own_terms import CountWeigher, load_own
from shardrank.models.encoders.single_inputs import in_order, single_inputs
from shardrank.models.encoders.splade import weights
from shardrank.models.encoders.term_table import TermTable, load_terms
from shardrank.models.encoders.vdr import load_space
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.own_terms import CountTower, OwnTower
from shardrank.models.folder.packable import is_packable_masked
from shardrank.models.folder.sparse_folder import read_sparse_folder
from shardrank.models.folder.sparse_modules import (
    MaskedTower,
    SparseTower,
    SparseTowers,
    SpladePooling,
    TermTower,
)
from shardrank.models.folder.vdr import SpaceTower
from shardrank.models.forward.batches import Runner, make_runner
from shardrank.models.forward.language_model import LanguageModel, PackedLanguageModel, room
from shardrank.models.forward.state import read_state
from shardrank.models.sparse_cards import read_sparse_card
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser


class Weigher(Protocol):
    """Token lists without special tokens → terms."""

    @property
    def tokeniser(self) -> FastTokeniser: ...

    def weigh(self, ids: Sequence[Int32], side: Side) -> SparseRows:
        """All terms of each list, which is cut where it is too long."""


class SparseEncoder:
    """Texts → rows of terms: ids of the vocabulary, ascending, with weights above zero.

    A weight is NaN or infinite where the model's numbers overflow, as fp16 may. Queries have
    their own way where a Router parts them; each is loaded when it is first asked for, so that no
    worker holds what it does not run.

    Equal input lists give equal bytes on one machine and thread count. The weights of one text may
    differ in the last bits between two lists, since the size of a product orders its sums.
    """

    def __init__(
        self, towers: SparseTowers, card: SparseCard, load: Callable[[SparseTower], Weigher]
    ) -> None:
        self.card = card
        self._towers = towers
        self._load = load
        if self._is_one:
            self._documents  # noqa: B018  # loads it

    def encode_documents(self, texts: Sequence[str]) -> SparseRows:
        """The terms of each text, title and text of a passage in one; without the prompt, which is
        put before it here."""
        side = Side(self.card.max_tokens, self.card.document_prompt)
        return _encode(self._documents, texts, side, self.card.top)

    def encode_queries(self, texts: Sequence[str]) -> SparseRows:
        """The terms of each query, likewise."""
        side = Side(self.card.query_max_tokens, self.card.query_prompt)
        return _encode(self._queries, texts, side, self.card.query_top)

    @property
    def _is_one(self) -> bool:
        return self._towers.documents == self._towers.queries

    @cached_property
    def _documents(self) -> Weigher:
        return self._load(self._towers.documents)

    @cached_property
    def _queries(self) -> Weigher:
        return self._documents if self._is_one else self._load(self._towers.queries)


@dataclass(frozen=True, eq=False)
class MaskedWeigher:
    """A masked language model and its pooling (protocol: Weigher)."""

    model: LanguageModel
    tokeniser: FastTokeniser
    pooling: SpladePooling
    runner: Runner

    @torch.inference_mode()
    def weigh(self, ids: Sequence[Int32], side: Side) -> SparseRows:
        most = room(self.model.vocabulary, self.runner.device)
        decode = self._decode(most)
        order: list[Int64] = []
        found: list[SparseRows] = []
        for batch in self.runner.batches(single_inputs(self.model, self.tokeniser, ids, side)):
            order.append(batch.rows)
            states = self.model.states(batch)
            found += weights(states, batch.sizes, decode, self.pooling, most)
        return in_order(found, order)

    def _decode(self, most: int) -> Callable[[Tensor], Tensor]:
        """From states to logits, in a space for so many tokens."""
        decoder = self.model.decoder
        return (lambda x: x) if decoder is None else partial(decoder, space=decoder.space(most))


@dataclass(frozen=True, eq=False)
class TableWeigher:
    """A table of weights, on the CPU (protocol: Weigher)."""

    table: TermTable
    tokeniser: FastTokeniser

    def weigh(self, ids: Sequence[Int32], side: Side) -> SparseRows:
        return self.table.terms([row[: side.max_tokens] for row in ids])


def load_sparse(
    settings: SparseSettings, device: str, planned: SparseCard | None = None
) -> SparseEncoder:
    """Load the sparse encoder that the settings name.

    Args:
        settings: a table [[encoder]] with family = "sparse".
        device: torch's name of a device, such as "cpu" or "cuda".
        planned: the card that the run was planned with, as which the model here must be.

    Raises:
        InputError: the model is absent, incomplete or unsupported. Weights of two towers are
            looked at when they are first asked for.
        IntegrityError: the model here is another one.
        SettingsError: a setting asks for more than the model has.
    """
    card = read_sparse_card(settled(settings, planned))
    check_fingerprint(settings.model, (planned or card).fingerprint, card.fingerprint)
    towers = read_sparse_folder(settings).towers
    load = partial(_load_tower, settings=settings, card=card, device=device)
    return SparseEncoder(towers, card, load)


def _encode(weigher: Weigher, texts: Sequence[str], side: Side, most: int | None) -> SparseRows:
    spans = weigher.tokeniser.encode([side.prompt + text for text in texts])
    return strongest(weigher.weigh([each.ids for each in spans], side), most)


def _load_tower(
    tower: SparseTower, settings: SparseSettings, card: SparseCard, device: str
) -> Weigher:
    tokeniser = load_tokeniser(tower.source)
    if isinstance(tower, TermTower):
        return TableWeigher(load_terms(tower), tokeniser)
    if isinstance(tower, CountTower):
        return CountWeigher(tower, tokeniser)
    runner = make_runner(tower.source, settings.batch_tokens, device, card.dtype)
    if isinstance(tower, OwnTower):
        return load_own(tower, tokeniser, runner, card.dtype)
    if isinstance(tower, SpaceTower):
        return load_space(tower, tokeniser, runner, card.dtype)
    model = _load_model(tower.source, card.dtype, settings.trust_remote_code, runner)
    _check_width(tower, model, card)
    return MaskedWeigher(model, tokeniser, tower.pooling, runner)


def _load_model(layout: Layout, dtype: str, trusted: bool, runner: Runner) -> LanguageModel:
    if is_packable_masked(layout.config):
        state = read_state(layout).moved(runner.device)
        return PackedLanguageModel(state, layout.config, dtype)
    # transformers takes seconds to import
    from shardrank.models.forward.padded_language import load_language_model

    return load_language_model(layout.transformer, dtype, trusted, runner.device)


def _check_width(tower: MaskedTower, model: LanguageModel, card: SparseCard) -> None:
    if model.vocabulary != card.vocabulary:
        raise InputError(
            f"{tower.source.transformer} gives {model.vocabulary} logits a token, where its "
            f"config.json says {card.vocabulary}.",
            "Use another model.",
        )
