"""The agent beside a real WordPress, asked by the real client over HTTP."""

import asyncio
import json
import os
import random
import secrets
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.support.servers import Mariadb
from tests.support.source_site import LOCAL, SourceSite, agent_of, running_source_site, site_session
from wpclone.wordpress.agent import wire
from wpclone.wordpress.agent.asked import Asked
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.wire import Entry
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import SiteReport, inspect
from wpclone.wordpress.session import SiteSession


async def _entries(agent: AgentClient, **options: object) -> list[Entry]:
    found: list[Entry] = []
    async with aclosing(agent.index("core", **options)) as index:  # type: ignore[arg-type]
        async for entries in index:
            found += entries
    return found


async def test_an_agent_describes_the_site_without_starting_wordpress(source_site: SourceSite) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
    assert report.home == report.siteurl == source_site.url
    assert report.table_prefix == "wp_"
    assert report.wp_version.startswith("6.1")
    assert report.administrators == ("admin", "second")
    assert report.active_plugins == ("noisy/noisy.php",)
    assert report.permalink_structure == "/%postname%/"
    assert {"wp_options", "wp_posts", "wp_sample_events", "wp_sample_notes"} <= {table.name for table in report.tables}
    assert report.files > 2000
    assert not report.multisite
    assert not report.code_in_wp_config
    assert report.constants["WP_POST_REVISIONS"] == 7


async def test_a_report_survives_json_and_holds_no_secret(source_site: SourceSite) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
    text = json.dumps(report.to_json())
    assert SiteReport.from_json(json.loads(text)) == report
    config = (source_site.docroot / "wp-config.php").read_text()
    secret = config.split("define('DB_PASSWORD', '")[1].split("'")[0]
    assert secret not in text
    assert "not for copies" not in text
    assert "SAMPLE_LICENSE_KEY" in text


async def test_the_index_lists_what_the_file_system_has_except_the_agent(source_site: SourceSite) -> None:
    async with agent_of(source_site) as agent:
        found = {entry.path: entry for entry in await _entries(agent)}
        name = agent.address.url.rpartition("/")[2].encode()
    root = source_site.docroot
    there = {os.fsencode(path.relative_to(root)) for path in root.rglob("*")}
    assert set(found) == there - {name}
    link = found[b"wp-content/uploads/latest.jpg"]
    assert (link.kind, link.target) == ("l", b"wp-content/uploads/2025/10/picture-1.jpg")
    odd = found["wp-content/uploads/odd näme (1).txt".encode()]
    assert (odd.kind, odd.size) == ("f", (root / "wp-content/uploads/odd näme (1).txt").stat().st_size)


async def test_other_jobs_agents_are_no_part_of_the_site(source_site: SourceSite) -> None:
    name = "wpc-" + secrets.token_hex(12)
    files = [f"wp-content/plugins/{name}/{name}.php", f"wp-content/uploads/{name}.zip", f"wp-content/uploads/{name}-1.zip"]
    made = [source_site.put(file, b"a key") for file in files]
    try:
        async with agent_of(source_site) as agent:
            found = await _entries(agent)
    finally:
        for file in made:
            file.unlink()
        made[0].parent.rmdir()
    assert not any(name.encode() in entry.path for entry in found)


async def test_an_index_resumes_after_any_path(source_site: SourceSite) -> None:
    async with agent_of(source_site) as agent:
        whole = await _entries(agent)
        for place in random.Random(7).sample(range(len(whole)), 12):
            rest = await _entries(agent, after=whole[place].path)
            assert [entry.path for entry in rest] == [entry.path for entry in whole[place + 1 :]]


async def test_files_are_read_byte_for_byte_and_from_an_offset(source_site: SourceSite) -> None:
    big = secrets.token_bytes(3_500_000)
    source_site.put("wp-content/uploads/big.bin", big)
    source_site.put("wp-content/uploads/empty.bin", b"")
    paths = [b"wp-content/uploads/empty.bin", b"wp-content/uploads/big.bin", b"gone", b"wp-login.php"]
    got: dict[int, bytes] = dict.fromkeys(range(4), b"")
    status = {}
    asked = [(path, 1_000_001 if i == 1 else 0) for i, path in enumerate(paths)]
    async with agent_of(source_site) as agent, aclosing(agent.read("core", asked)) as stream:
        async for parts in stream:
            for part in parts:
                got[part.index] += bytes(part.data)
                status[part.index] = part.status
    assert got[0] == b""
    assert got[1] == big[1_000_001:]
    assert status == {0: 0, 1: 0, 2: 1, 3: 0}
    assert got[3] == (source_site.docroot / "wp-login.php").read_bytes()


