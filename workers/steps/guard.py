"""Give the clone its own wp-config and its guard, and serve it: harmless from the first request."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from workers.clone_agent import clone_agent
from workers.clone_databases import database_name
from workers.clone_records import CloneRecords
from workers.runtimes import Content, Place, Runtime, place_of
from workers.sources import Sources, is_admin_login
from workers.step import Done, StepContext
from workers.steps.preflight import Preflight, report_of
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Clone
from wpclone.core.secrets import derive
from wpclone.wordpress.guard import GuardSettings, guard_config, guard_files
from wpclone.wordpress.inspect import SiteReport, inspect
from wpclone.wordpress.wp_config import DatabaseLogin, Move, WithheldReport, WpConfig, generate_wp_config


@dataclass(frozen=True)
class GuardRoom:
    """What the step needs: `now` gives aware UTC; the banner's expiry is put right by `sync_expiry` once the store has set it."""

    runtime: Runtime
    records: CloneRecords
    now: Callable[[], datetime]


class Guard:
    """The step `guard`. Its effects go with the place, which `create_site` removes."""

    name = "guard"

    def __init__(self, sources: Sources, room: GuardRoom) -> None:
        self._sources = sources
        self._room = room

    async def do(self, context: StepContext) -> Done:
        """Facts: url, admin_login, which constants passed and which were withheld and why."""
        report = await self._report(context)
        clone = await self._room.records.get(context.clone_id)
        place = await place_of(self._room.runtime, context.clone_id)
        login = _admin(context, report)
        wp_config, constants = generate_wp_config(_wp_config(context, report, place, _kept(context)))
        settings = self._settings(context, clone, place, login, source_path=urlsplit(report.home).path.rstrip("/"))
        guard = {**guard_files(), **clone_agent(settings.key), "config.json": guard_config(settings)}
        place = await self._room.runtime.expose(
            context.clone_id, Content(wp_config, guard), lambda sentence: context.report(0.1, sentence or "Handing over the copy")
        )
        withheld = dict(report.withheld) | {name: str(why) for name, why in constants.withheld.items()}
        return Done({"url": place.url, "admin_login": login, "egress": place.egress, **_constants(constants, withheld)})

    async def undo(self, context: StepContext) -> None:
        """Nothing is left once the place has gone."""

    async def _report(self, context: StepContext) -> SiteReport:
        """The preflight's report; asked anew only for constants whose values must not lie in facts."""
        keep = _kept(context)
        if not keep:
            return report_of(context.facts[Preflight.name])
        async with self._sources.agent(context) as agent:
            return await inspect(agent, keep_constants=keep)

    def _settings(self, context: StepContext, clone: Clone, place: Place, login: str, *, source_path: str) -> GuardSettings:
        key = self._room.records.guard_key(clone)
        return GuardSettings(
            clone_id=clone.clone_id, url=place.url, expires_at=self._room.now() + clone.ttl, admin_login=login,
            password=context.secrets.admin_password, salt=derive(key, "password-salt")[:16], key=key, state_dir=place.guard_state,
            source_path=source_path,
        )  # fmt: skip


def _kept(context: StepContext) -> Collection[str]:
    return frozenset(context.job.request.get("keep_constants") or ())


def _admin(context: StepContext, report: SiteReport) -> str:
    """Whom the owner signs in as: the administrator they gave us, else the site's first."""
    given = context.secrets.source.get("username") if is_admin_login(context) else None
    if given in report.administrators:
        return str(given)
    if not report.administrators:
        raise Fatal("NO_ADMINISTRATOR", "The site has no administrator to sign in to its copy as.")
    return report.administrators[0]


def _wp_config(context: StepContext, report: SiteReport, place: Place, keep: Collection[str]) -> WpConfig:
    name = database_name(context.clone_id)
    return WpConfig(
        database=DatabaseLogin(
            host=place.database_host, port=place.database_port, name=name, user=name, password=context.secrets.database_password,
            charset=report.client_charset, collate=report.client_collation,
        ),
        prefix=report.table_prefix,
        home=place.url,
        site_url=place.url,
        random=context.secrets.salts,
        constants=dict(report.constants),
        keep_constants=keep,
        move=Move(report.abspath, place.docroot, report.siteurl, place.url),
    )  # fmt: skip


def _constants(report: WithheldReport, withheld: dict[str, str]) -> dict[str, Any]:
    return {"passed_constants": list(report.passed), "withheld_constants": withheld}
