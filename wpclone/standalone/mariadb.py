"""A MariaDB of our own: own data directory, own socket, own port, a random root password, nobody else's accounts.

Nothing of a system MariaDB is read (`--no-defaults`) or touched. Durable commit settings are on, because the job store
refuses to start without them in production.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import pymysql

from wpclone.standalone.account_files import replace_file
from wpclone.standalone.child import Account, Child
from wpclone.standalone.readiness import ServerNotReady, answer_of, tail

_BARE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_INSTALL_SECONDS = 120.0


@dataclass(frozen=True)
class MariadbPlace:
    """Where one MariaDB lives. All paths are below `directory`, which its account owns. It listens at `addresses`."""

    directory: Path
    port: int
    account: Account
    addresses: tuple[str, ...] = ("127.0.0.1",)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def socket(self) -> Path:
        """The unix socket; must stay under 100 bytes, a limit of unix(7)."""
        return self.directory / "mariadb.sock"

    @property
    def log(self) -> Path:
        """The error log."""
        return self.directory / "mariadb.log"

    @property
    def password_file(self) -> Path:
        """Root's password, 0600, owned by whoever runs `prepare`."""
        return self.directory.parent / f"{self.directory.name}.password"


async def prepare(place: MariadbPlace) -> str:
    """Make the data directory once and return root's password; silent and quick when it is there already.

    Raises ServerNotReady when mariadb-install-db fails.
    """
    if place.password_file.exists() and (place.data / "mysql").is_dir():
        return place.password_file.read_text().strip()
    place.directory.mkdir(parents=True, exist_ok=True)
    place.account.own(place.directory)
    await _install(place)
    password = secrets.token_urlsafe(24)
    await _set_root_password(place, password)
    # Last and in one step: without this file, what lies in the data directory counts as unfinished.
    replace_file(place.password_file, password.encode(), mode=0o600)
    return password


async def _install(place: MariadbPlace) -> None:
    install = await Child.start(
        "mariadb-install-db",
        [
            "mariadb-install-db", "--no-defaults", f"--datadir={place.data}", "--auth-root-authentication-method=normal",
            # A mariadbd that starts removes all #sql files of its account in its tmpdir: in a shared one, those of others too.
            "--skip-test-db", "--skip-name-resolve", f"--tmpdir={place.directory}",
        ],
        account=place.account, env=_BARE_ENV, log=place.log, cwd=place.directory,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_INSTALL_SECONDS):
            code = await install.wait()
    except TimeoutError:
        raise ServerNotReady(f"mariadb-install-db did not end within {_INSTALL_SECONDS:.0f} s: {tail(place.log)}") from None
    finally:
        await install.stop()
    if code != 0:
        raise ServerNotReady(f"mariadb-install-db failed: {tail(place.log)}")


async def _set_root_password(place: MariadbPlace, password: str) -> None:
    """Lock the accounts before the server first listens: `--bootstrap` reads SQL from stdin and opens no socket."""
    sql = (
        "USE mysql;\nFLUSH PRIVILEGES;\n"
        f"ALTER USER 'root'@'localhost' IDENTIFIED VIA mysql_native_password USING PASSWORD('{password}');\n"
        f"CREATE OR REPLACE USER 'root'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
        "DELETE FROM global_priv WHERE User='root' AND Host NOT IN ('localhost','127.0.0.1');\n"
        "FLUSH PRIVILEGES;\n"
    )
    script = place.directory / "lock.sql"
    replace_file(script, sql.encode(), mode=0o600, owner=place.account)
    # --init-file runs before the server accepts connections, and --skip-networking keeps the port shut meanwhile.
    try:
        child = await _launch(place, ["--skip-networking", f"--init-file={script}"])
        await _answering(place, password, child)
        await child.stop(grace=60)
    finally:
        script.unlink(missing_ok=True)


async def _launch(place: MariadbPlace, extra: list[str]) -> Child:
    return await Child.start(
        "mariadb",
        [
            "mariadbd", "--no-defaults", f"--datadir={place.data}", f"--socket={place.socket}", f"--log-error={place.log}",
            f"--pid-file={place.directory / 'mariadb.pid'}", f"--port={place.port}",
            f"--bind-address={','.join(place.addresses)}", "--skip-name-resolve",
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_520_ci",
            "--innodb-flush-log-at-trx-commit=1", "--log-bin=binlog", "--sync-binlog=1", "--binlog-format=ROW",
            # A clone's triggers are made by its own user. What they do is logged as rows, so nothing depends on their code.
            "--log-bin-trust-function-creators=1",
            "--expire-logs-days=1", "--max-allowed-packet=1G", "--max-connections=400", "--innodb-buffer-pool-size=256M",
            "--local-infile=0", "--secure-file-priv=" + str(place.data / "mysql"), "--symbolic-links=0", "--skip-symbolic-links",
            f"--tmpdir={place.directory}", *extra,
        ],
        account=place.account, env=_BARE_ENV, log=place.log, cwd=place.directory,
    )  # fmt: skip


async def start(place: MariadbPlace, password: str) -> Child:
    """Start the server and return once it answers a query. Raises ServerNotReady with the log's tail."""
    child = await _launch(place, [])
    await _answering(place, password, child)
    return child


async def _answering(place: MariadbPlace, password: str, child: Child) -> None:
    async def ping() -> bool | None:
        return await asyncio.to_thread(_ping, place.socket, password) or None

    await answer_of(child, ping, within=90, log=place.log, grace=60)


def _ping(path: Path, password: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL leaks its socket when nobody listens
        probe.settimeout(2)
        if probe.connect_ex(str(path)) != 0:
            return False
    try:
        pymysql.connect(unix_socket=str(path), user="root", password=password, connect_timeout=2, read_timeout=2).close()
    except pymysql.err.OperationalError:
        return False
    return True
