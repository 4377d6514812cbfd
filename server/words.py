"""The one table from core's words to the API's: `type` and `status` are the words, `kind` and `state` the enums beside them."""

from __future__ import annotations

from wpclone.core.jobs.states import CloneState, JobKind, JobState, StepState
from wpclone.v2 import clone_pb2, job_pb2

KINDS: dict[JobKind, job_pb2.JobKind.ValueType] = {
    JobKind.CLONE: job_pb2.JOB_KIND_CLONE,
    JobKind.RESTORE: job_pb2.JOB_KIND_RESTORE,
    JobKind.DELETE: job_pb2.JOB_KIND_DELETE,
}

JOB_STATES: dict[JobState, job_pb2.JobState.ValueType] = {
    JobState.PENDING: job_pb2.JOB_STATE_PENDING,
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.COMPLETED: job_pb2.JOB_STATE_COMPLETED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
}

STEP_STATES: dict[StepState, job_pb2.StepState.ValueType] = {
    StepState.RUNNING: job_pb2.STEP_STATE_RUNNING,
    StepState.WAITING: job_pb2.STEP_STATE_WAITING,
    StepState.DONE: job_pb2.STEP_STATE_DONE,
    StepState.FAILED: job_pb2.STEP_STATE_FAILED,
    StepState.UNDONE: job_pb2.STEP_STATE_UNDONE,
}

CLONE_STATES: dict[CloneState, clone_pb2.CloneState.ValueType] = {
    CloneState.CREATING: clone_pb2.CLONE_STATE_CREATING,
    CloneState.READY: clone_pb2.CLONE_STATE_READY,
    CloneState.DELETING: clone_pb2.CLONE_STATE_DELETING,
    CloneState.DELETED: clone_pb2.CLONE_STATE_DELETED,
    CloneState.FAILED: clone_pb2.CLONE_STATE_FAILED,
}
