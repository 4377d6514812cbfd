"""`wpclone down`: ask the process that runs an installation to stop, and wait until it has; end what one that was killed left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping

from wpclone.standalone import processes, status
from wpclone.standalone.child import Account
from wpclone.standalone.clone_sites import CloneSites
from wpclone.standalone.firewall import Firewall, FirewallFailed
from wpclone.standalone.leftovers import end_leftovers, runs
from wpclone.standalone.processes import ProcessesRemain
from wpclone.standalone.run_lock import AlreadyUp, RunLock, holder
from wpclone.standalone.site_files import SiteDirectories
from wpclone.standalone.state import State, state_directory

_PAUSE = threading.Event()
_PATIENCE = 180.0
"""Seconds: more than all graces of all parts together."""


def run(
    *,
    environ: Mapping[str, str] = os.environ,
    say: Callable[[str], object] = lambda line: sys.stderr.write(line + "\n"),
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Stop what runs and return 0, also when nothing did; 1 when it is another user's or does not stop."""
    state = State(state_directory(environ, uid=os.getuid()))
    pid = holder(state.lock)
    if pid is None:
        return _end_leftovers(state, say)
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        say(f"process {pid} runs {state.directory} and is another user's; stop it as that user")
        return 1
    except ProcessLookupError:
        return 0
    end = clock() + _PATIENCE
    while holder(state.lock) == pid:
        if clock() > end:
            say(f"process {pid} did not stop within {_PATIENCE:.0f} s; see {state.directory}")
            return 1
        _PAUSE.wait(0.05)
    say("everything is stopped")
    return 0


def _end_leftovers(state: State, say: Callable[[str], object]) -> int:
    """End what goes on running after its `up` was killed, the clones' web servers too; as `run` returns."""
    if not any(runs(seen) for seen in status.marks(state.status)):
        say(f"nothing runs for {state.directory}")
        return 0
    try:
        with RunLock(state.lock):  # nobody starts meanwhile
            asyncio.run(_ended(state))
    except PermissionError:
        say(f"what runs for {state.directory} is another user's; stop it as that user")
        return 1
    except (AlreadyUp, FirewallFailed, ProcessesRemain, TimeoutError, ValueError) as error:
        say(f"not everything is stopped: {error}")
        return 1
    say("ended what an earlier run left behind when it was killed")
    return 0


async def _ended(state: State) -> None:
    await end_leftovers(reversed(status.marks(state.status)))
    if not state.clones.exists():
        return
    sites = CloneSites(state.clones / "records", state.clone_uids, range(0))
    sites.load()
    for site in sites.all():
        if site.uid in state.clone_uids:
            await processes.end_all_of(Account(site.uid, site.uid))
        else:
            web = SiteDirectories(state.clones / "sites" / site.clone_id).web
            await processes.end_started_with(str(web / "apache.conf"))
    if any(site.uid in state.clone_uids for site in sites.all()):
        await Firewall(state.run, state.clone_uids, ()).remove()
