"""Writes the clone image's Apache and PHP configuration, from the same templates as a local clone's.

usage: python deploy/docker/web_configuration.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

from workers.runtimes.manifests import DOCROOT, GUARD_STATE, SITE_PORT
from wpclone.standalone.apache import ApachePlace, GuardPlace, configuration, php_ini
from wpclone.standalone.child import Account

_WEB = Path("/opt/wpclone/web")
_HEALTH = f"""
# The probes' own page: no PHP, no WordPress, no redirect.
Alias "/.wpclone/health" "{_WEB}/health"
<Directory "{_WEB}">
    <Files "health">
        Require all granted
    </Files>
</Directory>
"""


def main(directory: Path) -> None:
    """Write apache.conf and php.ini."""
    place = ApachePlace(
        _WEB, Path(DOCROOT), SITE_PORT, "localhost", Account(33, 33), guard=GuardPlace(Path("/site/guard"), Path(GUARD_STATE)),
        listen="0.0.0.0",  # noqa: S104 - the pod's own address; its NetworkPolicy says who may come
    )  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "apache.conf").write_text(configuration(place) + _HEALTH)
    (directory / "php.ini").write_text(php_ini(place))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
