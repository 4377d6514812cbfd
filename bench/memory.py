"""How much memory a worker's copy takes, and that it does not grow with the site: peak resident size of a process that copies.

    python -m bench.memory [megabytes of uploads] [megabytes of one table] [--rows N]

A small site (a tenth of both) and the whole one are copied, files and rewritten rows, each by a fresh process. With `--rows` the
table has so many small rows instead, of which each tenth names the source. Prints JSON last.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from bench.copy import BENCH_TABLE, empty, fill
from tests.support.places import open_directory
from tests.support.servers import SERVICE, running_mariadb
from tests.support.source_site import SourceSite, running_source_site, site_session
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.rewrite import Mapping, Rewriter
from wpclone.wordpress.tables import TargetDatabase, copy_tables

FILE_MEGABYTES = 8


def upload(source: SourceSite, megabytes: int) -> None:
    """So many MB of uploads, in files like photographs and videos."""
    directory = source.docroot / "wp-content" / "uploads" / "bench"
    directory.mkdir(exist_ok=True)
    there = len(list(directory.iterdir()))
    maker = random.Random(there)
    for number in range(there, megabytes // FILE_MEGABYTES):
        (directory / f"{number}.jpg").write_bytes(maker.randbytes(FILE_MEGABYTES * 1_000_000))
    for path in (directory, *directory.iterdir()):
        SERVICE.own(path)


def fill_small(source: SourceSite, rows: int) -> None:
    """One table of so many small rows."""
    source.sql(f"DROP TABLE IF EXISTS {BENCH_TABLE}")
    source.sql(f"CREATE TABLE {BENCH_TABLE} (id BIGINT UNSIGNED PRIMARY KEY, k INT, v VARCHAR(80)) ENGINE=InnoDB")
    for first in range(1, rows + 1, 500_000):
        last = min(first + 499_999, rows)
        source.sql(
            f"INSERT INTO {BENCH_TABLE} SELECT seq, seq MOD 97, IF(seq MOD 10, CONCAT('value ', seq), CONCAT(%s, '/', seq))"
            f" FROM seq_{first}_to_{last}",
            source.url,
        )


async def copied(order: dict[str, str]) -> None:
    """Copy the site; in a process of its own."""
    target = TargetDatabase("root", order["password"], "bench_target", port=int(order["port"]))
    rewriter = Rewriter(Mapping.of([order["home"]], "http://clone-0123456789ab.localhost:8080"))
    place = Path(order["place"])
    async with site_session() as session:
        agent = AgentClient(session, AgentAddress(order["agent"], bytes.fromhex(order["key"])))
        site = await inspect(agent)
        fence = Fence(place / "state", 1)
        files = await copy_files(agent, site, place / "root", fence=fence, progress=lambda _counts: None)
        tables = await copy_tables(agent, site, target, rewriter=rewriter, fence=1, progress=lambda _counts: None)
    sizes = {"files_mb": round(files.bytes / 1e6), "rows_mb": round(tables.bytes / 1e6), "rows": tables.rows}
    print(json.dumps({"peak_mb": round(peak(), 1), **sizes}))


def peak() -> float:
    """MB of this process's own memory at its most. Not getrusage(2)'s: that begins with the parent's, exec or not."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def measured(source: SourceSite, target: TargetDatabase) -> dict[str, float]:
    """What a fresh process says of its copy, and how long it took."""
    agent = source.put_agent()
    with open_directory("bench") as place:
        order = {
            "home": source.url, "agent": agent.url, "key": agent.key.hex(), "place": str(place), "password": target.password,
            "port": str(target.port),
        }  # fmt: skip
        began = time.perf_counter()
        command = [sys.executable, "-m", "bench.memory", "--copy"]
        done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, timeout=1800, check=True)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    """Copy twice, print both."""
    if sys.argv[1:] == ["--copy"]:
        asyncio.run(copied(json.loads(sys.stdin.read())))
        return
    parser = argparse.ArgumentParser(prog="python -m bench.memory")
    parser.add_argument("uploads", type=int, nargs="?", default=1000, help="megabytes")
    parser.add_argument("table", type=int, nargs="?", default=300, help="megabytes")
    parser.add_argument("--rows", type=int, default=0, help="small rows of the table, instead of megabytes")
    asked = parser.parse_args()
    figures = {}
    with running_mariadb() as server, running_source_site(server, upload_bytes=1_000_000) as source:
        for name, tenths in (("a tenth", 1), ("whole", 10)):
            upload(source, asked.uploads * tenths // 10)
            if asked.rows:
                fill_small(source, asked.rows * tenths // 10)
            else:
                fill(source, asked.table * tenths // 10, 0.1)
            figures[name] = measured(source, empty(server))
            said = figures[name]
            print(
                f"{name:8} {said['files_mb']:6.0f} MB of files, {said['rows_mb']:4.0f} MB of {said['rows']:,} rows: peak"
                f" {said['peak_mb']:6.1f} MB"
                f" in {said['seconds']:.1f} s"
            )
        source.sql(f"DROP TABLE IF EXISTS {BENCH_TABLE}")
        server.execute("DROP DATABASE IF EXISTS bench_target")
    growth = figures["whole"]["peak_mb"] - figures["a tenth"]["peak_mb"]
    print(json.dumps({"bench": "memory", **figures, "growth_mb": round(growth, 1)}))


if __name__ == "__main__":
    main()
