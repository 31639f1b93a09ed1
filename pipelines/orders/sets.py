"""Setwise ranking: a model names the best of a few items at a time (Zhuang et al., SIGIR 2024).

The heap sort and the bubble sort of the paper (arXiv 2310.09497), where a comparison is of an item
and up to c others (its children, or its successors). Both ask what is best *first*, so they find
the first k of n items, and the others follow in the old order.

They are generators: they yield the items of a set, the one that stands best so far in front, and
are sent the place of the best in it. `settled` drives one. A judge that never contradicts itself
gets the true first k. The heap sort asks just what that of the authors' llm-rankers does (commit
b36517b). The bubble sort asks for a set again only where it has changed; theirs begins a pass by
where the pass before moved something, and can leave items out: of items worth 6 3 5 1 4 2 0 it puts
6 5 3 first, for 2 children and a judge that is always right.
"""

from collections.abc import Callable, Generator
from typing import Literal

import numpy as np

from shardrank.core.arrays import Int32

#: Yields items, is sent the place of the best of them, returns the order int32[n].
Asking = Generator[tuple[int, ...], int, Int32]
SetSort = Literal["heapsort", "bubblesort"]


def settled(asking: Asking, best: Callable[[tuple[int, ...]], int]) -> Int32:
    """int32[n]: the order that a sort returns where `best` says the place of a set's best item."""
    try:
        asked = next(asking)
        while True:
            asked = asking.send(best(asked))
    except StopIteration as done:
        order: Int32 = done.value
        return order


def setwise(how: SetSort, n: int, k: int, children: int) -> Asking:
    """Asks for the first k of n items, by sets of up to 1 + `children` items.

    Args:
        how: the sort.
        n: items, numbered in the old order.
        k: how many are put in order, at least 1; at most n are.
        children: at least 1.
    """
    return (_heapsort if how == "heapsort" else _bubblesort)(n, min(k, n), children)


def most_calls(how: SetSort, n: int, k: int, children: int) -> int:
    """More sets than these are never asked; see `setwise`."""
    kept = range(min(k, n))
    if how == "bubblesort":
        return sum(-(-(n - 1 - place) // children) for place in kept)
    built = sum(_levels(root, n, children) for root in range(n))
    return built + sum(_levels(0, n - place, children) for place in kept[1:])


def _levels(root: int, size: int, children: int) -> int:
    """How often an item can sink from `root` in a heap of `size` items."""
    levels = 0
    while (root := children * root + 1) < size:
        levels += 1
    return levels


def _heapsort(n: int, k: int, children: int) -> Asking:
    """The heap has `children` below each item; its root goes to the end k times."""
    heap = list(range(n))
    for root in reversed(range(n)):
        yield from _sink(heap, root, n, children)
    for last in range(n - 1, n - 1 - k, -1):
        heap[0], heap[last] = heap[last], heap[0]
        if last > n - k:
            yield from _sink(heap, 0, last, children)
    return _order(heap[n - k :][::-1], n)


def _sink(
    heap: list[int], root: int, size: int, children: int
) -> Generator[tuple[int, ...], int, None]:
    """Exchanges the item at `root` with the best below it, until it is the best itself."""
    while (below := children * root + 1) < size:
        places = [root, *range(below, min(below + children, size))]
        best = places[(yield tuple(heap[place] for place in places))]
        if best == root:
            return
        heap[root], heap[best] = heap[best], heap[root]
        root = best


def _bubblesort(n: int, k: int, children: int) -> Asking:
    """Each of k passes brings the best that is left to the front, set by set from the end."""
    items = list(range(n))
    answers: dict[tuple[int, ...], int] = {}
    for front in range(k):
        end = n
        while end - front > 1:
            begin = max(front, end - 1 - children)
            asked = tuple(items[begin:end])
            if asked not in answers:
                answers[asked] = yield asked
            best = begin + answers[asked]
            items[begin], items[best] = items[best], items[begin]
            end = begin + 1
    return _order(items[:k], n)


def _order(first: list[int], n: int) -> Int32:
    """int32[n]: what was put in order, then the others in the old order."""
    others = np.setdiff1d(np.arange(n), first)
    return np.array([*first, *others], np.int32)
