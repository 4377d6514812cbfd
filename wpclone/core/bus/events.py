"""How rings and events are written on the bus: JSON, no secrets; and how a subject matches a wildcard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wpclone.core.jobs.ids import JOB_ID
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority

EVENTS_KEPT = 10_000
"""How many unread events a listener keeps; then the oldest go, which the readers' own re-reads make harmless."""


def ring_bytes(ring: Ring) -> bytes:
    """A ring as it is published; its priority is in the subject."""
    return json.dumps({"job_id": ring.job_id, "enqueue_seq": ring.enqueue_seq, "traceparent": ring.traceparent}).encode()


def read_ring(data: bytes, priority: Priority) -> Ring | None:
    """The ring of a message, or None when it is not one."""
    try:
        document = json.loads(data)
        job_id, sequence, parent = document["job_id"], document["enqueue_seq"], document.get("traceparent", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not (isinstance(job_id, str) and JOB_ID.fullmatch(job_id) and isinstance(sequence, int) and isinstance(parent, str)):
        return None
    return Ring(job_id, sequence, priority, parent)


def event_bytes(payload: Mapping[str, Any]) -> bytes:
    """An event as it is published."""
    return json.dumps(payload, separators=(",", ":")).encode()


def read_event(data: bytes) -> Mapping[str, Any] | None:
    """The event of a message, or None when it is not a JSON object."""
    try:
        document = json.loads(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a NATS pattern: `*` is one word, `>` the rest."""
    wanted, words = pattern.split("."), subject.split(".")
    for i, word in enumerate(wanted):
        if word == ">":
            return len(words) > i
        if i >= len(words) or word not in ("*", words[i]):
            return False
    return len(wanted) == len(words)
