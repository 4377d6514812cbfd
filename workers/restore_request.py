"""What a restore job was asked for, and which tables that means: one reading for all of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.merge.decide import Policy
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Job
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.preserve import NEVER_MERGED, stays_at_target, table_class
from wpclone.wordpress.restore.file_plan import FileChoice
from wpclone.wordpress.restore.report import TargetReport


@dataclass(frozen=True)
class RestoreRequest:
    """A restore's choices. `tables` and `paths` limit it; when only one of them is given, nothing of the other kind travels.

    `preserve`: names of single plugins and themes that stay the target's.
    """

    preserve_plugins: bool
    preserve_themes: bool
    preserve: tuple[str, ...]
    tables: tuple[str, ...]
    paths: tuple[str, ...]
    policy: Policy
    is_dry_run: bool

    @classmethod
    def of(cls, job: Job) -> RestoreRequest:
        """As the job's request says it."""
        asked: Mapping[str, Any] = job.request
        return cls(
            bool(asked.get("preserve_plugins", True)), bool(asked.get("preserve_themes", False)),
            tuple(asked.get("preserve", ())), tuple(asked.get("tables", ())), tuple(asked.get("paths", ())),
            Policy(asked.get("conflict_policy", Policy.KEEP_TARGET)), bool(asked.get("dry_run")),
        )  # fmt: skip

    @property
    def takes_files(self) -> bool:
        """Whether any file travels."""
        return bool(self.paths) or not self.tables

    def choice(self, target: TargetReport) -> FileChoice:
        """What of the files is wanted."""
        plugins = tuple(name for name in self.preserve if name in target.plugins)
        themes = tuple(name for name in self.preserve if name in target.themes)
        return FileChoice(self.preserve_plugins, self.preserve_themes, plugins, themes, self.paths)

    def refuse_unknown_names(self, target: TargetReport) -> None:
        """Raise Fatal(PRESERVE_UNKNOWN) for a name to preserve that the target does not have."""
        there = {*target.plugins, *target.themes}
        unknown = [name for name in self.preserve if name not in there]
        if unknown:
            sentence = f"preserve: the target has no plugin or theme {unknown[0]}; name only ones that are there."
            raise Fatal("PRESERVE_UNKNOWN", sentence, metadata={"field": "preserve", "name": unknown[0]})

    def chosen(self, source: SiteReport) -> list[str]:
        """The tables that may travel, prefixes removed: those named, else those whose content is the site's and no customer's.

        Raises Fatal(TABLE_UNKNOWN) for a name the source does not have, or that never travels.
        """
        prefix = source.table_prefix
        there = [table.name.removeprefix(prefix) for table in source.tables]
        if self.tables:
            return _named(self.tables, there, prefix)
        if self.paths:
            return []
        return [name for name in there if not stays_at_target(table_class(name, ""))]


def _named(wanted: Sequence[str], there: Sequence[str], prefix: str) -> list[str]:
    found: list[str] = []
    for name in wanted:
        bare = name if name in there else name.removeprefix(prefix)
        if bare not in there:
            sentence = f"tables: the source has no table {name}; name only tables that are there."
            raise Fatal("TABLE_UNKNOWN", sentence, metadata={"field": "tables", "table": name})
        if table_class(bare, "") in NEVER_MERGED:
            sentence = f"tables: {name} is the target's own business (sessions, queues, logs, security) and never restored."
            raise Fatal("TABLE_UNKNOWN", sentence, metadata={"field": "tables", "table": name})
        found.append(bare)
    return list(dict.fromkeys(found))
