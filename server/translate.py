"""From the API's requests to what core is asked for. Everything wrong with a request is told at once, as InvalidRequest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from server import pages
from server.site_access import Source, read_admin_login, spelled_source
from server.violations import Violations
from wpclone.core.jobs.ids import CLONE_ID, CUSTOMER_ID, JOB_ID
from wpclone.core.jobs.states import CloneState, JobKind, JobState, Priority
from wpclone.core.store import Page
from wpclone.v1 import clone_service_pb2 as v1
from wpclone.v2 import clone_service_pb2, site_pb2

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
CONSTANT = re.compile(r"[A-Za-z_\x80-\uffff][A-Za-z0-9_\x80-\uffff]{0,127}")
CONSTANT_LIKE = "the name of a PHP constant"
MOST_CONSTANTS = 100
PATH_GLOB = re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|\Z))[^\x00-\x1f\x7f\\]{1,512}")
PATH_GLOB_LIKE = "1 to 512 characters: a path relative to the site's directory, without .., backslashes and control characters"
TABLE_GLOB = re.compile(r"[^\x00-\x1f\x7f/\\`]{1,64}")
TABLE_GLOB_LIKE = "1 to 64 characters of a table's name; * and ? may stand for others"
MOST_GLOBS = 100
PRIORITIES = {priority.value: priority for priority in Priority}
DEFAULT_PAGE = 50
LARGEST_PAGE = 200
DEFAULT_WAIT = 60
LONGEST_WAIT = 600


@dataclass(frozen=True)
class Lives:
    """How long a clone may live, in minutes."""

    least: int
    most: int
    default: int


@dataclass(frozen=True)
class CloneAsk:
    """A clone that is asked for. `customer_id` is empty when the token decides; `dry_run`: none is made."""

    request_id: str
    customer_id: str
    source: Source
    ttl_minutes: int
    keep_constants: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    dry_run: bool = False
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True)
class ExtendAsk:
    """A later end of a clone's life."""

    request_id: str
    clone_id: str
    expires_at: datetime


@dataclass(frozen=True)
class JobsQuery:
    """A page of jobs. `page.size` is what the client asked for; `filters` bind the page token."""

    customer_id: str
    page: Page
    filters: tuple[str, ...]
    state: JobState | None
    kind: JobKind | None


@dataclass(frozen=True)
class ClonesQuery:
    """A page of clones."""

    customer_id: str
    page: Page
    filters: tuple[str, ...]
    state: CloneState | None


def clone_ask(request: clone_service_pb2.CreateCloneRequest, lives: Lives) -> CloneAsk:
    """What CreateClone asks for. Raises InvalidRequest."""
    wrong = Violations()
    ask = CloneAsk(
        request_id=read_request_id(wrong, request.request_id),
        customer_id=read_customer_id(wrong, request.customer_id),
        source=spelled_source(request).read(wrong),
        ttl_minutes=_ttl(wrong, request, lives),
        keep_constants=wrong.read_set(
            "keep_constants", request.keep_constants, CONSTANT, most=MOST_CONSTANTS, entries="names", like=CONSTANT_LIKE
        ),
        exclude_paths=_globs(wrong, "exclude_paths", request.exclude_paths, PATH_GLOB, like=PATH_GLOB_LIKE),
        exclude_tables=_globs(wrong, "exclude_tables", request.exclude_tables, TABLE_GLOB, like=TABLE_GLOB_LIKE),
        dry_run=request.dry_run,
        priority=wrong.read_word("priority", request.priority, PRIORITIES) or Priority.NORMAL,
    )
    wrong.check()
    return ask


def older_clone_ask(request: v1.CloneRequest, lives: Lives) -> CloneAsk:
    """What v1's Clone asks for. Raises InvalidRequest."""
    wrong = Violations()
    login = site_pb2.AdminLogin(url=request.source_url, username=request.source_username, password=request.source_password)
    ask = CloneAsk(
        request_id=read_request_id(wrong, request.request_id),
        customer_id=read_customer_id(wrong, request.customer_id),
        source=read_admin_login(wrong, login, "source_"),
        ttl_minutes=_ttl(wrong, request, lives),
    )
    wrong.check()
    return ask


def extend_ask(request: clone_service_pb2.ExtendCloneRequest, lives: Lives, now: datetime) -> ExtendAsk:
    """What ExtendClone asks for. Raises InvalidRequest."""
    wrong = Violations()
    ask = ExtendAsk(
        read_request_id(wrong, request.request_id),
        read_clone_id(wrong, request.clone_id),
        _expires_at(wrong, request, lives, now),
    )
    wrong.check()
    return ask


def clone_and_request_id(request: clone_service_pb2.DeleteCloneRequest) -> tuple[str, str]:
    """Which clone, and the request id. Raises InvalidRequest."""
    wrong = Violations()
    ids = read_clone_id(wrong, request.clone_id), read_request_id(wrong, request.request_id)
    wrong.check()
    return ids


def job_and_request_id(
    request: clone_service_pb2.CancelJobRequest | clone_service_pb2.RetryJobRequest,
) -> tuple[str, str]:
    """Which job, and the request id. Raises InvalidRequest."""
    wrong = Violations()
    ids = read_job_id(wrong, request.job_id), read_request_id(wrong, request.request_id)
    wrong.check()
    return ids


