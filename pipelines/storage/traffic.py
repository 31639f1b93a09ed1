"""What goes to and from S3, counted where it goes by: at the client's own requests and answers."""

from typing import TYPE_CHECKING, Any

from shardrank.core.tally import spend

if TYPE_CHECKING:
    from aiobotocore.session import AioSession


def counted_session(profile: str | None) -> "AioSession":
    """A session whose clients count what they send and receive, and what they send again.

    What s3fs asks for again, because an answer broke off, counts as read once more, not as a retry.
    """
    from aiobotocore.session import AioSession  # comes with s3fs

    session = AioSession(profile=profile)
    session.register("before-send.s3", _sent)
    session.register("response-received.s3", _received)
    session.register("needs-retry.s3", _attempted)
    return session


def _sent(request: Any, **told: Any) -> None:
    spend("written:s3", int(request.headers.get("Content-Length") or 0))


def _received(response_dict: Any, event_name: str, **told: Any) -> None:
    """The answer to a HEAD says how long a body would be that it does not have."""
    if response_dict and ".Head" not in event_name:
        spend("read:s3", int(response_dict["headers"].get("content-length") or 0))


def _attempted(attempts: int, **told: Any) -> None:
    """After each attempt at a request, of which the first is no retry."""
    if attempts > 1:
        spend("retries:s3", 1)
