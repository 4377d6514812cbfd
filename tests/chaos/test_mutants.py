"""Each fence taken away, one at a time, and reads put before subscriptions: the tests must notice every time."""
# ruff: noqa: E501 -- a mutant a line

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mutants import Mutant, copied_source, is_green, mutated

_STORE = "wpclone/core/store/mysql/changes.py"
_MEMORY = "wpclone/core/store/memory/changes.py"
_CONTROL = "wpclone/wordpress/control.py"
_FENCE = "wpclone/wordpress/fence.py"
_WRITER = "wpclone/wordpress/file_writer.py"
_SERVICE = "server/service.py"

_FENCES = ("tests/chaos/test_fences.py",)
_CLAIMS = "tests/contract/test_claims.py"
_TRANSITIONS = "tests/contract/test_transitions.py"
_LAPSED = f"{_CLAIMS}::test_a_lapsed_lease_lets_another_worker_in_counts_a_lapse_and_shuts_the_first_out"
_ALONE = f"{_CLAIMS}::test_a_claim_runs_the_job_under_a_growing_fence_and_nobody_else_gets_it"
_RENEWS = f"{_CLAIMS}::test_an_old_fence_renews_nothing_not_even_for_the_same_worker"
_RENEWAL = f"{_CLAIMS}::test_renewal_keeps_a_lease_expired_or_not_and_brings_the_cancel"
_RECORDS = "tests/contract/test_step_records.py"
_KNOWN = f"{_RECORDS}::test_a_write_under_an_old_fence_leaves_nothing_also_when_the_job_was_known"
_LATE = "tests/integration/test_mysql_store_troubles.py::test_a_write_that_comes_through_after_it_was_given_up_and_written_again_changes_nothing"
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
    Mutant("a database for any fence", _CONTROL, r"int\(found\[0\]\[0\]\) > self\._number", "False", _FENCES),
    Mutant("a claim of a database looks too late", _CONTROL, r"        self\._judge\(found\)\n(        # A frozen)", r"\1", _FENCES),
    Mutant("a chunk of rows under any fence", _CONTROL, r"from None\n        self\._judge\(found\)\n", "from None\n", _FENCES),
    Mutant("definitions under any fence", _CONTROL, r"            self\._judge\(found\)\n( +yield)", r"\1", _FENCES),
    Mutant("files claimed over a newer claim", _FENCE, r"            self\.check\(\)\n( +fresh)", r"\1", _FENCES),
    Mutant("files begun under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +whole)", r"\1", _FENCES),
    Mutant("files named under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +try)", r"\1", _FENCES),
    Mutant("links made under any fence", _WRITER, r"        self\._fence\.check\(\)\n( +parent)", r"\1", _FENCES),
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
    assert survivors(copy, REST) == []
