"""An encoder whose pooled vector becomes scores: Transformer, Pooling, Dense."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from shardrank.core.cards import RerankerCard
from shardrank.models.encoders.dense import load_transformer
from shardrank.models.encoders.embedder import Side, prompt_tokens
from shardrank.models.encoders.pooling import Pool, make_pool
from shardrank.models.encoders.steps import Step, make_steps
from shardrank.models.encoders.width import tower_width
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import Tower
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import Runner
from shardrank.models.forward.network import Network
from shardrank.models.text.tokens import FastTokeniser


@dataclass(frozen=True, eq=False)
class HeadedClassifier:
    """A transformer, a pooling, and maps in float32 (protocol: Classifier)."""

    network: Network
    pool: Pool
    steps: Sequence[Step]
    labels: int

    @property
    def takes_types(self) -> bool:
        return self.network.takes_types

    @property
    def implied_type(self) -> int | None:
        return self.network.implied_type

    def __call__(self, batch: Batch) -> Tensor:
        scores = self.pool(self.network, batch)
        for step in self.steps:
            scores = step(scores)
        return scores


def load_headed(
    head: Tower, card: RerankerCard, tokeniser: FastTokeniser, trusted: bool, runner: Runner
) -> HeadedClassifier:
    """The way from a pair's tokens to its scores, on the runner's device.

    The prompt's tokens are at a pair's front, as at a text's (sentence-transformers 6.2,
    Transformer._get_prompt_length): where the pooling leaves them out, as many do not count.

    Raises:
        InputError: weights are missing, or of other shapes than the folder says.
    """
    assert isinstance(head.source, Layout)
    assert head.pooling is not None
    left_out = card.prompt and not head.pooling.includes_prompt
    skip = prompt_tokens(tokeniser, Side(card.max_tokens, card.prompt)) if left_out else 0
    return HeadedClassifier(
        load_transformer(head.source, card.dtype, trusted, runner),
        make_pool(head.pooling.modes, skip),
        make_steps(head.steps, runner.device),
        tower_width(head),
    )
