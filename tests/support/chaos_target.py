"""The world outside that chaos tests change: rows in MySQL, counted by idempotency name (job and step), and fenced."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pymysql

from wpclone.wordpress.errors import FencedOff

T = TypeVar("T")
_PAUSE = threading.Event()

_RAISE = """INSERT INTO effect_fences (job_id, fence) VALUES (%s, %s)
  ON DUPLICATE KEY UPDATE fence = GREATEST(fence, VALUES(fence))"""
_FENCE = "SELECT fence FROM effect_fences WHERE job_id = %s FOR UPDATE"
_LOG = "INSERT INTO effect_log (job_id, step, what, fence, worker, at) VALUES (%s, %s, %s, %s, %s, UNIX_TIMESTAMP(NOW(6)))"
_KNOWN = """SELECT j.fence, j.verdict, s.state FROM jobs j LEFT JOIN job_steps s ON s.job_id = j.job_id AND s.name = %s
  WHERE j.job_id = %s"""
_WRITE = "INSERT INTO writes (job_id, revision, fence, name, worker, at) VALUES (%s, %s, %s, %s, %s, UNIX_TIMESTAMP(NOW(6)))"


class Target:
    """One worker's way to the target. Blocking; any thread. Waits out an outage of the target: a step's deadline ends that."""

    def __init__(self, worker: str, **address: Any) -> None:
        self._worker = worker
        self._address = address
        self._connection: pymysql.connections.Connection[Any] | None = None
        self._lock = threading.Lock()

    def begin(self, job_id: str, step: str, fence: int, *, undo: bool) -> None:
        """Raise the target's fence to ours and note that work begins; what should not be done any more is noted as such."""

        def work(cursor: Any) -> None:
            cursor.execute(_KNOWN, (step, job_id))
            job_fence, verdict, state = cursor.fetchone()
            self._log(cursor, job_id, step, "undo" if undo else "do", fence)
            if job_fence == fence:  # a zombie's knowledge is old; its effects are refused
                if not undo and state == "done":
                    self._log(cursor, job_id, step, "again", fence)
                if undo == (verdict is None):
                    self._log(cursor, job_id, step, "out_of_turn", fence)

        self._fenced(job_id, step, fence, work)

    def apply(self, job_id: str, step: str, fence: int) -> bool:
        """Make the effect, or find it; whether it was made now. Raises FencedOff."""

        def work(cursor: Any) -> bool:
            made = cursor.execute("INSERT IGNORE INTO effects (job_id, step, fence) VALUES (%s, %s, %s)", (job_id, step, fence))
            self._log(cursor, job_id, step, "applied" if made else "found", fence)
            return bool(made)

        return self._fenced(job_id, step, fence, work)

    def remove(self, job_id: str, step: str, fence: int) -> None:
        """Remove the effect, or find it gone. Raises FencedOff."""

        def work(cursor: Any) -> None:
            gone = cursor.execute("DELETE FROM effects WHERE job_id = %s AND step = %s", (job_id, step))
            self._log(cursor, job_id, step, "removed" if gone else "absent", fence)

        self._fenced(job_id, step, fence, work)

    def wrote(self, job_id: str, revision: int | None, fence: int, name: str) -> None:
        """Note what the job store answered to a write of ours: its revision, or None for a stale one."""
        self._repeat(lambda cursor: cursor.execute(_WRITE, (job_id, revision, fence, name, self._worker)))

    def _fenced(self, job_id: str, step: str, fence: int, work: Callable[[Any], T]) -> T:
        def checked(cursor: Any) -> T | None:
            cursor.execute(_RAISE, (job_id, fence))
            cursor.execute(_FENCE, (job_id,))
            if cursor.fetchone()[0] > fence:
                self._log(cursor, job_id, step, "refused", fence)
                return None
            refused.clear()
            return work(cursor)

        refused = [True]
        result = self._repeat(checked)
        if refused:
            raise FencedOff
        return result  # type: ignore[return-value]

    def _log(self, cursor: Any, job_id: str, step: str, what: str, fence: int) -> None:
        cursor.execute(_LOG, (job_id, step, what, fence, self._worker))

    def _repeat(self, work: Callable[[Any], T]) -> T:
        with self._lock:
            while True:
                try:
                    connection = self._connected()
                    with connection.cursor() as cursor:
                        result = work(cursor)
                    connection.commit()
                except (pymysql.err.OperationalError, pymysql.err.InterfaceError, OSError):
                    self._hang_up()
                    _PAUSE.wait(0.2)
                else:
                    return result

    def _connected(self) -> "pymysql.connections.Connection[Any]":
        if self._connection is None:
            self._connection = pymysql.connect(**self._address, connect_timeout=3, read_timeout=20, write_timeout=20)
            with self._connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection._force_close()  # type: ignore[attr-defined]
            self._connection = None
