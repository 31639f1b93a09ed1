"""A bi-encoder on one device: texts or stored ids → vectors (Reimers & Gurevych 2019)."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from json import dumps

import torch

from shardrank.core.arrays import Float32, Int32
from shardrank.core.cards import EncoderCard
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.cards import check_fingerprint, read_encoder_card, settled
from shardrank.models.encoders.embedder import Embedder, Side, TableEmbedder, TransformerEmbedder
from shardrank.models.encoders.own_module import LoadedModule, load_body, load_own
from shardrank.models.encoders.static_table import load_table
from shardrank.models.encoders.steps import Finish, make_steps
from shardrank.models.encoders.width import tower_width
from shardrank.models.folder.decoder_encoder import is_packed_decoder
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modern import is_modern
from shardrank.models.folder.modules import (
    OwnModule,
    Pooling,
    StaticTable,
    StepModule,
    Tower,
    Towers,
)
from shardrank.models.folder.packable import is_packable
from shardrank.models.forward.batches import Runner, make_runner
from shardrank.models.forward.held import held
from shardrank.models.forward.network import Network
from shardrank.models.forward.packed import PackedBert
from shardrank.models.forward.packed_modern import PackedModern, read_modern_state
from shardrank.models.forward.packed_states import PackedStates
from shardrank.models.forward.state import model_files, read_decoder_state, read_state
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser


class BiEncoder:
    """Two towers, of documents and of queries, or one that is both (protocol: Encoder).

    Of two, each is loaded when it is first asked for: no worker holds what it does not run.

    Equal input lists give equal bytes on one machine and thread count. The vector of one text may
    differ in the last bits between two lists, since the size of a product orders its sums.
    """

    def __init__(
        self, towers: Towers, card: EncoderCard, load: Callable[[Tower], Embedder]
    ) -> None:
        self.card = card
        self._towers = towers
        self._load = load
        if self._is_one:
            self._documents  # noqa: B018  # loads it

    @property
    def dim(self) -> int:
        return self.card.dim

    @property
    def tokeniser(self) -> FastTokeniser:
        """That of documents."""
        return self._documents.tokeniser

    def encode_ids(self, ids: Sequence[Int32]) -> Float32:
        """float32[n, dim]: one vector per document's token list, cut where it is too long.

        The lists hold no special tokens; a prompt, where there is one, is in them already.
        """
        side = Side(self.card.max_tokens, self.card.document_prompt)
        return self._documents.embed(ids, side)

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        """float32[n, dim]: one vector per query, tokenised together with the query prompt."""
        side = Side(self.card.query_max_tokens, self.card.query_prompt)
        spans = self._queries.tokeniser.encode([side.prompt + text for text in texts])
        return self._queries.embed([each.ids for each in spans], side)

    def encode_documents(self, texts: Sequence[str]) -> Float32:
        """float32[n, dim]: one vector per text, tokenised together with the document prompt."""
        spans = self.tokeniser.encode([self.card.document_prompt + text for text in texts])
        return self.encode_ids([each.ids for each in spans])

    @property
    def _is_one(self) -> bool:
        return self._towers.documents == self._towers.queries

    @cached_property
    def _documents(self) -> Embedder:
        return self._load(self._towers.documents)

    @cached_property
    def _queries(self) -> Embedder:
        return self._documents if self._is_one else self._load(self._towers.queries)


def load_encoder(
    settings: EncoderSettings, device: str, planned: EncoderCard | None = None
) -> BiEncoder:
    """Load the encoder that the settings name.

    Args:
        settings: the [encoder] table.
        device: torch's name of a device, such as "cpu" or "cuda".
        planned: the card that the run was planned with, as which the model here must be.

    Raises:
        InputError: the model is absent, incomplete or unsupported. Weights of two towers are
            looked at when they are first asked for.
        IntegrityError: the model here is another one.
        SettingsError: a setting asks for more than the model has.
    """
    card = read_encoder_card(settled(settings, planned))
    check_fingerprint(settings.model, (planned or card).fingerprint, card.fingerprint)
    towers = read_encoder_folder(settings).towers
    return BiEncoder(towers, card, partial(load_tower, settings=settings, card=card, device=device))


def load_tower(tower: Tower, settings: EncoderSettings, card: EncoderCard, device: str) -> Embedder:
    """One tower on the device, as the card has it; raises as `load_encoder`."""
    tokeniser = load_tokeniser(tower.source)
    if isinstance(tower.source, StaticTable):
        finish = _finish(tower, tower.steps, card, torch.device("cpu"))
        return TableEmbedder(load_table(tower.source), tokeniser, finish)
    runner = make_runner(tower.source, settings.batch_tokens, device, card.dtype)
    network = (
        load_body(tower.body, tokeniser, runner.device)
        if tower.body
        else load_transformer(tower.source, card.dtype, settings.trust_remote_code, runner)
    )
    pooling, steps = _pooled(tower, runner.device)
    finish = _finish(tower, steps, card, runner.device)
    return TransformerEmbedder(network, tokeniser, pooling, finish, runner)


def _pooled(
    tower: Tower, device: torch.device
) -> tuple[Pooling | LoadedModule, Sequence[StepModule]]:
    """What pools, and the steps behind it: an author's own module may stand for a pooling."""
    if tower.pooling is not None:
        return tower.pooling, tower.steps
    own, *steps = tower.steps
    assert isinstance(own, OwnModule)
    return load_own(own, device), steps


def _finish(
    tower: Tower, steps: Sequence[StepModule], card: EncoderCard, device: torch.device
) -> Finish:
    return Finish(make_steps(steps, device), tower_width(tower), card.dim, card.normalise)


def load_transformer(layout: Layout, dtype: str, trusted: bool, runner: Runner) -> Network:
    """The transformer of a folder, without padding where we have a forward pass for it.

    Raises:
        InputError: weights are missing, or transformers cannot load the folder.
    """
    if is_packable(layout.config) or is_modern(layout.config):
        how = ["encoder", dtype, str(runner.device), dumps(layout.config, sort_keys=True)]
        return held(partial(_packed, layout, dtype, runner.device), model_files(layout), how)
    if is_packed_decoder(layout.config):
        return PackedStates(read_decoder_state(layout).moved(runner.device), layout.config, dtype)
    from shardrank.models.forward.padded import load_network  # transformers takes seconds to import

    return load_network(layout.transformer, dtype, trusted, runner.device)


def _packed(layout: Layout, dtype: str, device: torch.device) -> Network:
    if is_modern(layout.config):
        return PackedModern(read_modern_state(layout).moved(device), layout.config, dtype)
    return PackedBert(read_state(layout).moved(device), layout.config, dtype)
