"""An agent's answer as it arrives: where it begins, its frames one by one, each proved, and what it means when there is none."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator

import aiohttp

from wpclone.wordpress.agent import wire
from wpclone.wordpress.agent.wire import Frame
from wpclone.wordpress.errors import Reason, SiteError

_FRAME_SECONDS = 90.0
_ANSWER_SECONDS = 60.0
#: A page's worth of noise (a BOM, a notice) may come before an answer; more than this is a page, not an answer.
_MOST_NOISE = 4096
# Headers by which firewalls in front of sites are known: Cloudflare, Sucuri, Imperva.
_FIREWALLS = {"cf-ray", "x-sucuri-id", "x-iinfo"}


async def begin(response: aiohttp.ClientResponse, host: str, magic: bytes) -> None:
    """Read up to the magic word, or say why there is none."""
    seen = bytearray()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            while len(seen) < _MOST_NOISE + len(magic):
                byte = await response.content.read(1)
                if not byte:
                    break
                seen += byte
                if seen.endswith(magic):
                    return
    except RuntimeError:  # as in frames_of
        raise SiteError(Reason.SOURCE_UNREACHABLE, host=host) from None
    except TimeoutError:
        raise SiteError(Reason.SOURCE_BUSY, "The agent took more than 60 s to begin its answer.", host=host) from None
    raise _no_agent(response, host)


def _no_agent(response: aiohttp.ClientResponse, host: str) -> SiteError:
    """Why an answer is not an agent's."""
    status = response.status
    known = {401: Reason.SOURCE_BASIC_AUTH} if "WWW-Authenticate" in response.headers else {}
    known |= dict.fromkeys((408, 425, 429, 503, 504), Reason.SOURCE_BUSY)
    reason, message = known.get(status, Reason.SOURCE_BROKEN if status >= 500 else Reason.AGENT_BLOCKED), ""
    if status in (404, 410):
        message = "There is no agent at this URL; install it (`wpclone agent zip`) and give its URL."
    elif status in (403, 406) and _FIREWALLS & {name.lower() for name in response.headers}:
        reason = Reason.SOURCE_WAF
    pause = response.headers.get("Retry-After", "")
    return SiteError(reason, message, retry_after=float(pause) if pause.isdigit() else None, host=host, status=str(status))


async def frames_of(response: aiohttp.ClientResponse, key: bytes, nonce: str, *, as_text: bool) -> AsyncGenerator[Frame, None]:
    """The frames of an answer, each proved before it is given out; an answer that is cut or altered is SOURCE_DAMAGED_ANSWER."""
    sequence, content, proof = 0, response.content, wire.Proof(key, nonce)
    while True:
        try:
            async with asyncio.timeout(_FRAME_SECONDS):
                kind, payload, code = await (_read_text(content) if as_text else _read(content))
        except (
            asyncio.IncompleteReadError,
            RuntimeError,
        ):  # the latter is aiohttp's for a connection that went between two reads
            raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, "The agent's answer was cut off.") from None
        except TimeoutError:
            raise SiteError(Reason.SOURCE_BUSY, "The agent stopped in the middle of an answer.") from None
        if not proof.holds(sequence, kind, payload, code):
            raise _unproved(kind, payload)
        sequence += 1
        frame = Frame(kind.decode("ascii"), payload)
        yield frame
        if frame.kind in "EX":
            return


async def _read(content: aiohttp.StreamReader) -> tuple[bytes, bytes, bytes]:
    """A frame: kind, payload and code."""
    kind, length = wire.HEADER.unpack(await content.readexactly(wire.HEADER.size))
    if length > wire.MOST_FRAME_BYTES:
        raise SiteError(Reason.SOURCE_DAMAGED_ANSWER)
    return kind, await content.readexactly(length), await content.readexactly(wire.CODE_BYTES)


async def _read_text(content: aiohttp.StreamReader) -> tuple[bytes, bytes, bytes]:
    """A frame in base64, after its length."""
    try:
        length = int(await content.readexactly(wire.TEXT_LENGTH_BYTES), 16)
        if not 0 < length <= 2 * wire.MOST_FRAME_BYTES:
            raise ValueError(length)
        raw = base64.b64decode(await content.readexactly(length), validate=True)
        kind, size = wire.HEADER.unpack_from(raw)
    except (ValueError, struct.error):
        raise SiteError(Reason.SOURCE_DAMAGED_ANSWER) from None
    payload = raw[wire.HEADER.size : -wire.CODE_BYTES]
    if size != len(payload):
        raise SiteError(Reason.SOURCE_DAMAGED_ANSWER)
    return kind, payload, raw[-wire.CODE_BYTES :]


def _unproved(kind: bytes, payload: bytes) -> SiteError:
    """A wrong code: another key on the other side when it refuses ours, else damage on the way."""
    if kind == b"X" and b'"BAD_SIGNATURE"' in payload:
        return SiteError(Reason.AGENT_REFUSED)
    return SiteError(Reason.SOURCE_DAMAGED_ANSWER)
