"""Settings from the environment, prefix `WPCLONE_`, frozen. Wrong values are all reported together.

Only composition roots read them: `read(ServerSettings)`. Addresses that hold passwords are `SecretStr`, so that no log and no
`repr` shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wpclone.core.jobs.errors import WpcloneError

PREFIX = "WPCLONE_"
Runtime = Literal["local", "kubernetes"]
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
"""host:port; IPv6 in brackets."""


class SettingsWrong(WpcloneError):
    """Some settings are missing or wrong."""

    reason = "SETTINGS_WRONG"


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)


class StoreSettings(_Settings):
    """The job store."""

    database_url: SecretStr = Field(description="mysql+aiomysql://user:password@host:port/database")
    database_pool: int = Field(10, ge=1, le=200, description="connections kept to the job store")
    database_timeout: float = Field(5.0, gt=0, le=60, description="seconds one call to the job store may take")
    require_durable: bool = Field(True, description="refuse to start unless MySQL syncs every commit")

    @field_validator("database_url")
    @classmethod
    def _names_the_driver(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith("mysql+aiomysql://"):
            raise ValueError("must start with mysql+aiomysql://")
        return url


class BusSettings(_Settings):
    """The message bus."""

    nats_url: SecretStr = Field(description="nats://token@host:port")

    @field_validator("nats_url")
    @classmethod
    def _is_nats(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("nats://", "tls://")):
            raise ValueError("must start with nats:// or tls://")
        return url


class SecretSettings(_Settings):
    """Keys for what is encrypted at rest."""

    key_ring_file: Path = Field(description="the key ring, a JSON file of mode 0600")


class ServerSettings(StoreSettings, BusSettings, SecretSettings):
    """The edge: `python -m server`."""

    grpc_address: Address = Field("127.0.0.1:50051", description="where gRPC listens")
    metrics_address: Address = Field("127.0.0.1:9464", description="where Prometheus scrapes")
    min_ttl_minutes: int = Field(5, ge=1, description="the shortest life of a clone one may ask for, in minutes")
    max_ttl_minutes: int = Field(1440, ge=1, description="the longest, in minutes")
    default_ttl_minutes: int = Field(60, ge=1, description="the life of a clone when none is asked for, in minutes")
    runtime: Runtime = Field("local", description="where clones live")
    watches_each: int = Field(2000, ge=1, description="watches and waits one customer may have open at this server")
    drain_seconds: float = Field(20.0, ge=0, description="how long calls may go on after SIGTERM")

    @model_validator(mode="after")
    def _lives_are_ordered(self) -> ServerSettings:
        if not self.min_ttl_minutes <= self.default_ttl_minutes <= self.max_ttl_minutes:
            raise ValueError("min_ttl_minutes <= default_ttl_minutes <= max_ttl_minutes must hold")
        return self


class WorkerSettings(StoreSettings, BusSettings, SecretSettings):
    """The doing: `python -m workers`."""

    runtime: Runtime = Field("local", description="where clones live")
    keeper_socket: Path | None = Field(None, description="the unix socket of the keeper; needed by the local runtime")
    clones_database_url: SecretStr = Field(description="mysql://admin:password@host:port/, may create databases and users")
    worker_slots: int = Field(8, ge=1, le=500, description="jobs this worker runs at once")
    worker_name: str = Field("", description="who claims belong to; made from host and pid when empty")
    metrics_address: Address = Field("127.0.0.1:9465", description="where Prometheus scrapes")
    allow_private_sources: bool = Field(False, description="let source URLs lead to private addresses")
    allow_source_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated hosts that may be private although others may not"
    )
    work_dir: Path = Field(description="staging for content on its way")
    max_site_bytes: int = Field(20 * 1024**3, ge=1, description="the largest site that is copied, files and rows, in bytes")
    drain_seconds: float = Field(20.0, ge=0, description="how long a step may go on after SIGTERM")

    @field_validator("allow_source_hosts", mode="before")
    @classmethod
    def _splits_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @model_validator(mode="after")
    def _local_needs_a_keeper(self) -> WorkerSettings:
        if self.runtime == "local" and self.keeper_socket is None:
            raise ValueError(f"{PREFIX}KEEPER_SOCKET is needed by {PREFIX}RUNTIME=local")
        return self


S = TypeVar("S", bound=BaseSettings)


def read(kind: type[S]) -> S:
    """The settings of this process's environment. Raises SettingsWrong, one line for each wrong variable, no values."""
    try:
        return kind()
    except ValidationError as e:
        raise SettingsWrong("\n".join(_line(error["loc"], error["msg"]) for error in e.errors(include_input=False))) from None


def _line(place: tuple[int | str, ...], message: str) -> str:
    name = PREFIX + str(place[0]).upper() if place else "settings"
    return f"{name}: {message}"
