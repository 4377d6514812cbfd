"""Random walks through a job's life: MySQL and the in-memory store give the same answers, and the laws of jobs hold.

Each rule does the same to both stores, whose clocks stand still until a rule moves them: answers are equal to the microsecond.
Claims are kept for ever, so that old ones are tried again and must be refused.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule, run_state_machine_as_test

from tests.support.clock import ManualClock
from tests.support.servers import Mariadb
from tests.support.stores import CUSTOMER, job_id, migrated_database, new_clone, new_job, open_mysql_store
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import WpcloneError
from wpclone.core.jobs.job import Claim, Clone, Job, JobError, Limits, NewJob, RequestKey, Step
from wpclone.core.jobs.states import TRANSITIONS, CloneState, JobKind, JobState, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange, Transition
from wpclone.core.store import JobStore, Page
from wpclone.core.store.memory import MemoryStore

WORKERS = ("w1", "w2")
ADVANCES = (0.000001, 1, 5, 10, 16, 600)  # leases last 15 s, pauses 10 s, lives 600 s
ERROR = JobError("It broke.", "BROKEN", "copy")
READY = CloneChange(CloneState.READY, url="http://c", starts_ttl=True)
GONE = CloneChange(CloneState.FAILED)
DELETED = CloneChange(CloneState.DELETED)
PAUSE = timedelta(seconds=10)

numbers = st.integers(1, 4)
names = st.builds(job_id, numbers, st.sampled_from([JobKind.CLONE, JobKind.DELETE]))
step_names = st.sampled_from(["preflight", "copy", "verify"])
keys = st.none() | st.builds(
    lambda n, body: RequestKey(CUSTOMER, "m", f"r{n}", bytes([body]) * 32), st.integers(1, 3), st.integers(1, 2)
)


@dataclass(frozen=True)
class Work:
    """One of all transitions, for any claim."""

    name: str
    step: str
    percent: int

    def by(self, claim: Claim) -> Transition:
        position = ("preflight", "copy", "verify").index(self.step)
        step = Step(self.step, position, StepState.RUNNING, attempts=1, facts={"percent": self.percent})
        waiting = replace(step, state=StepState.WAITING, last_error=ERROR)
        is_clone = claim.job.kind is JobKind.CLONE
        failed = GONE if is_clone else None
        end: dict[str, Any] = {"clone": failed, "needs_attention": False, "status_message": "End."}
        follower = Step("open", 3, StepState.RUNNING, attempts=self.percent)

        def done() -> Transition:
            return transitions.step_done(claim, replace(step, state=StepState.DONE), progress=self.percent)

        make: dict[str, Callable[[], Transition]] = {
            "start": lambda: transitions.step_started(claim, step, status_message=self.step),
            "progress": lambda: transitions.progressed(claim, progress=self.percent, status_message=self.step),
            "done": done,
            "follow": lambda: transitions.step_followed(done(), follower, status_message=self.step),
            "undone": lambda: transitions.step_undone(claim, replace(step, state=StepState.UNDONE, facts={})),
            "retry": lambda: transitions.retry_later(claim, waiting, attempt=1, pause=PAUSE, status_message="Waiting."),
            "condemn": lambda: transitions.condemned(claim, Verdict.FAIL, ERROR, None, status_message="Undoing."),
            "hand back": lambda: transitions.handed_back(claim),
            "complete": lambda: transitions.completed(
                claim, result={"rows": 1}, status_message="", clone=READY if is_clone else DELETED
            ),
            "fail": lambda: transitions.failed(claim, **end),
            "cancel": lambda: transitions.cancelled(claim, **end),
        }
        return make[self.name]()


WORKS = ("start", "progress", "done", "follow", "complete") * 2 + ("undone", "retry", "condemn", "hand back", "fail", "cancel")
works = st.builds(
    Work,
    st.sampled_from(WORKS),
    step_names,
    st.integers(0, 99),
)


def plain(value: Any) -> Any:
    """An answer that compares by value: errors too."""
    return (type(value), value.metadata) if isinstance(value, WpcloneError) else value


class Walk(RuleBasedStateMachine):
    """Two stores, one history."""

    claims = Bundle("claims")
    mariadb: Mariadb
    name: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.model = MemoryStore(self.clock)
        self.mysql = self.runner.run(open_mysql_store(self.mariadb, self.name, pool_size=1))
        for table in ("jobs", "job_steps", "claims", "clones", "site_locks", "requests", "customers"):
            self.sql(f"DELETE FROM {table}")
        self.set_clock()
        self.before: dict[str, Job] = {}
        self.both(lambda store: store.create_customer(CUSTOMER, Limits(running_jobs=2, live_clones=3, requests_per_minute=5)))
        self.accepted = 0
        self.current: dict[str, Claim] = {}
        self.known: dict[str, Job] = {}
        for _ in range(3):
            self.accept(None)

    def teardown(self) -> None:
        self.runner.run(self.mysql.close())
        self.runner.close()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """A statement on the store's only connection."""
        (result,) = self.runner.run(self.mysql._db.read(statement))
        return list(result.rows)

    def set_clock(self) -> None:
        """Make the session's UTC_TIMESTAMP the model's time."""
        self.sql(f"SET SESSION timestamp = {self.clock.now().timestamp():.6f}")

    def both(self, do: Callable[[JobStore], Awaitable[Any]]) -> Any:
        """Do it to both and compare; returns MySQL's answer, an error of ours included."""

        async def outcome(store: JobStore) -> Any:
            try:
                return await do(store)
            except WpcloneError as e:
                return e

        expected, got = self.runner.run(outcome(self.model)), self.runner.run(outcome(self.mysql))
        assert plain(got) == plain(expected)
        return got

    @precondition(lambda self: self.accepted < 4)
    @rule(key=keys)
    def accept(self, key: RequestKey | None) -> None:
        self.accepted += 1
        number = self.accepted
        self.both(lambda store: store.accept(new_job(number, run_for=3333), key=key, clone=new_clone(number)))

    @rule(number=numbers, key=keys)
    def delete(self, number: int, key: RequestKey | None) -> None:
        if self.runner.run(self.mysql.get_job(job_id(number, JobKind.DELETE))) is None:
            new = new_job(number, JobKind.DELETE, clone_id=job_id(number))
            self.both(lambda store: store.begin_delete(new, key=key))

    @rule()
    def maintain(self) -> None:
        def make(clone: Clone) -> NewJob:
            return new_job(int(clone.clone_id[-1]), JobKind.DELETE, clone_id=clone.clone_id)

        self.both(lambda store: store.expire_due(make, most=5))
        self.both(lambda store: store.due(per_customer=2, most=3, quiet=timedelta(0)))
        self.both(lambda store: store.queue_depth())
        self.both(lambda store: store.past_runs(JobKind.CLONE))

    @rule(target=claims, name=names, worker=st.sampled_from(WORKERS))
    def claim(self, name: str, worker: str) -> Any:
        claim = self.both(lambda store: store.claim(name, worker=worker))
        if not isinstance(claim, Claim):
            return multiple()
        self.current[name] = claim
        self.known[name] = claim.job
        return claim

    @rule(number=numbers, work=works)
    def work(self, number: int, work: Work) -> None:
        """What the newest claim does, or the first."""
        for kind in (JobKind.CLONE, JobKind.DELETE):
            name = job_id(number, kind)
            if name in self.current:
                transition = replace(work.by(self.current[name]), known=self.known[name])
                job = self.both(lambda store: store.apply(transition))  # noqa: B023 - called at once
                self.known[name] = job if isinstance(job, Job) else self.known[name]
            else:
                self.claim(name, "w1")

    @rule(claim=claims, work=works)
    def work_of_any_claim(self, claim: Claim, work: Work) -> None:
        self.both(lambda store: store.apply(replace(work.by(claim), known=claim.job)))

    @rule(claim=claims, worker=st.sampled_from(WORKERS))
    def renew(self, claim: Claim, worker: str) -> None:
        self.both(lambda store: store.renew(worker, {claim.job.job_id: claim.fence}))

    @rule(name=st.sampled_from([job_id(2), job_id(4), job_id(1, JobKind.DELETE)]), key=keys)  # the others go on longer
    def cancel(self, name: str, key: RequestKey | None) -> None:
        self.both(lambda store: store.request_cancel(name, key=key))

    @rule(seconds=st.sampled_from(ADVANCES))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.set_clock()

    @invariant()
    def the_stores_agree_and_the_laws_hold(self) -> None:
        jobs = self.runner.run(self.mysql.get_jobs([job_id(n, k) for n in range(1, 5) for k in JobKind]))
        expected = self.runner.run(self.model.get_jobs(list(jobs)))
        assert jobs == expected
        for name, job in jobs.items():
            old = self.before.get(name)
            if old is not None:
                lawful(old, job)
        self.before = jobs
        running = [job for job in jobs.values() if job.state is JobState.RUNNING]
        claims = self.sql("SELECT job_id, fence FROM claims")
        assert sorted(claims) == sorted((job.job_id, job.fence) for job in running)
        self.both(lambda store: store.list_clones(customer_id=None, page=Page(9)))


def lawful(old: Job, new: Job) -> None:
    """What may happen between two looks at a job."""
    assert new.revision >= old.revision
    assert new.fence >= old.fence
    assert new.progress >= old.progress
    assert new.lapses >= old.lapses
    assert new.cancel_requested_at is not None or old.cancel_requested_at is None
    assert old.verdict is None or new.verdict is old.verdict
    if old.state.is_terminal:
        assert new == old
    if new.revision == old.revision:
        assert replace(new, enqueue_seq=0) == replace(old, enqueue_seq=0)
    if new.revision == old.revision + 1 and new.state is not old.state:
        assert new.state in TRANSITIONS[old.state]
    if new.state is JobState.COMPLETED:
        assert new.cancel_requested_at is None
        assert new.verdict is None


def walked(mariadb: Mariadb, *, examples: int, steps: int) -> None:
    """Walk so often, so far."""
    with migrated_database(mariadb) as name:
        machine = type("BoundWalk", (Walk,), {"mariadb": mariadb, "name": name})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )  # fmt: skip


@pytest.mark.timeout(600)
def test_any_walk_gives_the_same_answers_in_mysql_as_in_memory(mariadb_server: Mariadb) -> None:
    walked(mariadb_server, examples=60, steps=30)
