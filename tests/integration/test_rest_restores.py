"""Restores over REST through the real Envoy: both spellings, golden bodies, who gets what, one writer a site."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.test_rest import TIME, golden, ready
from tests.support.edge import Rest, rest_serving
from tests.support.serving import CUSTOMER, OPERATOR, OTHER
from wpclone.core.jobs import transitions
from wpclone.core.jobs.transitions import KeptSet

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rest() -> AsyncIterator[Rest]:
    async with rest_serving() as running:
        yield running


SITES = iter(range(1000))


def target() -> dict[str, Any]:
    """A target that no other test's restore writes."""
    return {"target_url": f"https://shop{next(SITES)}.example", "target_username": "admin", "target_password": "secret"}


async def restored(rest: Rest) -> dict[str, Any]:
    """A completed restore whose target's old content is kept."""
    clone_id = await ready(rest)
    asked = await rest.call("POST", "/api/v2/restore", json={"clone_id": clone_id, **target()})
    claim = await rest.edge.claim(asked.body["job_id"])
    result = {"target_url": "https://shop.example", "clone_id": clone_id, "rows": 5, "report": {"conflict_count": 0}}
    kept = KeptSet(timedelta(hours=72))
    await rest.edge.apply(transitions.completed(claim, result=result, status_message="Completed", clone=kept))
    body: dict[str, Any] = (await rest.call("GET", f"/api/v2/jobs/{asked.body['job_id']}")).body
    return body


@pytest.mark.parametrize("is_flat", [True, False])
async def test_a_restore_is_202_with_its_location(rest: Rest, is_flat: bool) -> None:
    clone_id, flat = await ready(rest), target()
    nested = {"target": {"admin_login": {name.removeprefix("target_"): value for name, value in flat.items()}}}
    answer = await rest.call("POST", "/api/v2/restore", json={"clone_id": clone_id, **(flat if is_flat else nested)})
    job_id = answer.body["job_id"]
    assert (answer.status, answer.headers["location"]) == (202, f"/api/v2/jobs/{job_id}")
    assert golden(answer.body, job_id, clone_id) == {
        "job_id": "<id>", "type": "restore", "status": "pending", "progress": 0, "status_message": "",
        "status_url": "/api/v2/jobs/<id>", "created_at": TIME, "updated_at": TIME, "kind": "JOB_KIND_RESTORE",
        "state": "JOB_STATE_PENDING", "steps": [], "attempt": 0, "revision": 1, "needs_attention": False,
        "customer_id": CUSTOMER, "clone_id": "<id>", "priority": "normal",
    }  # fmt: skip
    job = await rest.edge.store.get_job(job_id)
    assert job is not None
    assert "secret" not in str(job.request)
    assert {name: job.request[name] for name in ("preserve_plugins", "preserve_themes", "conflict_policy", "tables")} == {
        "preserve_plugins": True, "preserve_themes": False, "conflict_policy": "keep_target", "tables": [],
    }  # fmt: skip


async def test_another_site_may_be_the_source(rest: Rest) -> None:
    source = {"source_url": "https://staging.example", "source_username": "admin", "source_password": "other"}
    answer = await rest.call("POST", "/api/v2/restore", json={**source, **target(), "preserve_plugins": False, "dry_run": True})
    assert (answer.status, "clone_id" in answer.body) == (202, False)
    job = await rest.edge.store.get_job(answer.body["job_id"])
    assert job is not None
    assert (job.request["source_url"], job.request["preserve_plugins"], job.request["dry_run"]) == (
        source["source_url"],
        False,
        True,
    )


async def test_everything_wrong_with_a_restore_is_told_at_once(rest: Rest) -> None:
    body = {
        "clone_id": "clone-1", "source_url": "https://a.example", "target_url": "ftp://x", "conflict_policy": "guess",
        "tables": ["wp`posts"], "paths": ["../etc/passwd"], "preserve": ["a/b"], "request_id": "a b",
    }  # fmt: skip
    answer = await rest.call("POST", "/api/v2/restore", json=body)
    assert (answer.status, answer.reason) == (400, "INVALID_REQUEST")
    wrong = {field["field"] for detail in answer.body["details"] for field in detail.get("fieldViolations", [])} or {
        field["field"] for detail in answer.body["details"] for field in detail.get("field_violations", [])
    }
    assert wrong == {
        "clone_id", "source", "target_url", "target_username", "target_password", "conflict_policy", "tables[0]", "paths[0]",
        "preserve[0]", "request_id",
    }  # fmt: skip


