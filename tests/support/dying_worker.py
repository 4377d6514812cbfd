"""A worker that is killed before a call to the API server: `python -m tests.support.dying_worker DIRECTORY`.

DIRECTORY/deaths.json says, by clone, before which call about it, by its number among its like; DIRECTORY/<clone>.calls has
each call that was made. A clone costs one worker, once: DIRECTORY/<clone>.died is there afterwards.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import uvloop

from workers import bootstrap
from workers.runtimes import cluster_api
from workers.runtimes.manifests import Manifest
from wpclone.core.logs import configure
from wpclone.core.settings import WorkerSettings, read

_CLONE = re.compile(r"clone-[0-9a-f]{12}")


class DyingApi(cluster_api.ClusterApi):
    """Writes down what names a clone, and kills its process where it was told to. Lists and watches name none."""

    place: Path
    deaths: dict[str, tuple[str, int]]
    made: Counter[tuple[str, str]]

    async def _send(
        self, method: str, address: str, body: Manifest | None, content_type: str, timeout: float
    ) -> aiohttp.ClientResponse:
        named = _CLONE.search(address)
        if named:
            path = address.partition("?")[0].partition("/namespaces/")[2]
            self._count(named[0], f"{method} {path.partition('/')[2].replace(named[0], 'CLONE')}")
        return await super()._send(method, address, body, content_type, timeout)

    def _count(self, clone_id: str, call: str) -> None:
        self.made[clone_id, call] += 1
        here = (call, self.made[clone_id, call])
        if here == self.deaths.get(clone_id) and _is_first(self.place / f"{clone_id}.died"):
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.place / f"{clone_id}.calls").open("a") as calls:
            calls.write(f"{call}\n")


def _is_first(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


async def work(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await bootstrap.work(settings, stop)


if __name__ == "__main__":
    configure("worker")
    DyingApi.place = Path(sys.argv[1])
    deaths = json.loads((DyingApi.place / "deaths.json").read_text())
    DyingApi.deaths = {clone_id: (call, number) for clone_id, (call, number) in deaths.items()}
    DyingApi.made = Counter()
    vars(cluster_api).update(ClusterApi=DyingApi)
    uvloop.run(work(read(WorkerSettings)))
