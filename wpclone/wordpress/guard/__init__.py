"""The PHP that keeps a clone harmless, and the configuration it reads. Changes no row and no file of the copied site.

Pure: this package hands out bytes; a runtime puts them in place.
"""

from importlib.resources import files

from wpclone.wordpress.guard.config import GuardSettings, guard_config, password_hash

__all__ = ["FILES", "GuardSettings", "guard_config", "guard_files", "password_hash"]

FILES = ("guard.php", "mu-plugin.php", "capture-mail.sh", "robots.txt")
"""What lies beside `config.json` in a clone's guard directory."""


def guard_files() -> dict[str, bytes]:
    """The guard's files by name, all but `config.json`."""
    place = files(__name__)
    return {name: place.joinpath(name).read_bytes() for name in FILES}
