"""The options that several commands share, each with its one spelling, help text and environment variable."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How data is written to stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class Progress(StrEnum):
    """How a watched job is shown on stderr; `auto` is a bar on a terminal and plain lines elsewhere."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    NONE = "none"


Server = Annotated[
    str | None,
    typer.Option("--server", help="host:port, or https://host for TLS. Else WPCLONE_SERVER, else what `wpclone up` started."),
]
Token = Annotated[str | None, typer.Option("--token", help="Bearer token. Better: WPCLONE_TOKEN, which no process list shows.")]
Output = Annotated[Format, typer.Option("-o", "--output", help="json: the REST body. jsonl: one JSON object a line.")]
Show = Annotated[Progress, typer.Option("--progress", envvar="WPCLONE_PROGRESS", help="How progress is shown on stderr.")]
Watch = Annotated[bool, typer.Option("--watch/--no-watch", help="Follow the job to its end, or only ask for it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to list, newest first.")]
JobId = Annotated[str, typer.Argument(metavar="JOB_ID")]
AfterRevision = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Show only what is newer.")]
CloneId = Annotated[str, typer.Argument(metavar="CLONE_ID")]

LONGEST_SPAN = timedelta(days=3650)
"""Far beyond what any service allows, and short enough for every sum of times to be a time."""

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def span(text: str) -> timedelta:
    """`90` (minutes), `90m`, `2h`, `1h30m`, `45s`, `1d`. Raises typer.BadParameter."""
    match = _SPAN.fullmatch(f"{text}m" if text.isdecimal() else text)
    if match is None or not any(match.groups()):
        raise typer.BadParameter(f"{text!r} is not a time span; write 90m, 2h or 1h30m")
    try:
        days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
        asked = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (OverflowError, ValueError):  # ValueError: too many digits for int()
        asked = timedelta.max
    if asked > LONGEST_SPAN:
        raise typer.BadParameter(f"a time span is at most {LONGEST_SPAN.days}d")
    return asked
