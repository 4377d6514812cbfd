"""What keeps a clone's pod from being ready, in Kubernetes' own words as they were recorded, and what we make of it."""

from typing import Any

import pytest

from tests.support.fake_cluster import PODS_READY, pending
from workers.runtimes.causes import Cause, causes, is_ready, takes_files

JOB = {"metadata": {"name": "clone-1", "uid": "job"}, "status": {}}
OOM = {"reason": "OOMKilled", "exitCode": 137}
QUOTA = 'pods "clone-1-x" is forbidden: exceeded quota: clones, requested: pods=1, used: pods=5, limited: pods=5'
SECURITY = 'pods "clone-1-x" is forbidden: violates PodSecurity "restricted:latest": privileged'
NO_ACCOUNT = 'pods "clone-1-" is forbidden: error looking up service account clones/default: serviceaccount "default" not found'
UNSCHEDULABLE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available.",
}  # fmt: skip


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "clone-1-x", "uid": "pod", **metadata}, "status": status}


def event(reason: str, message: str, uid: str = "job") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": uid}, "count": None}


def worst(job: dict[str, Any], pods: list[dict[str, Any]], events: list[dict[str, Any]]) -> Cause:
    return causes(job, pods, events)[0]


@pytest.mark.parametrize(
    ("status", "code", "grace"),
    [
        (pending("InvalidImageName"), "IMAGE_INVALID", 0),
        (pending("ErrImageNeverPull"), "IMAGE_INVALID", 0),
        (pending("ErrImagePull", "manifest unknown"), "IMAGE_NOT_PULLED", 10),
        (pending("ImagePullBackOff", "pull access denied, repository does not exist"), "IMAGE_NOT_PULLED", 10),
        (pending("ErrImagePull", "dial tcp 10.0.0.9:443: i/o timeout"), "IMAGE_NOT_PULLED", None),
        (pending("ErrImagePull", "toomanyrequests: rate limit"), "IMAGE_NOT_PULLED", None),
        (pending("CreateContainerConfigError", 'secret "x" not found'), "CONTAINER_NOT_CREATED", 15),
        (pending("RunContainerError", "exec: no such file"), "CONTAINER_NOT_CREATED", 15),
        (pending("CrashLoopBackOff", restarts=1, last={"reason": "Error", "exitCode": 1}), "CONTAINER_CRASHES", None),
        (pending("CrashLoopBackOff", restarts=3, last={"reason": "Error", "exitCode": 1}), "CONTAINER_CRASHES", 0),
        (pending("PostStartHookError", restarts=3, last={"reason": "Error", "exitCode": 1}), "CONTAINER_CRASHES", 0),
        (pending("CrashLoopBackOff", restarts=1, last=OOM), "OUT_OF_MEMORY", None),
        (pending("CrashLoopBackOff", restarts=4, last=OOM), "OUT_OF_MEMORY", 0),
        ({"phase": "Pending", "conditions": [UNSCHEDULABLE]}, "UNSCHEDULABLE", None),
    ],
)
def test_a_pods_state_is_one_cause_with_its_grace(status: dict[str, Any], code: str, grace: float | None) -> None:
    cause = worst(JOB, [pod(status)], [])
    assert (cause.code, cause.grace) == (code, grace)


def test_a_secret_that_has_gone_is_the_end_and_a_volume_that_is_late_is_not() -> None:
    waiting = pod(pending("ContainerCreating"))
    gone = event("FailedMount", 'MountVolume.SetUp failed for volume "key" : secret "clone-1-receiver" not found', "pod")
    late = event("FailedAttachVolume", "AttachVolume.Attach failed", "pod")
    found = causes(JOB, [waiting], [gone, late])
    assert [(cause.code, cause.grace) for cause in found] == [("SECRET_MISSING", 15), ("VOLUME_NOT_READY", None)]
    assert 'secret "clone-1-receiver" not found' in found[0].message


def test_the_message_names_the_image_and_what_the_registry_said() -> None:
    cause = worst(JOB, [pod(pending("ErrImagePull", "manifest unknown"))], [])
    assert "registry.example/clone:1" in cause.message
    assert "manifest unknown" in cause.message


def test_a_registrys_credentials_are_not_told() -> None:
    cause = worst(JOB, [pod(pending("ErrImagePull", "failed: https://user:hunter2@registry.example/v2/: unauthorized"))], [])
    assert "hunter2" not in cause.message
    assert "//registry.example" in cause.message


@pytest.mark.parametrize(
    ("message", "code", "grace"),
    [(QUOTA, "QUOTA_EXCEEDED", None), (SECURITY, "POD_REFUSED", 0), (NO_ACCOUNT, "POD_REFUSED", 30)],
)
def test_without_a_pod_the_jobs_events_speak(message: str, code: str, grace: float | None) -> None:
    cause = worst(JOB, [], [event("FailedCreate", message)])
    assert (cause.code, cause.grace) == (code, grace)


def test_an_old_refusal_says_nothing_once_there_is_a_pod() -> None:
    assert causes(JOB, [pod(PODS_READY)], [event("FailedCreate", SECURITY)]) == []


def test_another_jobs_events_are_not_ours() -> None:
    assert causes(JOB, [], [event("FailedCreate", SECURITY, uid="other")]) == []


def test_a_volume_that_cannot_be_mounted_is_waited_for() -> None:
    found = worst(JOB, [pod({"phase": "Pending"})], [event("FailedMount", "MountVolume.SetUp failed", uid="pod")])
    assert (found.code, found.grace) == ("VOLUME_NOT_READY", None)


def test_a_final_cause_is_told_before_one_that_may_pass() -> None:
    status = {**pending("InvalidImageName"), "conditions": [UNSCHEDULABLE]}
    assert [cause.code for cause in causes(JOB, [pod(status)], [])] == ["IMAGE_INVALID", "UNSCHEDULABLE"]


def test_a_job_past_its_deadline_is_an_expired_clone_whatever_its_pods_say() -> None:
    condition = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}
    over = {**JOB, "status": {"conditions": [condition]}}
    assert [cause.code for cause in causes(over, [pod(PODS_READY)], [])] == ["CLONE_EXPIRED"]


def test_an_evicted_pod_is_being_replaced() -> None:
    found = worst(JOB, [pod({"phase": "Failed", "reason": "Evicted", "message": "low on memory"})], [])
    assert (found.code, found.grace) == ("POD_RESCHEDULED", None)
    assert "low on memory" in found.message


def test_a_pod_on_its_way_out_is_not_ready() -> None:
    assert is_ready(pod(PODS_READY))
    assert not is_ready(pod(PODS_READY, deletionTimestamp="2031-01-01T00:00:00Z"))


def test_a_pod_takes_files_as_soon_as_its_receiver_has_started_and_until_it_goes() -> None:
    receiver = {"name": "receiver", "started": True}
    starting = {"phase": "Pending", "initContainerStatuses": [receiver, {"name": "wordpress", "started": False}]}
    assert takes_files(pod(starting))
    assert not is_ready(pod(starting))
    assert not takes_files(pod({**starting, "initContainerStatuses": [{**receiver, "started": False}]}))
    assert not takes_files(pod({**starting, "phase": "Failed"}))
    assert not takes_files(pod(starting, deletionTimestamp="2031-01-01T00:00:00Z"))


@pytest.mark.parametrize("status", [{}, {"conditions": None}, {"containerStatuses": [None, {}]}, {"conditions": ["?"]}])
def test_a_partial_object_is_no_cause_and_no_error(status: dict[str, Any]) -> None:
    assert causes(JOB, [pod(status)], [{}]) == []
