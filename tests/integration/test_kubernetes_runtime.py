"""The kubernetes runtime against a fake API server: killed between any two calls, told every cause, and no storm of requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.support.fake_cluster import Object, pending, status
from tests.support.hosting import new_clone_id
from tests.support.kubernetes_bench import Bench, key_of, kubernetes_bench, put_files
from tests.support.wait import until_async
from workers.runtimes import Content
from workers.runtimes.receiver import Receiver, _frame
from wpclone.core.clock import SystemClock
from wpclone.core.jobs.errors import Fatal, RetryLater, StepOutcome

CONTENT = Content(b"<?php // config", {"guard.php": b"<?php // guard", "config.json": b'{"expires_at": "2031-01-01T00:00:00Z"}'})
KINDS = ["jobs", "secrets", "persistentvolumeclaims", "services", "services", "networkpolicies", "httproutes", "pods"]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with kubernetes_bench() as opened:
        yield opened


@pytest.fixture
async def impatient() -> AsyncIterator[Bench]:
    """A runtime that waits a second for a pod."""
    async with kubernetes_bench(patience=1.0) as opened:
        yield opened


def kinds(bench: Bench, clone_id: str) -> list[str]:
    return sorted(plural for plural, name in bench.cluster.objects if name.startswith(clone_id))


async def outcome(coroutine: Awaitable[object]) -> StepOutcome:
    with pytest.raises(StepOutcome) as raised:
        await coroutine
    return raised.value


async def test_a_clone_is_exactly_its_objects_and_after_its_deletion_there_are_none(bench: Bench) -> None:
    clone_id = new_clone_id()
    for _ in range(2):
        await bench.runtime.create(clone_id)
    assert kinds(bench, clone_id) == sorted(KINDS)
    for _ in range(2):
        await bench.runtime.delete(clone_id)
    assert kinds(bench, clone_id) == ["jobs"]
    (record,) = await bench.runtime.list()
    assert record.is_ended
    for _ in range(2):
        await bench.runtime.forget(clone_id)
    assert bench.cluster.objects == {}


async def test_a_clone_whose_job_was_deleted_by_hand_is_over_and_not_made_again(bench: Bench) -> None:
    clone_id = new_clone_id()
    place = await bench.runtime.create(clone_id)
    await bench.runtime.forget(clone_id)
    job = bench.cluster.objects["jobs", clone_id]
    assert job["metadata"]["finalizers"] == ["wpclone.io/database"]
    bench.cluster.put("jobs", {**job, "metadata": {**job["metadata"], "deletionTimestamp": "2031-01-01T00:00:00Z"}})
    for call in (bench.runtime.create(clone_id), bench.runtime.ready(clone_id), bench.runtime.expose(clone_id, CONTENT)):
        error = await outcome(call)
        assert (type(error), error.code) == (Fatal, "CLONE_ENDED")
    assert await bench.runtime.describe(clone_id) is None
    assert place.clone_id in {each.clone_id for each in await bench.runtime.list()}


async def test_the_record_goes_only_when_nobody_else_changed_it_meanwhile(bench: Bench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    await bench.runtime.delete(clone_id)
    bench.cluster.misbehave("PATCH", "jobs", answering(409, "Conflict", "the object has been modified"))
    error = await outcome(bench.runtime.forget(clone_id))
    assert (type(error), error.code) == (RetryLater, "CLUSTER_CONFLICT")
    assert kinds(bench, clone_id) == ["jobs"]


@pytest.mark.parametrize("calls", range(9))
async def test_a_worker_killed_before_any_call_of_create_leaves_what_the_next_one_finishes(bench: Bench, calls: int) -> None:
    """The ninth call releases the Job: before it no pod runs."""
    clone_id, made = new_clone_id(), 0

    class Killed(BaseException):
        pass

    async def killed(*args: Any) -> Object:
        nonlocal made
        made += 1
        if made > calls:
            raise Killed
        answer: Object = await original(*args)
        return answer

    api: Any = bench.runtime._api
    original, api._ask = api._ask, killed
    with pytest.raises(Killed):
        await bench.runtime.create(clone_id)
    assert not any(plural == "pods" for plural, _ in bench.cluster.objects)
    api._ask = original
    await bench.runtime.create(clone_id)
    assert kinds(bench, clone_id) == sorted(KINDS)


@pytest.mark.parametrize(
    ("pod", "code", "words"),
    [
        (pending("InvalidImageName", "couldn't parse image name"), "IMAGE_INVALID", "registry.example/clone:1"),
        (
            pending("CrashLoopBackOff", restarts=3, last={"reason": "Error", "exitCode": 3}),
            "CONTAINER_CRASHES",
            "no space for you",
        ),
        (pending("CrashLoopBackOff", restarts=3, last={"reason": "OOMKilled", "exitCode": 137}), "OUT_OF_MEMORY", "memory"),
    ],
)
async def test_a_hopeless_pod_fails_the_step_at_once_with_its_cause(bench: Bench, pod: Object, code: str, words: str) -> None:
    clone_id, told = new_clone_id(), list[str]()
    bench.cluster.pod_status, bench.cluster.logs = pod, "starting\nno space for you\n"
    await bench.runtime.create(clone_id)
    error = await outcome(bench.runtime.ready(clone_id, told.append))
    assert isinstance(error, Fatal)
    assert error.code == code
    assert words in error.message


async def test_what_a_pod_waits_for_is_told_at_once_and_repeated_when_patience_ends(impatient: Bench) -> None:
    clone_id, told = new_clone_id(), list[str]()
    impatient.cluster.pod_status = pending("ImagePullBackOff", "dial tcp: i/o timeout")
    await impatient.runtime.create(clone_id)
    error = await outcome(impatient.runtime.ready(clone_id, told.append))
    assert isinstance(error, RetryLater)
    assert error.code == "IMAGE_NOT_PULLED"
    assert told == [error.message]


async def test_a_cause_that_passes_is_no_failure(bench: Bench) -> None:
    clone_id, told = new_clone_id(), list[str]()
    ready = bench.cluster.pod_status
    bench.cluster.pod_status = pending("CreateContainerConfigError", 'secret "x" not found')
    await bench.runtime.create(clone_id)
    task = asyncio.create_task(bench.runtime.ready(clone_id, told.append))
    await until_async(lambda: _true(told), within=10)
    assert ready is not None
    bench.cluster.set_pod(clone_id, ready)
    assert (await task).clone_id == clone_id


async def test_files_go_to_a_pod_whose_site_still_starts_and_the_clone_is_served_once_it_runs(bench: Bench) -> None:
    clone_id, told = new_clone_id(), list[str]()
    ready = bench.cluster.pod_status
    starting = pending("CreateContainerConfigError", "a volume")
    starting["initContainerStatuses"].append({"name": "receiver", "started": True})
    bench.cluster.pod_status = starting
    place = await bench.runtime.create(clone_id)
    assert place.staging is not None
    put_files(place.staging, {"index.php": b"<?php"})
    serving = asyncio.create_task(bench.runtime.expose(clone_id, CONTENT, told.append))
    config = bench.receivers[clone_id].site / "content" / "docroot" / "wp-config.php"
    await until_async(lambda: _true(config.exists()), within=20)
    await until_async(lambda: _true(told), within=20)
    assert not serving.done()
    assert ready is not None
    bench.cluster.set_pod(clone_id, ready)
    assert (await serving).is_serving


@pytest.mark.parametrize(
    ("message", "code", "kind"),
    [
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "POD_REFUSED", Fatal),
        ('pods "x" is forbidden: exceeded quota: clones', "QUOTA_EXCEEDED", RetryLater),
    ],
)
async def test_a_refused_pod_is_told_by_its_jobs_event(impatient: Bench, message: str, code: str, kind: type) -> None:
    clone_id = new_clone_id()
    impatient.cluster.pod_status = None
    await impatient.runtime.create(clone_id)
    impatient.cluster.tell_event(impatient.cluster.objects["jobs", clone_id], "FailedCreate", message)
    error = await outcome(impatient.runtime.ready(clone_id))
    assert isinstance(error, kind)
    assert error.code == code


async def test_twenty_clones_that_wait_are_no_more_lists_and_watches_than_one(impatient: Bench) -> None:
    impatient.cluster.pod_status = pending("ImagePullBackOff", "i/o timeout")
    clones = [new_clone_id() for _ in range(20)]
    await asyncio.gather(*(impatient.runtime.create(clone_id) for clone_id in clones))
    await asyncio.gather(*(outcome(impatient.runtime.ready(clone_id)) for clone_id in clones))
    assert {call: n for call, n in impatient.cluster.requests.items() if call[0] in ("list", "watch")} == {
        (verb, plural): 1 for verb in ("list", "watch") for plural in ("jobs", "pods", "events")
    }


async def test_an_expiry_moves_the_jobs_deadline_and_is_told_to_the_guard(bench: Bench) -> None:
    clone_id = new_clone_id()
    place = await bench.runtime.create(clone_id)
    assert place.staging is not None
    put_files(place.staging, {"index.php": b"<?php"})
    await bench.runtime.expose(clone_id, CONTENT)
    ends = datetime(2031, 1, 1, 2, tzinfo=UTC)
    await bench.runtime.extend(clone_id, ends)
    assert bench.cluster.objects["jobs", clone_id]["spec"]["activeDeadlineSeconds"] == 7200 + 600
    await bench.runtime.extend(clone_id, ends + timedelta(hours=1))
    assert bench.cluster.objects["jobs", clone_id]["spec"]["activeDeadlineSeconds"] == 10800 + 600
    guard = bench.receivers[clone_id].site / "guard" / "config.json"
    assert "2031-01-01T03:00:00" in guard.read_text()


async def test_an_account_that_may_not_do_its_work_is_told_so_before_it_begins(bench: Bench) -> None:
    assert await bench.runtime.lacking() == ""
    bench.cluster.misbehave("list", "httproutes", answering(404, "NotFound", "the server could not find the requested resource"))
    assert "httproutes" in await bench.runtime.lacking()
    bench.cluster.behave()
    bench.cluster.misbehave("list", "pods", answering(403, "Forbidden", "User cannot list pods"))
    assert "User cannot list pods" in await bench.runtime.lacking()
    bench.cluster.misbehave("list", "jobs", answering(503, "ServiceUnavailable", "not now"))
    assert await bench.runtime.lacking() == ""


async def test_a_pod_that_comes_back_keeps_its_deadline(bench: Bench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    await bench.runtime.extend(clone_id, datetime(2031, 1, 1, 2, tzinfo=UTC))
    await bench.runtime.create(clone_id)
    assert bench.cluster.objects["jobs", clone_id]["spec"]["activeDeadlineSeconds"] == 7800


async def test_an_expired_clone_is_a_final_error(bench: Bench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    over = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    bench.cluster.put("jobs", {**bench.cluster.objects["jobs", clone_id], "status": {"conditions": [over]}})
    error = await outcome(bench.runtime.extend(clone_id, datetime(2031, 1, 1, 2, tzinfo=UTC)))
    assert (type(error), error.code) == (Fatal, "CLONE_EXPIRED")


async def test_a_job_of_somebody_else_is_left_alone(bench: Bench) -> None:
    clone_id = new_clone_id()
    foreign = bench.cluster.put("jobs", {"metadata": {"name": clone_id, "labels": {"app": "other"}}, "spec": {"suspend": False}})
    error = await outcome(bench.runtime.create(clone_id))
    assert (type(error), error.code) == (Fatal, "NAME_TAKEN")
    assert bench.cluster.objects == {("jobs", clone_id): foreign}


def answering(code: int, reason: str, message: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return status(code, reason, message, {"Retry-After": "9"} if code == 429 else None)

    return answer


@pytest.mark.parametrize(
    ("plural", "answer", "kind", "code"),
    [
        ("jobs", answering(429, "TooManyRequests", "slow down"), RetryLater, "CLUSTER_UNAVAILABLE"),
        ("jobs", answering(500, "InternalError", "etcd"), RetryLater, "CLUSTER_UNAVAILABLE"),
        ("jobs", answering(403, "Forbidden", "User cannot patch jobs in namespace clones"), Fatal, "CLUSTER_REFUSED"),
        ("jobs", answering(403, "Forbidden", "exceeded quota: clones"), RetryLater, "QUOTA_EXCEEDED"),
        (
            "httproutes",
            answering(404, "NotFound", "the server could not find the requested resource"),
            Fatal,
            "CLUSTER_INCOMPLETE",
        ),
        ("services", answering(409, "Conflict", "the object has been modified"), RetryLater, "CLUSTER_CONFLICT"),
    ],
)
async def test_what_the_api_server_says_becomes_an_outcome(
    bench: Bench, plural: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]], kind: type, code: str
) -> None:
    bench.cluster.misbehave("PATCH", plural, answer)
    error = await outcome(bench.runtime.create(new_clone_id()))
    assert isinstance(error, kind)
    assert error.code == code
    if isinstance(error, RetryLater) and ("slow down" in error.message or error.after):
        assert error.after == timedelta(seconds=9)


async def test_a_write_that_met_another_one_at_the_server_is_written_again(bench: Bench) -> None:
    clone_id, refused = new_clone_id(), 0

    async def once(_request: web.Request) -> web.StreamResponse:
        nonlocal refused
        refused += 1
        bench.cluster.behave()
        return status(409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "clones": the object has been modified')

    bench.cluster.misbehave("PATCH", "services", once)
    await bench.runtime.create(clone_id)
    assert refused == 1
    assert "services" in kinds(bench, clone_id)


async def test_files_links_and_modes_arrive_and_the_staging_goes(bench: Bench) -> None:
    clone_id = new_clone_id()
    place = await bench.runtime.create(clone_id)
    assert place.staging is not None
    large = bytes(range(256)) * 50_000
    put_files(
        place.staging, {"index.php": b"<?php", "wp-content/a b\xc3\xa9.bin".encode().decode("latin-1"): large, "empty": b""}
    )
    (place.staging / "run.sh").write_bytes(b"#!/bin/sh")
    (place.staging / "run.sh").chmod(0o755)
    (place.staging / "wp-content" / "link").symlink_to("../index.php")
    (place.staging / "nothing").mkdir()
    before = (place.staging / "index.php").stat().st_mtime
    await bench.runtime.expose(clone_id, CONTENT)
    docroot = bench.receivers[clone_id].site / "content" / "docroot"
    assert (docroot / "wp-content/a b\xc3\xa9.bin".encode().decode("latin-1")).read_bytes() == large
    assert (docroot / "empty").read_bytes() == b""
    assert (docroot / "nothing").is_dir()
    assert (docroot / "wp-content" / "link").readlink().as_posix() == "../index.php"
    assert (docroot / "run.sh").stat().st_mode & 0o777 == 0o750
    assert (docroot / "index.php").stat().st_mode & 0o777 == 0o640
    assert int((docroot / "index.php").stat().st_mtime) == int(before)
    assert (docroot / "wp-config.php").read_bytes() == CONTENT.wp_config
    assert (bench.receivers[clone_id].site / "guard" / "guard.php").read_bytes() == CONTENT.guard["guard.php"]
    assert not place.staging.exists()


async def test_a_send_that_broke_off_is_made_again_and_leaves_no_second_tree(bench: Bench) -> None:
    clone_id = new_clone_id()
    place = await bench.runtime.create(clone_id)
    assert place.staging is not None
    put_files(place.staging, {"index.php": b"<?php"})
    receiver = Receiver(bench.receivers[clone_id].address, key_of(clone_id), SystemClock())
    await bench.receivers[clone_id].up()
    await receiver._ask("POST", "/tree/" + "0" * 16, _frame("f", b"old.php", b"old", o=0, x=False, t=0, last=True))
    await bench.runtime.expose(clone_id, CONTENT)
    site = bench.receivers[clone_id].site
    assert sorted(path.name for path in site.iterdir()) == ["adopted", "content", "guard", "state"]
    assert not (site / "content" / "docroot" / "old.php").exists()


async def test_workers_that_ask_at_the_same_time_make_one_clone(bench: Bench) -> None:
    clone_id = new_clone_id()
    await asyncio.gather(*(bench.runtime.create(clone_id) for _ in range(4)))
    assert kinds(bench, clone_id) == sorted(KINDS)


async def _true(value: object) -> bool:
    return bool(value)
