"""Errors onto the wire: every one of ours has its line, strangers say nothing, long texts are cut."""

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2

import server
import wpclone.core
from server import status
from server.status import CODES, INTERNAL, MOST_VIOLATIONS, TimedOut, code_of, status_of
from wpclone.core.jobs import errors
from wpclone.core.jobs.errors import FieldViolation, InvalidRequest, LimitReached, WpcloneError
from wpclone.v2 import error_reason_pb2


def our_errors() -> list[type[WpcloneError]]:
    for package in (wpclone.core, server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "migrations.env")) and ".versions." not in module.name:
                importlib.import_module(module.name)
    return sorted({c for c in _below(WpcloneError) if c.__module__.startswith(("wpclone.core", "server"))}, key=str)


def _below(kind: type[WpcloneError]) -> Iterator[type[WpcloneError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)


OURS = our_errors()


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_line_of_its_family_or_is_internal_on_purpose(kind: type[WpcloneError]) -> None:
    has_line = any(ancestor in CODES for ancestor in kind.__mro__)
    assert has_line != (kind.reason in INTERNAL)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_reason_a_client_sees_is_in_the_proto(kind: type[WpcloneError]) -> None:
    if kind.reason not in INTERNAL:
        assert f"ERROR_REASON_{kind.reason}" in error_reason_pb2.ErrorReason.keys()  # noqa: SIM118 (a protobuf enum)


def test_no_line_is_for_an_unknown_class() -> None:
    assert set(CODES) <= set(OURS)


def test_a_child_has_its_parents_code() -> None:
    assert code_of(errors.JobNotFound()) is grpc.StatusCode.NOT_FOUND
    assert code_of(errors.CloneNotReady()) is grpc.StatusCode.FAILED_PRECONDITION
    assert code_of(TimedOut()) is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("error", [ValueError("secret"), WpcloneError("secret"), errors.StaleClaim("secret"), KeyError("secret")])
def test_an_internal_error_tells_its_request_id_and_nothing_else(error: Exception) -> None:
    told = status_of(error, "req-1")
    assert told.code == grpc.StatusCode.INTERNAL.value[0]
    assert "req-1" in told.message
    assert b"secret" not in told.SerializeToString()


def test_violations_are_told_together_and_not_too_many() -> None:
    told = status_of(InvalidRequest([FieldViolation(f"f{i}", "x" * 500) for i in range(50)]), "r")
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in told.details)
    assert len(bad.field_violations) == MOST_VIOLATIONS
    assert all(len(v.description) <= status.LONGEST_DESCRIPTION for v in bad.field_violations)
    assert len(told.SerializeToString()) + len(told.message) < 8000


def test_a_limit_says_when_to_try_again() -> None:
    told = status_of(LimitReached(retry_after=timedelta(seconds=7), metadata={"limit": "live_clones"}), "r")
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(retry) for detail in told.details)
    assert any(detail.Unpack(info) for detail in told.details)
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=7)
    assert (info.reason, info.domain, dict(info.metadata)) == ("LIMIT_REACHED", "wpclone.dev", {"limit": "live_clones"})


def test_an_outage_asks_to_try_again() -> None:
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_of(errors.StoreUnavailable(), "r").details)
