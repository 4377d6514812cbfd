"""`wpclone agent zip`, `wpclone source consent` and `wpclone rewrite` as processes."""

import asyncio
import json
import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from yarl import URL

from tests.support.consenting import local_environment
from tests.support.shell import Shell
from tests.support.source_site import SourceSite
from wpclone.cli.exits import Exit

REWRITE = ("rewrite", "--from", "https://old.example", "--to", "https://longer.example")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell("nobody.invalid:1", tmp_path)


async def test_an_agents_zip_holds_its_key_and_nobody_else_may_read_it(shell: Shell, tmp_path: Path) -> None:
    ended = await shell.run("agent", "zip", "--site", "https://example.com/blog/", "--to", "a.zip", "-o", "json")
    made = json.loads(ended.out)
    (name,) = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert made["url"] == f"https://example.com/blog/wp-content/plugins/{name}"
    assert bytes.fromhex(made["key"]).hex().encode() in zipfile.ZipFile(tmp_path / "a.zip").read(name)
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    assert (await shell.run("agent", "zip", "--to", "a.zip")).code == Exit.USAGE


async def test_a_plugin_without_a_key_is_written_under_a_name_of_its_own(shell: Shell, tmp_path: Path) -> None:
    names = set()
    for file in ("a.zip", "b.zip"):
        made = json.loads((await shell.run("agent", "zip", "--keyless", "--to", file, "-o", "json")).out)
        assert made.keys() == {"file", "plugin"}
        names.update(zipfile.ZipFile(tmp_path / file).namelist())
        assert f"{made['plugin']}/{made['plugin']}.php" in names
    assert len(names) == 2


async def test_consent_is_asked_of_the_site_itself(shell: Shell, source_site: SourceSite) -> None:
    with local_environment(source_site):
        ended = await shell.run("source", "consent", "--url", source_site.url, "-o", "json")
        page = URL(json.loads(ended.out)["url"])
        assert (ended.code, page.path) == (Exit.OK, "/wp-admin/authorize-application.php")
        assert page.query["app_name"].startswith("wpclone ")
        assert "withdraw it at any time" in ended.err
    ended = await shell.run("source", "consent", "--url", source_site.url)
    assert (ended.code, ended.out) == (Exit.SITE, "")
    assert "reason: APPLICATION_PASSWORDS_NEED_HTTPS" in ended.err


@pytest.mark.parametrize(("url", "end"), [("nonsense", Exit.USAGE), ("http://127.0.0.1:9", Exit.UNREACHABLE)])
async def test_consent_to_a_site_that_cannot_be_asked_ends_with_its_code(shell: Shell, url: str, end: Exit) -> None:
    assert (await shell.run("source", "consent", "--url", url)).code == end


async def test_rewriting_is_a_filter_that_keeps_lengths_right(shell: Shell) -> None:
    value = 'a:1:{s:1:"u";s:21:"https://old.example/x";}\n'
    ended = await shell.run(*REWRITE, stdin=value)
    assert ended.out == 'a:1:{s:1:"u";s:24:"https://longer.example/x";}\n'
    assert ended.err == "rewritten: 1\n"


async def test_an_sql_dump_is_rewritten_literal_by_literal(shell: Shell) -> None:
    dump = '-- MariaDB dump\nINSERT INTO `o` VALUES (1,\'a:1:{s:1:\\"u\\";s:19:\\"https://old.example\\";}\');\n'
    ended = await shell.run(*REWRITE, stdin=dump)
    assert ended.out == dump.replace("s:19:", "s:22:").replace("old.example", "longer.example")


@pytest.mark.parametrize("words", [REWRITE, ("agent", "zip", "--to", "a.zip")], ids=["rewrite", "agent zip"])
async def test_a_reader_that_went_away_ends_it_quietly(shell: Shell, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wpclone.cli", *words, env=shell.environ, cwd=shell.environ["HOME"],
            stdin=asyncio.subprocess.PIPE, stdout=writing, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    finally:
        os.close(writing)
    async with asyncio.timeout(60):
        _, err = await process.communicate(b"https://old.example/\n" * 1000)
    assert (process.returncode, err) == (Exit.UNREAD, b"")
