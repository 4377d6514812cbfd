"""Requests into asks: everything that is wrong is told at once, and what is right comes through unchanged."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from server import pages, site_url, translate
from server.translate import Lives
from tests.support.serving import PASSWORD, clone_request
from wpclone.core.jobs.errors import InvalidRequest
from wpclone.core.jobs.states import CloneState, JobKind, JobState
from wpclone.v2 import clone_service_pb2, site_pb2

LIVES = Lives(least=5, most=1440, default=60)
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def violations(request: Any, read: Any, *rest: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(request, *rest)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_a_good_request_becomes_an_ask() -> None:
    ask = translate.clone_ask(clone_request(request_id="r-1", ttl_minutes=90, keep_constants=["B", "A", "B"]), LIVES)
    assert (ask.request_id, ask.ttl_minutes, ask.keep_constants) == ("r-1", 90, ("A", "B"))
    assert (ask.source.kind, ask.source.url) == ("admin_login", "https://example.com/blog")
    assert ask.source.secrets == {"username": "admin", "password": PASSWORD}


def test_the_older_spelling_of_a_source_means_the_same() -> None:
    flat = clone_service_pb2.CreateCloneRequest(
        source_url="https://example.com/blog", source_username="admin", source_password=PASSWORD
    )
    assert translate.clone_ask(flat, LIVES) == translate.clone_ask(clone_request(), LIVES)


def test_an_agent_is_a_source() -> None:
    source = site_pb2.SourceSite(agent=site_pb2.Agent(url="https://example.com/a.php", key="k"))
    ask = translate.clone_ask(clone_service_pb2.CreateCloneRequest(source=source), LIVES)
    assert (ask.source.kind, ask.source.secrets) == ("agent", {"agent_key": "k"})


def test_an_ask_never_shows_its_secrets() -> None:
    assert PASSWORD not in repr(translate.clone_ask(clone_request(), LIVES))


def test_globs_are_taken_once_each_and_bad_ones_are_named() -> None:
    good = clone_request(exclude_paths=["*.zip", "wp-content/uploads/2019/", "*.zip"], exclude_tables=["wp_log?"])
    ask = translate.clone_ask(good, LIVES)
    assert (ask.exclude_paths, ask.exclude_tables) == (("*.zip", "wp-content/uploads/2019/"), ("wp_log?",))
    bad = clone_request(
        exclude_paths=["ok", "/etc/passwd", "a/../b", "..", "", "x" * 513, "a\\b", "a\nb"],
        exclude_tables=["a/b", "", "x" * 65, "`"],
    )
    assert set(violations(bad, translate.clone_ask, LIVES)) == {
        *(f"exclude_paths[{i}]" for i in range(1, 8)), *(f"exclude_tables[{i}]" for i in range(4)),
    }  # fmt: skip
    many = clone_request(exclude_paths=["x"] * 101, exclude_tables=["x"] * 101)
    assert set(violations(many, translate.clone_ask, LIVES)) == {"exclude_paths", "exclude_tables"}


def test_everything_wrong_is_told_at_once() -> None:
    login = site_pb2.AdminLogin(url="ftp://example.com", username="", password="")
    request = clone_request(
        request_id="a b", customer_id="No!", ttl_minutes=4, keep_constants=["1X"], source=site_pb2.SourceSite(admin_login=login)
    )
    assert set(violations(request, translate.clone_ask, LIVES)) == {
        "request_id", "customer_id", "ttl_minutes", "keep_constants[0]",
        "source.admin_login.url", "source.admin_login.username", "source.admin_login.password",
    }  # fmt: skip


def test_a_source_is_needed_and_only_one() -> None:
    assert "source" in violations(clone_service_pb2.CreateCloneRequest(), translate.clone_ask, LIVES)
    assert "source" in violations(clone_request(source=site_pb2.SourceSite()), translate.clone_ask, LIVES)
    both = clone_request(source_url="https://example.com", source_username="u", source_password="p")
    assert "source" in violations(both, translate.clone_ask, LIVES)


def test_a_flat_sources_faults_are_named_as_the_client_spelled_it() -> None:
    request = clone_service_pb2.CreateCloneRequest(source_url="https://example.com")
    assert set(violations(request, translate.clone_ask, LIVES)) == {"source_username", "source_password"}


@pytest.mark.parametrize(("minutes", "is_good"), [(4, False), (5, True), (1440, True), (1441, False), (0, False), (-1, False)])
def test_a_life_is_within_its_bounds(minutes: int, is_good: bool) -> None:
    request = clone_request(ttl_minutes=minutes)
    if is_good:
        assert translate.clone_ask(request, LIVES).ttl_minutes == minutes
    else:
        assert "ttl_minutes" in violations(request, translate.clone_ask, LIVES)


def test_without_a_life_the_default_is_taken() -> None:
    assert translate.clone_ask(clone_request(), LIVES).ttl_minutes == 60


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "http://example.com:8080/blog/", "http://clone-1.localhost:8000", "http://[::1]/x",
        "https://bücher.example/ä", "http://my_site.test", "http://10.0.0.1", "https://example.com./",
    ],
)  # fmt: skip
def test_a_sites_url_is_taken(url: str) -> None:
    assert site_url.fault(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "https://", "https:///x", "ftp://example.com", "javascript:alert(1)", "https://user:pw@example.com",
        "https://user@example.com", "https://example.com/?a=1", "https://example.com/#x", "https://exa mple.com",
        "https://example.com/\n", "https://example.com:99999", "https://example.com:0", "https://example.com:x", "http://[::1",
        "https://-bad-.com", "https://a..b", "https://" + "a" * 64 + ".com", "https://example.com/" + "a" * 2048,
        "http://127.1", "http://0x7f.1", "https://exa\\mple.com", "https://\u200b", "//example.com",
    ],
)  # fmt: skip
def test_a_malformed_url_is_refused_without_quoting_it(url: str) -> None:
    fault = site_url.fault(url)
    assert fault is not None
    assert "pw" not in fault


def test_a_web_servers_password_in_a_url_is_a_secret_and_no_part_of_it() -> None:
    assert site_url.without_user("https://us%40er:p%3Aw@example.com/x") == ("https://example.com/x", "us@er:p:w")
    assert site_url.without_user("https://example.com/a@b") == ("https://example.com/a@b", "")
    request = clone_service_pb2.CreateCloneRequest(
        source_url="https://visitor:s3cret@example.com/", source_username="admin", source_password="x"
    )
    ask = translate.clone_ask(request, LIVES)
    assert ask.source.url == "https://example.com/"
    assert ask.source.secrets["basic"] == "visitor:s3cret"
    assert "s3cret" not in repr(ask)


@pytest.mark.parametrize(
    "bad", ["", "clone-1", "clone-1a2b3c4d5e6", "Clone-1a2b3c4d5e6f", "x-1a2b3c4d5e6f", "clone-1a2b3c4d5e6f\n", "../x"]
)
def test_ids_are_checked(bad: str) -> None:
    assert "job_id" in violations(clone_service_pb2.GetJobRequest(job_id=bad), translate.job_id)
    assert "clone_id" in violations(clone_service_pb2.GetCloneRequest(clone_id=bad), translate.clone_id)


def test_a_clones_id_is_no_delete_jobs() -> None:
    assert "clone_id" in violations(clone_service_pb2.GetCloneRequest(clone_id="delete-1a2b3c4d5e6f"), translate.clone_id)


def test_a_wait_has_a_default_and_bounds() -> None:
    job_id = "clone-1a2b3c4d5e6f"
    assert translate.job_and_wait(clone_service_pb2.WaitJobRequest(job_id=job_id)) == (job_id, 60.0)
    for seconds in (0, 601, -1):
        request = clone_service_pb2.WaitJobRequest(job_id=job_id, timeout_seconds=seconds)
        assert "timeout_seconds" in violations(request, translate.job_and_wait)


def test_a_revision_is_not_negative() -> None:
    request = clone_service_pb2.WatchJobRequest(job_id="clone-1a2b3c4d5e6f", after_revision=-1)
    assert "after_revision" in violations(request, translate.job_and_revision)


def extend(at: datetime | None) -> clone_service_pb2.ExtendCloneRequest:
    stamp = Timestamp()
    if at is not None:
        stamp.FromDatetime(at)
    return clone_service_pb2.ExtendCloneRequest(clone_id="clone-1a2b3c4d5e6f", expires_at=stamp if at is not None else None)


def test_an_end_is_in_the_future_and_not_too_far() -> None:
    asked = NOW + timedelta(hours=2)
    assert translate.extend_ask(extend(asked), LIVES, NOW).expires_at == asked
    for wrong in (NOW, NOW - timedelta(days=1), NOW + timedelta(minutes=1441), None):
        assert "expires_at" in violations(extend(wrong), translate.extend_ask, LIVES, NOW)


def test_a_time_that_is_none_is_refused() -> None:
    request = clone_service_pb2.ExtendCloneRequest(clone_id="clone-1a2b3c4d5e6f", expires_at=Timestamp(seconds=2**60))
    assert "expires_at" in violations(request, translate.extend_ask, LIVES, NOW)


def test_lists_are_filtered_by_the_seeds_words() -> None:
    query = translate.jobs_query(clone_service_pb2.ListJobsRequest(status="running", type="clone"))
    assert (query.state, query.kind, query.page.size, query.page.after) == (JobState.RUNNING, JobKind.CLONE, 50, None)
    assert translate.clones_query(clone_service_pb2.ListClonesRequest(status="ready")).state is CloneState.READY
    found = violations(clone_service_pb2.ListJobsRequest(status="RUNNING", type="x", page_size=201), translate.jobs_query)
    assert set(found) == {"status", "type", "page_size"}
    assert "pending, running" in found["status"]


def test_a_page_token_leads_back_to_its_row() -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    filters = ("jobs", "running", "", "")
    token = pages.to_token(at, "clone-1a2b3c4d5e6f", filters=filters)
    query = translate.jobs_query(clone_service_pb2.ListJobsRequest(status="running", page_token=token, page_size=7))
    assert (query.page.size, query.page.after) == (7, (at, "clone-1a2b3c4d5e6f"))


@pytest.mark.parametrize("token", ["x", "%%%", "AAAA", "é", "W10", "eyJ9", "W" * 5000, "bnVsbA", "WzEsMl0"])
def test_a_bad_page_token_is_a_violation(token: str) -> None:
    assert "page_token" in violations(clone_service_pb2.ListJobsRequest(page_token=token), translate.jobs_query)


def test_a_page_token_of_other_filters_is_bad() -> None:
    token = pages.to_token(NOW, "clone-1a2b3c4d5e6f", filters=("jobs", "", "", ""))
    assert "page_token" in violations(clone_service_pb2.ListJobsRequest(page_token=token, status="running"), translate.jobs_query)
    assert "page_token" in violations(clone_service_pb2.ListClonesRequest(page_token=token), translate.clones_query)