@pytest.mark.parametrize("path", [b"../site/apache.conf", b"wp-content/../../sample.json", b"..", b"a/../../b"])
async def test_the_agent_reads_nothing_outside_the_site(source_site: SourceSite, path: bytes) -> None:
    async with agent_of(source_site) as agent:
        with pytest.raises(SiteError):
            async with aclosing(agent.read("core", [(path, 0)])) as stream:
                _ = [parts async for parts in stream]


async def test_rows_come_back_exactly_null_and_empty_and_binary_and_unsigned(source_site: SourceSite) -> None:
    columns = tuple(
        (name, how)
        for name, how in [
            (b"site", "plain"), (b"number", "plain"), (b"happened", "plain"), (b"amount", "plain"), (b"ratio", "float"),
            (b"flags", "bit"), (b"body", "plain"),
        ]
    )  # fmt: skip
    asked = Asked(b"wp_sample_events", columns, ((b"site", "binary"), (b"number", "int")), (0, 1))
    rows: list[tuple[bytes | None, ...]] = []
    async with agent_of(source_site) as agent, aclosing(agent.rows([asked])) as stream:
        async for frame, _ in stream:
            rows += [tuple(frame.values[i : i + frame.width]) for i in range(0, len(frame.values), frame.width)]
    expected = source_site.sql(
        "SELECT HEX(site), number, happened, amount, ratio+0e0, flags+0, HEX(body) FROM wp_sample_events ORDER BY site, number"
    )
    assert len(rows) == len(expected) == 500
    for got, want in zip(rows, expected, strict=True):
        assert (got[0] or b"").hex().upper() == want[0]
        assert got[1] == str(want[1]).encode()
        assert float(got[4] or 0) == want[4]
        assert got[5] == str(want[5]).encode()
        assert (got[6] or b"").hex().upper() == want[6]
    assert rows[-1][1] == b"18446744073709551615"


@pytest.mark.parametrize("resume", [0, 1, 250, 498])
async def test_rows_resume_behind_a_key(source_site: SourceSite, resume: int) -> None:
    columns = ((b"site", "plain"), (b"number", "plain"))
    asked = Asked(
        b"wp_sample_events", columns, ((b"site", "binary"), (b"number", "int")), (0, 1),
        after=(bytes.fromhex("00ff5c27"), b"%d" % resume),
    )  # fmt: skip
    async with agent_of(source_site) as agent, aclosing(agent.rows([asked])) as stream:
        numbers = [int(number or 0) async for frame, _ in stream for number in frame.values[1::2]]
    assert numbers == [*range(resume + 1, 499), 18446744073709551615]


async def test_a_table_without_a_key_is_read_by_offset_with_null_and_empty_apart(source_site: SourceSite) -> None:
    asked = Asked(b"wp_sample_notes", ((b"note", "plain"), (b"link", "plain")), (), ())
    async with agent_of(source_site) as agent, aclosing(agent.rows([asked])) as stream:
        values = [value async for frame, _ in stream for value in frame.values]
    assert values[:4] == [None, b"", b"", None]
    assert values[4] == b"caf\xe9"  # latin1 as it is stored
    assert len(values) == 10


async def test_a_wrong_key_is_refused(source_site: SourceSite) -> None:
    address = source_site.put_agent()
    async with site_session() as session:
        with pytest.raises(SiteError) as refused:
            await AgentClient(session, AgentAddress(address.url, b"x" * 32)).hello()
    assert refused.value.reason is Reason.AGENT_REFUSED


async def test_a_request_cannot_be_replayed_altered_or_used_late(source_site: SourceSite) -> None:
    address = source_site.put_agent()
    name = address.url.rpartition("/")[2]
    now = int(time.time())
    good = wire.request_body({"verb": "hello"}, key=address.key, name=name, time=now, nonce="a" * 32)
    late = wire.request_body({"verb": "hello"}, key=address.key, name=name, time=now - 400, nonce="b" * 32)
    other = wire.request_body({"verb": "hello"}, key=address.key, name="other.php", time=now, nonce="c" * 32)
    async with site_session() as session:

        async def post(body: bytes) -> tuple[int, bytes]:
            page = await session.fetch("POST", URL(address.url), data=body)
            return page.status, page.body

        assert b'"agent":2' in (await post(good))[1]
        assert b"REPLAYED" in (await post(good))[1]
        assert b"CLOCK" in (await post(late))[1]
        assert (await post(other))[0] == 401
        envelope = json.loads(good)
        envelope["nonce"] = "d" * 32
        assert (await post(json.dumps(envelope).encode()))[0] == 401
        assert (await session.fetch("GET", URL(address.url))).status == 404


