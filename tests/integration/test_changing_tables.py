"""Tables that change while they are copied: what the copy has in the end, and what it says about it."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.integration.test_copy_tables import Target, _assert_equal, _Upper, left_of, target
from tests.support.source_site import SourceSite, agent_of
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Frame
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.rewrite.report import Left, Result
from wpclone.wordpress.rewrite.report import Reason as LeftReason
from wpclone.wordpress.tables import Rewriter, TablesCopied, copy_tables

__all__ = ["target"]

_FILL = """INSERT INTO wp_many (k, a, t) SELECT CONCAT('k', LPAD(seq, 7, '0')), seq, REPEAT(CONCAT('row ', seq, ' '), 200)
 FROM seq_1_to_12000"""


@pytest.fixture
def many(source_site: SourceSite) -> Iterator[SourceSite]:
    """The source with a table of several ranges."""
    source_site.sql("CREATE TABLE wp_many (k varchar(20) NOT NULL, a int NOT NULL, t text, PRIMARY KEY (k, a), KEY a (a))")
    source_site.sql("CREATE TABLE wp_loose (v varchar(20))")
    source_site.sql(_FILL)
    source_site.sql("INSERT INTO wp_loose SELECT seq FROM seq_1_to_500")
    source_site.sql("ANALYZE TABLE wp_many")
    try:
        yield source_site
    finally:
        source_site.sql("DROP TABLE wp_many, wp_loose")


class _Restless(AgentClient):
    """A source that changes before it is asked for its changes, so that each look at it finds some."""

    def before(self, change: Callable[[], object]) -> None:
        self._change = change

    async def changes(self) -> tuple[int, dict[bytes, int | None]]:
        self._change()
        return await super().changes()


async def _copy(
    agent: AgentClient, target: Target, when: Callable[[int], None] = lambda rows: None, *, rewriter: Rewriter | None = None
) -> TablesCopied:
    return await copy_tables(
        agent, await inspect(agent), target.database, rewriter=rewriter or _Upper(), fence=1,
        progress=lambda counts: when(counts.rows_done),
    )  # fmt: skip


def _once(change: Callable[[], object]) -> Callable[[int], None]:
    """Call it when the copy is in the middle of the large table."""
    done: list[int] = []

    def when(rows: int) -> None:
        if rows > 6_000 and not done:
            done.append(rows)
            change()

    return when


async def test_ranges_that_changed_are_read_again_and_the_rest_is_not(many: SourceSite, target: Target) -> None:
    def change() -> None:
        many.sql("UPDATE wp_many SET t = 'changed' WHERE a = 7")
        many.sql("DELETE FROM wp_many WHERE a BETWEEN 100 AND 130")
        many.sql("INSERT INTO wp_many VALUES ('k0000100x', 5, 'between'), ('z', 1, 'behind')")
        many.sql("INSERT INTO wp_loose VALUES ('new')")

    async with agent_of(many) as agent:
        hurried = AgentClient(agent._session, agent.address, seconds=0.001)
        copied = await _copy(hurried, target, _once(change))
    assert copied.read_again == ("wp_loose", "wp_many")
    assert (copied.consistency, copied.fuzzy) == ("SNAPSHOT", ())
    _assert_equal(many, target, ["wp_many", "wp_loose"])
    rows = {table.name: table.rows for table in copied.tables}
    assert (rows["wp_many"], rows["wp_loose"]) == (12_000 - 31 + 2, 501)


async def test_the_checksum_of_a_table_read_again_is_that_of_a_fresh_copy(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        hurried = AgentClient(agent._session, agent.address, seconds=0.001)
        again = await _copy(hurried, target, _once(lambda: many.sql("UPDATE wp_many SET t = 'changed' WHERE a = 7")))
        for (table,) in target.sql("SHOW TABLES"):
            target.sql(f"DROP TABLE `{table}`")
        fresh = await _copy(agent, target)
    assert again.read_again == ("wp_many",)
    assert again.tables == fresh.tables
    assert (fresh.consistency, fresh.read_again) == ("SNAPSHOT", ())


class _Marks:
    """A rewriter that changes nothing, and remarks on the values that say so."""

    def could_match(self, raw: bytes) -> bool:
        return b"left" in raw

    def value(self, raw: bytes) -> Result:
        return Result(raw, 0, (Left(LeftReason.BARE_HOST, 0),) * raw.count(b"left"))


async def test_the_list_of_what_was_left_is_of_the_rows_that_are_there(many: SourceSite, target: Target) -> None:
    def change() -> None:
        many.sql("UPDATE wp_many SET t = 'gone' WHERE a = 50")
        many.sql("UPDATE wp_many SET t = 'left and left' WHERE a IN (51, 11001)")
        many.sql("DELETE FROM wp_many WHERE a BETWEEN 100 AND 130")
        many.sql("INSERT INTO wp_many VALUES ('z', 1, 'left behind')")
        many.sql("UPDATE wp_loose SET v = 'left' WHERE v = '7'")

    many.sql("UPDATE wp_many SET t = CONCAT('left ', t) WHERE a % 50 = 0")
    async with agent_of(many) as agent:
        hurried = AgentClient(agent._session, agent.address, seconds=0.001)
        copied = await _copy(hurried, target, _once(change), rewriter=_Marks())
    assert copied.read_again == ("wp_loose", "wp_many")
    there = many.sql("SELECT k, a, t FROM wp_many WHERE t LIKE '%left%'")
    expected = sorted((f"k={k}, a={a}", "t", "BARE_HOST", "2" if "and" in str(t) else "1") for k, a, t in there)
    assert left_of(target, "wp_many") == expected
    assert len(expected) == 240 - 2 + 3
    assert left_of(target, "wp_loose") == [("", "v", "BARE_HOST", "1")]


async def test_a_table_that_never_rests_is_named(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        restless = _Restless(agent._session, agent.address, seconds=0.001)
        restless.before(lambda: many.sql("UPDATE wp_many SET t = CONCAT(t, '!') WHERE a IN (7, 11000)"))
        copied = await _copy(restless, target)
    assert (copied.consistency, copied.fuzzy) == ("FUZZY", ("wp_many",))
    assert {table.name: table.rows for table in copied.tables}["wp_many"] == 12_000


async def test_a_site_in_several_requests_that_nobody_changed_is_of_one_moment(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        copied = await _copy(AgentClient(agent._session, agent.address, seconds=0.001), target)
    assert (copied.consistency, copied.fuzzy, copied.read_again) == ("SNAPSHOT", (), ())
    _assert_equal(many, target, ["wp_many", "wp_loose"])


class _Between(AgentClient):
    """Does something once between two requests for rows: no answer is under way, so nothing at the source waits for us."""

    def before_request(self, number: int, change: Callable[[], object]) -> None:
        self._waits, self._change = number, change

    async def _ask(self, question: dict[str, object], data: bytes | None = None) -> AsyncGenerator[Frame, None]:
        if question["verb"] == "rows":
            self._waits -= 1
            if self._waits == 0:
                self._change()
        async with aclosing(super()._ask(question, data)) as frames:
            async for frame in frames:
                yield frame


async def test_a_table_dropped_while_its_rows_are_copied_is_left_out_and_told(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        hurried = _Between(agent._session, agent.address, seconds=0.001)
        names = [table.name for table in (await inspect(agent)).tables]
        # The tables come by name, a request each at least: this is in the middle of the large one.
        hurried.before_request(names.index("wp_many") + 3, lambda: many.sql("RENAME TABLE wp_many TO kept_many"))
        try:
            copied = await _copy(hurried, target)
        finally:
            many.sql("RENAME TABLE kept_many TO wp_many")
    assert [(item.name, item.reason) for item in copied.reported] == [
        ("wp_many", "not copied: it was dropped at the source meanwhile")
    ]
    assert (copied.consistency, copied.fuzzy, copied.read_again) == ("FUZZY", ("wp_many",), ())
    assert [table.name for table in copied.tables] == [name for name in names if name != "wp_many"]
    assert not target.sql("SHOW TABLES LIKE 'wp\\_many'")
    _assert_equal(many, target, ["wp_loose"])


async def test_a_copy_gone_on_with_has_nothing_of_a_table_that_was_dropped_meanwhile(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        report = await inspect(agent)
        cut = _Between(agent._session, agent.address, seconds=0.001)
        cut.before_request([table.name for table in report.tables].index("wp_many") + 3, _killed)
        with pytest.raises(_Killed):
            await _copy(cut, target)
        many.sql("RENAME TABLE wp_many TO kept_many")
        try:
            copied = await copy_tables(
                agent, report, target.database, rewriter=_Upper(), fence=2, progress=lambda counts: None
            )  # fmt: skip
        finally:
            many.sql("RENAME TABLE kept_many TO wp_many")
    assert [item.name for item in copied.reported] == ["wp_many"]
    assert not target.sql("SHOW TABLES LIKE 'wp\\_many'")


async def test_a_copy_of_some_tables_leaves_what_is_there_of_others(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        report = await inspect(agent)
        await _copy(agent, target)
        some = replace(report, tables=tuple(table for table in report.tables if table.name == "wp_loose"))
        await copy_tables(agent, some, target.database, rewriter=_Upper(), fence=2, progress=lambda counts: None)
    _assert_equal(many, target, ["wp_many", "wp_loose"])


async def test_without_a_core_table_there_is_no_copy(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        hurried = _Between(agent._session, agent.address, seconds=0.001)
        hurried.before_request(1, lambda: many.sql("RENAME TABLE wp_posts TO kept_posts"))
        try:
            with pytest.raises(SiteError) as refused:
                await _copy(hurried, target)
        finally:
            many.sql("RENAME TABLE kept_posts TO wp_posts")
    assert (refused.value.reason, refused.value.metadata["table"]) == (Reason.SOURCE_QUERY_FAILED, "wp_posts")


class _AtFirst(AgentClient):
    """Does something once, at the first frame of rows: far more than fits between the source and us is still to come."""

    def at_first_frame(self, change: Callable[[], object]) -> None:
        self._changes = [change]

    async def _ask(self, question: dict[str, object], data: bytes | None = None) -> AsyncGenerator[Frame, None]:
        async with aclosing(super()._ask(question, data)) as frames:
            async for frame in frames:
                if question["verb"] == "rows" and self._changes:
                    self._changes.pop()()
                yield frame


async def test_a_table_altered_since_the_snapshot_is_read_in_the_next(many: SourceSite, target: Target) -> None:
    async with agent_of(many) as agent:
        altered = _AtFirst(agent._session, agent.address)
        altered.at_first_frame(lambda: many.sql("ALTER TABLE wp_terms FORCE"))
        copied = await _copy(altered, target)
    assert copied.consistency == "SNAPSHOT"
    assert "wp_terms" in [table.name for table in copied.tables]
    _assert_equal(many, target, ["wp_many"])


class _Killed(Exception):
    """As a killed worker's copy ends."""


def _killed() -> None:
    raise _Killed
