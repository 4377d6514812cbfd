"""A dry run's report, and that no worker takes one for a clone."""

from dataclasses import replace

from tests.unit.workers.desk import Desk
from tests.unit.workers.test_clone_steps import REPORT
from workers.dry_run_plan import MOST_TABLES, DryRunEnding
from workers.plans import Plan, Plans
from wpclone.core.jobs.states import JobKind
from wpclone.wordpress.inspect import TableReport


async def test_the_report_lists_the_largest_tables_and_names_what_is_withheld() -> None:
    job = replace(await Desk().accept(), request={"keep_constants": ["MY_KEY"]})
    tables = tuple(TableReport(f"wp_{i}", 1, i, "InnoDB", 1) for i in range(MOST_TABLES + 3))
    constants = {"MY_KEY": None, "OTHER_KEY": None, "WP_DEBUG": True, "WP_HOME": "https://e.com"}
    site = replace(REPORT, tables=tables, constants=constants, withheld={"ODD": "looks like a credential"})
    look = {"report": site.to_json(), "room": {"free_bytes": 5}, "refusals": [{"reason": "TOO_LITTLE_SPACE", "message": "m"}]}
    result, change = DryRunEnding().completed(job, {"preflight": look, "release_source": {"agent": "removed"}})
    report = result["report"]
    assert change is None
    assert (result["rows"], result["files"]) == (MOST_TABLES + 3, 3)
    assert (result["bytes"], report["table_bytes"]) == (5_000_000 + report["table_bytes"], sum(range(MOST_TABLES + 3)))
    assert ([table["bytes"] for table in report["tables"]][:2], report["tables_count"]) == ([52, 51], 53)
    assert set(report["withheld_constants"]) == {"OTHER_KEY", "ODD"}
    assert (report["room"], report["refusals"][0]["reason"]) == ({"free_bytes": 5}, "TOO_LITTLE_SPACE")


async def test_a_dry_run_finds_no_other_plan_than_its_own() -> None:
    job = await Desk().accept()
    clone = Plan(JobKind.CLONE, 1, (), DryRunEnding())
    dry = replace(job, request={"dry_run": True})
    assert Plans([clone]).find(dry) is None
    assert Plans([clone]).find(job) is clone
    both = Plans([clone, replace(clone, is_dry_run=True)]).find(dry)
    assert both is not None
    assert both.is_dry_run
