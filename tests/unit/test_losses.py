"""Errors of Ray, as they reach a driver: what a user is told of each."""

import pickle
import traceback

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext, ErrorType
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    OwnerDiedError,
    RayError,
    RaySystemError,
    RayTaskError,
    RuntimeEnvSetupError,
    TaskUnschedulableError,
    UnserializableException,
    UserCodeException,
    WorkerCrashedError,
)

from shardrank.stages.run.losses import lost

AGAIN = "run it again"


def raised(error: BaseException, cause: BaseException | None = None) -> str:
    """The traceback of an error that was raised here."""
    try:
        raise error from cause
    except BaseException:
        return traceback.format_exc()


def of_task(error: Exception, cause: Exception | None = None) -> RayTaskError:
    """What a worker sends after a task raised the error."""
    trace = raised(error, cause)
    return RayTaskError("MapBatches", trace, error, "ray::MapBatches(_Task)", 7, "10.0.0.3")


def sent(error: RayError) -> RayError:
    """As it reaches the driver: an error that is a task's is also one of its cause's class."""
    there = RayError.from_bytes(error.to_bytes())
    return there.as_instanceof_cause() if isinstance(there, RayTaskError) else there


def unpickled(error: Exception) -> RaySystemError:
    return RaySystemError(error, raised(error))


def died(**context: str | int) -> ActorDiedError:
    known = {"class_name": "MapWorker(MapBatches(Host))", "actor_id": bytes(16), **context}
    return ActorDiedError(ActorDiedErrorContext(**known))


def not_imported(error: Exception) -> RuntimeError:
    """Ray's own words, where a function cannot be unpickled."""
    return RuntimeError(
        "The remote function failed to import on the worker. This may be because needed library "
        f"dependencies are not installed in the worker environment:\n\n{raised(error)}"
    )


MISSING = ModuleNotFoundError("No module named 'jobs.cli'")
CODE = {
    "a task's argument": of_task(unpickled(MISSING)),
    "an actor's argument": ActorDiedError(of_task(unpickled(MISSING))),
    "a function": of_task(not_imported(MISSING)),
    "while it ran": of_task(MISSING),
    "while it ran, wrapped": of_task(UserCodeException("UDF failed."), MISSING),
}


@pytest.mark.parametrize("where", CODE)
def test_code_that_a_worker_lacks_is_named_and_a_rerun_not_advised(where: str) -> None:
    told = lost(sent(CODE[where]))
    opening = "Ray's workers could not load what they were to run: "
    assert told.message == f"{opening}ModuleNotFoundError: No module named 'jobs.cli'"
    assert AGAIN not in told.hint
    assert "Running it again will not mend this." in told.hint


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name '__version__' from 'shardrank' (unknown location)"),
        pickle.UnpicklingError("pickle data was truncated"),
        AttributeError("Can't get attribute 'Embed' on <module 'shardrank.stages.index.embed'>"),
        RuntimeError("raised by a user's queue.py as it was imported"),
    ],
)
def test_whatever_stops_unpickling_counts_as_code(error: Exception) -> None:
    told = lost(sent(of_task(unpickled(error))))
    assert told.message.endswith(f"{type(error).__name__}: {error}")
    assert AGAIN not in told.hint


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_a_machine_in_trouble_is_no_matter_of_code(error: Exception) -> None:
    told = lost(sent(of_task(unpickled(error))))
    assert told.message.startswith(f"Ray's workers failed: {type(error).__name__}")
    assert AGAIN in told.hint


def test_an_error_outside_a_unit_is_shown_and_not_its_wrapping() -> None:
    told = lost(sent(of_task(UserCodeException("UDF failed."), ValueError("offset overflow"))))
    assert told.message == "Ray's workers failed: ValueError: offset overflow"
    assert AGAIN in told.hint


def test_a_dead_actor_says_where_it_ran_and_how_it_ended() -> None:
    ended = "Worker exit type: SYSTEM_ERROR Worker exit detail: Worker exits with an exit code 3."
    error = died(pid=7, node_ip_address="10.0.0.3", ray_namespace="8ff2", error_message=ended)
    told = lost(error)
    assert told.message == (
        "Ray lost workers for good: ActorDiedError: The actor died unexpectedly before finishing "
        f"this task.\n  pid: 7\n  ip: 10.0.0.3\n  {ended}"
    )
    assert AGAIN in told.hint
    assert "--verbose" in told.hint


HEX = "ff" * 28


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (WorkerCrashedError(), "The worker died unexpectedly"),
        (LocalRayletDiedError(), "local raylet died"),
        (NodeDiedError("node 10.0.0.3 (ID: ab) was lost"), "10.0.0.3"),
        (ActorUnavailableError("RPC error: Socket closed", bytes(16)), "Socket closed"),
        (ObjectLostError(HEX, None, ""), "have been lost due to node failure"),
        (OwnerDiedError(HEX, b"", ""), "owner has exited"),
        (
            ObjectReconstructionFailedError(
                HEX, ErrorType.OBJECT_UNRECONSTRUCTABLE_MAX_ATTEMPTS_EXCEEDED, call_site=""
            ),
            "maximum number of task retries",
        ),
        (TaskUnschedulableError("its node is dead"), "its node is dead"),
        (RuntimeEnvSetupError("no such working_dir"), "no such working_dir"),
        (GetTimeoutError("Timed out while starting actors."), "starting actors"),
        (RaySystemError("Worker startup failed: exit code 1"), "exit code 1"),
        (UnserializableException(raised(KeyError("d7"))), "KeyError: 'd7'"),
    ],
)
def test_every_other_loss_keeps_what_ray_says(error: RayError, words: str) -> None:
    told = lost(error)
    assert told.message.startswith("Ray lost workers for good: ")
    assert words in told.message
    assert AGAIN in told.hint


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OutOfMemoryError("Task was killed due to the node running low on memory."), "actors"),
        (ObjectStoreFullError("full"), "cluster.object_store_mb"),
        (OutOfDiskError("full"), "room on the disk"),
    ],
)
def test_what_is_short_is_named(error: RayError, advice: str) -> None:
    for told in (lost(error), lost(of_task(error))):
        assert type(error).__name__ in told.message
        assert advice in told.hint


def test_words_are_bounded_and_hold_no_control_codes() -> None:
    loud = f"\x1b[36mray::Map\x1b[39m\x1b]0;title\x07\r\n{'no memory ' * 1000}\u202e"
    message = lost(NodeDiedError(loud)).message
    assert message.startswith("Ray lost workers for good: NodeDiedError: ray::Map")
    assert message.replace("\n", "").isprintable()
    assert message.endswith("…")
    assert len(message) < 1100
