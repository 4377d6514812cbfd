"""The job that does another one again: same request, same credentials of its source; ids, seed and deadline are new."""

from __future__ import annotations

import structlog

from wpclone.core.ids import Randomness, new_job_id
from wpclone.core.jobs.errors import JobNotRetryable
from wpclone.core.jobs.job import Job, NewJob
from wpclone.core.jobs.states import JobState
from wpclone.core.secrets import KeyRing, SecretsUnreadable

_log = structlog.get_logger(__name__)

_SENTENCES = {
    JobState.PENDING: "The job is not finished; it is tried again by itself.",
    JobState.RUNNING: "The job is not finished; cancel it first.",
    JobState.COMPLETED: "The job completed; only a failed or cancelled one can be asked for again.",
}


def again(old: Job, keys: KeyRing, randomness: Randomness) -> NewJob:
    """What to accept in place of `old`, which stays as it is. Raises JobNotRetryable.

    A clone job gets a clone of its own, whose id is the new job's: of the old clone nothing is left, or what is left needs
    attention and must not be built upon. It may run as long as the old one might, by the plan its request was made for.
    """
    if old.state in _SENTENCES:
        raise JobNotRetryable(_SENTENCES[old.state], metadata={"status": old.state.value})
    if "action" in old.request:
        sentence = "A rollback or release is not done again by this; ask for it anew with the restore's own id."
        raise JobNotRetryable(sentence, metadata={"type": old.kind.value})
    job_id = new_job_id(old.kind, randomness)
    return NewJob(
        job_id=job_id,
        kind=old.kind,
        customer_id=old.customer_id,
        request=old.request,
        secrets=_secrets(old, job_id, keys, randomness),
        definition_version=old.definition_version,
        run_for=old.deadline_at - old.created_at,
        priority=old.priority,
        clone_id=job_id if old.clone_id == old.job_id else old.clone_id,
        retry_of=old.job_id,
    )


def _secrets(old: Job, job_id: str, keys: KeyRing, randomness: Randomness) -> bytes | None:
    """The old job's secrets for the new one. A blob is bound to its job's id, so it is made anew; so is the seed, or the new
    clone would have the old one's passwords."""
    if old.secrets is None:
        return None
    try:
        content = keys.unseal(old.secrets, old.job_id)
    except SecretsUnreadable as error:
        _log.exception("job.secrets_unreadable", job_id=old.job_id)
        raise JobNotRetryable("Its credentials can no longer be read; ask for it anew.") from error
    return keys.seal({**content, "seed": randomness(32).hex()}, job_id)
