"""Connections cut while they are being made, on a busy uvloop: where clients raise what nobody expects.

uvloop closes a transport whose peer has gone as soon as it sees that, and code that goes on a turn later meets RuntimeError where
asyncio's own loop would say ConnectionResetError. With a loop that has other work the two are far enough apart to be met at once.
"""

import asyncio
from collections.abc import Awaitable, Callable

import uvloop

from tests.support.fault_proxy import Direction, FaultProxy

REFUSED = 60
"""How often `cut_everywhere` asks while new connections are reset at once."""


def cut_everywhere(proxy: FaultProxy, ask: Callable[[], Awaitable[object]], *, greeting: int, handshake: int) -> None:
    """Await `ask` on a busy uvloop: while connections are refused, and with each direction cut after so many bytes.

    Every byte of the server's `greeting` is a place to cut, and every 13th until the end of the `handshake`. What `ask` raises is
    raised here.
    """
    uvloop.run(_cut(proxy, ask, [*range(1, greeting), *range(greeting, handshake, 13)]))


async def _cut(proxy: FaultProxy, ask: Callable[[], Awaitable[object]], places: list[int]) -> None:
    loop = asyncio.get_running_loop()
    is_over = False

    def keep_busy() -> None:
        sum(range(60_000))  # about a millisecond
        if not is_over:
            loop.call_soon(keep_busy)

    before = proxy.connections
    keep_busy()
    proxy.faults.refuse = True
    for _ in range(REFUSED):
        await ask()
    proxy.faults.refuse = False
    for way in Direction:
        for place in places:
            proxy.faults.cut_after[way] = place
            await ask()
            proxy.faults.cut_after.clear()
    is_over = True
    assert proxy.connections - before >= REFUSED + 2 * len(places)
