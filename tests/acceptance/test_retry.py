"""A clone job that failed is asked for again once its cause is mended, and completes."""

import json

import pytest

from tests.support.clone_content import same_as_source
from tests.support.clone_traces import nothing_left
from tests.support.installation import Installation
from tests.support.source_site import SourceSite
from wpclone.cli.exits import Exit

HIDDEN = b"<?php add_action('login_init', function () { wp_safe_redirect(home_url('/404/')); exit; });"


@pytest.mark.timeout(180)
def test_a_failed_clone_job_completes_when_it_is_asked_for_again(service: Installation, source: SourceSite) -> None:
    wall = source.put("wp-content/mu-plugins/wall.php", HIDDEN)
    try:
        words = ("clone", "create", "--source", source.url, "--username", source.site.admin, "-o", "json")
        failed = service.run(*words, WPCLONE_SOURCE_PASSWORD=source.site.password)
    finally:
        wall.unlink()
    assert failed.returncode == Exit.JOB_FAILED, failed.stderr + service.said()
    old = json.loads(failed.stdout)
    assert old["error_detail"]["reason"] == "LOGIN_HIDDEN"

    job = service.json("job", "retry", old["job_id"], "--watch")
    assert (job["status"], job["retry_of"]) == ("completed", old["job_id"])
    assert job["clone_id"] == job["job_id"] != old["job_id"]
    same_as_source(service, source, job)
    again = service.run("job", "retry", job["job_id"])
    assert (again.returncode, "JOB_NOT_RETRYABLE" in again.stderr) == (Exit.WRONG_STATE, True)
    service.wpclone("clone", "delete", job["clone_id"], "--watch")
    nothing_left(service, job["clone_id"])
