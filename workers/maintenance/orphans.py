"""Compares the job store with what there is: places in the runtime, databases of clones, scratch databases of restores.

The intent record is the clone's row, or the restore's: it is committed before any worker hears of the job, and every name derives
from its id. So what has our kind of name and no live record is an orphan. Looking changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.clone_databases import CloneDatabases
from workers.runtimes import Place, Runtime
from wpclone.core.jobs.job import Clone
from wpclone.core.jobs.states import CloneState
from wpclone.core.store import JobStore


@dataclass(frozen=True)
class Orphan:
    """What is left of a clone or a restore.

    `record` is `deleted`, `failed`, `over` or `none`. `is_known`: a record, if only the runtime's, says that nobody needs it.
    """

    of: str
    record: str
    has_place: bool
    has_database: bool
    is_known: bool


@dataclass(frozen=True)
class Findings:
    """One look. `ended` are ready clones whose place the runtime has ended: past its deadline, or deleted by hand."""

    orphans: list[Orphan]
    ended: list[Clone]


async def look(store: JobStore, runtime: Runtime, databases: CloneDatabases) -> Findings:
    """Compare them, once. Raises StoreUnavailable, and what runtime and database raise."""
    places = {place.clone_id: place for place in await runtime.list()}
    schemas = {"clone-" + name.removeprefix("wpc_") for name in await databases.names()}
    found = Findings([], [])
    for clone_id in sorted(places.keys() | schemas):
        place, clone = places.get(clone_id), await store.get_clone(clone_id)
        if clone is not None and clone.state is CloneState.READY and place is not None and place.is_ended:
            found.ended.append(clone)
        elif await _is_orphan(store, clone):
            record = "none" if clone is None else clone.state.value
            is_known = clone is not None or _is_over(place)
            found.orphans.append(Orphan(clone_id, record, place is not None, clone_id in schemas, is_known))
    for restore_id in await databases.scratch_of():
        restore = await store.get_job(restore_id)
        if restore is None or restore.state.is_terminal:
            record = "none" if restore is None else "over"
            found.orphans.append(Orphan(restore_id, record, has_place=False, has_database=True, is_known=restore is not None))
    return found


def _is_over(place: Place | None) -> bool:
    return place is not None and place.is_ended


async def _is_orphan(store: JobStore, clone: Clone | None) -> bool:
    """A failed clone's leavings are its own job's to undo until that has ended."""
    if clone is None or clone.state is CloneState.DELETED:
        return True
    if clone.state is not CloneState.FAILED:
        return False
    job = await store.get_job(clone.clone_id)
    return job is None or job.state.is_terminal
