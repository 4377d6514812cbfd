"""Named places where a test may make a worker die, stop, hang or fail. Off, `hit` is one comparison.

A failpoint is `<place>:<action>`, such as `copy_tables.after_effect:kill`. Places: `claimed`, `acked`,
`<step>.before_effect`, `<step>.after_effect`, `<step>.after_record`, `<step>.before_undo`, `<step>.after_undo`,
`<step>.after_undo_record`. Only a composition root reads the variable that sets one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping


class FailpointBug(Exception):
    """The bug that the action `bug` plays."""


def _block(seconds: float) -> None:
    threading.Event().wait(seconds)


def _bug() -> None:
    raise FailpointBug("a failpoint raised this")


ACTIONS: Mapping[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "block": lambda: _block(20.0),
    "bug": _bug,
}
"""What can happen: SIGKILL, SIGSTOP, the event loop blocked for 20 s, longer than a lease, an exception nobody expects."""


class Failpoints:
    """At most one failpoint of this process."""

    def __init__(self, setting: str = "") -> None:
        self._place, _, action = setting.partition(":")
        if self._place and action not in ACTIONS:
            raise ValueError(f"a failpoint is <place>:<action> with an action of {sorted(ACTIONS)}, not {setting!r}")
        self._act = ACTIONS.get(action)

    def hit(self, place: str) -> None:
        """Do what was set for this place; nothing otherwise."""
        if place == self._place and self._act is not None:
            self._act()
