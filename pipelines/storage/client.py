"""The connection to S3: one client a process, and the service's errors in our words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shardrank.core.errors import InputError, RunFailed, ShardrankError
from shardrank.core.protocols import Entry
from shardrank.core.settings import S3Settings
from shardrank.storage.traffic import counted_session

if TYPE_CHECKING:
    from s3fs import S3FileSystem

#: What a request can end with after its retries.
FAILURES = (OSError, BotoCoreError, ClientError)
#: s3fs repeats requests whose answers broke off, above the client's own attempts.
BROKEN_ATTEMPTS = 3
#: What trying again cannot help.
FINAL = (FileNotFoundError, PermissionError, NoCredentialsError)


def filesystem(settings: S3Settings) -> "S3FileSystem":
    """The process's own file system for these settings; threads share it.

    Listings are not cached: another writer's files must be seen.
    """
    return _connect(settings, os.getpid())


@lru_cache
def _connect(settings: S3Settings, process: int) -> "S3FileSystem":
    """`process` keeps a forked child from its parent's sockets."""
    from s3fs import S3FileSystem  # a third of a second, and of no use on a disk

    files = S3FileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        endpoint_url=settings.endpoint,
        session=counted_session(settings.profile),
        client_kwargs={"region_name": settings.region} if settings.region else None,
        max_concurrency=settings.connections,
        config_kwargs={
            "retries": {"total_max_attempts": settings.attempts, "mode": "standard"},
            "connect_timeout": settings.timeout,
            "read_timeout": settings.timeout,
            "max_pool_connections": settings.connections,
        },
    )
    files.retries = BROKEN_ATTEMPTS
    return files


def s3_files(settings: S3Settings, folder: str) -> list[Entry]:
    """All objects below s3://bucket/folder, sorted; keys are full s3:// addresses.

    Keys are as the service has them, also with empty segments (`a//b`), of which s3fs's own
    listings lose some. What ends in a slash marks a folder and is none of them.
    """
    bucket, prefix = _bucket_and_prefix(folder)
    found = (entry for page in _pages(settings, bucket, prefix) for entry in _objects(bucket, page))
    return sorted(found, key=lambda entry: entry.key)


def s3_object(settings: S3Settings, address: str) -> Entry | None:
    """The object of that very key; None where there is none."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not key:
        return None
    try:
        head = filesystem(settings).call_s3("head_object", Bucket=bucket, Key=key)
    except FileNotFoundError:
        return None
    return s3_entry({**head, "name": f"{bucket}/{key}", "size": head["ContentLength"]})


def s3_children(settings: S3Settings, folder: str) -> tuple[list[Entry], list[str]]:
    """The objects directly in s3://bucket/folder, and the folders, as full addresses."""
    bucket, prefix = _bucket_and_prefix(folder)
    entries: list[Entry] = []
    folders: list[str] = []
    for page in _pages(settings, bucket, prefix, Delimiter="/"):
        entries += _objects(bucket, page)
        folders += [f"s3://{bucket}/{p['Prefix'][:-1]}" for p in page.get("CommonPrefixes", [])]
    return entries, folders


def s3_holds(settings: S3Settings, prefix: str) -> bool:
    """Whether any key begins with s3://bucket/prefix: one request."""
    bucket, _, start = prefix.removeprefix("s3://").partition("/")
    page = _page(settings, Bucket=bucket, Prefix=start, MaxKeys=1)
    return bool(page.get("Contents"))


def _bucket_and_prefix(folder: str) -> tuple[str, str]:
    """`s3://b` is the whole bucket, `s3://b/` the folder without a name in it."""
    bucket, slash, key = folder.removeprefix("s3://").partition("/")
    return bucket, f"{key}/" if slash else ""


def _objects(bucket: str, page: dict[str, Any]) -> list[Entry]:
    return [
        s3_entry({**one, "name": f"{bucket}/{one['Key']}", "size": one["Size"]})
        for one in page.get("Contents", [])
        if not one["Key"].endswith("/")
    ]


def _pages(settings: S3Settings, bucket: str, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
    page: dict[str, Any] = {"NextContinuationToken": None}
    while "NextContinuationToken" in page:
        token = page["NextContinuationToken"]
        further = {"ContinuationToken": token} if token else {}
        page = _page(settings, Bucket=bucket, Prefix=prefix, **more, **further)
        yield page


def _page(settings: S3Settings, **asked: Any) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html"""
    answer: dict[str, Any] = filesystem(settings).call_s3("list_objects_v2", **asked)
    return answer


def s3_entry(info: dict[str, Any]) -> Entry:
    """From what s3fs says of an object; the version is its ETag."""
    version = str(info["ETag"]).strip('"')
    modified = info["LastModified"].timestamp()
    return Entry(f"s3://{info['name']}", int(info["size"]), version, modified)


@contextmanager
def explained(path: str, done: str) -> Iterator[None]:
    """Turns the service's errors into ours, with the address."""
    try:
        yield
    except ShardrankError:
        raise
    except FileNotFoundError:
        hint = "Check the bucket and the key."
        raise InputError(f"{path} could not be {done}: there is no such object.", hint) from None
    except (PermissionError, NoCredentialsError) as error:
        hint = "Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; check its rights."
        raise InputError(f"{path} could not be {done}: {error}.", hint) from error
    except FAILURES as error:
        hint = "Check the network and s3.endpoint (or AWS_ENDPOINT_URL), then run again."
        raise RunFailed(f"{path} could not be {done}: {error}.", hint) from error
