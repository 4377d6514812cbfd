"""What may leave the process: log lines without secrets, and metrics with bounded labels."""

import io
import json
import logging
import urllib.request
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.support.places import free_port
from wpclone.core import logs
from wpclone.core.metrics import Metrics, serve


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure("worker", stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def test_an_event_is_one_json_object_with_its_fields(lines: io.StringIO) -> None:
    structlog.get_logger().info("job.claimed", job_id="clone-1", worker="w1")
    event = json.loads(lines.getvalue())
    assert (event["event"], event["job_id"], event["worker"], event["service"], event["level"]) == (
        "job.claimed", "clone-1", "w1", "worker", "info",
    )  # fmt: skip


def test_secrets_are_blotted_out_at_any_depth(lines: io.StringIO) -> None:
    structlog.get_logger().warning(
        "x", admin_password="hunter2", agent_key="hunter2", inner={"token": "hunter2", "list": [{"seed": "hunter2"}]},
        url="mysql://root:hunter2@127.0.0.1/db", keyboard="fine",
    )  # fmt: skip
    assert "hunter2" not in lines.getvalue()
    assert "fine" in lines.getvalue()


def test_libraries_speak_json_too(lines: io.StringIO) -> None:
    logging.getLogger("nats").warning("lost nats://hunter2@host")
    assert json.loads(lines.getvalue())["level"] == "warning"
    assert "hunter2" not in lines.getvalue()


def test_metrics_are_served_and_no_label_is_an_id() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.tasks.labels(kind="clone", status="completed").inc()
    address = f"127.0.0.1:{free_port()}"
    stop = serve(metrics.registry, address)
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        stop()
    assert 'clone_tasks_total{kind="clone",status="completed"} 1.0' in text
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert labels <= {"kind", "status", "step", "method", "code", "reason"}
