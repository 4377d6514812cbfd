import grpc
import pytest
from google.rpc import code_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from wpclone.client.errors import from_rpc_error

KEY = "grpc-status-details-bin"


def failure(code: grpc.StatusCode, text: str, *trailers: tuple[str, bytes]) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(*trailers), details=text)


@pytest.mark.parametrize(
    "status",
    [
        status_pb2.Status(code=code_pb2.NOT_FOUND, message="other"),
        status_pb2.Status(code=code_pb2.ABORTED, message="text"),
    ],
    ids=["message differs", "code differs"],
)
def test_a_rich_status_that_contradicts_the_plain_one_is_left_aside(status: status_pb2.Status) -> None:
    error = from_rpc_error(failure(grpc.StatusCode.NOT_FOUND, "text", (KEY, status.SerializeToString())))
    assert (error.reason, error.message) == ("NOT_FOUND", "text")


def test_without_a_rich_status_the_reason_is_made_from_the_code() -> None:
    assert from_rpc_error(failure(grpc.StatusCode.UNAVAILABLE, "Socket closed")).reason == "UNREACHABLE"
    assert from_rpc_error(failure(grpc.StatusCode.DEADLINE_EXCEEDED, "")).message == "deadline exceeded"
    assert from_rpc_error(failure(grpc.StatusCode.DATA_LOSS, "x")).reason == "INTERNAL"
