"""One Apache with mod_php for one site: its own configuration, uid, port, temporary directory and log.

Apache is started as the site's uid, never as root. All that configures it lies in `directory`, which root owns and the
site may only read; `run` and `tmp` below it are the site's. Not `php -S`: that leaves workers behind, ignores .htaccess
and hangs on a request to itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from wpclone.standalone.child import Account, Child
from wpclone.standalone.http_probe import status_of
from wpclone.standalone.readiness import answer_of

_MODULES = (
    "mpm_prefork", "authn_core", "authn_file", "authz_core", "authz_host", "authz_user", "auth_basic", "access_compat", "alias",
    "autoindex", "deflate", "dir", "env", "expires", "filter", "headers", "mime", "negotiation", "reqtimeout", "rewrite",
    "setenvif",
)  # fmt: skip
_MODULES_DIRECTORY = Path("/usr/lib/apache2/modules")
_MIME_TYPES = Path("/etc/mime.types")
_WORKERS = 6

DISABLED_FUNCTIONS = (
    "exec", "shell_exec", "system", "passthru", "popen", "proc_open", "pcntl_exec", "pcntl_fork", "dl", "posix_kill",
    "posix_setuid", "posix_setgid", "posix_setsid", "posix_mkfifo", "link",
)  # fmt: skip
"""What a careful shared host switches off. It is no border (the uid and the firewall are), only less to worry about."""


@dataclass(frozen=True)
class GuardPlace:
    """Where a clone's guard lies, and the directory it may write. The files are wpclone/wordpress/guard's."""

    directory: Path
    state: Path


@dataclass(frozen=True)
class ApachePlace:
    """One site's web server. `host` is its public `name[:port]`; `listen` and `port` are where Apache listens.

    `guard` is None for a site that is nobody's clone. `sendmail` replaces the program behind PHP's mail() there.
    `own_uid` says that nobody else runs under `account.uid`, so that limits per uid are this site's.
    """

    directory: Path
    docroot: Path
    port: int
    host: str
    account: Account
    guard: GuardPlace | None = None
    own_uid: bool = False
    sendmail: str = "/bin/true"
    listen: str = "127.0.0.1"

    @property
    def configuration(self) -> Path:
        """Apache's configuration file."""
        return self.directory / "apache.conf"

    @property
    def run(self) -> Path:
        """Apache's own files: the site's to write."""
        return self.directory / "run"

    @property
    def tmp(self) -> Path:
        """PHP's temporary files, uploads in flight and sessions: the site's to write."""
        return self.directory / "tmp"

    @property
    def log(self) -> Path:
        """Apache's and PHP's errors. The file is the site's, its directory is not, so it can never become a link."""
        return self.directory / "apache.log"


