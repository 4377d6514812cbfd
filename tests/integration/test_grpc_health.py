"""The hand-made gRPC health check, against the real grpc server."""

from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from tests.support.places import free_port
from wpclone.standalone.grpc_health import serves


class Server:
    """A gRPC server with nothing but health."""

    def __init__(self) -> None:
        self.server = grpc.aio.server()
        self.health = HealthServicer()
        add: Callable[[HealthServicer, grpc.aio.Server], None] = health_pb2_grpc.add_HealthServicer_to_server
        add(self.health, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def set(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        await self.health.set("", status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.server.start()
    yield server
    await server.server.stop(0)


async def test_a_serving_server_is_healthy(server: Server) -> None:
    await server.set(health_pb2.HealthCheckResponse.SERVING)
    assert await serves(server.port, within=5)


async def test_a_draining_server_is_not(server: Server) -> None:
    await server.set(health_pb2.HealthCheckResponse.NOT_SERVING)
    assert not await serves(server.port, within=5)


async def test_a_port_without_server_is_not() -> None:
    assert not await serves(free_port(), within=1)
