"""A source whose agents take their time or stand still, so that a copy can be met in its middle on any machine."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.source_site import SourceSite
from tests.support.wait import until
from wpclone.standalone.demo.web import Visitor

_PREPEND = """<?php
header('X-Slow: 1');
if (preg_match('~/wp-content/plugins/([^/]+)/~', $_SERVER['REQUEST_URI'], $found)) {
    usleep(@@MICROSECONDS@@);
    while (file_exists('@@PLACE@@/held-' . $found[1])) { usleep(20000); clearstatcache(); }
}
"""


class SlowSource:
    """The source inside `slow`."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def hold(self, agent_url: str) -> None:
        """No further request of this agent is answered until the block ends."""
        (self._place / f"held-{agent_url.split('/')[-2]}").touch()


@contextmanager
def slow(source: SourceSite, seconds: float) -> Iterator[SlowSource]:
    """Each request to a plugin takes `seconds` more inside the block. Nothing of this is in the docroot, so nothing is copied."""
    prepend = source.place / "prepend.php"
    prepend.write_text(_PREPEND.replace("@@MICROSECONDS@@", str(int(seconds * 1e6))).replace("@@PLACE@@", str(source.place)))
    _prepend_always(source)
    until(lambda: "x-slow" in Visitor().get(source.url + "/wp-login.php").headers, within=20)
    try:
        yield SlowSource(source.place)
    finally:
        prepend.write_text("<?php\n")
        for held in source.place.glob("held-*"):
            held.unlink()


def _prepend_always(source: SourceSite) -> None:
    """Have the source's Apache run the file before every script, from now on."""
    config = source.place / "apache.conf"
    line = f"php_admin_value auto_prepend_file {source.place / 'prepend.php'}\n"
    if line not in config.read_text():
        with config.open("a") as file:
            file.write(line)
        os.kill(source.site.child.pid, signal.SIGUSR1)  # the parent alone: it reads its configuration again
