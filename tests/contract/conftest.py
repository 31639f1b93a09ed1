"""One storage of each kind: local disk, an S3 double, and a real S3 where one is given."""

from pathlib import Path

import pytest

from shardrank.core.protocols import Storage
from shardrank.core.settings import S3Settings
from shardrank.storage import LocalStorage, S3Storage, Sources
from tests.stores import KINDS, endpoint_of, new_bucket


@pytest.fixture(params=["local", *KINDS])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    if request.param == "local":
        return LocalStorage(str(tmp_path / "root"))
    endpoint = endpoint_of(request.param, request, monkeypatch)
    return S3Storage(f"s3://{new_bucket(endpoint)}/some/prefix", S3Settings(endpoint=endpoint))


@pytest.fixture
def sources(storage: Storage) -> Sources:
    """What reads documents from where `storage` writes."""
    return Sources(storage.settings if isinstance(storage, S3Storage) else S3Settings())
