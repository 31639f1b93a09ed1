"""How much memory an action holds at most, numpy's and Arrow's."""

import tracemalloc
from collections.abc import Callable

import pyarrow as pa


def peak_bytes(action: Callable[[], object]) -> int:
    """The most that it held of either, added up."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        action()
        return int(tracemalloc.get_traced_memory()[1] + pool.max_memory())
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
