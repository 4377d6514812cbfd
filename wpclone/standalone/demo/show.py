"""The demonstration itself, from the empty stage to one JSON object on stdout."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any

import pymysql

from wpclone.standalone.demo import local, pages, sign_in, tables, trees
from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.command_line import CommandFailed, wpclone
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.rest import clone_over_rest
from wpclone.standalone.demo.stage import Hosted, Stage, Staged
from wpclone.standalone.demo.web import Visitor
from wpclone.standalone.readiness import ServerNotReady

_TITLE, _WIDGET = "A sample of everything", "The widget of"
_POST = "/sample-post-3/"


def run(
    *,
    stay: bool,
    staged: Staged = local.staged,
    environ: Mapping[str, str] = os.environ,
    write_out: Callable[[str], object] = sys.stdout.write,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Show it on the stage that `staged` builds. With `stay`, keep it up until Ctrl-C. 0 only if every check held."""
    try:
        return asyncio.run(_until_told(stay, partial(staged, environ, say), write_out, say, clock))
    except (ServerNotReady, OSError) as error:
        say(f"demo: {error}")
        write_out(json.dumps({"ok": False, "error": str(error)}) + "\n")
        return 1


async def _until_told(
    stay: bool,
    opened: Callable[[], AbstractAsyncContextManager[Stage]],
    write_out: Callable[[str], object],
    say: Callable[[str], None],
    clock: Callable[[], float],
) -> int:
    """Play, and take the stage down in order also when a signal ends it early."""
    findings = Findings(say)
    playing = asyncio.create_task(_play(findings, stay, opened, write_out, clock))
    told = False

    def stop() -> None:
        nonlocal told
        if not told:  # once: a second signal must not cut the stopping short
            told = True
            playing.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await playing
    except asyncio.CancelledError:
        say("demo: stopped")
        return 130
    return 0 if findings.ok else 1


async def _play(
    findings: Findings,
    stay: bool,
    opened: Callable[[], AbstractAsyncContextManager[Stage]],
    write_out: Callable[[str], object],
    clock: Callable[[], float],
) -> None:
    say = findings.say
    async with opened() as stage:
        summary: dict[str, Any] = {"ok": False}
        try:
            summary |= await _act(stage, findings, clock)
        except (CommandFailed, OSError, http.client.HTTPException, pymysql.err.Error) as error:  # OSError is also a TimeoutError
            findings.check("nothing stops the demonstration", False, f"{type(error).__name__}: {error}")
        summary["ok"] = findings.ok
        if findings.unmade:
            say(f"not made: {'; '.join(findings.unmade)}")
        say("every check held" if findings.ok else f"did not hold: {'; '.join(findings.failed)}")
        write_out(json.dumps(summary) + "\n")
        sys.stdout.flush()
        if stay:
            say(f"it stays up until Ctrl-C; {stage.farewell}")
            with suppress(asyncio.CancelledError):  # the play is over: Ctrl-C is its ordinary end
                await asyncio.Event().wait()


async def _act(stage: Stage, findings: Findings, clock: Callable[[], float]) -> dict[str, Any]:
    """Clone on the command line and check, then over REST and check; the facts of the first clone."""
    say, source = findings.say, stage.source
    before_files = await asyncio.to_thread(trees.leaves_of, source.docroot)
    await asyncio.to_thread(Visitor().get, source.url)  # once, so that the source's own caches are warm
    before_rows = await asyncio.to_thread(tables.rows_of, stage.source_database)

    say(f"$ wpclone clone create --source {source.url} --username {source.admin} --watch")
    environ = {**stage.environ, "WPCLONE_SOURCE_PASSWORD": source.password}
    started = clock()
    job = await wpclone("clone", "create", "--source", source.url, "--username", source.admin, "--watch", environ=environ)
    seconds = clock() - started
    result = job["result"]
    hosted = await stage.hosted(result["clone_id"])
    clone = Site(result["clone_url"], hosted.docroot)
    say(f"cloned in {seconds:.1f} s to {clone.url}; now the checks")

    # The database first: visiting pages makes WordPress write to it.
    after_rows = await asyncio.to_thread(tables.rows_of, stage.source_database)
    here = await asyncio.to_thread(tables.rows_of, stage.clone_database(job["job_id"], clone))
    tables.check_tables(findings, after_rows, here, "clone's database")
    tables.check_tables(findings, before_rows, after_rows, "source's database before and after")
    after_files = await asyncio.to_thread(trees.leaves_of, source.docroot)
    trees.check_untouched(findings, before_files, after_files)
    clone_files = await asyncio.to_thread(trees.leaves_of, hosted.files)
    trees.check_files(findings, after_files, clone_files, _left_out(result))

    for path, shows in (("/", [_TITLE, "<img", _WIDGET]), (_POST, ["Sample post 3", "<img", _WIDGET])):
        await asyncio.to_thread(pages.check_page, findings, stage.site, clone, path, shows=shows)
    await asyncio.to_thread(sign_in.check_password, findings, clone, result["username"], result["password"])
    link = await wpclone("clone", "open", result["clone_id"], environ=environ)
    await asyncio.to_thread(sign_in.check_link, findings, link["url"])
    await _check_sink(stage, findings, clone, hosted, result["egress"])

    say("the same over REST, through Envoy")
    login = {"source_url": source.url, "source_username": source.admin, "source_password": source.password}
    second = await asyncio.to_thread(clone_over_rest, findings, say, stage.client, login)
    if "result" in second:
        clone_two = Site(second["result"]["clone_url"], (await stage.hosted(second["job_id"])).docroot)
        await asyncio.to_thread(pages.check_page, findings, stage.site, clone_two, "/", shows=[_TITLE, _WIDGET])
    return {
        "job_id": job["job_id"],
        "clone_url": clone.url,
        "seconds": round(seconds, 2),
        "copy_seconds": round(result["copy_seconds"], 2),
        "rows": int(result["rows"]),
        "files": int(result["files"]),
        "bytes": int(result["bytes"]),
    }


async def _check_sink(stage: Stage, findings: Findings, clone: Site, hosted: Hosted, egress: str) -> None:
    """The source's plugin reached the sink (so it is a real threat); the clone's, on as many views, did not."""
    heard, silent = stage.sink.from_host(stage.site.name), stage.sink.from_host(clone.name)
    findings.check("the source's plugin reaches the sink", bool(heard))
    if egress == "rejected":
        findings.check("the sink got nothing from the clone", not silent, f"{silent[:2]}")
    else:  # nothing below PHP holds it here, and the job's result says so, too
        leaked = [said for said in silent if b"/wp_remote_get" in said]
        findings.check("the sink got nothing from the clone through WordPress", not leaked, f"{leaked[:2]}")
        for way in ("curl", "fsockopen"):
            findings.not_made(f"the sink got nothing from the clone by {way}", f"egress: {egress}")
    strangers = len(stage.sink.heard) - len(heard) - len(silent)
    findings.check("nor from anybody unknown", strangers == 0, f"{strangers} connections")
    mail = await asyncio.to_thread(lambda: list((hosted.guard_state / "mail").iterdir()))
    findings.check("mail the clone sent lies in a file", bool(mail))


def _left_out(result: Mapping[str, Any]) -> dict[str, str]:
    """Paths the job's report names as not copied, with its reasons."""
    return {item["name"]: item["reason"] for item in result.get("report", {}).get("excluded_files", [])}
