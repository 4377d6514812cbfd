"""Why a clone's pod is not ready: Kubernetes' own words made one sentence with a reason, and whether waiting helps.

Pure. Container states are read before events: events may be missing, counted zero, or an hour old. The Job's events count only
while there is no pod: with a refused pod there is nothing else to read. An unschedulable pod is not the end where nodes can come.
Source: Kubernetes' pkg/kubelet (images, container) and pkg/scheduler, whose reasons these are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.runtimes.manifests import RECEIVER, Manifest

CRASHES = 3
"""Restarts of a container after which it is not going to work."""
_BETWEEN_CRASHES = ("CrashLoopBackOff", "PostStartHookError")
"""What a container that ended waits as. The hook's own error is only that its container had ended."""
_LONGEST = 400
_HOPELESS_PULL = re.compile(
    r"not found|manifest unknown|unauthorized|denied|forbidden|does not exist|no match for platform", re.I
)
_REFUSED_POD = re.compile(r"violates PodSecurity|denied the request|must specify|is forbidden|is invalid", re.I)
_NO_ACCOUNT = re.compile(r"error looking up service account", re.I)
_NO_SECRET = re.compile(r"(secret|configmap) \S+ not found", re.I)
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True)
class Cause:
    """One cause. `grace` is how long it may stand before the step fails for it, in seconds; None while waiting may help."""

    code: str
    message: str
    grace: float | None = None
    container: str = ""
    """Whose last log lines tell more; empty when no container ever ran."""


def is_ready(pod: Manifest) -> bool:
    """Whether the pod serves: running, Ready, and not on its way out."""
    status = _map(pod, "status")
    conditions = {c.get("type"): c.get("status") for c in _maps(status, "conditions")}
    return status.get("phase") == "Running" and conditions.get("Ready") == "True" and not _map(pod, "metadata").get(
        "deletionTimestamp"
    )  # fmt: skip


def takes_files(pod: Manifest) -> bool:
    """Whether the pod's receiver runs, and the pod is not on its way out: the site itself need not run yet."""
    status = _map(pod, "status")
    if _map(pod, "metadata").get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return False
    sidecars = _maps(status, "initContainerStatuses")
    return any(each.get("name") == RECEIVER and each.get("started") is True for each in sidecars)


def ended(job: Manifest) -> Cause | None:
    """Why the Job is over, or None while it is not."""
    if _map(job, "metadata").get("deletionTimestamp"):
        return Cause("CLONE_ENDED", "The clone's Job was deleted in the cluster.", 0)
    for condition in _maps(_map(job, "status"), "conditions"):
        if condition.get("status") != "True" or condition.get("type") not in ("Failed", "FailureTarget", "Complete"):
            continue
        if condition.get("reason") == "DeadlineExceeded":
            return Cause("CLONE_EXPIRED", "The clone's time in the cluster is over.", 0)
        return Cause("CLONE_ENDED", _sentence("The clone's Job has ended", condition), 0)
    return None


def causes(job: Manifest, pods: Sequence[Manifest], events: Sequence[Manifest]) -> list[Cause]:
    """Everything that stands between this clone and a ready pod; the worst first."""
    over = ended(job)
    if over:
        return [over]
    living = [pod for pod in pods if _map(pod, "status").get("phase") not in ("Failed", "Succeeded")]
    found = [cause for pod in living for cause in _of_pod(pod, events)]
    if not living:
        found += _of_job(job, events)
        found += [_lost(pod) for pod in pods[-1:]]
    return sorted(found, key=lambda cause: (cause.grace is None, cause.grace or 0.0))


