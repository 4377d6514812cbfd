"""Messages as text for stdout: a table or pairs for people, JSON for programs. JSON is the REST body, field for field."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from wpclone.cli import table
from wpclone.cli.options import Format
from wpclone.cli.restore_rendering import restore_pairs
from wpclone.v2 import clone_pb2, job_pb2

M = TypeVar("M", bound=Message)


def print_one(message: M, output: Format, text: Callable[[M], str]) -> None:
    """One message: `text` of it, or its JSON (indented, or on one line for jsonl)."""
    if output is Format.TABLE:
        write(text(message))
    else:
        write(json.dumps(body(message), ensure_ascii=False, indent=2 if output is Format.JSON else None))


def print_many(messages: Sequence[M], output: Format, header: Sequence[str], row: Callable[[M], Sequence[str]]) -> None:
    """A table with a header, a JSON array, or one JSON object a line."""
    if output is Format.TABLE:
        write(table.columns(header, [row(message) for message in messages]))
    elif output is Format.JSON:
        write(json.dumps([body(message) for message in messages], ensure_ascii=False, indent=2))
    else:
        for message in messages:
            print_line(message)


def print_line(message: Message) -> None:
    """One JSON object on a line of its own, at once."""
    write(json.dumps(body(message), ensure_ascii=False))


def body(message: Message) -> dict[str, object]:
    """The message as the REST API shows it: proto names, numbers and words always, unset messages and optionals never."""
    shown: dict[str, object] = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return shown


def write(text: str) -> None:
    """A line of data on stdout, flushed: whoever reads the pipe acts on it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


JOB_HEADER = ("JOB", "STATUS", "PROGRESS", "CREATED", "MESSAGE")
CLONE_HEADER = ("CLONE", "STATUS", "EXPIRES", "URL", "SOURCE")


def job_row(job: job_pb2.Job) -> tuple[str, ...]:
    """A job in a list."""
    said = job.error if job.status == "failed" else job.status_message
    return job.job_id, job.status, f"{job.progress} %", moment(job.created_at), said


def clone_row(clone: clone_pb2.Clone) -> tuple[str, ...]:
    """A clone in a list."""
    expires = moment(clone.expires_at) if clone.HasField("expires_at") else ""
    return clone.clone_id, clone.status, expires, clone.clone_url, clone.source_url


def job_text(job: job_pb2.Job) -> str:
    """A job for people: how it is, what came of it or why it failed, and its steps."""
    head = table.pairs([
        ("job", job.job_id),
        ("status", f"{job.status}, {job.progress} %" + (", cancel requested" if job.HasField("cancel_requested_at") else "")),
        ("message", "" if job.status in ("completed", "failed") else job.status_message),
        ("error", job.error),
        ("reason", job.error_detail.reason),
        ("attention", "something could not be undone" if job.needs_attention else ""),
        ("created", moment(job.created_at)),
        ("took", _took(job)),
        ("retry of", job.retry_of),
        ("priority", job.priority if job.priority != "normal" else ""),
        *(result_pairs(job.result) if job.HasField("result") else ()),
    ])  # fmt: skip
    if not job.steps:
        return head
    return head + "\n\n" + table.columns(("STEP", "STATUS", "ATTEMPTS", "SECONDS", "ERROR"), [_step_row(s) for s in job.steps])


def result_pairs(result: job_pb2.JobResult) -> list[tuple[str, str]]:
    """What came of a job."""
    if result.HasField("target_url"):
        return restore_pairs(result)
    if "dry_run" in result.report:
        return _dry_run_pairs(result)
    copied = f"{result.rows} rows, {result.files} files, {table.amount(result.bytes)} in {result.copy_seconds:.1f} s"
    return [
        ("url", result.clone_url),
        ("username", result.username),
        ("password", result.password),
        ("expires", moment(result.expires_at) if result.HasField("expires_at") else ""),
        ("copied", copied if result.HasField("rows") else ""),
        *_rewrite_pairs(result),
        ("consistency", result.consistency),
        ("egress", result.egress),
    ]


def _rewrite_pairs(result: job_pb2.JobResult) -> list[tuple[str, str]]:
    """What moving the addresses did; nothing for a job of a version that did not tell."""
    done: dict[str, Any] = MessageToDict(result.report).get("rewrite", {})
    if "seen" not in done:
        return []
    changed = sum(done["changed"].values())
    return [
        ("rewritten", f"{done['rewritten']:.0f} addresses, in {changed:.0f} of {done['seen']:.0f} values"),
        ("left", ", ".join(f"{reason} {count:.0f}" for reason, count in sorted(done["left"].items()))),
    ]


def _dry_run_pairs(result: job_pb2.JobResult) -> list[tuple[str, str]]:
    """What a clone would be."""
    report: dict[str, Any] = MessageToDict(result.report)
    source, room = report["source"], report["room"]
    return [
        ("would copy", f"about {result.rows} rows, {result.files} files, {table.amount(result.bytes)}"),
        ("needs", f"{table.amount(int(room['needed_bytes']))} of {table.amount(int(room['free_bytes']))} free"),
        ("source", f"WordPress {source['wp_version']}, PHP {source['php_version']}, database {source['db_version']}"),
        *(("excludes", f"{one['glob']}: {one['count']:.0f}, {table.amount(int(one['bytes']))}") for one in report["excluded"]),
        ("leaves out", f"{len(report['left_out_tables'])} tables, {report['left_out_files_count']:.0f} files and directories"),
        ("withholds", ", ".join(report["withheld_constants"])),
        *(("refused", f"{one['reason']}: {one['message']}") for one in report["refusals"]),
    ]


def clone_text(clone: clone_pb2.Clone) -> str:
    """A clone for people."""
    return table.pairs([
        ("clone", clone.clone_id),
        ("status", clone.status),
        ("url", clone.clone_url),
        ("username", clone.username),
        ("source", clone.source_url),
        ("created", moment(clone.created_at)),
        ("expires", moment(clone.expires_at) if clone.HasField("expires_at") else ""),
        ("runtime", clone.runtime),
    ])  # fmt: skip


def moment(at: Timestamp) -> str:
    """A message's time to the second."""
    return table.moment(at.ToDatetime(tzinfo=UTC))


def _took(job: job_pb2.Job) -> str:
    return table.duration(_span(job.created_at, job.completed_at)) if job.HasField("completed_at") else ""


def _span(start: Timestamp, end: Timestamp) -> timedelta:
    first: datetime = start.ToDatetime()
    last: datetime = end.ToDatetime()
    return last - first


def _step_row(step: job_pb2.Step) -> tuple[str, ...]:
    is_timed = step.HasField("started_at") and step.HasField("finished_at")
    seconds = f"{_span(step.started_at, step.finished_at).total_seconds():.1f}" if is_timed else ""
    return step.name, step.status, str(step.attempts), seconds, step.error
