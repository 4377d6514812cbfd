"""The judge of chaos tests: invariants I1 to I8 over the history of jobs, claims, writes and effects.

I1 one terminal state each; I2 no stale write commits; I3 no effect twice, none missing; I4 revisions without gap; I5 nothing
left of what failed; I6 one live lease, caps kept; I7 attempts within limits. (I8, one job a request id, is judged where it is
asked.)
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.chaos import Field
from tests.support.chaos_worker import RETRY, STEPS

TERMINAL = {"completed", "failed", "cancelled"}


@dataclass
class Findings:
    """What the judge found. `lost` and `duplicated` are ids of jobs; `violations` are sentences that begin with an I."""

    jobs: int
    lost: set[str] = field(default_factory=set)
    duplicated: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    refused: int = 0
    """Writes and effects of stale claims that were refused."""
    recovery: list[float] = field(default_factory=list)
    """Seconds from a worker's end to its jobs being at work again."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicated or self.violations)


def judge(place: Field, *, caps: Mapping[str, int] | None = None, effects: bool = True) -> Findings:
    """Judge everything that was accepted on this field; without `effects` when no worker did the jobs."""
    found = Findings(len(place.accepted))
    states: dict[str, str] = dict(place.rows("SELECT job_id, status FROM jobs"))
    found.lost = {job_id for job_id in place.accepted if states.get(job_id) not in TERMINAL}
    _jobs(place, found, caps or {})
    _claims(place, found)
    _writes(place, found)
    if effects:
        _effects(place, found, states)
    found.recovery = recoveries(place)
    return found


def _jobs(place: Field, found: Findings, caps: Mapping[str, int]) -> None:
    history = place.rows("SELECT job_id, revision, fence, status, attempt, verdict FROM job_history ORDER BY revision")
    seen: dict[str, tuple[int, int, str, str | None]] = {}
    ends: Counter[str] = Counter()
    for job_id, revision, fence, status, attempt, verdict in history:
        before = seen.get(job_id, (0, 0, "pending", None))
        if revision != before[0] + 1:
            found.violations.append(f"I4 {job_id}: revision {revision} after {before[0]}")
        if fence < before[1]:
            found.violations.append(f"I2 {job_id}: fence {fence} after {before[1]}")
        if before[2] in TERMINAL:
            found.violations.append(f"I1 {job_id}: {status} after {before[2]}")
        if before[3] is not None and verdict != before[3]:
            found.violations.append(f"I1 {job_id}: verdict {verdict} after {before[3]}")
        if attempt > RETRY.attempts:
            found.violations.append(f"I7 {job_id}: attempt {attempt}")
        ends[job_id] += status in TERMINAL
        seen[job_id] = (revision, fence, status, verdict)
    _caps(place, found, caps)
    found.violations += [f"I1 {job_id}: {number} ends" for job_id, number in ends.items() if number > 1]


def _caps(place: Field, found: Findings, caps: Mapping[str, int]) -> None:
    running: dict[str, set[str]] = defaultdict(set)
    history = place.rows("SELECT job_id, status, verdict, customer_id FROM job_history ORDER BY at, status = 'running', revision")
    for job_id, status, verdict, customer in history:
        (running[customer].add if status == "running" and verdict is None else running[customer].discard)(job_id)
        if len(running[customer]) > caps.get(customer, 1_000_000):
            found.violations.append(f"I6 {customer}: {len(running[customer])} jobs running")


def _claims(place: Field, found: Findings) -> None:
    last: dict[str, int] = {}
    for job_id, fence in place.rows("SELECT job_id, fence FROM claim_history ORDER BY at"):
        if fence <= last.get(job_id, 0):
            found.violations.append(f"I2 {job_id}: claim {fence} after {last[job_id]}")
        last[job_id] = fence
    taken = place.rows(
        "SELECT a.job_id, a.fence, a.leased_until - b.at FROM claim_history a JOIN claim_history b"
        " ON a.job_id = b.job_id AND a.gone_at = b.at WHERE a.leased_until > b.at"
    )
    found.violations += [f"I6 {job_id}: fence {fence} lost a lease with {left} s left" for job_id, fence, left in taken]


def _writes(place: Field, found: Findings) -> None:
    stale = place.rows(
        "SELECT w.job_id, w.name, w.fence, h.fence, h.revision FROM writes w"
        " JOIN job_history h ON h.job_id = w.job_id AND h.revision = w.revision WHERE h.fence <> w.fence"
    )
    found.violations += [f"I2 {job_id}: {name} of fence {f} committed under {now}" for job_id, name, f, now, _ in stale]
    found.refused += place.count("SELECT COUNT(*) FROM writes WHERE revision IS NULL")


def _effects(place: Field, found: Findings, states: Mapping[str, str]) -> None:
    applied: Counter[tuple[str, str]] = Counter()
    fences: dict[str, int] = {}
    for job_id, step, what, fence in place.rows("SELECT job_id, step, what, fence FROM effect_log ORDER BY id"):
        if what == "refused":
            found.refused += 1
            continue
        if what == "again":
            found.duplicated.add(job_id)
        if what == "out_of_turn":
            found.violations.append(f"I3 {job_id}: {step} against the verdict")
        if fence < fences.get(job_id, 0):
            found.violations.append(f"I2 {job_id}: {what} {step} under fence {fence} after {fences[job_id]}")
        fences[job_id] = max(fence, fences.get(job_id, 0))
        applied[job_id, step] += what == "applied"
    found.duplicated |= {job_id for (job_id, _), times in applied.items() if times > 1}
    present: dict[str, set[str]] = defaultdict(set)
    for job_id, step in place.rows("SELECT job_id, step FROM effects"):
        present[job_id].add(step)
    for job_id, state in states.items():
        if state == "completed" and present[job_id] != set(STEPS):
            found.violations.append(f"I3 {job_id}: completed with {sorted(present[job_id])} only")
        if state in {"failed", "cancelled"} and present[job_id]:
            found.violations.append(f"I5 {job_id}: {state}, and {sorted(present[job_id])} are left")


def recoveries(place: Field) -> list[float]:
    """Seconds from the end of a worker to the next claimant of each of its jobs being at work at a step, or having ended it."""
    ends = {member.name: member.ended_at for member in place.members if member.ended_at is not None}
    work: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for sql in (
        "SELECT job_id, fence, at FROM effect_log WHERE what IN ('do', 'undo')",
        "SELECT job_id, fence, at FROM job_history WHERE status IN ('completed', 'failed', 'cancelled')",
    ):
        for job_id, fence, at in place.rows(sql):
            work[job_id].append((fence, float(at)))
    taken = place.rows(
        "SELECT b.job_id, b.fence, a.worker FROM claim_history a JOIN claim_history b"
        " ON a.job_id = b.job_id AND a.gone_at = b.at AND a.fence < b.fence"
    )
    seconds = []
    for job_id, fence, worker in taken:
        lost, back = ends.get(worker), min((at for by, at in work[job_id] if by >= fence), default=0.0)
        if lost is not None and back > lost:
            seconds.append(back - lost)
    return sorted(seconds)


def part(values: Sequence[float], share: float) -> float:
    """The value below which this share of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * share))]
