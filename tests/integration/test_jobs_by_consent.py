"""Whole jobs with an application password: the clone is made, and its source left as it was."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_clone_plan import SEED, Yard, yard
from tests.support.consenting import Consenting, consenting
from wpclone.core.jobs.states import JobState
from wpclone.core.secrets import derive

__all__ = ["yard"]

State = tuple[dict[str, str], dict[str, object], dict[tuple[object, ...], object], list[tuple[object, ...]]]


@pytest.fixture
def site(yard: Yard) -> Iterator[Consenting]:
    with consenting(yard.source) as one:
        yield one


def _access(site: Consenting) -> dict[str, str]:
    return {"username": site.login.username, "password": site.login.password}


def _state(site: Consenting) -> State:
    """All there is at the site: files, options, users' fields, other tables. Transients are caches that come and go."""
    root, sql = site.source.docroot, site.source.sql
    files = {str(path.relative_to(root)): _sum(path) for path in root.rglob("*") if path.is_file()}
    options = {str(name): value for name, value in sql("SELECT option_name, option_value FROM wp_options")}
    fields = {tuple(key): value for *key, value in sql("SELECT umeta_id, user_id, meta_key, meta_value FROM wp_usermeta")}
    tables = [str(name) for (name,) in sql("SHOW TABLES") if name not in {"wp_options", "wp_usermeta"}]
    return (
        files, {name: value for name, value in options.items() if "_transient_" not in name}, fields,
        sql(f"CHECKSUM TABLE {', '.join(tables)}"),
    )  # fmt: skip


def _active(options: dict[str, object]) -> list[str]:
    """The active plugins in their order. Keys may differ: WordPress's own deactivate_plugins() leaves gaps among them."""
    return re.findall(r'"([^"]+)"', str(options["active_plugins"]))


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _nothing_changed(site: Consenting) -> Iterator[None]:
    """But what WordPress notes at the password itself: when and from where it was used."""
    files, options, fields, tables = _state(site)
    yield
    files_now, options_now, fields_now, tables_now = _state(site)
    assert files_now == files
    assert _active(options_now) == _active(options)
    changed_options = {name for name in options | options_now if options.get(name) != options_now.get(name)}
    assert changed_options <= {"cron", "active_plugins"}
    changed = {key for key in fields | fields_now if fields.get(key) != fields_now.get(key)}
    assert {name for _, _, name in changed} == {"_application_passwords"}
    assert tables_now == tables


async def test_a_clone_is_made_and_the_site_is_as_before(yard: Yard, site: Consenting) -> None:
    with _nothing_changed(site):
        job = await yard.clone(_access(site))
    assert job.state is JobState.COMPLETED, job.error
    assert job.result is not None
    assert (job.result["report"]["agent"], job.result["username"]) == ("kept", site.login.username)
    assert (site.is_active, site.lying_there()) == (False, [])
    kept = json.dumps([dict(step.facts) for step in job.steps]) + json.dumps(dict(job.request))
    assert site.password not in kept
    assert derive(bytes.fromhex(SEED), "agent").hex() not in kept
    clone = yard.keeper.ask("describe", clone_id=job.job_id)
    assert not list((Path(clone["docroot"]) / "wp-content/plugins").glob("wpc-*"))
    await yard.delete(job.job_id)


async def test_a_dry_run_at_a_plugin_that_is_active_leaves_it_so(yard: Yard, site: Consenting) -> None:
    site.activate()
    with _nothing_changed(site):
        job = await yard.dry_run(_access(site))
    assert job.state is JobState.COMPLETED, job.error
    assert (site.is_active, site.lying_there()) == (True, [])


async def test_a_job_that_fails_after_it_got_in_leaves_the_site_as_before(yard: Yard, site: Consenting) -> None:
    yard.most_bytes = 1000
    with _nothing_changed(site):
        job = await yard.clone(_access(site))
    assert (job.state, job.error and job.error.reason) == (JobState.FAILED, "SITE_TOO_LARGE")
    assert (site.is_active, site.lying_there(), job.needs_attention) == (False, [], False)


async def test_a_job_says_what_it_needs_where_there_is_no_agent(yard: Yard, site: Consenting) -> None:
    away = yard.source.place / "away"
    site.directory.rename(away)
    try:
        with _nothing_changed(site):
            job = await yard.clone(_access(site))
    finally:
        away.rename(site.directory)
    assert job.error is not None
    assert (job.state, job.error.reason) == (JobState.FAILED, "AGENT_MISSING")
    assert "wpclone agent zip --keyless" in job.error.message
