"""How long a clone of a clone takes on one machine, beside the plain tools on the same data in the same run.

    python -m bench.clone_of_clone [megabytes of uploads] [megabytes of one table]

A whole installation (`wpclone up`) clones a site, then its clone three times, and three times more with the keeper's account
taken away, so that tables go row by row (`by_rows`). Told are the seconds of each step, by the job's own record, and those of all
steps but the clone's start-up (the guard put in place, Apache started, WordPress's first page), beside `cp -a` of the clone's
docroot and `mariadb-dump | mariadb` of its database (without that program INSERT … SELECT of all its tables). Prints JSON last.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

from bench.copy import fill
from bench.memory import upload
from tests.support.clone_traces import database_of, root_password, sql
from tests.support.installation import Installation, installation
from tests.support.places import open_directory
from tests.support.servers import running_mariadb
from tests.support.source_site import running_source_site
from wpclone.standalone.database_accounts import SPACES_USER

RUNS = 3
START_UP = ("create_site", "guard", "verify")
"""Steps that make, start and look at the clone's web server, however large the site is."""


def seconds_of(service: Installation, job_id: str) -> dict[str, float]:
    """How long each step took."""
    found = sql(
        service, "SELECT name, TIMESTAMPDIFF(MICROSECOND, started_at, finished_at) FROM job_steps WHERE job_id = %s"
        " ORDER BY position", job_id, database="wpclone",
    )  # fmt: skip
    return {str(name): int(microseconds) / 1e6 for name, microseconds in found}


def plain(service: Installation, clone_id: str) -> float:
    """Seconds of the plain tools, each after the other."""
    with open_directory("bench") as place:
        docroot = next(service.state.clones.glob(f"**/{clone_id}/docroot"))
        began = time.perf_counter()
        subprocess.run(["cp", "-a", str(docroot), str(place / "copy")], check=True)
        files = time.perf_counter() - began
    name = database_of(clone_id)
    sql(service, "CREATE DATABASE bench_plain CHARACTER SET utf8mb4")
    try:
        began = time.perf_counter()
        (load if shutil.which("mariadb-dump") else select)(service, name)
        return files + time.perf_counter() - began
    finally:
        sql(service, "DROP DATABASE bench_plain")


def load(service: Installation, name: str) -> None:
    """`mariadb-dump | mariadb`."""
    login = [f"-p{root_password(service)}", "-uroot", f"--socket={service.state.mariadb / 'mariadb.sock'}"]
    dump = subprocess.Popen(["mariadb-dump", *login, "--single-transaction", name], stdout=subprocess.PIPE)
    subprocess.run(["mariadb", *login, "bench_plain"], stdin=dump.stdout, check=True)
    if dump.wait() != 0:
        raise RuntimeError("mariadb-dump failed")


def select(service: Installation, name: str) -> None:
    """INSERT … SELECT of every table."""
    tables = sql(service, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", name)
    plain_columns = "TABLE_SCHEMA = %s AND TABLE_NAME = %s AND EXTRA NOT LIKE '%% GENERATED'"
    for (table,) in tables:
        found = sql(service, f"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE {plain_columns}", name, table)
        columns = ",".join(f"`{column}`" for (column,) in found)
        sql(service, f"CREATE TABLE bench_plain.`{table}` LIKE `{name}`.`{table}`")
        sql(service, f"INSERT INTO bench_plain.`{table}` ({columns}) SELECT {columns} FROM `{name}`.`{table}`")


def measured(service: Installation, url: str) -> tuple[dict[str, float], str]:
    """A clone of the site at `url` by an owner who needs no sign-in: the seconds of its steps, and its id."""
    job: dict[str, Any] = service.clone(url, "nobody", "none")
    return seconds_of(service, job["job_id"]), job["job_id"]


def lane(service: Installation, url: str) -> dict[str, float]:
    """The seconds of the steps of a clone that is then deleted."""
    steps, clone_id = measured(service, url)
    service.wpclone("clone", "delete", clone_id, "--watch")
    return steps


def medians(lanes: list[dict[str, float]]) -> dict[str, float]:
    """Each step's."""
    return {name: round(statistics.median(steps[name] for steps in lanes), 3) for name in lanes[0]}


def besides_start_up(lanes: list[dict[str, float]]) -> float:
    """Seconds of all steps but the clone's start-up."""
    return statistics.median(sum(taken for name, taken in steps.items() if name not in START_UP) for steps in lanes)


def main() -> None:
    """Clone, clone the clone, print."""
    uploads, table = (int(sys.argv[i]) if len(sys.argv) > i else usual for i, usual in ((1, 400), (2, 100)))
    with (
        running_mariadb() as server,
        running_source_site(server) as source,
        installation(WPCLONE_ALLOW_PRIVATE_SOURCES="true") as service,
    ):
        upload(source, uploads)
        fill(source, table, 0.1)
        service.up()
        first = service.clone(source.url, source.site.admin, source.site.password, "--ttl", "4h")
        ordinary = seconds_of(service, first["job_id"])
        url, lanes, them = first["result"]["clone_url"], [], []
        for _ in range(RUNS):
            lanes.append(lane(service, url))
            them.append(plain(service, first["job_id"]))
        sql(service, f"DROP USER {SPACES_USER}@localhost")
        by_rows = [lane(service, url) for _ in range(RUNS)]
        service.down()
    told, rows_told = medians(lanes), medians(by_rows)
    besides = besides_start_up(lanes)
    baseline = statistics.median(them)
    for name, taken in told.items():
        print(
            f"{name:20} {taken:6.2f} s   by rows {rows_told[name]:6.2f} s   (a clone of the site itself {ordinary[name]:6.2f} s)"
        )
    print(f"besides start-up     {besides:6.2f} s   plain {baseline:6.2f} s   ratio {besides / baseline:5.2f}")
    figures = {
        "uploads_mb": uploads, "table_mb": table, "steps": told, "seconds_besides_start_up": round(besides, 3),
        "by_rows": rows_told, "by_rows_seconds_besides_start_up": round(besides_start_up(by_rows), 3),
        "plain_seconds": round(baseline, 3), "ratio": round(besides / baseline, 2),
        "plain_tables": "mariadb-dump | mariadb" if shutil.which("mariadb-dump") else "INSERT SELECT",
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