def program() -> str:
    """Apache's binary. Raises FileNotFoundError saying what to install."""
    found = shutil.which("apache2", path=os.defpath + ":/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError("apache2 is not installed: run `make setup`")
    return found


def php_module() -> Path:
    """mod_php's newest shared object. Raises FileNotFoundError saying what to install."""
    found = sorted(_MODULES_DIRECTORY.glob("libphp8.*.so"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    if not found:
        raise FileNotFoundError("mod_php is not installed: run `make setup`")
    return found[-1]


def configuration(place: ApachePlace) -> str:
    """Apache's configuration for `place`. Raises ValueError for a path that cannot be quoted."""
    modules = [f'LoadModule {name}_module "{_MODULES_DIRECTORY}/mod_{name}.so"' for name in _MODULES]
    modules.append(f'LoadModule php_module "{php_module()}"')
    guard = place.guard
    return Template(_template("apache.conf.template")).substitute(
        directory=_quotable(place.directory),
        run=place.run,
        log=place.log,
        listen=place.listen,
        port=place.port,
        host=place.host.partition(":")[0],
        docroot=_quotable(place.docroot),
        workers=_WORKERS,
        modules="\n".join(modules),
        types_config=f'TypesConfig "{_MIME_TYPES}"' if _MIME_TYPES.exists() else "TypesConfig /dev/null",
        admin_values="\n".join(f'php_admin_value {name} "{value}"' for name, value in _admin_values(place)),
        extra="" if guard is None else _guard_directives(guard),
    )


def _admin_values(place: ApachePlace) -> Iterable[tuple[str, object]]:
    guard = place.guard
    open_to = [place.docroot, place.tmp, *([guard.directory, guard.state] if guard else [])]
    # A trailing slash makes PHP compare whole directory names instead of prefixes.
    yield "open_basedir", ":".join([*(f"{path}/" for path in open_to), "/dev/urandom"])
    if guard:
        yield "auto_prepend_file", guard.directory / "guard.php"
        yield "auto_append_file", "none"
        yield "memory_limit", "256M"


def _guard_directives(guard: GuardPlace) -> str:
    return (
        'Header always set X-Robots-Tag "noindex, nofollow"\n'
        f'Alias /robots.txt "{_quotable(guard.directory)}/robots.txt"\n'
        f'<Directory "{guard.directory}">\n    <Files "robots.txt">\n        Require all granted\n    </Files>\n</Directory>\n'
        f'<Directory "{guard.state}">\n    Require all denied\n</Directory>'
    )


def php_ini(place: ApachePlace) -> str:
    """PHP's own configuration file for `place`."""
    guard = place.guard
    sendmail = f"/bin/sh {guard.directory}/capture-mail.sh {guard.state}/mail" if guard else place.sendmail
    disabled = ",".join(DISABLED_FUNCTIONS) if guard else ""
    return Template(_template("php.ini.template")).substitute(tmp=place.tmp, sendmail=sendmail, disabled=disabled)


def write_configuration(place: ApachePlace) -> bool:
    """Make the directories and files Apache needs; whether a file changed. Repeatable."""
    place.directory.mkdir(parents=True, exist_ok=True)
    for path in (place.run, place.tmp):
        path.mkdir(mode=0o700, exist_ok=True)
        place.account.own(path)
    if not place.log.exists():
        place.log.touch(mode=0o640)
        place.account.own(place.log)
    changed = False
    for path, text in ((place.configuration, configuration(place)), (place.directory / "php.ini", php_ini(place))):
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            os.chown(path, -1, place.account.gid)
            path.chmod(0o640)
            changed = True
    return changed


async def start(place: ApachePlace, *, within: float = 60) -> Child:
    """Start the server and return once the site answers an HTTP request, whatever its status (redirects not followed).

    Raises ServerNotReady with the log's tail when Apache ends or does not answer within `within` seconds.
    """
    child, _ = await start_and_ask(place, within=within)
    return child


async def start_and_ask(place: ApachePlace, *, within: float = 60) -> tuple[Child, int]:
    """`start`, and the status with which `/` answered first."""
    await asyncio.to_thread(write_configuration, place)
    # A killed Apache's pid file may name another process by now, and Apache would take that for itself.
    (place.run / "apache.pid").unlink(missing_ok=True)
    child = await Child.start(
        f"apache {place.host}",
        [*_limits(place), program(), "-f", str(place.configuration), "-D", "FOREGROUND"],
        account=place.account, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, log=place.log, cwd=place.directory,
    )  # fmt: skip
    status = await answer_of(
        child, lambda: status_of(place.port, place.host, within=within), within=within, log=place.log, grace=2
    )
    return child, status


def _limits(place: ApachePlace) -> list[str]:
    """No setuid program may raise the site's rights; its processes and core files are bounded."""
    own = ["--nproc=100:100"] if place.own_uid else []
    return ["setpriv", "--no-new-privs", "prlimit", "--core=0:0", *own]


def _template(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


def _quotable(path: Path) -> Path:
    if re.search(r'["\\$%\s]', str(path)):
        raise ValueError(f"a site cannot live in {str(path)!r}: no quotes, backslashes, $, % or white space in its path")
    return path
