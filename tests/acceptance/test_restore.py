"""A clone's way back to its site on the real installation, also while its worker dies: one complete state, and nothing lost."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.clone_content import running_step
from tests.support.clone_traces import PROC, database_of, sql
from tests.support.installation import Installation
from tests.support.servers import Mariadb
from tests.support.slow_source import slow
from tests.support.source_site import SourceSite, running_source_site
from tests.support.wait import until
from wpclone.standalone.demo.web import Visitor
from wpclone.standalone.supervisor import PATIENCE

_POST = (
    "INSERT INTO wp_posts (post_author, post_content, post_title, post_excerpt, post_status, post_type, to_ping, pinged,"
    " post_content_filtered, post_date, post_date_gmt, post_modified, post_modified_gmt) VALUES"
    " (1, '', %s, '', 'wc-processing', 'shop_order', '', '', '', NOW(), UTC_TIMESTAMP(), NOW(), UTC_TIMESTAMP())"
)


@pytest.fixture(scope="module")
def target(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """A site of this module's own: restores write to it."""
    with running_source_site(mariadb_server) as site:
        yield site


def cloned(service: Installation, target: SourceSite) -> str:
    return str(service.clone(target.url, target.site.admin, target.site.password)["clone_id"])


def at_clone(service: Installation, clone_id: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    return sql(service, statement, *values, database=database_of(clone_id))


def asked(target: SourceSite, *more: str) -> tuple[str, ...]:
    return "restore", "create", "--target", target.url, "--username", target.site.admin, *more


def order(target: SourceSite, name: str) -> None:
    target.sql(_POST, name)


def count(target: SourceSite, name: str) -> int:
    return int(str(target.sql("SELECT COUNT(*) FROM wp_posts WHERE post_title = %s", name)[0][0]))


def left(service: Installation, target: SourceSite) -> list[str]:
    """What restores left at the target, and here."""
    found = [str(row[0]) for row in target.sql("SHOW TABLES LIKE 'wpc%%'")]
    content = target.docroot / "wp-content"
    found += [
        str(path) for path in (*content.glob(".wpclone*"), *content.glob("plugins/wpc-*"), *target.docroot.glob(".maintenance"))
    ]
    found += [str(row[0]) for row in sql(service, r"SHOW DATABASES LIKE 'wpc\_r%%'")]
    return found + [str(row[0]) for row in sql(service, "SELECT site_key FROM site_locks", database="wpclone")]


def test_a_clone_goes_back_to_its_site_and_what_happened_there_since_stays(service: Installation, target: SourceSite) -> None:
    clone_id = cloned(service, target)
    at_clone(service, clone_id, "UPDATE wp_posts SET post_title = 'From the clone' WHERE ID = 1")
    order(target, "Order since")
    old = str(target.sql("SELECT post_title FROM wp_posts WHERE ID = 1")[0][0])
    secret = target.site.password
    dry = service.json(*asked(target, "--clone", clone_id, "--dry-run"), WPCLONE_TARGET_PASSWORD=secret)
    assert dry["result"]["report"]["dry_run"] is True
    assert left(service, target) == []
    restored = service.json(*asked(target, "--clone", clone_id), WPCLONE_TARGET_PASSWORD=secret)
    assert (count(target, "From the clone"), count(target, "Order since")) == (1, 1)
    assert "rollback_until" in restored["result"]
    assert target.site.password not in json.dumps(restored)
    service.json("restore", "rollback", restored["job_id"])
    assert (count(target, old), count(target, "From the clone"), count(target, "Order since")) == (1, 0, 1)
    assert left(service, target) == []
    again = service.json(*asked(target, "--clone", clone_id), WPCLONE_TARGET_PASSWORD=secret)
    service.json("restore", "release", again["job_id"])
    assert (count(target, "From the clone"), left(service, target)) == (1, [])
    assert service.run("restore", "rollback", again["job_id"]).returncode == 8
    service.wpclone("clone", "delete", clone_id)


@dataclass
class Visits:
    """A visitor who looks at the home page all the time: which states of it were seen, and how often it was whole."""

    url: str
    name: str
    title: str
    seen: set[tuple[bool, bool]] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    whole: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.ended.wait(0.05):
            page = Visitor().get(self.url + "/")
            if page.status == 503:
                continue  # closed for the exchange
            if page.status != 200 or "</html>" not in page.text:
                self.odd.append(f"{page.status}: {page.text[:200]}")
            else:
                self.whole += 1
                self.seen.add((f"<title>{self.name}" in page.text, self.title in page.text))


@contextmanager
def visiting(url: str, name: str, title: str) -> Iterator[Visits]:
    """Somebody visits during the block."""
    visits = Visits(url, name, title)
    thread = threading.Thread(target=visits.run)
    thread.start()
    try:
        yield visits
    finally:
        visits.ended.set()
        thread.join(60)


def asked_for(service: Installation, target: SourceSite, clone_id: str) -> str:
    more = asked(target, "--clone", clone_id, "--no-watch")
    return str(service.json(*more, WPCLONE_TARGET_PASSWORD=target.site.password)["job_id"])


def lapses(service: Installation, job_id: str) -> int:
    return int(sql(service, "SELECT lapses FROM jobs WHERE job_id = %s", job_id, database="wpclone")[0][0])


OTHERS = ("read_target", "stage_tables", "carry_rows", "stage_files", "put_away")


def steady_worker(service: Installation) -> int:
    """The worker's pid, once it may die: `up` gives up when a part dies twice within a minute."""

    def steady() -> int | None:
        part = service.part("worker")
        if part["pid"] is None:
            return None
        began = int((PROC / str(part["pid"]) / "stat").read_text().rpartition(")")[2].split()[19])
        lived = float((PROC / "uptime").read_text().split()[0]) - began / os.sysconf("SC_CLK_TCK")
        return int(part["pid"]) if not part["restarts"] or lived > PATIENCE + 2 else None

    return int(until(steady, within=90, every=0.5) or 0)


@pytest.mark.parametrize("step", ["exchange", *(pytest.param(step, marks=pytest.mark.full) for step in OTHERS)])
@pytest.mark.timeout(400)
def test_a_worker_killed_in_a_restore_leaves_the_site_in_one_complete_state(
    service: Installation, target: SourceSite, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clone_id = cloned(service, target)
    name = f"Name{time.monotonic_ns() % 1_000_000}"
    at_clone(service, clone_id, "UPDATE wp_options SET option_value = %s WHERE option_name = 'blogname'", name)
    newest = "SELECT MAX(ID) AS id FROM wp_posts WHERE post_type = 'post' AND post_status = 'publish'"
    number = at_clone(service, clone_id, newest)[0][0]
    title = f"Exchanged post {name}"
    at_clone(service, clone_id, "UPDATE wp_posts SET post_title = %s, post_date = NOW() WHERE ID = %s", title, number)
    pid = steady_worker(service)
    with visiting(target.url, name, title) as visits, slow(target, 0.1):
        job = asked_for(service, target, clone_id)
        until(lambda: running_step(service, job) == step, within=120, every=0.01)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        order(target, f"Order of {name}")
        until(lambda: lapses(service, job) == 1, within=90)
        taken_up = time.monotonic() - killed
        ended = service.run("job", "wait", job, "-o", "json", timeout=200)
    assert ended.returncode == 0, ended.stderr + service.said()
    assert visits.odd == []
    assert visits.seen == {(False, False), (True, True)}, "options and posts change in one moment"
    assert (count(target, f"Order of {name}"), count(target, title)) == (1, 1)
    with capsys.disabled():
        print(f"\nrestore: worker killed in {step}, taken up after {taken_up:.1f} s")
    service.json("restore", "release", job)
    assert left(service, target) == []
    service.wpclone("clone", "delete", clone_id)
