"""`python -m tests.cluster.demo [--exit]`: the demonstration of `wpclone demo`, with service and clones on the test cluster.

Server, worker, NATS and Envoy come from deploy/kubernetes, clones are pods behind the Gateway; MariaDB and the source site run
beside the cluster and are reached at its bridge. A cluster that ran before goes on running; one that was started for this ends
with it, and so does its turn: tests of the cluster wait for it, as it does for them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.cluster import images
from tests.cluster.binaries import Missing
from tests.cluster.lock import Busy, held
from tests.cluster.parts import down, up
from tests.cluster.place import ClusterPlace, default_place
from tests.cluster.processes import NotReady, is_running
from tests.cluster.service import HOSTS, ClusterService
from workers.runtimes.manifests import DOCROOT
from wpclone.standalone import demo, mariadb
from wpclone.standalone.child import Account, Child
from wpclone.standalone.database_accounts import clones_url, jobs_url, make_accounts
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.stage import Grounds, Hosted, Say, Stage, Staged, free_ports, grounds, open_source
from wpclone.standalone.demo.tables import Database
from wpclone.standalone.grpc_health import serves
from wpclone.standalone.installation import Accounts
from wpclone.standalone.mariadb import MariadbPlace
from wpclone.standalone.passwords import Passwords
from wpclone.standalone.readiness import ServerNotReady, answer_of
from wpclone.standalone.state import State, write_private

FAILED, NOT_HERE = 1, 12
_TURN_SECONDS = 1200
"""How long a run of tests, or another demonstration, is waited for."""


def main() -> int:
    """Show it; 0 only if every check held."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop everything afterwards")
    parser.add_argument("--in-turn", action="store_true", help="whoever starts this has the cluster's lock")
    given = parser.parse_args()
    stay = not given.exit and sys.stdout.isatty()
    place = default_place()
    if not place.has_node:
        return _cannot("clones as pods need a node, and a node needs root", NOT_HERE)
    signal.signal(signal.SIGTERM, _leave)
    try:
        lock = place.directory.with_name("cluster.lock")
        with nullcontext() if given.in_turn else held(lock, within=_TURN_SECONDS), running_cluster(place):
            return demo.run(stay=stay, staged=on_cluster(place, images.give_images(place)))
    except Missing as error:
        return _cannot(str(error), NOT_HERE)
    except (Busy, NotReady, RuntimeError, OSError, subprocess.SubprocessError) as error:
        return _cannot(str(error), FAILED)


@contextmanager
def running_cluster(place: ClusterPlace) -> Iterator[None]:
    """The cluster, started when it does not run, and then ended afterwards."""
    if is_running(place.directory, "apiserver"):
        yield
        return
    try:
        _say("demo: starting a Kubernetes; building it takes a quarter of an hour the first time")
        up(place)
        yield
    finally:
        down(place)


def on_cluster(place: ClusterPlace, names: Mapping[str, str]) -> Staged:
    """What builds the stage on this cluster, with these images by kind."""

    @asynccontextmanager
    async def staged(environ: Mapping[str, str], say: Say) -> AsyncIterator[Stage]:
        async with AsyncExitStack() as stack:
            on = stack.enter_context(grounds(environ, host="source.test", address=place.address))
            beside = await _open_database(stack, place, on.directory)
            service = _service(place, names, on, beside)
            say("deploying the service: server, worker, NATS and Envoy of deploy/kubernetes")
            deploying = asyncio.create_task(_deploy(service, say))
            stack.push_async_callback(_remove, service, deploying)
            source, database, sink = await open_source(stack, on, environ, say)
            await asyncio.shield(deploying)
            client = await _client(stack, service, on.directory)
            say(f"the service is up, at {client['rest']}")

            async def hosted(clone_id: str) -> Hosted:
                directory = await asyncio.to_thread(service.clone_directory, clone_id)
                return Hosted(DOCROOT, directory / "content" / "docroot", directory / "state")

            def clone_database(job_id: str, clone: Site) -> Database:
                return Database(beside.port, beside.password, f"wpc_{job_id.removeprefix('clone-')}", clone)

            inner = {**environ, "WPCLONE_SERVER": client["server"], "WPCLONE_TOKEN": client["token"]}
            farewell = (
                f"in another terminal: export KUBECONFIG={place.kubeconfig()} WPCLONE_STATE_DIR={on.directory / 'state'}; "
                f"clones answer at 127.0.0.1 under their own names (curl --connect-to ::127.0.0.1:, or map *.{HOSTS} there)"
            )
            yield Stage(source, database, sink, inner, client, hosted, clone_database, farewell)

    return staged


@dataclass(frozen=True)
class _Beside:
    """The MariaDB beside the cluster: its port, root's password, and those of the service's accounts."""

    port: int
    password: str = field(repr=False)
    accounts: Passwords


async def _open_database(stack: AsyncExitStack, place: ClusterPlace, directory: Path) -> _Beside:
    (port,) = free_ports(1, place.address)
    account = Accounts.choose({}, root=True).mariadb
    where = MariadbPlace(directory / "service-db", port, account, ("127.0.0.1", place.address))
    password = await mariadb.prepare(where)
    stack.push_async_callback((await mariadb.start(where, password)).stop)
    passwords = Passwords.kept(directory / "passwords.json", os.urandom)
    await asyncio.to_thread(make_accounts, where.socket, password, passwords, come_from=f"{place.network}.%")
    return _Beside(port, password, passwords)


def _service(place: ClusterPlace, names: Mapping[str, str], on: Grounds, beside: _Beside) -> ClusterService:
    private = on.directory / "cluster"
    private.mkdir(mode=0o700)
    return ClusterService(
        place, private, names, jobs_url(beside.port, beside.accounts, host=place.address),
        clones_url(beside.port, beside.accounts, host=place.address), on.source,
    )  # fmt: skip


async def _deploy(service: ClusterService, say: Say) -> None:
    """Deploy, and say what the pods said when that fails. Raises ServerNotReady."""
    try:
        await asyncio.to_thread(service.deploy)
    except RuntimeError as error:
        say(await asyncio.to_thread(service.logs))
        raise ServerNotReady(str(error)) from error


async def _remove(service: ClusterService, deploying: asyncio.Task[None]) -> None:
    """Take the service away, also while it is still being deployed. Why that failed was already told."""
    await asyncio.wait([deploying])
    if not deploying.cancelled():
        deploying.exception()
    await asyncio.to_thread(service.remove)


async def _client(stack: AsyncExitStack, service: ClusterService, directory: Path) -> dict[str, str]:
    """A port of this machine that leads to the API's Service, and a token for it; written where the command line finds it."""
    (port,) = free_ports(1)
    log = directory / "port-forward.log"
    child = await Child.start(
        "port-forward", service.forwarding(port), account=Account.current(), log=log, cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},  # kubectl keeps a cache there
    )  # fmt: skip
    stack.push_async_callback(child.stop)

    async def answers() -> bool | None:
        return await serves(port, within=2) or None

    await answer_of(child, answers, within=60, log=log)
    token = await asyncio.to_thread(service.token)
    client = {"server": f"127.0.0.1:{port}", "rest": f"http://127.0.0.1:{port}", "token": token}
    state = State(directory / "state")
    state.make()
    write_private(state.client, client)
    return client


def _leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM before and after the play is as Ctrl-C: everything is taken down."""
    raise SystemExit(128 + number)


def _cannot(why: str, code: int) -> int:
    _say(f"demo: {why}")
    print(json.dumps({"ok": False, "error": why}))
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