def _of_pod(pod: Manifest, events: Sequence[Manifest]) -> Iterator[Cause]:
    status = _map(pod, "status")
    if _map(pod, "metadata").get("deletionTimestamp"):
        yield Cause("POD_RESCHEDULED", "The clone's pod is being moved.")
        return
    for condition in _maps(status, "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield Cause("UNSCHEDULABLE", _sentence("No node has room for the clone yet", condition))
    for container in [*_maps(status, "initContainerStatuses"), *_maps(status, "containerStatuses")]:
        cause = _of_container(container)
        if cause:
            yield cause
    uid = _map(pod, "metadata").get("uid")
    for event in events:
        if event.get("reason") not in ("FailedMount", "FailedAttachVolume") or _map(event, "involvedObject").get("uid") != uid:
            continue
        if _NO_SECRET.search(str(event.get("message", ""))):
            # Nothing makes it anew: it came before the pod, and somebody took it away.
            yield Cause("SECRET_MISSING", _sentence("What the clone's pod needs has gone", event), 15)
        else:
            yield Cause("VOLUME_NOT_READY", _sentence("The clone's volume cannot be mounted yet", event))


def _of_container(container: Mapping[str, Any]) -> Cause | None:
    name, restarts = str(container.get("name", "")), int(container.get("restartCount") or 0)
    waiting = _map(_map(container, "state"), "waiting")
    reason, image = str(waiting.get("reason", "")), str(container.get("image", ""))
    if reason in ("InvalidImageName", "ErrImageNeverPull"):
        return Cause("IMAGE_INVALID", _sentence(f"The image {image} can never be used", waiting), 0)
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        hopeless = _HOPELESS_PULL.search(str(waiting.get("message", "")))
        # Seen twice: a registry may say so once while an image is being pushed.
        return Cause("IMAGE_NOT_PULLED", _sentence(f"The image {image} cannot be pulled", waiting), 10 if hopeless else None)
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return Cause("CONTAINER_NOT_CREATED", _sentence(f"The clone's container {name} cannot be created", waiting), 15)
    for place in ("state", "lastState"):
        end = _map(_map(container, place), "terminated")
        if not end or (restarts == 0 and place == "lastState"):
            continue
        grace = 0.0 if restarts >= CRASHES else None
        if end.get("reason") == "OOMKilled":
            return Cause("OUT_OF_MEMORY", f"The clone's container {name} needs more memory than its limit.", grace, name)
        if reason in _BETWEEN_CRASHES or place == "state":
            text = f"The clone's container {name} ended {restarts + (place == 'state')} times, last with {end.get('exitCode')}."
            return Cause("CONTAINER_CRASHES", text, grace, name)
    return None


def _of_job(job: Manifest, events: Sequence[Manifest]) -> Iterator[Cause]:
    uid = _map(job, "metadata").get("uid")
    for event in events:
        if event.get("reason") != "FailedCreate" or _map(event, "involvedObject").get("uid") != uid:
            continue
        text = str(event.get("message", ""))
        if "exceeded quota" in text:
            # The Job controller looks again after up to six minutes (k/k #88718).
            yield Cause("QUOTA_EXCEEDED", _sentence("The namespace's quota has no room for the clone yet", event))
        elif _REFUSED_POD.search(text):
            # A new namespace has no account for its pods yet; the Job controller asks again after seconds.
            grace = 30 if _NO_ACCOUNT.search(text) else 0
            yield Cause("POD_REFUSED", _sentence("The cluster refuses the clone's pod", event), grace)


def _lost(pod: Manifest) -> Cause:
    status = _map(pod, "status")
    return Cause("POD_RESCHEDULED", _sentence("The clone's pod was lost; another one takes its place", status))


def _sentence(start: str, said: Mapping[str, Any]) -> str:
    """`start`, and what Kubernetes says: one line, bounded, without the credentials a registry's address may carry."""
    text = " ".join(str(said.get("message") or said.get("reason") or "").split())
    text = _CREDENTIALS.sub("//", text)
    return f"{start}: {text[:_LONGEST].rstrip('.')}." if text else f"{start}."


def _map(thing: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = thing.get(name)
    return value if isinstance(value, Mapping) else {}


def _maps(thing: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = thing.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