async def test_a_site_whose_clock_is_wrong_is_still_read(source_site: SourceSite) -> None:
    address = source_site.put_agent()
    async with SiteSession(LOCAL, clock=lambda: time.time() + 4000, chance=random.Random(1)) as session:
        await AgentClient(session, address).hello()


async def test_a_second_request_at_the_same_time_is_told_to_wait_and_then_answered(source_site: SourceSite) -> None:
    async with agent_of(source_site) as agent, site_session() as session:
        other = AgentClient(session, agent.address)
        async with aclosing(agent.index("core")) as index:
            await anext(index)
        answers = await asyncio.gather(agent.describe(), other.describe())
    assert all(answer["prefix"] == "wp_" for answer in answers)


async def test_an_agent_that_has_expired_removes_itself(source_site: SourceSite) -> None:
    address = source_site.put_agent(expires_at=int(time.time()) - 1)
    async with site_session() as session:
        with pytest.raises(SiteError) as expired:
            await AgentClient(session, address).hello()
    assert expired.value.reason is Reason.AGENT_EXPIRED
    assert not (source_site.docroot / address.url.rpartition("/")[2]).exists()


async def test_an_answer_that_is_altered_on_the_way_is_noticed(source_site: SourceSite, monkeypatch: pytest.MonkeyPatch) -> None:
    read = aiohttp.StreamReader.readexactly

    async def altered(self: aiohttp.StreamReader, size: int) -> bytes:
        data = await read(self, size)
        return data[:-1] + bytes([data[-1] ^ 1]) if size > 1000 else data

    async with agent_of(source_site) as agent:
        monkeypatch.setattr(aiohttp.StreamReader, "readexactly", altered)
        monkeypatch.setattr("wpclone.wordpress.agent.client._FAILURES", 0)
        with pytest.raises(SiteError) as damaged:
            await agent.describe()
    assert damaged.value.reason is Reason.SOURCE_DAMAGED_ANSWER


@pytest.mark.parametrize("asks_for_gmac", [True, False])
async def test_answers_are_proved_by_gmac_where_it_is_asked_for(
    source_site: SourceSite, monkeypatch: pytest.MonkeyPatch, asks_for_gmac: bool
) -> None:
    hmacs = []
    request_body, frame_code = wire.request_body, wire.frame_code

    def asked(question: dict[str, object], **how: Any) -> bytes:
        return request_body(question if asks_for_gmac else {key: question[key] for key in question if key != "gmac"}, **how)

    def noted(key: bytes, nonce: str, sequence: int, kind: bytes, payload: bytes) -> bytes:
        hmacs.append(kind)
        return frame_code(key, nonce, sequence, kind, payload)

    monkeypatch.setattr(wire, "request_body", asked)
    monkeypatch.setattr(wire, "frame_code", noted)
    async with agent_of(source_site) as agent:
        await agent.describe()
    assert hmacs == ([] if asks_for_gmac else [b"J", b"E"])


_CONFIGS: dict[str, tuple[str, dict[str, object], tuple[str, ...]]] = {
    "above the docroot": ("define('SHOWN', dirname(__FILE__));", {}, ()),
    "conditional": ("if (!defined('SHOWN')) { define('SHOWN', 'yes'); }", {"SHOWN": "yes"}, ()),
    "computed": ("define('SHOWN', getenv('NOPE') ?: 'else');", {"SHOWN": "else"}, ("call of getenv",)),
    "server": ("$_SERVER['HTTPS'] = 'on'; define('SHOWN', 1);", {"SHOWN": 1}, ("variable $_SERVER",)),
    "include": ("@include __DIR__ . '/nothing.php'; define('SHOWN', true);", {"SHOWN": True}, ("include",)),
    "function": ("function keyed($x) { return $x . '!'; } define('SHOWN', keyed('a'));", {"SHOWN": "a!"}, ("function",)),
    "array": ("define('SHOWN', ['a' => [1, 2.5, null]]);", {"SHOWN": {"a": [1, 2.5, None]}}, ()),
    "noise": ("echo 'hello'; header('Location: /elsewhere'); define('SHOWN', 'x');", {"SHOWN": "x"}, ("echo",)),
}


@pytest.mark.parametrize("case", _CONFIGS)
async def test_wp_config_is_evaluated_whatever_it_holds(source_site: SourceSite, case: str) -> None:
    line, constants, code = _CONFIGS[case]
    config = source_site.docroot / "wp-config.php"
    before = config.read_text()
    try:
        config.write_text(before.replace("$table_prefix", line + "\n$table_prefix"))
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
    finally:
        config.write_text(before)
    assert report.home == source_site.url
    assert constants.items() <= report.constants.items()
    assert set(code) <= set(report.code_found)
    assert report.code_in_wp_config == bool(code)


