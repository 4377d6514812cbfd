"""What is asked for when clones are created: requests made from options, or from a file with one request a line.

A line of the file is the JSON body of `POST /api/v2/clone`, so that whoever has one has the other. Lines that are empty or
start with `#` are skipped.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from google.protobuf.json_format import ParseDict, ParseError

from wpclone.cli.complaint import Trouble
from wpclone.cli.exits import Exit
from wpclone.v2.clone_service_pb2 import CreateCloneRequest
from wpclone.v2.site_pb2 import SourceSite


@dataclass(frozen=True)
class Content:
    """What of the source is copied: constants kept, paths and tables left out; with `dry_run` nothing, the service only looks."""

    keep_constants: Sequence[str] = ()
    exclude_paths: Sequence[str] = ()
    exclude_tables: Sequence[str] = ()
    dry_run: bool = False


def order(source: SourceSite, content: Content) -> CreateCloneRequest:
    """One request."""
    return CreateCloneRequest(
        source=source, keep_constants=content.keep_constants, exclude_paths=content.exclude_paths,
        exclude_tables=content.exclude_tables, dry_run=content.dry_run,
    )  # fmt: skip


def copies(request: CreateCloneRequest, count: int) -> list[CreateCloneRequest]:
    """The same request `count` times, each its own message."""
    made = [CreateCloneRequest() for _ in range(count)]
    for copy in made:
        copy.CopyFrom(request)
    return made


def orders_of_file(path: Path) -> list[CreateCloneRequest]:
    """The requests of a file (`-` is stdin). Raises Trouble, which names the lines but not their content."""
    requests: list[CreateCloneRequest] = []
    complaints: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                requests.append(_request(line))
            except ValueError as error:
                complaints.append(f"line {number}: {error}")
    if complaints:
        raise Trouble(Exit.USAGE, f"{path} cannot be used; nothing was asked for", hints=tuple(complaints))
    if not requests:
        raise Trouble(Exit.USAGE, f"{path} names no clones")
    return requests


def finished(
    requests: Sequence[CreateCloneRequest], *, ttl: timedelta | None, request_id: str | None, priority: str = ""
) -> list[CreateCloneRequest]:
    """The requests with what the options say about all of them: a life and a priority where none is named, and ids that tell them
    apart."""
    for number, request in enumerate(requests, start=1):
        if ttl is not None and not request.HasField("ttl_minutes"):
            request.ttl_minutes = math.ceil(ttl / timedelta(minutes=1))
        request.priority = request.priority or priority
        if request_id is not None and not request.request_id:
            request.request_id = request_id if len(requests) == 1 else f"{request_id}-{number}"
    return list(requests)


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(Exit.USAGE, f"{path} cannot be read: {error}") from error


def _request(line: str) -> CreateCloneRequest:
    """One line's request. Raises ValueError with a sentence that repeats no value: one of them is a password."""
    try:
        content = json.loads(line)
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")
    unknown = sorted(set(content) - set(CreateCloneRequest.DESCRIPTOR.fields_by_name))
    if unknown:
        raise ValueError(f"has unknown fields: {', '.join(unknown)}")
    try:
        return ParseDict(content, CreateCloneRequest())
    except ParseError:
        raise ValueError("has a field of the wrong type") from None
