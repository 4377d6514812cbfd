"""Asks the agent of one site: typed questions, proved answers, patience with a slow or busy host.

Streams resume by themselves: after a broken connection the question is asked again from the last thing received, so a caller sees
each entry, part and row of one call once and in order. Requests are made one at a time; the agent refuses a second one anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from yarl import URL

from wpclone.wordpress.agent import wire
from wpclone.wordpress.agent.answers import begin, frames_of
from wpclone.wordpress.agent.asked import Asked, LargeValues, behind
from wpclone.wordpress.agent.wire import Entry, Frame, Part, RowsFrame
from wpclone.wordpress.errors import FencedOff, Reason, SiteError, TableGone
from wpclone.wordpress.session import SiteSession, same_host

_LEAST_SECONDS = 2.0
_FAILURES = 5
_BUSY_SECONDS = 60.0
_LONGEST_PAUSE = 20.0
_NO_SUCH_TABLE, _CHANGED_SINCE_SNAPSHOT = 1146, 1412


_REASONS = {
    "BAD_SIGNATURE": Reason.AGENT_REFUSED,
    "REPLAYED": Reason.SOURCE_DAMAGED_ANSWER,
    "CLOCK": Reason.AGENT_CLOCK,
    "EXPIRED": Reason.AGENT_EXPIRED,
    "BUSY": Reason.SOURCE_BUSY,
    "STATE": Reason.AGENT_BLOCKED,
    "NOT_WORDPRESS": Reason.NOT_WORDPRESS,
    "CONFIG_FAILED": Reason.NOT_WORDPRESS,
    "DATABASE_DOWN": Reason.SOURCE_DATABASE_DOWN,
    "QUERY_FAILED": Reason.SOURCE_QUERY_FAILED,
    "CRASHED": Reason.SOURCE_BROKEN,
    "NOT_WRITABLE": Reason.TARGET_NOT_WRITABLE,
    "NO_SPACE": Reason.TARGET_TOO_SMALL,
    "TARGET_REFUSED": Reason.TARGET_DATABASE_REFUSED,
    "DAMAGED": Reason.STAGING_DAMAGED,
    "CHANGING": Reason.TARGET_CHANGING,
    "NO_RESTORE": Reason.NOTHING_TO_ROLL_BACK,
}


@dataclass(frozen=True)
class AgentAddress:
    """Where an agent answers and the key it answers to. The URL may hold `user:password@` for HTTP Basic."""

    url: str
    key: bytes = field(repr=False)


class _Patience:
    """How long to go on asking: a number of failures in a row, and a longer time for a host that only says it is busy."""

    def __init__(self, session: SiteSession) -> None:
        self._session = session
        self._failures = 0
        self._busy_until: float | None = None

    def progress(self) -> None:
        """Something new arrived."""
        self._failures, self._busy_until = 0, None

    async def after(self, error: SiteError) -> None:
        """Pause before the next try, or raise the error when patience is at its end."""
        if not error.transient:
            raise error
        now = self._session.clock()
        if error.reason is Reason.SOURCE_BUSY:
            self._busy_until = self._busy_until or now + _BUSY_SECONDS
            if now > self._busy_until:
                raise error
        else:
            self._failures += 1
            if self._failures > _FAILURES:
                raise error
        pause = min(_LONGEST_PAUSE, 0.25 * 2 ** min(self._failures, 8)) * self._session.chance.uniform(0.6, 1.0)
        await asyncio.sleep(max(pause, min(error.retry_after or 0.0, _LONGEST_PAUSE)))


class AgentClient:
    """Questions to one agent. Every method raises SiteError; those that stream must be read to the end or closed."""

    def __init__(self, session: SiteSession, address: AgentAddress, *, seconds: float = 15.0) -> None:
        """`seconds` is the longest an answer may take; hosts that end longer ones get shorter ones."""
        self.address = address
        self._seconds = seconds
        self._session = session
        self._url = URL(address.url).with_fragment(None)
        self._as_text = URL(address.url).fragment == wire.TEXT
        self._clock_off = 0

    async def hello(self) -> None:
        """Ask whether the agent answers to this key; no patience: the caller knows what to try next."""
        async with aclosing(self._ask({"verb": "hello"})) as frames:
            _ = [frame async for frame in frames]  # the proof is that the answer ends well

    async def describe(self) -> dict[str, object]:
        """What the site is made of, as agent.php's `Describe` says it."""
        patience = _Patience(self._session)
        while True:
            try:
                async with aclosing(self._ask({"verb": "describe"})) as frames:
                    found = [frame.json() async for frame in frames if frame.kind == "J"]
                return found[0] if found else {}
            except SiteError as error:
                await patience.after(error)

    async def schema(self, tables: Sequence[bytes]) -> list[dict[str, object]]:
        """Definition, columns and keys of each table, in order."""
        patience, found = _Patience(self._session), list[dict[str, object]]()
        while len(found) < len(tables):
            try:
                wanted = [wire.encoded(name) for name in tables[len(found) :]]
                async with aclosing(self._ask({"verb": "schema", "tables": wanted})) as frames:
                    async for frame in frames:
                        if frame.kind == "J":
                            found.append(frame.json())
                            patience.progress()
            except SiteError as error:
                await patience.after(error)
        return found

    async def index(self, root: str, *, skip: Sequence[bytes] = (), after: bytes = b"") -> AsyncGenerator[list[Entry], None]:
        """Everything below a root, in an order that `after` (a path) resumes; the paths in `skip` are left out with all below."""
        patience = _Patience(self._session)
        question: dict[str, object] = {"verb": "index", "root": root, "skip": [wire.encoded(path) for path in skip]}
        while True:
            try:
                async with aclosing(self._ask({**question, "after": wire.encoded(after)})) as frames:
                    async for frame in frames:
                        if frame.kind == "I":
                            found = list(wire.entries(frame.payload))
                            after = found[-1].path
                            yield found
                            patience.progress()
                        elif frame.kind == "E" and frame.json().get("done"):
                            return
            except SiteError as error:
                await patience.after(error)

    async def read(self, root: str, files: Sequence[tuple[bytes, int]]) -> AsyncGenerator[list[Part], None]:
        """The parts of files below a root, each file from its offset on, in order; `Part.index` is the place in `files`."""
        patience = _Patience(self._session)
        first, offset = 0, files[0][1] if files else 0
        while first < len(files):
            wanted = [[wire.encoded(path), offset if i == 0 else start] for i, (path, start) in enumerate(files[first:])]
            base = first
            try:
                async with aclosing(self._ask({"verb": "read", "root": root, "files": wanted})) as frames:
                    async for frame in frames:
                        if frame.kind != "F":
                            continue
                        found = list(wire.parts(frame.payload, base))
                        end = found[-1]
                        first, offset = (end.index + 1, -1) if end.last else (end.index, end.offset + len(end.data))
                        if offset < 0 and first < len(files):
                            offset = files[first][1]
                        yield found
                        patience.progress()
            except SiteError as error:
                await patience.after(error)

    async def rows(self, tables: Sequence[Asked]) -> AsyncGenerator[tuple[RowsFrame, int], None]:
        """Rows of the tables in order, with the number of the request they came in: one request is one snapshot. Raises TableGone
        for one that has been dropped."""
        patience, pending, request, first, large = _Patience(self._session), list(tables), 0, 0, LargeValues()
        while first < len(pending):
            base = first
            request += 1
            try:
                question: dict[str, object] = {"verb": "rows", "tables": [table.json() for table in pending[first:]]}
                async with aclosing(self._ask(question)) as frames:
                    async for frame in frames:
                        if frame.kind == "P":
                            pending[first] = replace(pending[first], within=large.add(wire.piece(frame.payload)))
                            patience.progress()
                        if frame.kind not in "RS":
                            continue
                        found = (
                            wire.rows_frame(frame.payload, large.values) if frame.kind == "R" else wire.same_frame(frame.payload)
                        )
                        found = replace(found, index=found.index + base)
                        large.forget()
                        if not first <= found.index < len(pending):
                            raise wire.Damaged("rows of a table not asked for")
                        first = found.index + 1 if found.last else found.index
                        if not found.last:
                            pending[first] = behind(pending[first], found)
                        yield found, request
                        patience.progress()
            except SiteError as error:
                if _says(error.metadata, _NO_SUCH_TABLE):
                    raise TableGone(pending[first].name, error) from error  # those before it ended well in this request
                await patience.after(error)
            except wire.Damaged as error:
                large.forget()
                pending[first] = replace(pending[first], within=None)
                await patience.after(SiteError(Reason.SOURCE_DAMAGED_ANSWER, detail=str(error)))

    async def changes(self) -> tuple[int, dict[bytes, int | None]]:
        """The source database's time and when it last changed each table, None where it does not know; epoch seconds."""
        said = await self.order({"verb": "changes"})
        try:
            tables: Any = said[0]["tables"]
            return int(str(said[0]["now"])), {wire.decoded(name): None if at is None else int(at) for name, at in tables}
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SiteError(Reason.SOURCE_DAMAGED_ANSWER) from error

    async def programs(self, names: Sequence[bytes]) -> tuple[list[tuple[bytes, ...]], list[tuple[bytes, ...]]]:
        """Views: name, definition, or why there is none. Triggers of all tables, in their order: name, table, timing, event,
        body, SQL mode."""
        said = await self.order({"verb": "programs", "views": [wire.encoded(name) for name in names]})
        try:
            made: Any = said[0]
            views: list[tuple[bytes, ...]] = [
                (wire.decoded(name), wire.decoded(text), str(why).encode()) for name, text, why in made["views"]
            ]
            return views, [tuple(wire.decoded(part) for part in trigger) for trigger in made["triggers"]]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SiteError(Reason.SOURCE_DAMAGED_ANSWER) from error

    async def remove(self) -> bool:
        """Have the agent delete itself; False when its file could not be deleted. An agent already gone is
        SiteError(AGENT_BLOCKED)."""
        patience = _Patience(self._session)
        while True:
            try:
                async with aclosing(self._ask({"verb": "remove"})) as frames:
                    ends = [frame.json() async for frame in frames if frame.kind == "E"]
                return bool(ends and ends[0].get("gone"))
            except SiteError as error:
                await patience.after(error)

    async def order(self, question: dict[str, object], data: bytes | None = None) -> list[dict[str, object]]:
        """Have something done that may be done twice: the J frames' objects, then the E frame's. A broken or busy answer is
        asked for again."""
        patience = _Patience(self._session)
        while True:
            try:
                return await self.order_once(question, data)
            except SiteError as error:
                await patience.after(error)

    async def order_once(self, question: dict[str, object], data: bytes | None = None) -> list[dict[str, object]]:
        """As `order`, without a second try."""
        async with aclosing(self._ask(question, data)) as frames:
            return [frame.json() async for frame in frames if frame.kind in "JE"]

    async def _ask(self, question: dict[str, object], data: bytes | None = None) -> AsyncGenerator[Frame, None]:
        """One request and its proved frames; the last is E. After an answer that broke off the next is asked to be shorter."""
        try:
            async with aclosing(self._asked(question, data)) as frames:
                async for frame in frames:
                    yield frame
        except SiteError as error:
            if error.reason in (Reason.SOURCE_DAMAGED_ANSWER, Reason.SOURCE_BROKEN, Reason.SOURCE_UNREACHABLE):
                self._seconds = max(min(_LEAST_SECONDS, self._seconds), self._seconds / 2)
            raise

    async def _asked(self, question: dict[str, object], data: bytes | None = None) -> AsyncGenerator[Frame, None]:
        """The request and its frames. Follows one redirect within the host, adopts the site's clock once."""
        question = {**question, "seconds": self._seconds, "gmac": True}
        for attempt in range(3):
            nonce = self._session.chance.getrandbits(128).to_bytes(16, "big").hex()
            now = int(self._session.clock()) + self._clock_off
            body = wire.request_body(
                question, key=self.address.key, name=wire.agent_file(self._url), time=now, nonce=nonce, data=data,
                as_text=self._as_text,
            )  # fmt: skip
            kind = "application/x-www-form-urlencoded" if self._as_text else "application/json"
            async with self._session.request("POST", self._url, data=body, headers={"Content-Type": kind}) as response:
                location = response.headers.get("Location")
                if response.status in (301, 302, 307, 308) and location and attempt < 2:
                    moved = same_host(self._url, location)
                    if moved.name == self._url.name:
                        self._url = moved  # http → https: a redirected POST would arrive as a GET, so it is sent anew
                        continue
                await begin(response, self._url.host or "", wire.TEXT_MAGIC if self._as_text else wire.MAGIC)
                async with aclosing(frames_of(response, self.address.key, nonce, as_text=self._as_text)) as frames:
                    async for frame in frames:
                        if frame.kind != "X":
                            yield frame
                            continue
                        if not self._adopts_clock(frame, attempt):
                            raise _failure(frame)
                        break
                    else:
                        return
        raise SiteError(Reason.AGENT_CLOCK)

    def _adopts_clock(self, frame: Frame, attempt: int) -> bool:
        """A proved complaint about the time says what time it is there."""
        said = frame.json()
        if said.get("reason") != "CLOCK" or attempt > 0 or not isinstance(said.get("time"), int):
            return False
        self._clock_off = int(str(said["time"])) - int(self._session.clock())
        return True


def _says(said: Mapping[str, object], error: int) -> bool:
    """Whether the site's database refused a query with this error, as agent.php's Database and Rows put it."""
    return str(said.get("detail", said.get("message", ""))).startswith((f"error {error}:", f"error {error} "))


def _failure(frame: Frame) -> SiteError | FencedOff:
    """What the agent says is wrong, in our words with its detail."""
    said = frame.json()
    code, detail = str(said.get("reason", "")), str(said.get("message", ""))
    if code == "STALE":
        return FencedOff(detail)
    reason = _REASONS.get(code, Reason.SOURCE_BROKEN)
    transient = {"REPLAYED": True, "BAD_REQUEST": False}.get(code)
    if _says(said, _CHANGED_SINCE_SNAPSHOT):
        transient = True  # the next request has a snapshot of its own
    return SiteError(reason, transient=transient, retry_after=1.0 if code == "BUSY" else None, agent=code, detail=detail)