async def test_a_config_above_the_docroot_is_found(source_site: SourceSite) -> None:
    config, above = source_site.docroot / "wp-config.php", source_site.place / "wp-config.php"
    config.rename(above)
    try:
        async with agent_of(source_site) as agent:
            assert (await inspect(agent)).table_prefix == "wp_"
    finally:
        above.rename(config)


async def test_a_site_whose_database_is_down_says_so(source_site: SourceSite, monkeypatch: pytest.MonkeyPatch) -> None:
    config = source_site.docroot / "wp-config.php"
    before = config.read_text()
    monkeypatch.setattr("wpclone.wordpress.agent.client._FAILURES", 1)
    try:
        config.write_text(before.replace("127.0.0.1:", "127.0.0.1:1", 1))
        async with agent_of(source_site) as agent:
            with pytest.raises(SiteError) as down:
                await inspect(agent)
    finally:
        config.write_text(before)
    assert down.value.reason is Reason.SOURCE_DATABASE_DOWN


@pytest.mark.parametrize("prefix", ["x", "wp_2_", "Ab-c_"])
async def test_tables_are_told_apart_by_sets_not_by_patterns(source_site: SourceSite, prefix: str) -> None:
    copies = [
        "options",
        "posts",
        "postmeta",
        "comments",
        "commentmeta",
        "terms",
        "termmeta",
        "term_taxonomy",
        "term_relationships",
    ]
    for table in copies:
        source_site.sql(f"CREATE TABLE `{prefix}{table}` LIKE wp_{table}")
    source_site.sql("CREATE TABLE wpXsomething (id int)")
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
    finally:
        for table in [*(f"{prefix}{table}" for table in copies), "wpXsomething"]:
            source_site.sql(f"DROP TABLE `{table}`")
    names = {table.name for table in report.tables}
    assert "wp_options" in names
    assert not any(name.startswith(prefix) for name in names)
    assert "wpXsomething" in {item.name for item in report.left_out}


async def test_a_network_is_known_by_its_tables_and_refused(source_site: SourceSite) -> None:
    source_site.sql("CREATE TABLE wp_blogs (blog_id bigint PRIMARY KEY)")
    try:
        async with agent_of(source_site) as agent:
            assert (await inspect(agent)).multisite
    finally:
        source_site.sql("DROP TABLE wp_blogs")


async def test_links_that_lead_out_or_in_circles_are_told_apart(source_site: SourceSite) -> None:
    outside = source_site.place / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "kept.txt").write_text("outside")
    uploads = source_site.docroot / "wp-content" / "uploads"
    links = {"out": outside, "dead": Path("/nowhere/at/all"), "circle": source_site.place, "file": outside / "kept.txt"}
    for name, target in links.items():
        (uploads / f"zz-{name}").symlink_to(target)
    try:
        async with agent_of(source_site) as agent:
            found = {entry.path: entry.kind for entry in await _entries(agent) if b"zz-" in entry.path}
    finally:
        for name in links:
            (uploads / f"zz-{name}").unlink()
    base = b"wp-content/uploads/zz-"
    assert found == {
        base + b"out": "D",
        base + b"out/kept.txt": "f",
        base + b"dead": "x",
        base + b"circle": "c",
        base + b"file": "F",
    }


async def test_a_link_is_followed_to_where_it_leads_now(source_site: SourceSite) -> None:
    link = source_site.docroot / "wp-content" / "uploads" / "zz-current"
    try:
        async with agent_of(source_site) as agent:
            for number in range(20):  # several of the web server's processes answer, each with a memory of its own
                release = source_site.place / f"release-{number}"
                release.mkdir()
                (release / "told.txt").write_text(str(number))
                link.unlink(missing_ok=True)
                link.symlink_to(release)
                async with aclosing(agent.read("core", [(b"wp-content/uploads/zz-current/told.txt", 0)])) as stream:
                    told = [bytes(part.data) async for parts in stream for part in parts]
                assert told == [str(number).encode()]
    finally:
        link.unlink(missing_ok=True)


async def test_removal_leaves_nothing(mariadb_server: Mariadb) -> None:
    with running_source_site(mariadb_server, upload_bytes=100_000, posts=1) as source:
        before = {path for path in source.place.rglob("*") if "log" not in path.parts}
        address = source.put_agent()
        async with site_session() as session:
            agent = AgentClient(session, address)
            await agent.describe()
            assert await agent.remove()
        after = {path for path in source.place.rglob("*") if "log" not in path.parts}
    assert before == after
