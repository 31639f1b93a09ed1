"""What a column of learnt vectors learns of a sample of passages: see `learned`."""

import numpy as np
import torch

from shardrank.core.arrays import Float32, Int64
from shardrank.core.errors import InputError
from shardrank.core.learned_settings import LearnedSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.models.encoders.learned import LearnedCodec, largest_products

#: Tokens of a step, and how fast Adam goes at first; it ends at a tenth of that.
_BATCH, _RATE = 512, 3e-3


def fit_learned(sample: TokenVectors, settings: LearnedSettings) -> LearnedCodec:
    """The codec; the same sample and settings give the same bytes on one machine.

    Raises:
        InputError: the sample has too few passages with tokens, or too few tokens.
    """
    some = np.flatnonzero(np.diff(sample.ends))
    _check(len(some), len(sample.vectors), settings)
    draw = np.random.default_rng(settings.seed)
    passages = draw.permutation(some)[: settings.passages]
    tokens = sample.vectors[draw.permutation(len(sample.vectors))]
    weights, bias = _trained(tokens[: 4 * settings.tokens], _taken(sample, passages), settings)
    return LearnedCodec(weights, bias, np.ascontiguousarray(tokens[: settings.tokens]))


def _check(passages: int, tokens: int, settings: LearnedSettings) -> None:
    if passages < 2 or tokens < settings.dim:
        raise InputError(
            f"The column {settings.name!r} learns of {passages} passages with {tokens} tokens; it "
            f"needs 2 at least, and as many tokens as it has components, {settings.dim}.",
            "Lower its dim, or leave it out of so small an index.",
        )


def _taken(sample: TokenVectors, rows: Int64) -> TokenVectors:
    each = [sample.text(int(row)) for row in rows]
    ends = np.concatenate([[0], np.cumsum([len(text) for text in each])]).astype(np.int64)
    return TokenVectors(ends, np.concatenate(each))


def _trained(
    tokens: Float32, passages: TokenVectors, settings: LearnedSettings
) -> tuple[Float32, Float32]:
    """The hidden layer of a network that foretells the largest products, less their means, which
    the regression finds by its 1."""
    generator = torch.Generator().manual_seed(settings.seed)
    wanted = torch.from_numpy(largest_products(tokens, passages).T.copy())
    wanted -= wanted.mean(dim=0)
    given, width = torch.from_numpy(tokens), settings.dim - 1
    first = _drawn(generator, given.shape[1], width, given.shape[1] ** -0.5)
    bias, last = torch.zeros(width), _drawn(generator, width, wanted.shape[1], width**-0.5)
    parameters = [each.requires_grad_() for each in (first, bias, last)]
    adam = torch.optim.Adam(parameters, lr=_RATE)
    slower = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.1, settings.steps)
    for _ in range(settings.steps):
        rows = torch.randint(len(given), (_BATCH,), generator=generator)
        foretold = torch.relu(given[rows] @ first + bias) @ last
        adam.zero_grad()
        loss = torch.nn.functional.mse_loss(foretold, wanted[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        slower.step()
    return first.detach().numpy(), bias.detach().numpy()


def _drawn(generator: torch.Generator, rows: int, columns: int, scale: float) -> torch.Tensor:
    return torch.randn(rows, columns, generator=generator) * scale
