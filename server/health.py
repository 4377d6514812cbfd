"""grpc.health.v1: SERVING once the store answered, NOT_SERVING from the first moment of a drain. An outage of MySQL or NATS later
does not change it: all servers share them, and taking all out of service helps nobody. Watch streams end with the drain, which
the library's own servicer doesn't do; they would hold a stopping server for its whole grace.
"""
# ruff: noqa: N802 -- gRPC names methods

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.store import JobStore

Context = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):
    """The health of the named services and of the whole (the empty name)."""

    def __init__(self, store: JobStore, services: tuple[str, ...]) -> None:
        self._store = store
        self._names = frozenset({"", *services})
        self._is_serving = False
        self._is_draining = False
        self._changed = asyncio.Event()

    async def look(self) -> None:
        """Ask the store until it has answered once. Raises StoreUnavailable."""
        if not self._is_serving:
            await self._store.now()
            self._is_serving = True
            self._change()

    def drain(self) -> None:
        """NOT_SERVING from now on; watchers are told and let go."""
        self._is_draining = True
        self._change()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """The present status. NOT_FOUND for unknown services."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        if not self._is_draining:
            await self._try_to_look()
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and at each change, until the drain."""
        while True:
            changed = self._changed
            yield health_pb2.HealthCheckResponse(status=self._status(request.service))
            if self._is_draining:
                return
            await changed.wait()

    async def _try_to_look(self) -> None:
        try:
            await self.look()
        except StoreUnavailable:
            return

    def _status(self, service: str) -> str:
        if service not in self._names:
            return "SERVICE_UNKNOWN"
        return "SERVING" if self._is_serving and not self._is_draining else "NOT_SERVING"

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
