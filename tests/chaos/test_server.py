"""Servers killed between commit and reply, and between commit and ring: the one who asked asks again and there is one job."""

import asyncio
from contextlib import suppress

import grpc
import pytest

from tests.support.chaos import Field
from tests.support.chaos_edge import OWN_CONNECTION, clone_request, server_process, stub_of
from tests.support.chaos_table import note
from tests.support.history import judge, part
from wpclone.client import ClientError, CloneClient


async def dying_creates(place: Field, creates: int) -> None:
    """Each create's server dies once, half of them before the reply and half before the ring; workers then do all jobs."""
    async with server_process(place, module="tests.support.dying_server") as server, server.client() as client:
        for number in range(creates):
            name = f"{('commit', 'publish')[number % 2]}-{number}"
            job_id = await answered(client, name)
            assert await answered(client, name) == job_id
            place.accepted.append(job_id)
    assert place.count("SELECT COUNT(*) FROM jobs") == creates == len(set(place.accepted))
    assert place.count("SELECT COUNT(*) FROM requests") == creates
    for _ in range(2):
        place.start(slots=8)
    await place.ended(place.accepted, within=120)
    assert place.ids("status <> 'completed' OR lapses > 0") == []


async def answered(client: CloneClient, request_id: str) -> str:
    """The job's id, asked for until somebody answers; the library alone tries four times."""
    async with asyncio.timeout(60):
        while True:
            with suppress(ClientError):
                return (await client.create_clone(clone_request(request_id))).job_id


async def test_a_create_whose_server_dies_after_the_commit_is_one_job(place: Field) -> None:
    await dying_creates(place, 12)
    note("R4 server killed after the commit of each create, 12", judge(place))


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_200_creates_whose_servers_die_are_200_jobs(place: Field) -> None:
    await dying_creates(place, 200)
    note("R4 server killed after the commit of each create, 200", judge(place))


async def test_a_job_whose_server_died_before_its_ring_is_rung_by_the_relay(place: Field) -> None:
    """Asked for once, and the asker goes away too."""
    place.start(slots=8)
    await place.ended(await place.accept(1), within=30)
    async with server_process(place, module="tests.support.dying_server") as server:
        for number in range(4):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", OWN_CONNECTION) as channel:
                ask = clone_request(f"{('commit', 'publish')[number % 2]}-{number}")
                with suppress(grpc.aio.AioRpcError):
                    await stub_of(channel).CreateClone(ask, metadata=server.metadata, timeout=60, wait_for_ready=True)
        place.accepted = place.ids("TRUE")
        await place.ended(place.accepted, within=60)
    assert len(place.accepted) == 5
    waited = place.rows(
        "SELECT MIN(c.at) - TIMESTAMPDIFF(MICROSECOND, '1970-01-01', j.created_at) / 1e6 AS waited"
        " FROM claim_history c JOIN jobs j USING (job_id) GROUP BY j.job_id ORDER BY waited"
    )
    print(f"claimed after {part([float(seconds) for (seconds,) in waited], 1.0):.1f} s at most")
    note("R4 server killed between commit and ring, workers waiting", judge(place))
