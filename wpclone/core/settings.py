"""Settings from the environment, prefix `WPCLONE_`, frozen. Wrong values are all reported together.

Only composition roots read them: `read(ServerSettings)`. Addresses that hold passwords are `SecretStr`, so that no log and no
`repr` shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wpclone.core.jobs.errors import WpcloneError

PREFIX = "WPCLONE_"
Runtime = Literal["local", "kubernetes"]
Sweeping = Literal["report", "known", "all"]
"""Which orphans a sweep removes."""
LARGEST_PORT = 65535


def _has_a_port(address: str) -> str:
    if int(address.rpartition(":")[2]) > LARGEST_PORT:
        raise ValueError(f"must have a port of at most {LARGEST_PORT}")
    return address


Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$"), AfterValidator(_has_a_port)]
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
    def _is_one_the_driver_takes(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith("mysql+aiomysql://"):
            raise ValueError("must start with mysql+aiomysql://")
        host = url.get_secret_value().partition("://")[2].rpartition("@")[2]  # the driver takes a password with any of :/?#
        try:
            urlsplit(f"//{host}").port  # noqa: B018 -- urlsplit checks the port when it is read
        except ValueError:
            raise ValueError(f"must have a port of at most {LARGEST_PORT}") from None
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
    clones_user_host: str = Field("127.0.0.1", description="where clones connect from, as MySQL accounts name it; % for pods")
    worker_slots: int = Field(8, ge=1, le=500, description="jobs this worker runs at once")
    worker_name: str = Field("", description="who claims belong to; made from host and pid when empty")
    metrics_address: Address = Field("127.0.0.1:9465", description="where Prometheus scrapes")
    allow_private_sources: bool = Field(False, description="let source URLs lead to private addresses")
    allow_source_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated hosts that may be private although others may not"
    )
    work_dir: Path = Field(description="staging for content on its way")
    max_site_bytes: int = Field(20 * 1024**3, ge=1, description="the largest site that is copied, files and rows, in bytes")
    agent_slug: str = Field(
        "",
        pattern=r"^(wpclone-agent[a-z0-9-]{0,40})?$",
        description="the keyless agent in WordPress's plugin directory, if it is there",
    )
    rollback_hours: float = Field(72.0, gt=0, le=720, description="hours that a restore's old content is kept at its target")
    drain_seconds: float = Field(20.0, ge=0, description="how long a step may go on after SIGTERM")
    sweep: Sweeping = Field("known", description="orphans that are removed: none, those a record names, or all; others are told")

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


class KubernetesSettings(BaseSettings):
    """The kubernetes runtime of a worker; read only when WPCLONE_RUNTIME is `kubernetes`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "KUBERNETES_", frozen=True, extra="ignore", hide_input_in_errors=True)

    kubeconfig: Path | None = Field(None, description="a kubeconfig file; without it, the cluster the worker runs in")
    namespace: str = Field("clones", description="the namespace of all clones, and of nothing else")
    worker_namespace: str = Field("wpclone", description="the namespace whose pods may hand files to clones")
    image: str = Field(min_length=1, description="the clone image, best by digest")
    host_suffix: str = Field(min_length=1, description="clones answer at <clone id>.<host suffix>")
    scheme: Literal["http", "https"] = Field("https", description="of the clones' addresses")
    public_port: int = Field(0, ge=0, le=65535, description="in the clones' addresses; 0 for the scheme's own")
    route: Literal["gateway", "ingress"] = Field("gateway", description="HTTPRoute objects, or Ingress objects")
    gateway: str = Field("gateway/clones", pattern=r"^[a-z0-9-]+/[a-z0-9-]+$", description="namespace/name of the shared Gateway")
    ingress_class: str = Field("", description="for Ingress objects")
    database_host: str = Field("", description="the clones' MySQL as pods reach it; from WPCLONE_CLONES_DATABASE_URL when empty")
    database_cidr: str = Field(pattern=r"^[0-9a-fA-F.:]+/\d{1,3}$", description="the only network clones may reach")
    storage: str = Field("10Gi", description="the size of a clone's volume")
    storage_class: str = Field("", description="of its volume; empty for the cluster's default")
    cpu_request: str = Field("100m", description="what the scheduler reserves for WordPress")
    cpu: str = Field("1", description="WordPress's limit")
    memory_request: str = Field("256Mi", description="what the scheduler reserves for WordPress")
    memory: str = Field("768Mi", description="WordPress's limit")
    setup_seconds: int = Field(43200, ge=600, description="the Job's deadline until the clone is ready")
    pod_seconds: float = Field(240.0, gt=0, le=280, description="how long one attempt waits for a pod")
    enforces_network_policy: bool = Field(False, description="whether the cluster's network plugin enforces NetworkPolicies")


S = TypeVar("S", bound=BaseSettings)


def read(kind: type[S]) -> S:
    """The settings of this process's environment. Raises SettingsWrong, one line for each wrong variable, no values."""
    try:
        return kind()
    except ValidationError as e:
        raise SettingsWrong(
            "\n".join(_line(kind, error["loc"], error["msg"]) for error in e.errors(include_input=False))
        ) from None


def _line(kind: type[BaseSettings], place: tuple[int | str, ...], message: str) -> str:
    name = str(kind.model_config.get("env_prefix")) + str(place[0]).upper() if place else "settings"
    return f"{name}: {message}"
