"""`wpclone up`: the whole service on one machine, as children of this process.

Order: MariaDB, nats-server, the job store's schema, the keeper and Envoy (clones answer again), the server, the workers.
They end in the opposite order, each with its whole process group.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import pymysql

from wpclone.core.secrets import KeyRingUnusable
from wpclone.standalone import envoy, mariadb, nats, status
from wpclone.standalone.credentials import keep_credentials
from wpclone.standalone.database_accounts import make_accounts, make_spaces_account
from wpclone.standalone.firewall import FirewallFailed
from wpclone.standalone.installation import Installation
from wpclone.standalone.keeper import CannotKeep, Keeper
from wpclone.standalone.leftovers import end_leftovers
from wpclone.standalone.ports import PortTaken, is_free
from wpclone.standalone.programs import AdminFailed, NotACheckout
from wpclone.standalone.programs_needed import ProgramsMissing, refuse_missing
from wpclone.standalone.reach import Unreachable, refuse_unreachable
from wpclone.standalone.readiness import ServerNotReady
from wpclone.standalone.run_lock import AlreadyUp, RunLock
from wpclone.standalone.state import State, state_directory
from wpclone.standalone.supervisor import Part, Supervisor

Say = Callable[[str], None]

FAILED, NOT_HERE = 1, 12
"""Exit codes: a part failed; the machine or the setting lacks what is needed (the command line's NOT_HERE)."""

_LACKING = (
    AlreadyUp, CannotKeep, KeyRingUnusable, NotACheckout, OSError, PortTaken, ProgramsMissing, Unreachable, ValueError,
)  # fmt: skip
_BROKEN = (AdminFailed, FirewallFailed, ServerNotReady, pymysql.err.Error)


def say_on_stderr(line: str) -> None:
    """One line for the operator."""
    sys.stderr.write(f"up: {line}\n")
    sys.stderr.flush()


def run(*, environ: Mapping[str, str] = os.environ, say: Say = say_on_stderr) -> int:
    """Run everything until SIGTERM, Ctrl-C (0), or a part that cannot be kept (not 0). Everything is stopped on return."""
    logging.basicConfig(level=logging.WARNING, format="up: %(message)s", stream=sys.stderr)
    root = os.getuid() == 0
    state = State(state_directory(environ, uid=os.getuid()))
    try:
        state.make()
        with RunLock(state.lock):
            installation = Installation.open(state, environ, root=root)
            refuse_missing(isolated=installation.isolated)
            return asyncio.run(_until_told(installation, say))
    except _LACKING as error:
        say(str(error))
        return NOT_HERE
    except _BROKEN as error:
        say(str(error))
        return FAILED


async def _until_told(installation: Installation, say: Say) -> int:
    """Serve until a signal, which ends it in order wherever it stands."""
    serving = asyncio.create_task(_serve(installation, say), name="serve")
    told = False

    def stop() -> None:
        nonlocal told
        if not told:  # once: a second signal must not cut the stopping short
            told = True
            say("stopping")
            serving.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        return await serving
    except asyncio.CancelledError:
        say("everything is stopped")
        return 0


async def _serve(installation: Installation, say: Say) -> int:
    await _clear(installation, say)
    state, ports, accounts = installation.state, installation.ports, installation.accounts
    programs = installation.programs
    refuse_unreachable(accounts.service, [*programs.needed(), state.service.parent], own_uid=os.getuid())
    refuse_unreachable(accounts.envoy, [installation.envoy.template, installation.envoy.descriptor], own_uid=os.getuid())

    async with AsyncExitStack() as stack:
        ready = False

        def record() -> None:
            status.write(state.status, installation.addresses, supervisor.standings, ready=ready)

        supervisor = Supervisor(clock=asyncio.get_running_loop().time, say=say, changed=record)

        async def keep(part: Part) -> None:
            stack.push_async_callback(supervisor.stop, await supervisor.start(part))

        root_password = await mariadb.prepare(installation.mariadb)
        await keep(
            Part(
                "mariadb", lambda: mariadb.start(installation.mariadb, root_password), str(installation.mariadb.log),
                f"127.0.0.1:{ports.mariadb}", grace=60,
            )
        )  # fmt: skip
        await keep(
            Part("nats-server", lambda: nats.start(installation.nats), str(installation.nats.log), f"127.0.0.1:{ports.nats}")
        )
        for make in (make_accounts, make_spaces_account):
            await asyncio.to_thread(make, installation.mariadb.socket, root_password, installation.passwords)
        await programs.admin("migrate")
        await keep_credentials(state.client, programs, grpc_port=ports.grpc, edge_port=ports.edge)
        keeper = Keeper(installation.keeper)
        await keeper.start()
        stack.push_async_callback(keeper.stop)
        await keep(Part("envoy", lambda: envoy.start(installation.envoy), str(installation.envoy.log), f"127.0.0.1:{ports.edge}"))
        for part in _own_parts(installation):
            await keep(part)
        for name, address in installation.addresses.items():
            say(f"{name:<8} {address}")
        say(f"the command line finds the service through {state.client}; Ctrl-C stops everything")
        ready = True
        record()
        failure = await supervisor.failed()
        say(str(failure))
        say("stopping, because going on without it would hide the trouble")
    return FAILED


def _own_parts(installation: Installation) -> list[Part]:
    """The server and the workers. Their grace is longer than the time they give to what is under way."""
    programs, ports = installation.programs, installation.ports
    server = Part(
        "server",
        lambda: programs.start_server(grpc_port=ports.grpc, metrics_port=ports.server_metrics),
        str(programs.log("server")), f"127.0.0.1:{ports.grpc}", grace=30,
    )  # fmt: skip
    return [server, *(_worker(installation, number) for number in range(installation.workers))]


def _worker(installation: Installation, number: int) -> Part:
    programs, port = installation.programs, installation.ports.worker_metrics + number
    name = "worker" if installation.workers == 1 else f"worker-{number + 1}"
    return Part(
        name,
        lambda: programs.start_worker(name, metrics_port=port),
        str(programs.log(name)),
        f"127.0.0.1:{port} (metrics)",
        grace=30,
    )


async def _clear(installation: Installation, say: Say) -> None:
    """End what a killed run left, then make sure that the ports are ours to use."""
    state = installation.state
    left = await end_leftovers(reversed(status.marks(state.status)))
    if left:
        say(f"ended {left} processes that an earlier run left behind when it was killed")
    installation.ports.refuse_taken(state.ports, is_free)
    unfinished = state.mariadb / "data"
    if unfinished.exists() and not installation.mariadb.password_file.exists():
        aside = state.directory / f"mariadb.unfinished-{int(unfinished.stat().st_mtime)}"
        os.rename(state.mariadb, aside)
        say(f"MariaDB's first start was interrupted; its data directory is now {aside}")
