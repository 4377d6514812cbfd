import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wpclone.wordpress.constants import SALTS, Withheld
from wpclone.wordpress.php import PhpValue, php_literal
from wpclone.wordpress.wp_config import DatabaseLogin, Move, WithheldReport, WpConfig, generate_wp_config

NASTY = "it's \\ a 'test' \\' ?> <?php exit(9); // \\\\' . `id` . \"$x ${y} {$z}\" \n\r\0 \x7f é 🦆 */ #"
LOGIN = DatabaseLogin("127.0.0.1", 3307, "db'\\", "u'ser", NASTY)
URL = "http://clone-0123456789ab.localhost:8080"


def config(constants: dict[str, PhpValue] | None = None, **more: Any) -> tuple[bytes, WithheldReport]:
    return generate_wp_config(WpConfig(LOGIN, "wp_", URL, URL, b"r" * 32, constants or {}, **more))


def evaluate(file: bytes, directory: Path) -> dict[str, Any]:
    """What PHP sees after the file: its user constants and the prefix."""
    (directory / "wp-config.php").write_bytes(file)
    (directory / "wp-settings.php").write_text(
        "<?php echo json_encode(array('constants' => array_map(function ($v) {"
        " return is_string($v) ? array('b', bin2hex($v)) : $v; },"
        " get_defined_constants(true)['user']), 'prefix' => $table_prefix, 'abspath' => ABSPATH));"
    )
    run = subprocess.run(["php", "-n", str(directory / "wp-config.php")], capture_output=True, timeout=30, check=True)
    seen: dict[str, Any] = json.loads(run.stdout)
    constants = {
        k: bytes.fromhex(v[1]).decode() if isinstance(v, list) and v[:1] == ["b"] else v for k, v in seen["constants"].items()
    }
    return {**seen, "constants": constants}


def test_php_reads_back_exactly_what_was_given(tmp_path: Path) -> None:
    file, report = config(
        {"GREETING": NASTY, "WP_POST_REVISIONS": 5, "WP_DEBUG": False, "EMPTY_TRASH_DAYS": -3, "RATIO": 0.1, "NOTHING": None}
    )
    seen = evaluate(file, tmp_path)
    constants = seen["constants"]
    assert constants["DB_PASSWORD"] == NASTY
    assert constants["DB_NAME"] == "db'\\"
    assert constants["DB_HOST"] == "127.0.0.1:3307"
    assert constants["GREETING"] == NASTY
    assert (constants["WP_POST_REVISIONS"], constants["WP_DEBUG"], constants["EMPTY_TRASH_DAYS"], constants["RATIO"]) == (
        5,
        False,
        -3,
        0.1,
    )
    assert constants["WP_HOME"] == constants["WP_SITEURL"] == URL
    assert constants["WP_ENVIRONMENT_TYPE"] == "staging"
    assert constants["DISALLOW_FILE_MODS"] is True
    assert constants["DISABLE_WP_CRON"] is True
    assert seen["prefix"] == "wp_"
    assert seen["abspath"] == f"{tmp_path}/"
    assert report.withheld == {}


def test_salts_are_eight_different_ones_and_follow_the_randomness(tmp_path: Path) -> None:
    constants = evaluate(config()[0], tmp_path)["constants"]
    salts = {constants[name] for name in SALTS}
    assert len(salts) == 8
    assert all(len(salt) == 64 for salt in salts)
    other, _ = generate_wp_config(WpConfig(LOGIN, "wp_", URL, URL, b"s" * 32))
    assert evaluate(other, tmp_path)["constants"]["AUTH_KEY"] not in salts


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        generate_wp_config(WpConfig(LOGIN, "wp_", URL, URL, b"short"))


WITHHELD: dict[str, tuple[PhpValue, Withheld]] = {
    "AUTH_KEY": ("x", Withheld.SET_BY_CLONE),
    "DB_PASSWORD": ("x", Withheld.SET_BY_CLONE),
    "DISALLOW_FILE_MODS": (False, Withheld.SET_BY_CLONE),
    "MULTISITE": (True, Withheld.IDENTITY),
    "DOMAIN_CURRENT_SITE": ("example.com", Withheld.IDENTITY),
    "FORCE_SSL_ADMIN": (True, Withheld.IDENTITY),
    "SOME_ADDRESS": ("https://example.com/x", Withheld.IDENTITY),
    "WP_CACHE": (True, Withheld.CACHE),
    "WPCACHEHOME": ("/srv/wp-content/plugins/", Withheld.CACHE),
    "WP_REDIS_HOST": ("redis", Withheld.CACHE),
    "COOKIE_DOMAIN": (".example.com", Withheld.COOKIE),
    "LOGGED_IN_COOKIE": ("x", Withheld.COOKIE),
    "WP_CONTENT_DIR": ("/srv/other/content", Withheld.PATH),
    "WP_DEBUG_LOG": ("/var/log/site.log", Withheld.PATH),
    "WINDOWS_THING": ("C:\\inetpub\\x", Withheld.PATH),
    "AS3CF_SETTINGS": ("a:0:{}", Withheld.CREDENTIAL),
    "WPMS_SMTP_PASS": ("x", Withheld.CREDENTIAL),
    "GF_LICENSE_KEY": ("x", Withheld.CREDENTIAL),
    "FTP_USER": ("x", Withheld.CREDENTIAL),
    "INNOCENT": ("sk_live_abcdefghijklmnop", Withheld.CREDENTIAL),
    "ALSO_INNOCENT": ("mysql://me:secret@host/db", Withheld.CREDENTIAL),
    "HEX": ("0123456789abcdef0123456789abcdef", Withheld.CREDENTIAL),
    "NESTED": ({"a": [{"b": "AKIAABCDEFGHIJKLMNOP"}]}, Withheld.CREDENTIAL),
    "true": (1, Withheld.NOT_A_NAME),
    "a-b'); exit(9); //": (1, Withheld.NOT_A_NAME),
    "TOO_BIG": (2**64, Withheld.NO_LITERAL),
}


