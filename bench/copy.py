"""How fast a site is copied, beside the plain tools on the same data in the same run.

    python -m bench.copy [megabytes]

Tables: agent → rewriter → MySQL, at 10 and 100 % of rows hit, beside `mariadb-dump | mariadb` of the same database without any
rewriting. Files: agent → directory, beside `cp -a`; neither waits for the disk, so what `sync -f` adds to each is a second line.
Lanes take turns; medians count. Prints JSON last.

What is deleted slows both lanes for minutes: ext4 does not give an inode again that was freed a moment ago, and passes all of
those for each new file (`recently_deleted` in fs/ext4/ialloc.c). So files come first and copies stay to the end; a second run at
once tells less.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Self

import uvloop

from bench.rewrite import ELSEWHERE, SOURCE, rows
from tests.support.places import open_directory
from tests.support.servers import Mariadb, running_mariadb
from tests.support.source_site import SourceSite, agent_of, running_source_site
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.rewrite import Mapping, Rewriter
from wpclone.wordpress.tables import TargetDatabase, copy_tables

RUNS = 3
FILE_RUNS = 7
BENCH_TABLE = "wp_bench"


class Seconds(NamedTuple):
    """What a copy of files took: until it was done, and until it was on disk."""

    done: float
    on_disk: float


def fill(source: SourceSite, megabytes: int, share: float) -> None:
    """One table of the site's own, so many MB, `share` of its rows holding the source's address."""
    source.sql(f"DROP TABLE IF EXISTS {BENCH_TABLE}")
    source.sql(f"CREATE TABLE {BENCH_TABLE} (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, content LONGTEXT) ENGINE=InnoDB")
    url = source.url.encode()
    values = [
        row.replace(SOURCE.encode(), url).replace(ELSEWHERE.encode(), b"https://other.site") for row in rows(megabytes, share)
    ]
    connection = source.mariadb.connect(source.site.database)
    try:
        with connection.cursor() as cursor:
            for start in range(0, len(values), 1000):
                cursor.executemany(
                    f"INSERT INTO {BENCH_TABLE} (content) VALUES (%s)", [(v,) for v in values[start : start + 1000]]
                )
    finally:
        connection.close()


async def ours(source: SourceSite, target: TargetDatabase) -> float:
    """Seconds of our copy of all tables, rewriting."""
    rewriter = Rewriter(Mapping.of([source.url], "http://clone-0123456789ab.localhost:8080"))
    async with agent_of(source) as agent:
        report = await inspect(agent)
        began = time.perf_counter()
        await copy_tables(agent, report, target, rewriter=rewriter, fence=1, progress=lambda _counts: None)
        return time.perf_counter() - began


def plain(source: SourceSite, target: TargetDatabase) -> float:
    """Seconds of `mariadb-dump | mariadb`."""
    server = source.mariadb
    login = [f"-p{server.password}", "-uroot", f"--socket={server.place.socket}"]
    began = time.perf_counter()
    dump = subprocess.Popen(["mariadb-dump", *login, "--single-transaction", source.site.database], stdout=subprocess.PIPE)
    subprocess.run(["mariadb", *login, target.database], stdin=dump.stdout, check=True)
    if dump.wait() != 0:
        raise RuntimeError("mariadb-dump failed")
    return time.perf_counter() - began


def empty(server: Mariadb) -> TargetDatabase:
    """A new empty database to load into, the same settings for both lanes."""
    server.execute("DROP DATABASE IF EXISTS bench_target")
    server.execute("CREATE DATABASE bench_target CHARACTER SET utf8mb4")
    return TargetDatabase("root", server.password, "bench_target", port=server.place.port)


async def our_files(source: SourceSite, place: Path) -> Seconds:
    """Our copy of all files."""
    async with agent_of(source) as agent:
        report = await inspect(agent)
        with Timed(place) as timed:
            await copy_files(agent, report, place / "ours", fence=Fence(place / "state", 1), progress=lambda _counts: None)
    return timed.seconds


def cp(source: SourceSite, place: Path) -> Seconds:
    """`cp -a` of the same."""
    with Timed(place) as timed:
        subprocess.run(["cp", "-a", str(source.docroot), str(place / "cp")], check=True)
    return timed.seconds


class Timed:
    """Times a block that writes below `place`, and how long until that is on disk. Nothing is unwritten there when it begins."""

    def __init__(self, place: Path) -> None:
        self._sync = ["sync", "-f", str(place)]

    def __enter__(self) -> Self:
        subprocess.run(self._sync, check=True)
        self._began = time.perf_counter()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        ended = time.perf_counter()
        subprocess.run(self._sync, check=True)
        self.seconds = Seconds(ended - self._began, time.perf_counter() - self._began)


def files(source: SourceSite, place: Path, run: int) -> tuple[Seconds, Seconds]:
    """Our copy of all files, and `cp -a`; they take turns at being the first."""
    place = place / str(run)
    place.mkdir()
    if run % 2:
        them = cp(source, place)
        return uvloop.run(our_files(source, place)), them
    return uvloop.run(our_files(source, place)), cp(source, place)


def report(name: str, us: list[float], them: list[float]) -> dict[str, float]:
    """One line, and the same as numbers."""
    ours_seconds, theirs_seconds = statistics.median(us), statistics.median(them)
    ratio = ours_seconds / theirs_seconds
    print(f"{name:36} ours {ours_seconds:6.2f} s   plain {theirs_seconds:6.2f} s   ratio {ratio:5.2f}")
    return {"ours_seconds": round(ours_seconds, 3), "plain_seconds": round(theirs_seconds, 3), "ratio": round(ratio, 2)}


def main() -> None:
    """Run all lanes."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    figures: dict[str, object] = {"megabytes": megabytes}
    with running_mariadb() as server, running_source_site(server, upload_bytes=60_000_000) as source:
        with open_directory("bench") as place:
            pairs = [files(source, place, run) for run in range(FILE_RUNS)]
        for until, name in enumerate(("files, 2,900 of 119 MB", "the same, on disk")):
            figures[name] = report(name, [us[until] for us, _ in pairs], [them[until] for _, them in pairs])
        for share in (0.1, 1.0) if shutil.which("mariadb-dump") else ():
            fill(source, megabytes, share)
            seconds = [(uvloop.run(ours(source, empty(server))), plain(source, empty(server))) for _ in range(RUNS)]
            name = f"tables, {share:.0%} of rows hit"
            figures[name] = report(name, [us for us, _ in seconds], [them for _, them in seconds])
        if shutil.which("mariadb-dump") is None:
            print("tables: not measured, mariadb-dump is not installed (Debian's package mariadb-client, in bench/packages)")
        server.execute("DROP DATABASE IF EXISTS bench_target")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
