"""A restore of 200 MB by worker processes: the one at work is killed with -9 at each step of the target's journal while customers
order, and the next one makes the site whole."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.test_restore import asked, lapses, left, steady_worker, visiting
from tests.support.chaos_table import note
from tests.support.history import Findings
from tests.support.installation import Installation, installation
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site
from tests.support.wait import until
from wpclone.standalone.demo.web import Visitor

pytestmark = pytest.mark.full
WHOLE_WITHIN = 30.0
NEW, NEWEST = "The new content", "The newest post"
"""The source's name, which is an option, and its newest post."""
UPLOAD_BYTES = 200_000_000
_SHOP = b"""<?php
// A customer's order: WordPress let the request in, then takes its time, then writes.
add_action('init', function () {
    if (isset($_GET['order'])) {
        usleep(200000);
        global $wpdb;
        $wpdb->insert($wpdb->posts, ['post_type' => 'shop_order', 'post_title' => 'order ' . (int) $_GET['order']]);
        exit($wpdb->insert_id > 0 ? 'thank you' : 'failed');
    }
});
"""
Journal = dict[str, Any]
STEPS: dict[str, Callable[[Journal, bool], bool]] = {
    "closed": lambda journal, closed: closed and journal["state"] == "staged",
    "tables": lambda journal, _: (journal["state"], journal["phase"]) == ("switching", "tables"),
    "files": lambda journal, _: (journal["state"], journal["phase"]) == ("switching", "files"),
    "swapped": lambda journal, _: journal["state"] == "swapped",
}
"""When the journal is at each of its steps; the second argument says whether the target is closed."""


@pytest.fixture
def service() -> Iterator[Installation]:
    with installation(WPCLONE_ALLOW_PRIVATE_SOURCES="true") as made:
        made.up()
        yield made
        made.down()


@dataclass
class Customers:
    """Some customers who order all the time: which orders they were thanked for, which were refused, what else they saw."""

    url: str
    placed: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, first: int, step: int) -> None:
        number = first
        while not self.over.wait(0.02):
            page = Visitor().get(f"{self.url}/?order={number}")
            if page.body == b"thank you":
                self.placed.add(number)
            elif page.status == 503 or page.body.endswith(b"failed"):
                self.refused.add(number)
            else:
                self.odd.append(f"order {number}: {page.status}: {page.text[:200]}")
            number += step


def journal_of(target: SourceSite) -> Journal | None:
    """What the journal of the restore at work says; None without one."""
    for path in (target.docroot / "wp-content").glob(".wpclone-restore-*/journal.php"):
        try:
            found: Journal = json.loads(path.read_text().partition("\n")[2])
        except (FileNotFoundError, ValueError):
            return None
        return found
    return None


def met(target: SourceSite, step: str) -> Callable[[], bool]:
    """Whether the journal is at a step now."""
    maintenance = target.docroot / ".maintenance"

    def at() -> bool:
        journal = journal_of(target)
        return journal is not None and STEPS[step](journal, maintenance.exists())

    return at


@pytest.mark.timeout(3000)
def test_the_next_worker_makes_the_site_whole_and_no_order_is_lost(
    service: Installation, mariadb_server: Mariadb, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Findings(len(STEPS))
    with (
        running_source_site(mariadb_server, title=NEW, upload_bytes=UPLOAD_BYTES) as source,
        running_source_site(mariadb_server, host="busy.localhost", title="Production", posts=2, upload_bytes=500_000) as target,
    ):
        target.put("wp-content/mu-plugins/shop.php", _SHOP)
        # An order with the number of a post to come is a conflict, which the order wins: not what is tried here.
        target.sql("ALTER TABLE wp_posts AUTO_INCREMENT = 100000")
        source.sql("UPDATE wp_posts SET post_title = %s, post_date = NOW() WHERE post_name = 'sample-post-1'", NEWEST)
        for number, step in enumerate(STEPS):
            took = one_round(service, source, target, step, found, 100_000 * (number + 1))
            with capsys.disabled():
                print(f"\nkilled at {step}: taken up after {took[0]:.1f} s, whole {took[1]:.1f} s later")
    found.recovery.sort()
    note("A restore of 200 MB, its worker killed at each step of the journal", found)


def one_round(
    service: Installation, source: SourceSite, target: SourceSite, step: str, found: Findings, first: int
) -> tuple[float, float]:
    """One restore with one kill, and back again; seconds until the next claim, and from there until the site was whole."""
    customers = Customers(target.url)
    threads = [threading.Thread(target=customers.run, args=(first + each, 2)) for each in range(2)]
    pid = steady_worker(service)
    with visiting(target.url, NEW, NEWEST) as visits:
        for thread in threads:
            thread.start()
        try:
            job = str(
                service.json(
                    *asked(target, "--source", source.url, "--source-username", source.site.admin, "--no-watch"),
                    WPCLONE_TARGET_PASSWORD=target.site.password, WPCLONE_SOURCE_PASSWORD=source.site.password,
                )["job_id"]
            )  # fmt: skip
            until(met(target, step), within=300, every=0.0005)
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            until(lambda: lapses(service, job) == 1, within=90, every=0.2)
            taken_up, pages = time.monotonic(), visits.whole
            until(lambda: visits.whole > pages, within=120, every=0.02)
            whole = time.monotonic()
            ended = service.run("job", "wait", job, "-o", "json", timeout=300)
            count = len(customers.placed)
            until(lambda: len(customers.placed) > count + 4, within=60)
        finally:
            customers.over.set()
            for thread in threads:
                thread.join(60)
    assert ended.returncode == 0, ended.stderr + service.said()
    rows = target.sql("SELECT post_title, COUNT(*) FROM wp_posts WHERE post_type = 'shop_order' GROUP BY post_title")
    kept = {int(str(title).rpartition(" ")[2]): int(str(times)) for title, times in rows}
    found.lost |= {f"{step}: order {number}" for number in customers.placed - kept.keys()}
    found.duplicated |= {f"{step}: order {number}" for number in customers.placed if kept.get(number, 1) > 1}
    found.violations += [f"{step}: {odd}" for odd in (*customers.odd, *visits.odd)]
    found.violations += [f"{step}: {page} seen" for page in visits.seen ^ {(False, False), (True, True)}]
    found.violations += [] if whole - taken_up < WHOLE_WITHIN else [f"{step}: whole after {whole - taken_up:.1f} s"]
    found.violations += [] if customers.refused else [f"{step}: no customer met the exchange"]
    found.recovery.append(whole - killed)
    service.json("restore", "rollback", job)
    assert left(service, target) == []
    return taken_up - killed, whole - taken_up