async def test_a_site_is_not_restored_onto_itself(rest: Rest) -> None:
    source = {"source_url": "http://www.shop.example/", "source_username": "admin", "source_password": "other"}
    onto = {"target_url": "https://shop.example", "target_username": "admin", "target_password": "secret"}
    answer = await rest.call("POST", "/api/v2/restore", json={**source, **onto})
    assert (answer.status, answer.reason) == (400, "INVALID_REQUEST")
    assert "onto itself" in str(answer.body)


async def test_one_restore_at_a_time_writes_a_site(rest: Rest) -> None:
    clone_id, site = await ready(rest), target()
    assert (await rest.call("POST", "/api/v2/restore", json={"clone_id": clone_id, **site})).status == 202
    second = await rest.call("POST", "/api/v2/restore", json={"clone_id": clone_id, **site})
    assert (second.status, second.reason) == (400, "SITE_BUSY")
    deletion = await rest.call("DELETE", f"/api/v2/clones/{clone_id}")
    assert (deletion.status, deletion.reason) == (400, "CLONE_IN_USE")


async def test_anothers_clone_is_not_found(rest: Rest) -> None:
    clone_id = await ready(rest)
    answer = await rest.call("POST", "/api/v2/restore", as_=OTHER, json={"clone_id": clone_id, **target()})
    assert (answer.status, answer.reason) == (404, "CLONE_NOT_FOUND")
    owned = await rest.call("POST", "/api/v2/restore", as_=OPERATOR, json={"clone_id": clone_id, **target()})
    assert (owned.status, owned.body["customer_id"]) == (202, CUSTOMER)


async def test_the_same_request_id_is_the_same_restore(rest: Rest) -> None:
    body = {"clone_id": await ready(rest), **target(), "request_id": "restore-once"}
    first, again = [await rest.call("POST", "/api/v2/restore", json=body) for _ in range(2)]
    assert first.body["job_id"] == again.body["job_id"]
    other = await rest.call("POST", "/api/v2/restore", json={**body, "preserve_themes": True})
    assert (other.status, other.reason) == (409, "REQUEST_ID_REUSED")


async def test_a_completed_restore_says_how_long_it_can_be_taken_back(rest: Rest) -> None:
    body = await restored(rest)
    result = golden(body, body["job_id"], body["clone_id"])["result"]
    assert result.pop("rollback_until")
    assert result == {
        "clone_id": "<id>", "target_url": "https://shop.example", "rows": "5", "report": {"conflict_count": 0},
    }  # fmt: skip


@pytest.mark.parametrize("way", ["rollback", "release"])
async def test_what_was_replaced_is_taken_back_or_dropped_once(rest: Rest, way: str) -> None:
    body = await restored(rest)
    answer = await rest.call("POST", f"/api/v2/jobs/{body['job_id']}/{way}", json={})
    assert (answer.status, answer.headers["location"]) == (202, f"/api/v2/jobs/{answer.body['job_id']}")
    assert (answer.body["type"], "clone_id" in answer.body) == ("restore", False)
    again = await rest.call("POST", f"/api/v2/jobs/{body['job_id']}/{way}", json={})
    assert (again.status, again.reason) == (400, "NOTHING_KEPT")
    of_it = await rest.call("POST", f"/api/v2/jobs/{answer.body['job_id']}/rollback", json={})
    assert (of_it.status, of_it.reason) == (400, "NOTHING_KEPT")


async def test_only_a_restore_is_rolled_back(rest: Rest) -> None:
    answer = await rest.call("POST", f"/api/v2/jobs/{await ready(rest)}/rollback", json={})
    assert (answer.status, answer.reason) == (400, "INVALID_REQUEST")


async def test_a_failed_restore_is_asked_for_again_and_a_rollback_is_not(rest: Rest) -> None:
    asked = await rest.call("POST", "/api/v2/restore", json={"clone_id": await ready(rest), **target()})
    await rest.edge.store.request_cancel(asked.body["job_id"])
    again = await rest.call("POST", f"/api/v2/jobs/{asked.body['job_id']}/retry", json={})
    assert (again.status, again.body["retry_of"], again.body["type"]) == (202, asked.body["job_id"], "restore")
    busy = await rest.call("POST", f"/api/v2/jobs/{asked.body['job_id']}/retry", json={})
    assert (busy.status, busy.reason) == (400, "SITE_BUSY")
    rollback = await rest.call("POST", f"/api/v2/jobs/{(await restored(rest))['job_id']}/rollback", json={})
    await rest.edge.store.request_cancel(rollback.body["job_id"])
    refused = await rest.call("POST", f"/api/v2/jobs/{rollback.body['job_id']}/retry", json={})
    assert (refused.status, refused.reason) == (400, "JOB_NOT_RETRYABLE")
