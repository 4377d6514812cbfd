"""From CreateRestore's request to what core is asked for. Everything wrong is told at once, as InvalidRequest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.site_access import Source, spelled_source, spelled_target
from server.translate import read_clone_id, read_customer_id, read_request_id
from server.violations import Violations
from wpclone.core.jobs.errors import InvalidRequest
from wpclone.core.jobs.site_key import site_key
from wpclone.v1 import clone_service_pb2 as v1
from wpclone.v2 import clone_service_pb2

MOST_NAMES = 100
MOST_TABLES = 200
POLICIES = ("abort", "keep_target", "take_clone")
"""What may become of a row that both sides changed; the workers' `merge.decide.Policy` has the same words."""

_NAME = re.compile(r"[^\x00-\x1f/\\]{1,255}")
_TABLE = re.compile(r"[^\x00-\x1f`/\\.]{1,64}")
_PATH = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\x00-\x1f\\]{1,512}")


@dataclass(frozen=True)
class RestoreAsk:
    """A restore that is asked for. `customer_id` is empty when the token, or the clone, decides; `source` is None for a clone."""

    request_id: str
    customer_id: str
    clone_id: str
    source: Source | None
    target: Source
    preserve_plugins: bool
    preserve_themes: bool
    preserve: tuple[str, ...]
    tables: tuple[str, ...]
    paths: tuple[str, ...]
    conflict_policy: str
    dry_run: bool

    def choices(self) -> dict[str, Any]:
        """What a job's request keeps of it, besides the sites."""
        return {
            "preserve_plugins": self.preserve_plugins,
            "preserve_themes": self.preserve_themes,
            "preserve": list(self.preserve),
            "tables": list(self.tables),
            "paths": list(self.paths),
            "conflict_policy": self.conflict_policy,
            **({"dry_run": True} if self.dry_run else {}),
        }


def restore_ask(request: clone_service_pb2.CreateRestoreRequest) -> RestoreAsk:
    """What CreateRestore asks for. Raises InvalidRequest."""
    wrong = Violations()
    policy = request.conflict_policy or "keep_target"
    wrong.read_word("conflict_policy", policy, dict.fromkeys(POLICIES, True))
    target = spelled_target(request).read(wrong)
    source = _source(wrong, request)
    ask = RestoreAsk(
        request_id=read_request_id(wrong, request.request_id),
        customer_id=read_customer_id(wrong, request.customer_id),
        clone_id=read_clone_id(wrong, request.clone_id) if request.clone_id else "",
        source=source,
        target=target,
        preserve_plugins=request.preserve_plugins if request.HasField("preserve_plugins") else True,
        preserve_themes=request.preserve_themes,
        preserve=_names(wrong, "preserve", request.preserve, _NAME, MOST_NAMES, "the name of a plugin's or theme's directory"),
        tables=_names(wrong, "tables", request.tables, _TABLE, MOST_TABLES, "the name of a table"),
        paths=_names(wrong, "paths", request.paths, _PATH, MOST_NAMES, "a glob of paths from the docroot on, without .."),
        conflict_policy=policy,
        dry_run=request.dry_run,
    )
    if source is not None and _is_same(source.url, target.url):
        wrong.add("target", "must be another site than the source: a restore onto itself changes nothing")
    wrong.check()
    return ask


def older_restore_ask(request: v1.RestoreRequest) -> RestoreAsk:
    """What v1's Restore asks for. Raises InvalidRequest."""
    names = {field.name for field in v1.RestoreRequest.DESCRIPTOR.fields} - {"async_mode", "preserve_plugins"}
    newer = clone_service_pb2.CreateRestoreRequest(**{name: getattr(request, name) for name in names})
    if request.HasField("preserve_plugins"):
        newer.preserve_plugins = request.preserve_plugins
    try:
        return restore_ask(newer)
    except InvalidRequest as error:
        flat = {"source": "source_url", "target": "target_url"}
        told = [replace(one, field=flat.get(one.field, one.field)) for one in error.violations]
        raise InvalidRequest(told) from None


def restore_and_request_id(
    request: clone_service_pb2.RollbackRestoreRequest | clone_service_pb2.ReleaseRestoreRequest,
) -> tuple[str, str]:
    """Which restore, and the request id. Raises InvalidRequest."""
    wrong = Violations()
    like = "the id of a restore job: restore- and 12 hexadecimal digits"
    ids = wrong.read_match("job_id", request.job_id, _RESTORE_ID, like=like), read_request_id(wrong, request.request_id)
    wrong.check()
    return ids


_RESTORE_ID = re.compile(r"restore-[0-9a-f]{12}")


def _source(wrong: Violations, request: clone_service_pb2.CreateRestoreRequest) -> Source | None:
    spelled = spelled_source(request)
    if request.clone_id and spelled.is_given:
        wrong.add("source", "must not be given together with clone_id")
    if request.clone_id:
        return None
    if not spelled.is_given:
        wrong.add("clone_id", "is needed, or a source: where the content comes from")
        return None
    return spelled.read(wrong)


def _names(
    wrong: Violations, field: str, values: Sequence[str], pattern: re.Pattern[str], most: int, like: str
) -> tuple[str, ...]:
    return wrong.read_set(field, values, pattern, most=most, entries="entries", like=like)


def _is_same(one: str, other: str) -> bool:
    try:
        return bool(one) and site_key(one) == site_key(other)
    except ValueError:
        return False  # told already, as a malformed URL
