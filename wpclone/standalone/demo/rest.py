"""The same job over REST through Envoy: asked for with one POST, watched as newline-delimited JSON."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from wpclone.standalone.demo.checks import Findings

_SILENCE = 60.0
"""Seconds without a byte: a watch says something at least every 15 s."""

_TERMINAL = {"completed", "failed", "cancelled"}


def clone_over_rest(
    findings: Findings, say: Callable[[str], None], client: Mapping[str, str], source: Mapping[str, str]
) -> dict[str, Any]:
    """Ask for a clone, watch its job to the end, and return the job as GET shows it."""
    status, headers, job = _call(client, "POST", "/api/v2/clone", source)
    accepted = status == 202 and job.get("status") == "pending" and headers.get("location") == f"/api/v2/jobs/{job.get('job_id')}"
    if not findings.check("POST /api/v2/clone answers 202 with the job and its Location", accepted, f"{status} {job}"):
        return job
    say(f"  POST /api/v2/clone → {job['job_id']}")
    seen = _watch(client, job["job_id"], say)
    revisions = [view["revision"] for view in seen]
    progress = [view["progress"] for view in seen]
    findings.check(
        "GET …/watch shows each revision once or again, never an older one", revisions == sorted(revisions), f"{revisions}"
    )
    findings.check("its progress never falls", progress == sorted(progress), f"{progress}")
    findings.check("its last line is the completed job", bool(seen) and seen[-1]["status"] == "completed", f"{seen[-1:]}")
    _, _, job = _call(client, "GET", f"/api/v2/jobs/{job['job_id']}")
    return job


def _watch(client: Mapping[str, str], job_id: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    connection = _connection(client)
    seen: list[dict[str, Any]] = []
    try:
        connection.request("GET", f"/api/v2/jobs/{job_id}/watch", headers=_headers(client))
        with connection.getresponse() as response:
            for line in response:
                job = json.loads(line).get("job", {})
                if not seen or job["revision"] != seen[-1]["revision"]:
                    say(f"  {job['progress']:>3} %  {job['status']:<9} {job['status_message']}")
                seen.append(job)
                if job["status"] in _TERMINAL:
                    break
    finally:
        connection.close()
    return seen


def _call(
    client: Mapping[str, str], method: str, path: str, body: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], dict[str, Any]]:
    connection = _connection(client)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), _headers(client))
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.headers.items()}
        answer: dict[str, Any] = json.loads(response.read() or b"{}")
        return response.status, headers, answer
    finally:
        connection.close()


def _connection(client: Mapping[str, str]) -> http.client.HTTPConnection:
    address = urlsplit(client["rest"])
    return http.client.HTTPConnection(str(address.hostname), address.port, timeout=_SILENCE)


def _headers(client: Mapping[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {client['token']}", "Content-Type": "application/json"}
