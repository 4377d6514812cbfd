"""Each fence taken away, one at a time, and reads put before subscriptions: the tests must notice every time."""
# ruff: noqa: E501 -- a mutant a line

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos_table import note
from tests.support.history import Findings
from tests.support.mutants import Mutant, copied_source, is_green, mutated

_STORE = "wpclone/core/store/mysql/changes.py"
_MEMORY = "wpclone/core/store/memory/changes.py"
_CONTROL = "wpclone/wordpress/control.py"
_FENCE = "wpclone/wordpress/fence.py"
_WRITER = "wpclone/wordpress/file_writer.py"
_FILES = "wpclone/wordpress/files.py"
_TABLES = "wpclone/wordpress/tables.py"
_SPACES = "wpclone/standalone/table_spaces.py"
_PHP = "wpclone/wordpress/agent/restore.php"
_LEASES = "workers/leases.py"
_SERVICE = "server/service.py"

_FENCES = ("tests/chaos/test_fences.py",)
_DATABASE = ("tests/chaos/test_database_fences.py",)
_CLAIMS = "tests/contract/test_claims.py"
_TRANSITIONS = "tests/contract/test_transitions.py"
_LAPSED = f"{_CLAIMS}::test_a_lapsed_lease_lets_another_worker_in_counts_a_lapse_and_shuts_the_first_out"
_ALONE = f"{_CLAIMS}::test_a_claim_runs_the_job_under_a_growing_fence_and_nobody_else_gets_it"
_RENEWS = f"{_CLAIMS}::test_an_old_fence_renews_nothing_not_even_for_the_same_worker"
_RENEWAL = f"{_CLAIMS}::test_renewal_keeps_a_lease_expired_or_not_and_brings_the_cancel"
_RECORDS = "tests/contract/test_step_records.py"
_KNOWN = f"{_RECORDS}::test_a_write_under_an_old_fence_leaves_nothing_also_when_the_job_was_known"
_LATE = "tests/integration/test_mysql_store_troubles.py::test_a_write_that_comes_through_after_it_was_given_up_and_written_again_changes_nothing"
_OVERTAKEN = f"{_TRANSITIONS}::test_a_claim_that_was_overtaken_is_told_so_and_not_of_a_cancel"
_NOT_OWN = "tests/unit/workers/test_interruptions.py::test_an_end_that_another_claim_wrote_is_not_taken_for_ones_own"
_REHELD = "tests/unit/workers/test_leases.py::test_an_answer_for_the_claim_before_says_nothing_of_this_one"
_LEFT = "tests/unit/workers/test_consumer.py::test_a_job_left_to_its_lease_is_given_back_when_it_was_claimed_anew_and_that_answer_was_lost"
_TARGETS = "tests/integration/test_target_fences.py"
_ROWS = f"{_TARGETS}::test_rows_on_their_way_to_a_database_that_was_claimed_meanwhile_are_not_written"
_RANGE = f"{_TARGETS}::test_a_range_read_again_is_not_written_to_a_database_that_was_claimed_meanwhile"
_ORDERS = f"{_TARGETS}::test_an_order_under_another_number_than_the_one_that_claimed_is_refused"
_NEWER = f"{_TARGETS}::test_a_claim_newer_than_the_lock_file_knows_is_refused_by_the_database"
_RAISED = f"{_TARGETS}::test_a_write_waits_for_a_claim_that_is_just_raising_the_databases_fence"
_ONE_ORDER = f"{_TARGETS}::test_while_an_order_is_carried_out_no_other_is"
_FINISHED = "tests/integration/test_copy_tables.py::test_an_older_claim_is_refused"
_BROUGHT = "tests/integration/test_table_spaces.py::test_an_older_claim_brings_nothing"
_BRINGING = "tests/integration/test_table_spaces.py::test_no_newer_claim_comes_in_while_a_table_is_brought"
_CANCELLED = f"{_TRANSITIONS}::test_a_cancel_request_forbids_completion"
_WATCH = "tests/integration/test_grpc_watch.py::test_a_watch_misses_nothing_when_the_change_comes_while_it_reads"
_WAIT = "tests/integration/test_grpc_watch.py::test_a_wait_misses_no_end_that_comes_while_it_reads"

_READ_FIRST = r"""\1job = await self._job(who, job_id)
\1with \2:
\1    watcher.offer(job)
\3"""

