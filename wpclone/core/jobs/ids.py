"""What ids look like: `clone-`, `restore-` or `delete-` and 12 hexadecimal digits; a clone's id is its job's."""

import re

from wpclone.core.jobs.states import JobKind

JOB_ID = re.compile(r"(?:clone|restore|delete)-[0-9a-f]{12}")
CLONE_ID = re.compile(r"clone-[0-9a-f]{12}")
CUSTOMER_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


def job_id(kind: JobKind, randomness: bytes) -> str:
    """The id made of 6 random bytes."""
    return f"{kind.value}-{randomness[:6].hex()}"
