"""Our own processes, `python -m server` and `python -m workers`: their account, environment and readiness.

They run from this checkout, under the service's account, with nothing of the operator's environment but our settings.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wpclone.standalone.child import Account, Child
from wpclone.standalone.grpc_health import serves
from wpclone.standalone.http_probe import status_of
from wpclone.standalone.readiness import answer_of

_OURS_ALONE = {
    "WPCLONE_TOKEN",
    "WPCLONE_SERVER",
    "WPCLONE_STATE_DIR",
    "WPCLONE_LOCAL_ISOLATION",
    "WPCLONE_SERVICE_UID",
    "WPCLONE_WORKERS",
}
"""Settings of the command line and of `up` itself, which no child is to see."""


class NotACheckout(RuntimeError):
    """Server and workers are not beside this package: it was installed from a wheel."""


class AdminFailed(RuntimeError):
    """`python -m server.admin` refused or crashed; the message ends with what it said."""


@dataclass(frozen=True)
class Programs:
    """How to start our own programs. `settings` are the WPCLONE_… of server and worker alike; they hold passwords."""

    checkout: Path
    account: Account
    directory: Path
    settings: Mapping[str, str] = field(repr=False)

    def needed(self) -> list[Path]:
        """What the account must be able to read: the code, the interpreter, its libraries."""
        libraries = sysconfig.get_paths()
        return [
            *(self.checkout / name for name in ("server/__main__.py", "workers/__main__.py", "gen/wpclone/v2", "wpclone/core")),
            Path(sys.executable),
            Path(sys.prefix) / "bin",
            Path(libraries["stdlib"]),
            Path(libraries["purelib"]),
        ]

    def log(self, name: str) -> Path:
        """Where a program writes."""
        return self.directory / f"{name}.log"

    async def start_server(self, *, grpc_port: int, metrics_port: int) -> Child:
        """Start the server and return once gRPC says SERVING. Raises ServerNotReady."""
        extra = {"WPCLONE_GRPC_ADDRESS": f"127.0.0.1:{grpc_port}", "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}"}
        return await self._start("server", "server", extra, lambda: serves(grpc_port, within=2))

    async def start_worker(self, name: str, *, metrics_port: int) -> Child:
        """Start a worker and return once it shows its metrics. Raises ServerNotReady."""

        async def shows_metrics() -> bool:
            return await status_of(metrics_port, "127.0.0.1", "/metrics", within=2) == 200

        return await self._start(name, "workers", {"WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}"}, shows_metrics)

    async def admin(self, *arguments: str) -> str:
        """Run `python -m server.admin …` and return what it printed. Raises AdminFailed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.admin", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self._environment({}), cwd=self.directory, **self._identity(),
        )  # fmt: skip
        try:
            async with asyncio.timeout(120):
                out, err = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            said = "\n".join((err or out).decode(errors="replace").strip().splitlines()[-8:])
            raise AdminFailed(f"server.admin {arguments[0]} failed: {said}")
        return out.decode()

    async def _start(self, name: str, module: str, extra: Mapping[str, str], ready: Callable[[], Awaitable[bool]]) -> Child:
        log = self.log(name)
        child = await Child.start(
            name, [sys.executable, "-m", module], account=self.account, env=self._environment(extra), log=log, cwd=self.directory
        )

        async def answers() -> bool | None:
            return await ready() or None

        await answer_of(child, answers, within=60, log=log)
        return child

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{self.checkout}:{self.checkout / 'gen'}",
            "PYTHONUNBUFFERED": "1",
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),
            **self.settings,
            **extra,
        }

    def _identity(self) -> dict[str, Any]:
        if self.account == Account.current():
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The operator's own WPCLONE_… settings that server and worker are to see."""
    return {name: value for name, value in environ.items() if name.startswith("WPCLONE_") and name not in _OURS_ALONE}


def checkout() -> Path:
    """The checkout this package runs from. Raises NotACheckout for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "server").is_dir() or not (root / "workers").is_dir():
        raise NotACheckout(
            "`wpclone up` runs the server and workers of a checkout, and this is an installed package: clone the repository"
        )
    return root
