"""The folds that are tried where one is to be chosen, and how each is set."""

from typing import Any

#: Passages that count, and what each weighs as a share of the one before: 1 is their mean.
_PASSAGES, _SHARES = (2, 3, 4, 6, 10), (0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)

#: What weighs less changes no order that anybody would see.
_LEAST = 0.01

#: Weights as of `shardrank.core.folds.Fold`.
Weights = tuple[float, ...]


def fold_grid(own: Weights) -> list[Weights]:
    """A run's own weights; the best passage alone; the mean of all; and of the first few passages
    weights that fall by a constant share. None is there twice."""
    falling = [
        tuple(each for place in range(passages) if (each := round(share**place, 4)) >= _LEAST)
        for share in _SHARES
        for passages in _PASSAGES
    ]
    return list(dict.fromkeys([own, (1.0,), (), *falling]))


def fold_set(weights: Weights) -> dict[str, Any]:
    """The settings of [search] that give these weights."""
    if not weights:
        return {"fold": "mean"}
    if len(weights) == 1:
        return {"fold": "max"}
    if set(weights) == {1.0}:
        return {"fold": "top", "fold_top": len(weights)}
    return {"fold": "weights", "fold_weights": list(weights)}
