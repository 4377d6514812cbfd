"""A clone against its source, counted at both ends: every row, every file; and how far a copy has come meanwhile."""

import json
from pathlib import Path
from typing import Any

from tests.support.clone_traces import database_of, root_password, sql
from tests.support.installation import Installation
from tests.support.source_site import SourceSite
from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.tables import Database, check_tables, rows_of
from wpclone.standalone.demo.trees import check_files, leaves_of


def same_as_source(service: Installation, source: SourceSite, job: dict[str, Any]) -> None:
    """Fail unless the completed job's clone has each row of the source once and each file by its hash. Before any visit."""
    said: list[str] = []
    findings = Findings(said.append)
    result = job["result"]
    hosted = next(clone for clone in service.json("status")["clones"] if clone["clone_id"] == result["clone_id"])
    clone = Site(result["clone_url"], hosted["docroot"])
    port = json.loads(service.state.ports.read_text())["mariadb"]
    original = Site(source.url, str(source.docroot))
    there = rows_of(Database(source.mariadb.place.port, source.mariadb.password, source.site.database, original))
    here = rows_of(Database(port, root_password(service), database_of(result["clone_id"]), clone))
    check_tables(findings, there, here, "clone's database")
    left_out = {item["name"]: item["reason"] for item in result["report"].get("excluded_files", [])}
    check_files(findings, leaves_of(source.docroot), leaves_of(Path(clone.docroot)), left_out)
    assert findings.ok, "\n".join(said)


def running_step(service: Installation, job_id: str) -> str:
    """The step that a job is at, or nothing."""
    found = sql(service, "SELECT name FROM job_steps WHERE job_id = %s AND state = 'running'", job_id, database="wpclone")
    return str(found[0][0]) if found else ""


def agent_url(service: Installation, job_id: str) -> str:
    """Where the job's own agent is at the source."""
    found = sql(service, "SELECT facts FROM job_steps WHERE job_id = %s AND name = 'reach_source'", job_id, database="wpclone")
    return str(json.loads(found[0][0])["agent_url"])


def files_arrived(service: Installation, clone_id: str) -> int:
    """How many files lie in the clone's place now."""
    places = service.state.clones.glob(f"**/{clone_id}")
    return sum(1 for place in places for path in place.rglob("*") if path.is_file())


def rows_arrived(service: Installation, clone_id: str) -> int:
    """How many rows the clone's database has now."""
    name = database_of(clone_id)
    tables = sql(service, "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", name)
    return sum(int(sql(service, f"SELECT COUNT(*) FROM `{name}`.`{table}`")[0][0]) for (table,) in tables)
