"""A source whose agent takes its time, so that a copy can be met in its middle whatever the machine's speed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.source_site import SourceSite
from tests.support.wait import until
from wpclone.standalone.demo.web import Visitor


@contextmanager
def slow(source: SourceSite, seconds: float) -> Iterator[None]:
    """Each request to a plugin takes `seconds` more inside the block. The means lies outside of the docroot: none of it is copied."""
    prepend = source.place / "prepend.php"
    pause = f"if (str_contains($_SERVER['REQUEST_URI'], '/wp-content/plugins/')) {{ usleep({int(seconds * 1e6)}); }}"
    prepend.write_text(f"<?php\nheader('X-Slow: 1');\n{pause}\n")
    _prepend_always(source)
    until(lambda: "x-slow" in Visitor().get(source.url + "/wp-login.php").headers, within=20)
    try:
        yield
    finally:
        prepend.write_text("<?php\n")


def _prepend_always(source: SourceSite) -> None:
    """Have the source's Apache run the file before every script, from now on."""
    config = source.place / "apache.conf"
    line = f"php_admin_value auto_prepend_file {source.place / 'prepend.php'}\n"
    if line not in config.read_text():
        with config.open("a") as file:
            file.write(line)
        os.kill(source.site.child.pid, signal.SIGUSR1)  # the parent alone: it reads its configuration again
