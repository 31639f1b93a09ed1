"""What tests of several folders share."""

from collections.abc import Iterator

import pytest

from tests.stores import moto


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    with moto() as endpoint:
        yield endpoint
