import base64
import json
from datetime import UTC, datetime

import pytest

from wpclone.wordpress.guard import FILES, GuardSettings, guard_config, guard_files

ENDS = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def settings(**more: object) -> GuardSettings:
    given: dict[str, object] = {
        "clone_id": "clone-0123456789ab",
        "url": "http://clone-0123456789ab.localhost:8080",
        "expires_at": ENDS,
        "admin_login": "ädmin",
        "password": "the-generated-one",
        "salt": b"s" * 16,
        "key": b"k" * 32,
        "state_dir": "/srv/state",
    }
    return GuardSettings(**{**given, **more})  # type: ignore[arg-type]


def test_the_configuration_holds_a_hash_of_the_password_and_not_the_password() -> None:
    text = guard_config(settings(allow_hosts=["API.Example.com"]))
    config = json.loads(text)
    assert b"the-generated-one" not in text
    assert config["password_hash"].startswith("pbkdf2-sha256$20000$")
    assert base64.b64decode(config["key"]) == b"k" * 32
    assert config["expires_at"] == "2026-01-02T03:04:05Z"
    assert config["allow_hosts"] == ["api.example.com"]
    assert "the-generated-one" not in repr(settings())
    assert "kkkk" not in repr(settings())


def test_plugins_that_force_https_are_off_only_where_there_is_no_https() -> None:
    assert "really-simple-ssl" in json.loads(guard_config(settings()))["inactive_plugins"]
    over_https = json.loads(guard_config(settings(url="https://clone.example", also_inactive=["mine"])))["inactive_plugins"]
    assert "really-simple-ssl" not in over_https
    assert {"mine", "wps-hide-login"} <= set(over_https)


@pytest.mark.parametrize("bad", [{"expires_at": datetime(2026, 1, 1)}, {"key": b"short"}, {"salt": b"short"}])  # noqa: DTZ001
def test_naive_times_and_short_secrets_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must carry|random bytes"):
        guard_config(settings(**bad))


def test_the_guards_files_are_all_there() -> None:
    assert set(guard_files()) == set(FILES)
    assert all(guard_files().values())
