"""An agent whose PHP process kills itself at a chosen point of an exchange: around every journal write and every rename."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.servers import SERVICE
from tests.support.source_site import SourceSite, site_session
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.package import agent_source

_DIES = r"""
final class Dies
{
    public static function maybe(): void
    {
        $left = (int) @file_get_contents('@FILE@');
        if ($left > 0) {
            file_put_contents('@FILE@', $left - 1);
            if ($left === 1) {
                posix_kill(getmypid(), 9);
            }
        }
    }
}
"""
_POINT = b" Dies::maybe(); "
# Where the process may die: (what is found in the source exactly once, the same with points).
_PLACES = (
    (b"        if (!rename($fresh, $file)) {", _POINT + b"if (!rename($fresh, $file)) {"),
    (b"            throw self::refused($file);\n        }\n    }\n",
     b"            throw self::refused($file);\n        }\n" + _POINT + b"}\n"),
    (b"        if (!@rename($from, $to)) {", _POINT + b"if (!@rename($from, $to)) {"),
    (b"            throw Place::refused($from);\n        }\n", b"            throw Place::refused($from);\n        }\n" + _POINT),
    (b"            $this->tables->run('ALTER TABLE ' . Database::name($pair[0])",
     _POINT + b"$this->tables->run('ALTER TABLE ' . Database::name($pair[0])"),
    (b"            $this->tables->run(self::all($pairs));", _POINT + b"$this->tables->run(self::all($pairs));" + _POINT),
    (b"            @$db->link->query('UNLOCK TABLES');\n        }\n    }\n",
     _POINT + b"@$db->link->query('UNLOCK TABLES');\n        }\n    }\n"),
    (b"&& !@unlink($file)) {", b"&& (Dies::maybe() === null) && !@unlink($file)) {"),
    (b"        $this->keep($file, $is, $text);", _POINT + b"$this->keep($file, $is, $text);" + _POINT),
    (b"        } elseif (!@rename($this->kept, $file)) {",
     b"} elseif ((Dies::maybe() === null) && !@rename($this->kept, $file)) {"),
    (b"        @unlink($this->kept); //", _POINT + b"@unlink($this->kept);" + _POINT + b"//"),
    (b"$this->tables->run('DROP TABLE IF EXISTS ' . Database::name((string) $table));",
     _POINT + b"$this->tables->run('DROP TABLE IF EXISTS ' . Database::name((string) $table));"),
)  # fmt: skip


class DyingAgent:
    """The agent of a site, and the counter of points it still passes; 0 lets it live."""

    def __init__(self, client: AgentClient, counter: Path) -> None:
        self.client = client
        self._counter = counter

    def dies_at(self, point: int) -> None:
        """Have it die at the point of this number from now on, counted from 1."""
        self._counter.write_text(str(point))

    @property
    def left(self) -> int:
        """Points that are left until it dies."""
        return int(self._counter.read_text() or 0)


@asynccontextmanager
async def dying_agent_of(site: SourceSite) -> AsyncIterator[DyingAgent]:
    """An agent placed by hand, removed afterwards."""
    key, name = secrets.token_bytes(32), f"agent-{secrets.token_hex(6)}.php"
    counter = site.place / f"{name}.points"
    source = agent_source(key=key, expires_at=int(time.time()) + 36000)
    for old, new in _PLACES:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    body = _DIES.replace("@FILE@", str(counter)).encode()
    file = site.put(name, source.replace(b"\nRequest::serve();", body + b"\nRequest::serve();"))
    counter.write_text("0")
    SERVICE.own(counter)
    try:
        async with site_session() as session:
            yield DyingAgent(AgentClient(session, AgentAddress(f"{site.url}/{name}", key)), counter)
    finally:
        file.unlink()
        counter.unlink()
