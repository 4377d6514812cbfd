"""The programs this machine must have, looked for before anything starts, so that all that is missing is said at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from wpclone.standalone import apache, envoy, nats

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProgramsMissing(RuntimeError):
    """Programs are missing; the message names them all and what installs them."""


def refuse_missing(*, isolated: bool) -> None:
    """Raise ProgramsMissing unless everything is there."""
    system = ["mariadbd", "mariadb-install-db", "setpriv", "prlimit", *(["nft"] if isolated else [])]
    missing = [name for name in system if shutil.which(name, path=_PATH) is None]
    ours: dict[str, Callable[[], object]] = {
        "nats-server": nats.program, "envoy": envoy.program, "apache2": apache.program, "mod_php": apache.php_module,
    }  # fmt: skip
    missing += [name for name, find in ours.items() if not _found(find)]
    if missing:
        raise ProgramsMissing(f"not installed here: {', '.join(missing)}. `make setup` installs what wpclone needs")


def _found(find: Callable[[], object]) -> bool:
    try:
        find()
    except FileNotFoundError:
        return False
    return True
