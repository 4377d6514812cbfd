"""Asks a gRPC server on loopback whether it serves, speaking just enough HTTP/2 for one `grpc.health.v1.Health/Check`.

Written out because this package must not import grpc: it starts processes, and grpc's threads and fork do not mix.
Sources: RFC 9113 (frames), RFC 7541 §6.2.2 (header fields sent literally), the gRPC health checking protocol.
"""

from __future__ import annotations

import asyncio
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_ACK, _END_STREAM, _END_HEADERS = 0x1, 0x1, 0x4
_SERVING = b"\x00\x00\x00\x00\x02\x08\x01"
"""A gRPC message of 2 bytes: HealthCheckResponse{status: SERVING}."""


async def serves(port: int, *, within: float) -> bool:
    """Whether the server at 127.0.0.1:`port` answers SERVING within `within` seconds. Never raises for a server that doesn't."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _question(port))
                await writer.drain()
                return await _answer(reader, writer)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


def _question(port: int) -> bytes:
    """The request on stream 1: headers, and an empty HealthCheckRequest (the whole server)."""
    headers = {
        ":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Check", ":authority": f"127.0.0.1:{port}",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
    return _frame(_HEADERS, _END_HEADERS, 1, block) + _frame(_DATA, _END_STREAM, 1, b"\x00\x00\x00\x00\x00")


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    while True:
        head = await reader.readexactly(9)
        kind, flags = head[3], head[4]
        body = await reader.readexactly(int.from_bytes(head[:3]))
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _DATA and body:
            return body == _SERVING
        elif kind in {_RST_STREAM, _GOAWAY} or (kind == _HEADERS and flags & _END_STREAM):
            return False


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + body


def _text(text: str) -> bytes:
    """A string literal without Huffman coding; all of ours are shorter than 127 bytes."""
    return bytes([len(text)]) + text.encode()