def clone_id(request: clone_service_pb2.GetCloneRequest | clone_service_pb2.CreateSignInLinkRequest) -> str:
    """Which clone. Raises InvalidRequest."""
    wrong = Violations()
    found = read_clone_id(wrong, request.clone_id)
    wrong.check()
    return found


def job_id(request: clone_service_pb2.GetJobRequest) -> str:
    """Which job. Raises InvalidRequest."""
    wrong = Violations()
    found = read_job_id(wrong, request.job_id)
    wrong.check()
    return found


def job_and_revision(request: clone_service_pb2.WatchJobRequest) -> tuple[str, int]:
    """Which job, and the last revision seen. Raises InvalidRequest."""
    wrong = Violations()
    found = read_job_id(wrong, request.job_id)
    if request.after_revision < 0:
        wrong.add("after_revision", "must be 0 or a revision seen")
    wrong.check()
    return found, request.after_revision


def job_and_wait(request: clone_service_pb2.WaitJobRequest) -> tuple[str, float]:
    """Which job, and the seconds to wait. Raises InvalidRequest."""
    wrong = Violations()
    found = read_job_id(wrong, request.job_id)
    seconds = request.timeout_seconds if request.HasField("timeout_seconds") else DEFAULT_WAIT
    wrong.read_number("timeout_seconds", seconds, least=1, most=LONGEST_WAIT)
    wrong.check()
    return found, float(seconds)


def jobs_query(request: clone_service_pb2.ListJobsRequest) -> JobsQuery:
    """Which jobs. Raises InvalidRequest."""
    wrong = Violations()
    filters = ("jobs", request.status, request.type, request.customer_id)
    query = JobsQuery(
        customer_id=read_customer_id(wrong, request.customer_id),
        page=_page(wrong, request.page_size, request.page_token, filters),
        filters=filters,
        state=wrong.read_word("status", request.status, {state.value: state for state in JobState}),
        kind=wrong.read_word("type", request.type, {kind.value: kind for kind in JobKind}),
    )
    wrong.check()
    return query


def clones_query(request: clone_service_pb2.ListClonesRequest) -> ClonesQuery:
    """Which clones. Raises InvalidRequest."""
    wrong = Violations()
    filters = ("clones", request.status, request.customer_id)
    query = ClonesQuery(
        customer_id=read_customer_id(wrong, request.customer_id),
        page=_page(wrong, request.page_size, request.page_token, filters),
        filters=filters,
        state=wrong.read_word("status", request.status, {state.value: state for state in CloneState}),
    )
    wrong.check()
    return query


def _ttl(wrong: Violations, request: clone_service_pb2.CreateCloneRequest | v1.CloneRequest, lives: Lives) -> int:
    if not request.HasField("ttl_minutes"):
        return lives.default
    return wrong.read_number("ttl_minutes", request.ttl_minutes, least=lives.least, most=lives.most)


def _globs(wrong: Violations, field: str, globs: Sequence[str], pattern: re.Pattern[str], *, like: str) -> tuple[str, ...]:
    return wrong.read_set(field, globs, pattern, most=MOST_GLOBS, entries="globs", like=like)


def _expires_at(wrong: Violations, request: clone_service_pb2.ExtendCloneRequest, lives: Lives, now: datetime) -> datetime:
    if not request.HasField("expires_at"):
        wrong.add("expires_at", "is needed: a time in the future, such as 2030-01-02T03:04:05Z")
        return now
    try:
        asked = request.expires_at.ToDatetime(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        wrong.add("expires_at", "must be a time, such as 2030-01-02T03:04:05Z")
        return now
    longest = timedelta(minutes=lives.most)
    return wrong.read_moment("expires_at", asked, after=now, most=now + longest, limit=f"{lives.most} minutes")


def _page(wrong: Violations, size: int, token: str, filters: tuple[str, ...]) -> Page:
    size = wrong.read_number("page_size", size, least=0, most=LARGEST_PAGE) or DEFAULT_PAGE
    if not token:
        return Page(size)
    try:
        return Page(size, pages.from_token(token, filters=filters))
    except pages.BadPageToken:
        wrong.add("page_token", "must be next_page_token of the page before, with the same filters")
        return Page(size)


def read_request_id(wrong: Violations, value: str) -> str:
    """A request id, or nothing; notes what is wrong."""
    return wrong.read_match("request_id", value, REQUEST_ID, like="1 to 64 of A-Z a-z 0-9 . _ : -") if value else ""


def read_customer_id(wrong: Violations, value: str) -> str:
    """A customer's id, or nothing; notes what is wrong."""
    like = "1 to 40 of a-z 0-9 -, neither first nor last a -"
    return wrong.read_match("customer_id", value, CUSTOMER_ID, like=like) if value else ""


def read_clone_id(wrong: Violations, value: str) -> str:
    """A clone's id; notes what is wrong."""
    return wrong.read_match("clone_id", value, CLONE_ID, like="clone- and 12 hexadecimal digits")


def read_job_id(wrong: Violations, value: str) -> str:
    """A job's id; notes what is wrong."""
    return wrong.read_match("job_id", value, JOB_ID, like="clone-, restore- or delete- and 12 hexadecimal digits")
