"""One unary call: who we are, its deadline, another try on a fresh connection when nobody answered, our error in the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import grpc

from wpclone.client.errors import ClientError, from_rpc_error
from wpclone.client.lines import Line, Lines
from wpclone.client.resume import Patience, is_broken, pause
from wpclone.client.time import Time

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Method = Callable[[Line], grpc.aio.UnaryUnaryMultiCallable[Request, Answer]]
"""Picks the method from a line's stub."""

TRIES = 4
"""How often a call is tried when nobody answers, within its deadline."""


class Calls:
    """Makes unary calls over `lines`, with `token` as bearer. Only for calls that may be repeated."""

    def __init__(
        self, lines: Lines, token: str, *, timeout: timedelta, patience: Patience, time: Time, chance: random.Random
    ) -> None:
        self._lines = lines
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout = timeout
        self._patience = patience
        self._time = time
        self._chance = chance

    async def unary(self, method: Method[Request, Answer], request: Request, *, timeout: timedelta | None = None) -> Answer:
        """The method's answer within the deadline. Raises ClientError."""
        ends = self._time.monotonic() + (timeout or self._timeout).total_seconds()
        failures = 0
        while True:
            try:
                return await self._once(method, request, ends - self._time.monotonic())
            except ClientError as error:
                wait = pause(self._patience, self._chance, failures=failures, error=error)
                failures += 1
                if not is_broken(error) or failures == TRIES or self._time.monotonic() + wait >= ends:
                    raise
                await self._time.sleep(wait)

    async def _once(self, method: Method[Request, Answer], request: Request, within: float) -> Answer:
        async with self._lines.line() as line:
            try:
                return await method(line)(request, timeout=within, metadata=self.metadata)
            except grpc.aio.AioRpcError as failure:
                error = from_rpc_error(failure)
                if is_broken(error):
                    self._lines.replace(line)
                raise error from failure
