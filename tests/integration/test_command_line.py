"""The command as a process against a real server: what is on stdout, what on stderr, and how it ends."""

import asyncio
import json
import os
import pty
import signal
import sys
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.support.places import free_port
from tests.support.scripted_service import (
    JOB_ID,
    PASSWORD,
    RESTORE_ID,
    RETRY_ID,
    ScriptedService,
    hangs,
    job,
    refusal,
    says,
    serving,
    then,
)
from tests.support.shell import Shell
from wpclone.cli.exits import Exit
from wpclone.v2 import clone_service_pb2 as messages

ROOT = Path(__file__).parents[2]
CREATE = ("clone", "create", "--source", "https://example.com", "--username", "admin")
SECRET = "the-password-of-the-source"


@pytest.fixture
async def service() -> ScriptedService:
    made = ScriptedService()
    made.jobs[JOB_ID] = job(9, "completed")
    return made


@pytest.fixture
async def shell(service: ScriptedService, tmp_path: Path) -> AsyncIterator[Shell]:
    async with serving(service) as address:
        yield Shell(address, tmp_path)


async def test_creating_and_watching_prints_the_completed_job_with_its_password(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(says(job(1, "pending"), job(3, step="copy_files", progress=40), job(9, "completed")))
    ended = await shell.run(*CREATE, "-o", "json", "--ttl", "2h", "--priority", "low", WPCLONE_SOURCE_PASSWORD=SECRET)
    assert ended.code == Exit.OK
    shown = json.loads(ended.out)
    assert (shown["job_id"], shown["status"], shown["result"]["password"]) == (JOB_ID, "completed", PASSWORD)
    assert ended.err.splitlines() == ["  0 %  pending", " 40 %  copy_files", "100 %  completed"]
    request = service.requests[0]
    assert request.source.admin_login.password == SECRET  # type: ignore[attr-defined]
    assert (request.ttl_minutes, request.priority) == (120, "low")  # type: ignore[attr-defined]
    assert set(service.tokens) == {"Bearer token-1"}


async def test_a_table_for_people_has_what_one_needs_to_sign_in(shell: Shell) -> None:
    ended = await shell.run("job", "get", JOB_ID)
    assert ended.err == ""
    for word in ("http://clone.localhost:8000", "admin", PASSWORD, "9.0 s"):
        assert word in ended.out


async def test_jsonl_has_one_line_for_each_revision(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(says(job(1), job(4), job(9, "completed")))
    ended = await shell.run("job", "watch", JOB_ID, "-o", "jsonl", "--progress", "none")
    assert [json.loads(line)["revision"] for line in ended.out.splitlines()] == [1, 4, 9]
    assert json.loads(ended.out.splitlines()[-1])["result"]["password"] == PASSWORD
    assert ended.err == ""


async def test_a_failed_job_tells_its_step_and_reason_and_ends_with_1(service: ScriptedService, shell: Shell) -> None:
    service.jobs[JOB_ID] = job(3, "failed")
    ended = await shell.run(*CREATE, "--password-stdin", stdin=SECRET + "\n")
    assert ended.code == Exit.JOB_FAILED
    assert f"wpclone: {JOB_ID} failed: WordPress refused the username or password" in ended.err
    assert "step preflight, reason LOGIN_REFUSED" in ended.err
    assert SECRET not in ended.out + ended.err


async def test_a_cancelled_job_ends_with_3(service: ScriptedService, shell: Shell) -> None:
    service.jobs[JOB_ID] = job(3, "cancelled")
    assert (await shell.run("job", "watch", JOB_ID)).code == Exit.CANCELLED


@pytest.mark.parametrize(
    ("code", "reason", "end"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", Exit.USAGE),
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", Exit.ACCESS),
        (grpc.StatusCode.NOT_FOUND, "CLONE_NOT_FOUND", Exit.NOT_FOUND),
        (grpc.StatusCode.FAILED_PRECONDITION, "CLONE_NOT_READY", Exit.WRONG_STATE),
        (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RETRYABLE", Exit.WRONG_STATE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED", Exit.LIMIT),
        (grpc.StatusCode.INTERNAL, "INTERNAL", Exit.INTERNAL),
    ],
)
async def test_a_refused_call_ends_with_the_code_of_its_reason(
    service: ScriptedService, shell: Shell, code: grpc.StatusCode, reason: str, end: Exit
) -> None:
    service.refusals.append(refusal(code, reason, "one sentence", violations=[("ttl_minutes", "is too long")], retry_seconds=7))
    ended = await shell.run("clone", "open", JOB_ID)
    assert (ended.code, ended.out) == (end, "")
    assert ended.err.startswith("wpclone: one sentence\n  ttl_minutes: is too long\n")
    assert f"reason {reason}" in ended.err


async def test_nobody_there_ends_with_6_and_says_what_to_do(shell: Shell) -> None:
    ended = await shell.run("clone", "list", "--server", f"127.0.0.1:{free_port()}")
    assert (ended.code, ended.out) == (Exit.UNREACHABLE, "")
    assert "wpclone up" in ended.err


async def test_an_unknown_job_is_not_said_to_go_on(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(then(says(), grpc.StatusCode.NOT_FOUND, "no such job"))
    ended = await shell.run("job", "watch", "clone-ffffffffffff")
    assert ended.code == Exit.NOT_FOUND
    assert "goes on" not in ended.err


async def test_ctrl_c_lets_go_and_says_how_to_resume(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(hangs(job(1, "pending"), job(4, step="copy_files")))
    process = await shell.start("job", "watch", JOB_ID)
    assert process.stderr is not None
    seen = ""
    async with asyncio.timeout(60):
        while "copy_files" not in seen:
            seen += (await process.stderr.readline()).decode()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (Exit.DETACHED, b"")
    assert err.decode() == f"{JOB_ID} goes on; follow it with: wpclone job watch {JOB_ID} --after-revision 4\n"
    assert not any("Cancel" in type(request).__name__ for request in service.requests)


async def test_a_broken_connection_is_told_and_resumed(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(then(says(job(2)), grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"))
    ended = await shell.run("job", "watch", JOB_ID, "-o", "json")
    assert ended.code == Exit.OK
    assert "connection lost (Received RST_STREAM" in ended.err
    assert [watch.after_revision for watch in service.watches] == [0, 2]


async def test_a_server_lost_at_the_very_end_does_not_undo_the_end(service: ScriptedService, shell: Shell) -> None:
    service.refusals.extend([refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "no store")] * 9)
    ended = await shell.run("job", "watch", JOB_ID, "-o", "json")
    assert (ended.code, json.loads(ended.out)["status"]) == (Exit.OK, "completed")
    assert f"wpclone job get {JOB_ID}" in ended.err


async def test_waiting_has_an_end_of_its_own(service: ScriptedService, shell: Shell) -> None:
    service.jobs[JOB_ID] = job(2)
    service.streams.append(hangs(job(2)))
    ended = await shell.run("job", "wait", JOB_ID, "--timeout", "1s", "-o", "json")
    assert (ended.code, json.loads(ended.out)["status"]) == (Exit.STILL_RUNNING, "running")
    assert f"wpclone job watch {JOB_ID} --after-revision 2" in ended.err
    assert f"{JOB_ID} is not finished" in ended.err


async def test_a_wait_without_any_time_tells_a_finished_job_from_one_that_runs(shell: Shell) -> None:
    ended = await shell.run("job", "wait", JOB_ID, "--timeout", "0s", "-o", "json")
    assert (ended.code, json.loads(ended.out)["status"]) == (Exit.OK, "completed")
    assert "not finished" not in ended.err


async def test_a_reader_that_went_away_lets_go(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(says(job(1), job(3), job(9, "completed")))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wpclone.cli", "job", "watch", JOB_ID, "-o", "jsonl", env=shell.environ,
            stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        _, err = await process.communicate()
    finally:
        os.close(writing)
    assert process.returncode == Exit.UNREAD
    assert f"wpclone job watch {JOB_ID} --after-revision" in err.decode()
    assert "BrokenPipe" not in err.decode()


@pytest.mark.parametrize("token", ["secret-to\nken", "secret-töken", "secret to ken"])
async def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(shell: Shell, token: str) -> None:
    ended = await shell.run("job", "list", WPCLONE_TOKEN=token)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "the token has characters" in ended.err
    assert "secret" not in ended.err


async def test_a_password_of_another_encoding_is_refused_and_not_repeated(service: ScriptedService, shell: Shell) -> None:
    process = await shell.start(*CREATE, "--password-stdin")
    out, err = await process.communicate("secrét\n".encode("latin-1"))
    assert (process.returncode, out, service.requests) == (Exit.USAGE, b"", [])
    assert err.decode() == "wpclone: the password or key is not UTF-8 text\n"


async def test_not_watching_answers_at_once_and_says_how_to_follow(service: ScriptedService, shell: Shell) -> None:
    ended = await shell.run(*CREATE, "--no-watch", "-o", "json", WPCLONE_SOURCE_PASSWORD=SECRET)
    assert (ended.code, json.loads(ended.out)["status"]) == (Exit.OK, "pending")
    assert f"wpclone job watch {JOB_ID}" in ended.err
    assert service.watches == []


async def test_several_clones_are_all_followed_and_each_is_told(service: ScriptedService, shell: Shell) -> None:
    service.jobs |= {f"clone-{n:012x}": job(9, "completed", job_id=f"clone-{n:012x}") for n in (2, 4)}
    service.jobs["clone-000000000003"] = job(3, "failed", job_id="clone-000000000003")
    ended = await shell.run(*CREATE, "--count", "4", "-o", "json", "--request-id", "batch", WPCLONE_SOURCE_PASSWORD=SECRET)
    assert ended.code == Exit.SOME_FAILED
    outcomes = json.loads(ended.out)
    assert sorted(one["exit_code"] for one in outcomes) == [0, 0, 0, 1]
    assert [one["reason"] for one in outcomes if one["exit_code"]] == ["LOGIN_REFUSED"]
    assert all(one["job"]["result"]["password"] == PASSWORD for one in outcomes if not one["exit_code"])
    assert "1 of 4 did not complete" in ended.err
    ids = sorted(getattr(request, "request_id", "") for request in service.requests)
    assert ids[-4:] == ["batch-1", "batch-2", "batch-3", "batch-4"]


async def test_a_refused_one_of_several_is_an_outcome(service: ScriptedService, shell: Shell, tmp_path: Path) -> None:
    service.refusals.append(refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED", "too many clones", retry_seconds=60))
    orders = tmp_path / "orders.jsonl"
    orders.write_text('{"source_url": "https://a.example", "source_username": "u", "source_password": "p"}\n' * 2)
    ended = await shell.run("clone", "create", "--from-file", str(orders), "--no-watch", "-o", "jsonl")
    outcomes = {one["exit_code"]: one for one in map(json.loads, ended.out.splitlines())}
    assert ended.code == Exit.SOME_FAILED
    assert (outcomes[Exit.LIMIT]["job"], outcomes[Exit.LIMIT]["error"]) == (None, "too many clones")
    assert outcomes[Exit.OK]["job"]["status"] == "pending"


async def test_lists_are_tables_arrays_or_lines(service: ScriptedService, shell: Shell) -> None:
    service.jobs["clone-000000000002"] = job(2, job_id="clone-000000000002")
    table, array, lines = [(await shell.run("job", "list", "-o", form)).out for form in ("table", "json", "jsonl")]
    assert table.splitlines()[0].split() == ["JOB", "STATUS", "PROGRESS", "CREATED", "MESSAGE"]
    assert [one["job_id"] for one in json.loads(array)] == [JOB_ID, "clone-000000000002"]
    assert [json.loads(line) for line in lines.splitlines()] == json.loads(array)


async def test_the_commands_of_clones_ask_what_they_say(service: ScriptedService, shell: Shell) -> None:
    link = await shell.run("clone", "open", JOB_ID)
    assert link.out == "http://clone.localhost:8000/?wpclone-sign-in=once\n"
    until = await shell.run("clone", "extend", JOB_ID, "--until", "2031-01-01T00:00:00Z", "-o", "json")
    assert json.loads(until.out)["expires_at"] == "2031-01-01T00:00:00Z"
    assert "https://example.com" in (await shell.run("clone", "get", JOB_ID)).out
    assert json.loads((await shell.run("clone", "list", "--status", "failed", "-o", "jsonl")).out)["status"] == "failed"
    service.jobs["delete-0123456789ab"] = job(4, "completed", job_id="delete-0123456789ab")
    assert (await shell.run("clone", "delete", JOB_ID)).code == Exit.OK


async def test_cancelling_may_be_followed_and_being_cancelled_is_success(service: ScriptedService, shell: Shell) -> None:
    asked = await shell.run("job", "cancel", JOB_ID, "-o", "json")
    assert json.loads(asked.out)["status"] == "running"
    service.jobs[JOB_ID] = job(8, "cancelled")
    assert (await shell.run("job", "cancel", JOB_ID, "--watch")).code == Exit.OK


async def test_a_restore_is_asked_for_with_its_choices_and_its_end_is_asked_for_by_its_id(
    service: ScriptedService, shell: Shell
) -> None:
    asked = await shell.run(
        "restore", "create", "--clone", JOB_ID, "--target", "https://shop.example", "--username", "admin", "--replace-plugins",
        "--preserve-themes", "--preserve", "akismet", "--table", "posts", "--path", "wp-content/uploads/*",
        "--conflicts", "abort", "--dry-run", "--no-watch", "-o", "json", WPCLONE_TARGET_PASSWORD="target's",
    )  # fmt: skip
    assert (asked.code, json.loads(asked.out)["job_id"]) == (Exit.OK, RESTORE_ID), asked.err
    sent = service.requests[-1]
    assert isinstance(sent, messages.CreateRestoreRequest)
    assert (sent.clone_id, sent.target.admin_login.url, sent.target.admin_login.password) == (
        JOB_ID, "https://shop.example", "target's",
    )  # fmt: skip
    assert (sent.preserve_plugins, sent.preserve_themes, list(sent.preserve)) == (False, True, ["akismet"])
    assert (list(sent.tables), list(sent.paths), sent.conflict_policy) == (["posts"], ["wp-content/uploads/*"], "abort")
    assert (sent.dry_run, bool(sent.request_id)) == (True, True)
    for command, kind in (("rollback", messages.RollbackRestoreRequest), ("release", messages.ReleaseRestoreRequest)):
        left = await shell.run("restore", command, RESTORE_ID, "--no-watch", "-o", "json")
        assert left.code == Exit.OK, left.err
        last = service.requests[-1]
        assert isinstance(last, kind)
        assert last.job_id == RESTORE_ID


async def test_a_restore_has_one_source_and_a_way_in(service: ScriptedService, shell: Shell) -> None:
    for wrong in ((), ("--clone", JOB_ID, "--source", "https://a.example"), ("--clone", JOB_ID)):
        assert (await shell.run("restore", "create", "--target", "https://shop.example", *wrong)).code == Exit.USAGE
    assert service.requests == []


async def test_a_retry_follows_the_new_job(service: ScriptedService, shell: Shell) -> None:
    service.jobs[RETRY_ID] = job(9, "completed", job_id=RETRY_ID)
    followed = await shell.run("job", "retry", JOB_ID, "--watch", "-o", "json")
    assert (followed.code, json.loads(followed.out)["job_id"]) == (Exit.OK, RETRY_ID)
    assert [watch.job_id for watch in service.watches] == [RETRY_ID]
    asked = await shell.run("job", "retry", JOB_ID, "--no-watch", "-o", "json")
    assert (asked.code, json.loads(asked.out)["retry_of"]) == (Exit.OK, JOB_ID)
    assert f"wpclone job watch {RETRY_ID}" in asked.err


@pytest.mark.parametrize(
    "words",
    [
        ("clone", "create"),
        ("clone", "create", "--source", "https://example.com"),
        (*CREATE,),
        (*CREATE, "--ttl", "soon"),
        (*CREATE, "--ttl", "9999999999"),
        (*CREATE, "--from-file", "orders.jsonl"),
        ("clone", "extend", JOB_ID),
        ("clone", "extend", JOB_ID, "--ttl", "99999999999d"),
        ("job", "watch"),
        ("job", "watch", JOB_ID, "--after-revision", "99999999999"),
        ("clone", "list", "--server", "ftp://x"),
        ("frobnicate",),
    ],
    ids=" ".join,
)
async def test_wrong_usage_ends_with_2_before_anything_is_asked(
    service: ScriptedService, shell: Shell, words: tuple[str, ...]
) -> None:
    ended = await shell.run(*words)
    assert (ended.code, ended.out, service.requests) == (Exit.USAGE, "", [])
    assert ended.err


async def test_an_agents_key_comes_from_a_file(service: ScriptedService, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("ab" * 32 + "\n")
    words = ("clone", "create", "--source", "https://example.com/agent.php", "--agent-key", "key", "--no-watch")
    assert (await shell.run(*words)).code == Exit.OK
    agent = service.requests[0].source.agent  # type: ignore[attr-defined]
    assert (agent.url, agent.key) == ("https://example.com/agent.php", "ab" * 32)


async def test_a_terminal_gets_a_bar_and_stdout_stays_clean(service: ScriptedService, shell: Shell) -> None:
    service.streams.append(says(job(1), job(3, step="copy_files", progress=40), job(9, "completed")))
    controller, terminal = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wpclone.cli", "job", "watch", JOB_ID, "-o", "json", env=shell.environ | {"TERM": "xterm"},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=terminal, cwd=ROOT,
        )  # fmt: skip
        out, _ = await process.communicate()
        drawn = os.read(controller, 1 << 16).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert json.loads(out)["status"] == "completed"
    assert "━" in drawn
    assert "completed" in drawn


async def test_help_needs_neither_grpc_nor_rich(shell: Shell) -> None:
    code = "import sys, wpclone.cli.app; print([m for m in ('grpc', 'rich', 'asyncio', 'google') if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=shell.environ, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out == b"[]\n"


@pytest.mark.parametrize("command", ["up", "down", "status", "demo"])
async def test_a_bare_installation_says_what_is_missing(shell: Shell, tmp_path: Path, command: str) -> None:
    """Only the wheel's content is on the path; `-S` keeps this checkout's own .pth file away."""
    (tmp_path / "wpclone").mkdir()
    for part in (*(ROOT / "wpclone").iterdir(), ROOT / "gen" / "wpclone" / "v2"):
        (tmp_path / "wpclone" / part.name).symlink_to(part)
    path = f"{tmp_path}:{sysconfig.get_path('purelib')}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-m", "wpclone.cli", command, cwd=tmp_path, env=shell.environ | {"PYTHONPATH": path},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == Exit.NOT_HERE, err.decode()
    assert b"it runs from a checkout" in err
