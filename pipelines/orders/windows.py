"""Sliding windows over a list that is too long for one prompt (Sun et al., RankGPT, EMNLP 2023).

A window of the last items is put in order first, then one that begins `stride` places nearer the
front, and so on up to the first item: what is good comes forward by the places that two windows
share. The paper's windows of 20 at a stride of 10 do so for 100 items in 9 calls.

The windows are those of rank_llm (commit 1b3cabb of 2026-08-22, `_count_windows` and the loop of
`sliding_windows_batched`), which vLLM's and SGLang's models run. Its other loop, `sliding_windows`,
which runs the models behind an API, differs in one case: a list of just size - stride items gets no
window there, and comes back as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shardrank.core.errors import SettingsError


@dataclass(frozen=True)
class Windows:
    """How a list is cut into windows.

    Attributes:
        size: items of a window, at least 2. A list that is no longer is one window.
        stride: places from a window to the next, from 1 to `size`; at `size`, windows share no
            item, and no item comes forward from one into the next.
        passes: how often the list is gone through, each time in the order of the time before.

    Raises:
        SettingsError: a number is out of its range.
    """

    size: int
    stride: int
    passes: int = 1

    def __post_init__(self) -> None:
        if not (self.size >= 2 and 1 <= self.stride <= self.size and self.passes >= 1):
            raise SettingsError(
                f"Windows of {self.size} at a stride of {self.stride}, {self.passes} passes, "
                "cannot put a list in order.",
                "A window holds 2 items at least, its stride is from 1 to its size, and there is "
                "one pass at least.",
            )

    def windows(self, n: int) -> Sequence[range]:
        """The places of n items that each call judges, in the order of the calls.

        The last window of a pass begins at the first item, and is shorter where the stride does
        not meet it: of 25 items, windows of 20 at a stride of 10 are 5–24 and 0–14. At a stride of
        `size` it may hold a single item, as it does for a list of one: nothing is to be asked then.
        """
        begins = range(n - self.size, 0, -self.stride)
        inner = [range(begin, begin + self.size) for begin in begins]
        first = range(0, n - len(inner) * self.stride)
        return [*inner, *([first] if n else [])] * self.passes

    def calls(self, n: int) -> int:
        """How many windows `windows(n)` has."""
        further = max(0, n - self.size)
        return self.passes * (min(n, 1) + -(-further // self.stride))
