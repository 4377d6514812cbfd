"""A number in a directory that lets only the newest claim write there."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from wpclone.wordpress.errors import FencedOff


@dataclass(frozen=True)
class Fence:
    """The right to write, for as long as no larger number stands in `path`/fence. `path` is a directory outside of any
    docroot."""

    path: Path
    number: int
    _seen: list[tuple[int, int, int]] = field(default_factory=list, init=False, repr=False, compare=False)

    def claim(self) -> None:
        """Put the number there; raises FencedOff when a larger one is there already."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / "fence.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held for a few system calls, never while content is written
            self.check()
            fresh = self.path / "fence.new"
            fresh.write_text(str(self.number))
            os.replace(fresh, self.path / "fence")
            there = os.stat(self.path / "fence")
            self._seen[:] = [(there.st_ino, there.st_mtime_ns, there.st_ctime_ns)]

    def check(self) -> None:
        """Raise FencedOff when a larger number is there, or ours is gone with all it guards: another claim has taken the work
        back. Cheap: the file is read only when it is another than last time."""
        try:
            there = os.stat(f"{self.path}/fence")
            seen = (there.st_ino, there.st_mtime_ns, there.st_ctime_ns)
            if self._seen == [seen]:
                return
            standing = int((self.path / "fence").read_bytes() or b"0")
        except FileNotFoundError:
            if self._seen:
                raise FencedOff("the fence has been taken away") from None
            return
        self._seen[:] = [seen] if standing <= self.number else []
        if standing > self.number:
            raise FencedOff(f"fence {standing} stands in the way of {self.number}")