QUICK = (
    Mutant("a write to the job store without its fence", _STORE, r" AND fence = %\(fence\)s AND", " AND", (f"{_LAPSED}[mysql]",)),
    Mutant("files are written under any fence", _FENCE, r"standing > self\.number", "False", _FENCES),
    Mutant(
        "a watch reads, then subscribes", _SERVICE,
        r"( +)with (self\._on\.watches\.watcher\(.*\) as watcher):.*\n +watcher\.offer\(await self\._job\(.*\)\)\n( +async with)",
        _READ_FIRST, (_WATCH,),
    ),
)  # fmt: skip
"""What every run tries."""

REST = (
    Mutant("a write to the job store in any state", _STORE, r" AND status IN %\(sources\)s", "", (_TRANSITIONS,)),
    Mutant("a late packet is let in", _STORE, r' \+ " AND revision = %\(revision\)s"', "", (_LATE,)),
    Mutant("a packet goes on after its refused write", _STORE, r", MATCHED\]", "]", (f"{_KNOWN}[mysql]",)),
    Mutant("completed against a cancel", _STORE, r" AND cancel_requested_at IS NULL AND verdict IS NULL", "", (f"{_CANCELLED}[mysql]",)),
    Mutant("a lease that lives is taken", _STORE, r" AND claims\.lease_until >= {NOW}", " AND FALSE", (f"{_ALONE}[mysql]",)),
    Mutant("a claim's fence does not grow", _STORE, r"LAST_INSERT_ID\(fence \+ 1\)", "LAST_INSERT_ID(fence)", (f"{_ALONE}[mysql]",)),
    Mutant("a renewal without its fence", _STORE, r" AND \(job_id, fence\) IN %\(held\)s", "", (f"{_RENEWS}[mysql]",)),
    Mutant("a renewal answered for any fence", _STORE, r" if fences\.get\(job_id\) == fence", "", (f"{_RENEWS}[mysql]",)),
    Mutant("a renewal of anybody's claim", _STORE, r"  WHERE worker = %\(worker\)s AND job_id IN", "  WHERE job_id IN", (f"{_RENEWAL}[mysql]",)),
    Mutant("the store in memory without its fence", _MEMORY, r"kept\.job\.fence != transition\.fence or ", "", (f"{_LAPSED}[memory]",)),
    Mutant("its renewal without its fence", _MEMORY, r" and lease\.fence == fence", "", (f"{_RENEWS}[memory]",)),
    Mutant("a database for any fence", _CONTROL, r"int\(found\[0\]\[0\]\) > self\._number", "False", _DATABASE),
    Mutant("a claim of a database looks too late", _CONTROL, r"        self\._judge\(found\)\n(        # A frozen)", r"\1", _DATABASE),
    Mutant("a chunk of rows under any fence", _CONTROL, r"from None\n        self\._judge\(found\)\n", "from None\n", _DATABASE),
    Mutant("definitions under any fence", _CONTROL, r"            self\._judge\(found\)\n( +yield)", r"\1", _DATABASE),
    Mutant("files claimed over a newer claim", _FENCE, r"            self\.check\(\)\n( +fresh)", r"\1", _FENCES),
    Mutant("files begun under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +whole)", r"\1", _FENCES),
    Mutant("files named under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +try)", r"\1", _FENCES),
    Mutant("links made under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +parent)", r"\1", _FENCES),
    Mutant("a file's place under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +path = self)", r"\1", _FENCES),
    Mutant("the place of a newer claim cleared away", _WRITER, r"        self\._fence\.check\(\)  # a newer.*\n", "", _FENCES),
    Mutant("a fence looked at only once", _FENCE, r"if self\._seen == \[seen\]:", "if self._seen:", _FENCES),
    Mutant("a fence that is gone keeps nobody out", _FENCE, r"            if self\._seen:\n +raise .*\n", "", _FENCES),
    Mutant("claims of files all at once", _FENCE, r"            fcntl\.flock\(.*\n", "", _FENCES),
    Mutant("rules of the web server under any fence", "wpclone/wordpress/htaccess.py", r"    fence\.check\(\)\n", "", _FENCES),
    Mutant("a newer claim's list forgotten", _FILES, r"    fence\.check\(\)  # what was .*\n", "", _FENCES),
    Mutant("a list of files under any fence", _FILES, r" {20}fence\.check\(\)\n", "", _FENCES),
    Mutant("a list that two claims write", "wpclone/wordpress/file_state.py", r'f"{_FRESH}-{claim}"', "_FRESH", _FENCES),
    Mutant("files gone, for whatever reason", _FILES, r"        fence\.check\(\)  # what is missing .*\n", "", _FENCES),
    Mutant("a database without a fence is anybody's", _CONTROL, r"if not found or int", "if found and int", _DATABASE),
    Mutant("a database without a control table is a bug", _CONTROL, r"except pymysql\.err\.ProgrammingError", "except ZeroDivisionError", _DATABASE),
    Mutant("a fence raised while rows are written", _CONTROL, r" LOCK IN SHARE MODE", "", _DATABASE),
    Mutant("a fence raised while definitions are made", _CONTROL, r" FOR UPDATE", "", _DATABASE),
    Mutant("rows committed without a look at the fence", _TABLES, r"        await self\._control\.check\(self\._rows\)\n", "", (_ROWS,)),
    Mutant("so for rows read again", "wpclone/wordpress/table_refresh.py", r"        await self\.control\.check\(self\.rows\)\n", "", (_RANGE,)),
    Mutant("a copy finished without one", _TABLES, r" +await control\.check\(rows\)\n", "", (_FINISHED,)),
    Mutant("a table's file brought under any fence", _SPACES, r" or int\(found\[0\]\) != fence", "", (_BROUGHT,)),
    Mutant("a fence raised while a table's file is brought", _SPACES, r" LOCK IN SHARE MODE", "", (_BRINGING,)),
    Mutant("a restore's older claim", _PHP, r"\$standing > \$fence \|\| \((.*)\)\) {", r"\1) {", (_ORDERS,)),
    Mutant("a restore's order before its claim", _PHP, r" \|\| \(\$standing < \$fence && !\$claims\)", "", (_ORDERS,)),
    Mutant("a restore's orders all at once", _PHP, r" {8}if \(!flock\(.*\n.*\n {8}}\n", "", (_ONE_ORDER,)),
    Mutant("a restore's newer claim put back", _PHP, r" AND fence <= {\$this->fence}", "", (_NEWER,)),
    Mutant("a restore's rows under any fence", _PHP, r" \|\| \(int\) \$found\[0\] !== \$this->fence", "", (_NEWER,)),
    Mutant("a restore's fence raised while rows are written", _PHP, r" WHERE name = '' FOR UPDATE", " WHERE name = ''", (_RAISED,)),
    Mutant("a cancel told to an older claim", _STORE, r"if fence == transition\.fence and status", "if status", (f"{_OVERTAKEN}[mysql]",)),
    Mutant("another claim's end taken for one's own", "workers/record.py", r"job\.fence != transition\.fence or ", "", (_NOT_OWN,)),
    Mutant("an answer for another claim", _LEASES, r" or held\.claim\.fence != fence", "", (_REHELD,)),
    Mutant("a claim left to its lease for ever", "workers/claims.py", r" if listed\.get\(job_id\) == fence", "", (_LEFT,)),
    Mutant(
        "a ring acknowledged before its claim", "workers/consumer.py",
        r"( +)(claim = await self\._claim\(ring\)\n)", r"\1await self._ack(delivery)\n\1\2", _FENCES,
    ),
    Mutant(
        "a wait reads, then subscribes", _SERVICE,
        r"( +)with (self\._on\.watches\.watcher\(.*\) as watcher):.*\n +watcher\.offer\(await self\._job\(.*\)\)\n( +await watcher)",
        _READ_FIRST, (_WAIT,),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with copied_source() as directory:
        yield directory


def survivors(copy: Path, mutants: tuple[Mutant, ...]) -> list[str]:
    """The faults that nobody noticed."""
    assert is_green(copy, sorted({test for mutant in mutants for test in mutant.suite}))
    unseen = []
    for mutant in mutants:
        with mutated(copy, mutant):
            if is_green(copy, mutant.suite):
                unseen.append(mutant.name)
    return unseen


@pytest.mark.timeout(300)
def test_a_missing_fence_and_a_late_subscription_are_noticed(copy: Path) -> None:
    assert survivors(copy, QUICK) == []


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_each_missing_fence_is_noticed(copy: Path) -> None:
    unseen = survivors(copy, REST)
    note("R27 fences taken away and orders swapped, one at a time", Findings(len(REST), violations=unseen))
