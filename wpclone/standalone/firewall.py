"""What a clone's uid may reach on this machine: its database and its own address, nothing else, over IPv4, IPv6 or DNS.

One nftables table per run holds one rule set for the run's whole range of uids. It is always replaced as a whole, in one
transaction (`nft -f` is atomic), so that it can never be half right; a uid of the range without a clone reaches nothing.
Source: nft(8), `meta skuid` is the uid of the process that made the socket.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass


class FirewallFailed(RuntimeError):
    """nft is missing or refused; the message ends with what it said."""


@dataclass(frozen=True)
class Opening:
    """One clone: its uid, and the port its Apache answers on."""

    uid: int
    port: int


@dataclass(frozen=True)
class Firewall:
    """The table of one run. `uids` is the run's range; `reachable` are the loopback ports every clone may connect to."""

    run: str
    uids: range
    reachable: tuple[int, ...]

    @property
    def table(self) -> str:
        """The table's name: letters, digits and underscores."""
        return "wpclone_" + "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in self.run)

    def rules(self, openings: Iterable[Opening]) -> str:
        """The whole table for these clones, as one nft script that replaces what was there."""
        lines = [
            f"table inet {self.table}",
            f"delete table inet {self.table}",
            f"table inet {self.table} {{",
            "  chain out {",
            "    type filter hook output priority 0; policy accept;",
            f"    meta skuid {self.uids.start}-{self.uids.stop - 1} jump clone",
            "  }",
            "  chain clone {",
        ]
        ports = ", ".join(str(port) for port in self.reachable)
        for opening in openings:
            here = f"ip saddr 127.0.0.1 ip daddr 127.0.0.1 meta skuid {opening.uid}"
            # Answers of its own Apache: never the first packet of a connection, so the port opens no way out, and a server
            # put on another clone's port cannot answer.
            lines.append(f"    {here} tcp sport {opening.port} tcp flags & (syn | ack) != syn accept")
            lines.append(f"    {here} tcp dport {{ {ports} }} accept")
        lines += ["    meta l4proto tcp reject with tcp reset", "    reject", "  }", "}", ""]
        return "\n".join(lines)

    async def apply(self, openings: Iterable[Opening]) -> None:
        """Make the rules hold now. Raises FirewallFailed."""
        await _nft(self.rules(openings))

    async def remove(self) -> None:
        """Take the table away; silent when there is none. Raises FirewallFailed."""
        await _nft(f"table inet {self.table}\ndelete table inet {self.table}\n")


async def _nft(script: str) -> None:
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise FirewallFailed("nft is not installed: run `make setup`, or set WPCLONE_LOCAL_ISOLATION=none")
    process = await asyncio.create_subprocess_exec(
        program,
        "-f",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={},
    )
    try:
        async with asyncio.timeout(20):
            said, _ = await process.communicate(script.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise FirewallFailed("nft did not end within 20 s") from None
    if process.returncode != 0:
        raise FirewallFailed(f"nft refused: {said.decode(errors='replace').strip()[-500:]}")
