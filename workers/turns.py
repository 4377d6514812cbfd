"""Whose turn it is: three queues polled 8:3:1, spread evenly (smooth weighted round robin, as in nginx's upstreams)."""

from __future__ import annotations

from collections.abc import Collection

from wpclone.core.jobs.states import Priority

WEIGHTS = {Priority.HIGH: 8, Priority.NORMAL: 3, Priority.LOW: 1}


class Turns:
    """A fair order of turns."""

    def __init__(self) -> None:
        self._credit = dict.fromkeys(WEIGHTS, 0)

    def next(self, among: Collection[Priority]) -> Priority:
        """The queue to poll next, of at least one."""
        for priority in among:
            self._credit[priority] += WEIGHTS[priority]
        chosen = max(among, key=lambda priority: (self._credit[priority], WEIGHTS[priority]))
        self._credit[chosen] -= sum(WEIGHTS[priority] for priority in among)
        return chosen
