"""One plain HTTP GET to a loopback port, to learn whether something answers there. Follows no redirect."""

from __future__ import annotations

import asyncio


async def status_of(port: int, host: str, path: str = "/", *, within: float) -> int | None:
    """The status of `GET path` with `Host: host` at 127.0.0.1:`port`; None when nobody answers HTTP within `within` seconds."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: wpclone\r\n\r\n".encode())
                await writer.drain()
                line = await reader.readline()
                # Read to the end: a page cut off in the middle would be logged as an abort by the site.
                while await reader.read(65536):
                    pass
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: a first line longer than a reader's limit
        return None
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None
