"""What an agent's answer is when its connection goes."""

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from wpclone.wordpress.agent import wire
from wpclone.wordpress.agent.answers import begin, frames_of
from wpclone.wordpress.errors import Reason, SiteError


def _gone(received: bytes) -> Any:
    """An answer of which so much came before its connection went, and of which aiohttp does not know that it is cut."""
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    content.feed_data(received)
    return SimpleNamespace(content=content, status=200, headers={})


async def test_a_connection_that_goes_between_two_frames_cuts_the_answer() -> None:
    frame = wire.HEADER.pack(b"J", 2) + b"{}" + wire.frame_code(b"k", "n", 0, b"J", b"{}")
    frames = frames_of(_gone(frame), b"k", "n", as_text=False)
    assert (await anext(frames)).kind == "J"
    with pytest.raises(SiteError) as cut:
        await anext(frames)
    assert (cut.value.reason, cut.value.transient) == (Reason.SOURCE_DAMAGED_ANSWER, True)


async def test_a_connection_that_goes_before_the_answer_is_one_that_broke() -> None:
    with pytest.raises(SiteError) as broken:
        await begin(_gone(wire.MAGIC[:4]), "source.test", wire.MAGIC)
    assert (broken.value.reason, broken.value.transient) == (Reason.SOURCE_UNREACHABLE, True)
