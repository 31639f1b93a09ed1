"""What encoders learn by linear algebra is the same on any number of numpy's threads: units run in
this process, where numpy takes all CPUs, and on Ray, where it takes one."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import ThreadpoolController

from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.models.encoders.cur import cross_factor
from shardrank.models.encoders.learned import Learned, LearnedCodec
from shardrank.models.encoders.muvera import Muvera
from shardrank.models.forward.threads import threads_restored, use_threads


def _drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def _codec() -> LearnedCodec:
    return LearnedCodec(_drawn(32, 255), _drawn(255), _drawn(600, 32))


def _texts() -> pa.Array:
    return TokenVectors(np.arange(0, 401, 10), _drawn(400, 32)).array(pa.float16())


def _column() -> bytes:
    return repr(Learned(_codec(), None).column(_texts()).to_pylist()).encode()


def _queries() -> bytes:
    return repr(Learned(_codec(), None).queries(_texts()).to_pylist()).encode()


def _muvera() -> bytes:
    made = Muvera(MuveraSettings(repetitions=3, planes=2), 32, None)
    return repr(made.column(_texts()).to_pylist()).encode()


MAKERS: dict[str, Callable[[], bytes]] = {
    "solver": lambda: _codec().solver.tobytes(),
    "learned": _column,
    "learned queries": _queries,
    "muvera": _muvera,
    "anchors": lambda: cross_factor(_drawn(256, 256)).tobytes(),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads_restored():
        use_threads(1)
        yield


@pytest.mark.parametrize("name", MAKERS)
def test_any_number_of_threads(name: str) -> None:
    numpys = ThreadpoolController().select(internal_api="openblas")
    found = set()
    for threads in (1, 2, 4):
        with numpys.limit(limits=threads):
            found.add(MAKERS[name]())
    assert len(found) == 1
