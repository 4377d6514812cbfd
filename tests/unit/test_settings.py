"""Settings from the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from wpclone.core.settings import KubernetesSettings, ServerSettings, SettingsWrong, StoreSettings, WorkerSettings, read

GOOD = {
    "WPCLONE_DATABASE_URL": "mysql+aiomysql://u:hunter2@127.0.0.1:3306/wpclone",
    "WPCLONE_NATS_URL": "nats://hunter2@127.0.0.1:4222",
    "WPCLONE_KEY_RING_FILE": "/etc/ring.json",
}


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_server_needs_three_settings_and_has_defaults_for_the_rest(good: pytest.MonkeyPatch) -> None:
    settings = read(ServerSettings)
    assert settings.database_url.get_secret_value() == GOOD["WPCLONE_DATABASE_URL"]
    assert (settings.grpc_address, settings.max_ttl_minutes, settings.require_durable) == ("127.0.0.1:50051", 1440, True)


def test_no_password_shows(good: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in repr(read(ServerSettings))
    assert "hunter2" not in str(read(ServerSettings))


def test_settings_do_not_change(good: pytest.MonkeyPatch) -> None:
    settings = read(StoreSettings)
    with pytest.raises(ValidationError):
        settings.database_pool = 3


def test_everything_wrong_is_told_at_once_by_its_name_and_without_its_value(good: pytest.MonkeyPatch) -> None:
    good.setenv("WPCLONE_DATABASE_URL", "postgres://u:hunter2@h/d")
    good.setenv("WPCLONE_DATABASE_POOL", "many")
    good.setenv("WPCLONE_GRPC_ADDRESS", "nowhere")
    good.delenv("WPCLONE_KEY_RING_FILE")
    with pytest.raises(SettingsWrong) as wrong:
        read(ServerSettings)
    lines = str(wrong.value).splitlines()
    assert {line.split(":")[0] for line in lines} == {
        "WPCLONE_DATABASE_URL", "WPCLONE_DATABASE_POOL", "WPCLONE_GRPC_ADDRESS", "WPCLONE_KEY_RING_FILE",
    }  # fmt: skip
    assert "hunter2" not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WPCLONE_DATABASE_URL", "mysql+aiomysql://u:hunter2@127.0.0.1:1x/wpclone"),
        ("WPCLONE_DATABASE_URL", "mysql+aiomysql://u:hunter2@127.0.0.1:99999/wpclone"),
        ("WPCLONE_GRPC_ADDRESS", "127.0.0.1:99999"),
        ("WPCLONE_METRICS_ADDRESS", "[::1]:65536"),
    ],
)
def test_a_port_that_is_none_is_told_by_the_settings_name(good: pytest.MonkeyPatch, name: str, value: str) -> None:
    good.setenv(name, value)
    with pytest.raises(SettingsWrong, match="port of at most 65535") as wrong:
        read(ServerSettings)
    assert str(wrong.value).startswith(f"{name}: ")
    assert "hunter2" not in str(wrong.value)


def test_a_password_may_have_what_else_divides_a_url(good: pytest.MonkeyPatch) -> None:
    url = "mysql+aiomysql://u:a/b:c#d@127.0.0.1:3306/wpclone"
    good.setenv("WPCLONE_DATABASE_URL", url)
    assert read(StoreSettings).database_url.get_secret_value() == url


def test_lives_must_be_ordered(good: pytest.MonkeyPatch) -> None:
    good.setenv("WPCLONE_MAX_TTL_MINUTES", "30")
    with pytest.raises(SettingsWrong, match="default_ttl_minutes"):
        read(ServerSettings)


def test_a_local_worker_needs_a_keeper_and_hosts_are_split_at_commas(good: pytest.MonkeyPatch) -> None:
    good.setenv("WPCLONE_CLONES_DATABASE_URL", "mysql://admin:hunter2@127.0.0.1:3306/")
    good.setenv("WPCLONE_WORK_DIR", "/var/tmp/work")
    with pytest.raises(SettingsWrong, match="WPCLONE_KEEPER_SOCKET"):
        read(WorkerSettings)
    good.setenv("WPCLONE_KEEPER_SOCKET", "/run/keeper.sock")
    good.setenv("WPCLONE_ALLOW_SOURCE_HOSTS", "localhost, Source.Test ,")
    settings = read(WorkerSettings)
    assert settings.allow_source_hosts == ("localhost", "source.test")
    assert settings.work_dir == Path("/var/tmp/work")
    good.setenv("WPCLONE_RUNTIME", "kubernetes")
    good.delenv("WPCLONE_KEEPER_SOCKET")
    assert read(WorkerSettings).runtime == "kubernetes"


def test_the_kubernetes_runtime_names_what_it_lacks_by_its_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WPCLONE_KUBERNETES_IMAGE", "registry.example/clone:1")
    monkeypatch.setenv("WPCLONE_KUBERNETES_DATABASE_CIDR", "somewhere")
    with pytest.raises(SettingsWrong) as raised:
        read(KubernetesSettings)
    told = {line.partition(":")[0] for line in str(raised.value).splitlines()}
    assert told == {"WPCLONE_KUBERNETES_HOST_SUFFIX", "WPCLONE_KUBERNETES_DATABASE_CIDR"}
