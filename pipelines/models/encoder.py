"""A bi-encoder on one device: texts or stored ids → vectors (Reimers & Gurevych 2019)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipelines.core.protocols import Float32, Int32
from pipelines.core.settings import EncoderSettings
from pipelines.models.batch import Batch
from pipelines.models.card import EncoderCard, check_fingerprint, read_encoder_card
from pipelines.models.folder.encoder import read_encoder_folder
from pipelines.models.folder.layout import Layout
from pipelines.models.folder.packable import is_packable
from pipelines.models.forward import Inputs, Runner, make_runner
from pipelines.models.network import Network, told_types
from pipelines.models.packed import PackedBert
from pipelines.models.pooling import POOLS
from pipelines.models.state import read_state
from pipelines.models.tokens import FastTokeniser, load_tokeniser


class TransformerEncoder:
    """A transformer, a pooling, perhaps a cut and a norm (protocol: Encoder).

    Equal input lists give equal bytes on one machine and thread count. The vector of one text may
    differ in the last bits between two lists, since the size of a product orders its sums.
    """

    def __init__(
        self, network: Network, tokeniser: FastTokeniser, card: EncoderCard, runner: Runner
    ) -> None:
        self.card = card
        self.tokeniser = tokeniser
        self._network = network
        self._runner = runner
        self._pool = POOLS[card.pooling]
        self._template = tokeniser.single_template()
        self._typed = told_types(network, tokeniser.typed, self._template.all_types)

    @property
    def dim(self) -> int:
        return self.card.dim

    def encode_ids(self, ids: Sequence[Int32]) -> Float32:
        """float32[n, dim]: one vector per token list, which is cut where it is too long.

        The lists hold no special tokens; a prompt, where there is one, is in them already.
        """
        room = self.card.max_tokens - self.tokeniser.specials
        lengths = np.array([min(len(row), room) for row in ids], np.int32) + self.tokeniser.specials

        def row(i: int) -> Int32:
            return self._template.ids(ids[i][:room])

        def types(i: int) -> Int32:
            return self._template.types(min(len(ids[i]), room))

        inputs = Inputs(lengths.astype(np.int32), row, types if self._typed else None)
        return self._runner.run(inputs, self._vectors, self.dim)

    def encode_queries(self, texts: Sequence[str]) -> Float32:
        """float32[n, dim]: one vector per query, tokenised together with the query prompt."""
        prompted = [self.card.query_prompt + text for text in texts]
        return self.encode_ids([spans.ids for spans in self.tokeniser.encode(prompted)])

    def _vectors(self, batch: Batch) -> Tensor:
        vectors = self._pool(self._network, batch)[:, : self.dim]  # float32[b, dim]
        return torch.nn.functional.normalize(vectors, dim=1) if self.card.normalise else vectors


def load_encoder(
    settings: EncoderSettings, device: str, fingerprint: str | None = None
) -> TransformerEncoder:
    """Load the encoder that the settings name.

    Args:
        settings: the [encoder] table.
        device: torch's name of a device, such as "cpu" or "cuda".
        fingerprint: that of the card whose vectors are stored; none where there are none yet.

    Raises:
        InputError: the model is absent, incomplete or unsupported.
        IntegrityError: the model here is not the one with that fingerprint.
        SettingsError: a setting asks for more than the model has.
    """
    card = read_encoder_card(settings)
    check_fingerprint(settings.model, fingerprint, card.fingerprint)
    source = read_encoder_folder(settings).towers.documents.source
    assert isinstance(source, Layout)
    runner = make_runner(source, settings.batch_tokens, device, card.dtype)
    network = _load_network(source, card.dtype, settings.trust_remote_code, runner)
    return TransformerEncoder(network, load_tokeniser(source), card, runner)


def _load_network(layout: Layout, dtype: str, trusted: bool, runner: Runner) -> Network:
    if is_packable(layout.config):
        state = read_state(layout).moved(runner.device)
        return PackedBert(state, layout.config, dtype)
    from pipelines.models.padded import load_network  # transformers takes seconds to import

    return load_network(layout, dtype, trusted, runner.device)