def test_identity_paths_caches_cookies_and_credentials_are_withheld_and_named_without_values() -> None:
    file, report = config({name: value for name, (value, _) in WITHHELD.items()})
    assert report.withheld == {name: reason for name, (_, reason) in WITHHELD.items()}
    assert report.passed == ()
    for name, (value, _) in WITHHELD.items():
        assert f"'{name}'".encode() not in file or name in {"AUTH_KEY", "DB_PASSWORD", "DISALLOW_FILE_MODS"}
        assert not isinstance(value, str) or len(value) < 6 or value not in f"{report} {file!r}"


def test_ordinary_constants_pass() -> None:
    ordinary: dict[str, PhpValue] = {
        "WP_MEMORY_LIMIT": "256M", "WPLANG": "de_DE", "WP_DEBUG": True, "SCRIPT_DEBUG": False,
        "AUTOSAVE_INTERVAL": 120,
        "CONCATENATE_SCRIPTS": False, "DISALLOW_UNFILTERED_HTML": True,
        "MY_PLUGIN_MODES": ["fast", "slow"], "WP_AUTO_UPDATE_CORE": "minor",
    }  # fmt: skip
    _, report = config(ordinary)
    assert (report.withheld, set(report.passed)) == ({}, set(ordinary))


def test_keep_constants_passes_what_would_be_withheld_but_never_what_the_clone_sets(tmp_path: Path) -> None:
    file, report = config(
        {"MAPS_API_KEY": "abc", "DB_NAME": "theirs", "OTHER_KEY": "x"}, keep_constants={"MAPS_API_KEY", "DB_NAME"}
    )
    assert evaluate(file, tmp_path)["constants"]["MAPS_API_KEY"] == "abc"
    assert report.withheld == {"DB_NAME": Withheld.SET_BY_CLONE, "OTHER_KEY": Withheld.CREDENTIAL}


def test_content_directories_within_the_site_move_with_it(tmp_path: Path) -> None:
    move = Move("/srv/www/", "/clones/c/docroot", "https://example.com", URL)
    file, report = config(
        {
            "WP_CONTENT_DIR": "/srv/www/app",
            "WP_CONTENT_URL": "https://example.com/app",
            "WP_PLUGIN_DIR": "/srv/www/../secret",
            "WPMU_PLUGIN_URL": "https://example.com.evil/app",
            "UPLOADS": "media",
        },
        move=move,
    )
    constants = evaluate(file, tmp_path)["constants"]
    assert constants["WP_CONTENT_DIR"] == "/clones/c/docroot/app"
    assert constants["WP_CONTENT_URL"] == f"{URL}/app"
    assert constants["UPLOADS"] == "media"
    assert report.withheld == {"WP_PLUGIN_DIR": Withheld.PATH, "WPMU_PLUGIN_URL": Withheld.IDENTITY}


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40)
    | st.text(alphabet="\\'\"?><$`{}\n\0aé", max_size=20).map(str.encode),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def same(value: Any) -> Any:
    """The value as `bin2hex` and json_encode show it."""
    if isinstance(value, bytes):
        return "x" + value.hex()
    return [same(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, max_size=20))
def test_no_value_breaks_out_of_its_literal(values: list[Any]) -> None:
    show = "function s($v) { return is_array($v) ? array_map('s', $v) : (is_string($v) ? 'x' . bin2hex($v) : $v); }"
    script = b"<?php " + show.encode() + b" echo json_encode(s(" + php_literal(values) + b"));"
    run = subprocess.run(["php", "-n"], input=script, capture_output=True, timeout=60, check=True)
    assert json.loads(run.stdout) == same(values)


def test_floats_and_maps_are_literals_too() -> None:
    script = b"<?php echo json_encode(array(" + php_literal({"a'b": 1.5e300}) + b", is_nan(" + php_literal(float("nan")) + b"), "
    script += php_literal(float("-inf")) + b" < 0, is_int(" + php_literal(-(2**63)) + b")));"
    run = subprocess.run(["php", "-n"], input=script, capture_output=True, timeout=30, check=True)
    assert json.loads(run.stdout) == [{"a'b": 1.5e300}, True, True, True]
    with pytest.raises(TypeError):
        php_literal(object())  # type: ignore[arg-type]
