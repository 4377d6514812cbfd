"""Every row of every table, on both sides, compared by checksum once addresses read the same."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field

import pymysql
import pymysql.cursors
from pymysql.converters import encoders

from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.mapping import Site


@dataclass(frozen=True)
class Database:
    """One database on a MariaDB of this machine, and the site whose it is."""

    port: int
    password: str = field(repr=False)
    name: str
    site: Site

    def connect(self) -> pymysql.connections.Connection[pymysql.cursors.SSCursor]:
        """A connection as root that reads texts as bytes, undecoded."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", password=self.password, database=self.name, charset="utf8mb4",
            use_unicode=False, conv=encoders,  # type: ignore[arg-type]  # the stubs forget that encoders alone will do
            cursorclass=pymysql.cursors.SSCursor,
            connect_timeout=5, read_timeout=120, write_timeout=30,
        )  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """A difference that is meant to be: rows of a table whose values match a pattern, and why."""

    table: str
    pattern: re.Pattern[bytes]
    reason: str


EXPECTED = (
    Expected("options", re.compile(rb"_(site_)?transient_"), "WordPress's own cache, which any page view may write"),
    Expected("options", re.compile(rb"^\d+,cron,"), "the schedule, which WordPress rewrites when a plugin asks for its next run"),
    Expected("usermeta", re.compile(rb",session_tokens,"), "a sign-in writes its session"),
    Expected("usermeta", re.compile(rb",wp_dashboard_quick_press_last_post_id,"), "the dashboard writes its draft's id"),
    Expected("posts", re.compile(rb",auto-draft,"), "opening the dashboard makes a draft"),
    Expected(
        "options",
        re.compile(rb",(auto_updater|fresh_site|can_compress_scripts|recovery_keys|theme_switched)"),
        "wp-admin's notes",
    ),
)


ADDED = {"wpclone_left": "the service's list of places that it left as they are, for the clone's owner to read"}
"""Tables that a clone has and its source has not, and why."""


def rows_of(database: Database) -> dict[str, Counter[bytes]]:
    """Each table's rows as text without the site's address, counted (a table without a key may hold equal rows)."""
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
                (database.name,),
            )
            names = [bytes(row[0]).decode() for row in cursor.fetchall()]
            found = {}
            for name in sorted(names):
                cursor.execute(f"SELECT * FROM `{name}`")  # noqa: S608  # a name MariaDB itself gave
                found[name] = Counter(database.site.without_address(_text(row)) for row in cursor)
            return found
    finally:
        connection.close()


def _text(row: tuple[bytes | None, ...]) -> bytes:
    return b",".join(b"\\N" if value is None else bytes(value) for value in row)


def checksum(rows: Counter[bytes]) -> str:
    """One checksum of all rows of a table, whatever their order."""
    return hashlib.sha256(b"\n".join(sorted(rows.elements()))).hexdigest()


def check_tables(findings: Findings, there: dict[str, Counter[bytes]], here: dict[str, Counter[bytes]], title: str) -> None:
    """Compare two readings; what differs and isn't expected fails the check, what is expected is told with its reason."""
    added = (here.keys() - there.keys()) & ADDED.keys()
    for name in sorted(added):
        findings.explain(name, ADDED[name])
    differ = there.keys() ^ (here.keys() - added)
    findings.check(f"{title}: the same tables", not differ, f"{sorted(differ)}")
    equal = 0
    for name in sorted(there.keys() & here.keys()):
        if checksum(there[name]) == checksum(here[name]):
            equal += 1
            continue
        unexpected = []
        reasons: Counter[str] = Counter()
        for row in ((there[name] - here[name]) + (here[name] - there[name])).elements():
            expected = next((e for e in EXPECTED if name.endswith(f"_{e.table}") and e.pattern.search(row)), None)
            if expected is None:
                unexpected.append(row)
            else:
                reasons[expected.reason] += 1
        for reason, count in reasons.items():
            findings.explain(f"{name}: {count} rows", reason)
        if unexpected:
            findings.check(f"{title}: {name} has the same rows", False, repr([row[:300] for row in unexpected[:4]]))
        else:
            equal += 1
    total = sum(sum(rows.values()) for rows in there.values())
    findings.check(f"{title}: checksums of {equal} tables with {total} rows are equal", equal == len(there))
