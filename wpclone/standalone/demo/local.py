"""The stage on this machine alone: `wpclone up` as a process of its own, as anybody would start it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from wpclone.standalone import status
from wpclone.standalone.child import Account, Child
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.stage import Hosted, Say, Stage, grounds, open_source
from wpclone.standalone.demo.tables import Database
from wpclone.standalone.programs import checkout
from wpclone.standalone.readiness import answer_of
from wpclone.standalone.state import State, read_document


@asynccontextmanager
async def staged(environ: Mapping[str, str], say: Say) -> AsyncIterator[Stage]:
    """Build the stage, yield it, and take everything down again. Raises ServerNotReady, FileNotFoundError, OSError."""
    async with AsyncExitStack() as stack:
        on = stack.enter_context(grounds(environ))
        state = State(on.directory / "state")
        inner = {**environ, "WPCLONE_STATE_DIR": str(state.directory), "WPCLONE_ALLOW_SOURCE_HOSTS": on.source}
        service = asyncio.create_task(_start_service(on.directory, state, inner), name="start service")
        stack.push_async_callback(_stop_service, service)
        source, database, sink = await open_source(stack, on, environ, say)
        say("starting the service: MariaDB, nats-server, Envoy, server, worker")
        await asyncio.shield(service)
        say(f"the service is up, state in {state.directory}")

        async def hosted(clone_id: str) -> Hosted:
            return await _hosted(state, clone_id)

        def clone_database(job_id: str, clone: Site) -> Database:
            return _clone_database(state, job_id, clone)

        farewell = f"in another terminal: export WPCLONE_STATE_DIR={state.directory}"
        yield Stage(source, database, sink, inner, read_document(state.client), hosted, clone_database, farewell)


async def _start_service(place: Path, state: State, environ: Mapping[str, str]) -> Child:
    """`wpclone up`. Returns when every part is ready."""
    log = place / "up.log"
    root = checkout()
    env = {**environ, "PYTHONPATH": f"{root}:{root / 'gen'}"}
    child = await Child.start(
        "up", [sys.executable, "-m", "wpclone.cli", "up"], account=Account.current(), env=env, log=log, cwd=root
    )

    async def ready() -> bool | None:
        return bool((await status.read(state)).get("ready")) or None

    await answer_of(child, ready, within=180, log=log, grace=120)
    return child


async def _stop_service(service: asyncio.Task[Child]) -> None:
    """Stop the service, also while it still starts. Its own failure to start was already told."""
    if not service.done():
        service.cancel()
    await asyncio.wait([service])
    if not service.cancelled() and service.exception() is None:
        await service.result().stop(grace=120)


async def _hosted(state: State, clone_id: str) -> Hosted:
    clones = (await status.read(state))["clones"] or []
    clone = next(clone for clone in clones if clone["clone_id"] == clone_id)
    return Hosted(clone["docroot"], Path(clone["docroot"]), Path(clone["guard_state_dir"]))


def _clone_database(state: State, job_id: str, clone: Site) -> Database:
    password = (state.directory / "mariadb.password").read_text().strip()
    port = json.loads(state.ports.read_text())["mariadb"]
    return Database(port, password, f"wpc_{job_id.removeprefix('clone-')}", clone)
