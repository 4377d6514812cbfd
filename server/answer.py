"""What answers share: how long one may be waited for, and how a created job is told to REST."""

from __future__ import annotations

from typing import Any

import grpc

from wpclone.v2 import job_pb2

Context = grpc.aio.ServicerContext[Any, Any]


def within(seconds: float, context: Context) -> float:
    """Seconds to wait: a little less than the client's own deadline, so that it gets the job and not DEADLINE_EXCEEDED."""
    remaining = context.time_remaining()
    return seconds if remaining is None else max(0.0, min(seconds, remaining - 0.5))


async def created(job: job_pb2.Job, context: Context) -> job_pb2.Job:
    """The answer with a job that was created: 202 and its Location in REST (Envoy reads these headers)."""
    await context.send_initial_metadata((("x-http-code", "202"), ("location", job.status_url)))
    return job
