"""Which files and tables belong to a copy, and the protocol's records."""

import hashlib
import hmac
import struct
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from wpclone.wordpress import excludes
from wpclone.wordpress.agent import wire
from wpclone.wordpress.agent.package import agent_source, agent_zip, keyless_agent_zip
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.file_rules import DROP_INS, file_left_out
from wpclone.wordpress.file_writer import checked_path
from wpclone.wordpress.ownership import CORE, as_configured, installations, own_tables
from wpclone.wordpress.roots import roots_to_copy


def _site(prefix: bytes) -> set[bytes]:
    return {prefix + table for table in CORE}


def test_a_prefix_that_begins_anothers_owns_only_its_own() -> None:
    tables = _site(b"wp_") | _site(b"wp_2_") | {b"wp_shop", b"wp_2_shop", b"wpX", b"other"}
    assert own_tables(tables, b"wp_") == _site(b"wp_") | {b"wp_shop"}
    assert own_tables(tables, b"wp_2_") == _site(b"wp_2_") | {b"wp_2_shop"}


def test_an_empty_prefix_owns_what_no_other_site_does() -> None:
    tables = _site(b"") | _site(b"blog_") | {b"extra"}
    assert own_tables(tables, b"") == _site(b"") | {b"extra"}
    assert installations(tables) == {b"", b"blog_"}


def test_a_plugins_options_table_makes_no_installation() -> None:
    tables = _site(b"wp_") | {b"wp_shop_options", b"wp_aioseo_posts"}
    assert installations(tables) == {b"wp_"}
    assert own_tables(tables, b"wp_") == tables


def test_users_tables_named_by_constants_belong_too() -> None:
    tables = _site(b"wp_") | {b"shared_users"}
    assert b"shared_users" in own_tables(tables, b"wp_", shared=[b"shared_users", b"gone"])


@pytest.mark.parametrize("name", DROP_INS)
def test_every_drop_in_is_set_aside_only_where_wordpress_loads_it(name: bytes) -> None:
    assert file_left_out(b"wp-content/" + name)
    assert file_left_out(b"wp-content/plugins/x/" + name) is None


@pytest.mark.parametrize("path", [b"wp-config.php", b".user.ini", b"deep/down/.user.ini", b"wp-content/debug.log", b"a.wpress"])
def test_files_of_the_source_alone_stay_behind(path: bytes) -> None:
    assert file_left_out(path)


@pytest.mark.parametrize(
    "path", [b"index.php", b".htaccess", b"wp-content/uploads/2024/wp-config.php.jpg", b"wp-includes/version.php"]
)
def test_ordinary_files_are_copied(path: bytes) -> None:
    assert file_left_out(path) is None


@pytest.mark.parametrize(("glob", "path", "is_out"), [
    ("wp-content/uploads/video/*", "wp-content/uploads/video/a.mp4", True),
    ("wp-content/uploads/video", "wp-content/uploads/video/deep/a.mp4", True),
    ("wp-content/uploads/video/", "wp-content/uploads/video", True),
    ("wp-content/uploads/video", "wp-content/uploads/videos/a.mp4", False),
    ("*.zip", "wp-content/uploads/a.zip", True),
    ("wp-content/*/cache", "wp-content/x/y/cache/1", True),
    ("uploads", "wp-content/uploads/a", False),
    ("a[1]", "a[1]", False),
    ("größe", "größe/x", True),
])  # fmt: skip
def test_a_callers_glob_leaves_out_what_it_names_and_what_is_below(glob: str, path: str, is_out: bool) -> None:
    assert (file_left_out(path.encode(), [glob]) == excludes.REASON) is is_out


@pytest.mark.parametrize(("glob", "is_out"), [
    ("wp_statistics_visits", True), ("statistics_*", True), ("wp_stat*", True), ("visits", False),
    ("WP_statistics_visits", False),
])  # fmt: skip
def test_a_callers_glob_names_a_table_with_or_without_the_prefix(glob: str, is_out: bool) -> None:
    assert (excludes.table_glob("wp_statistics_visits", "wp_", [glob]) == glob) is is_out


def test_trees_inside_others_are_copied_once_and_others_come_to_their_usual_place() -> None:
    roots = {"core": b"/srv/web", "content": b"/srv/web/app", "plugins": b"/srv/web/app/plugins", "uploads": b"/data/files"}
    core, uploads = roots_to_copy(roots, roots)
    assert (core.name, core.place) == ("core", "")
    assert core.local(b"app/themes/x") == b"app/themes/x"
    assert core.rule_path(b"app/object-cache.php") == b"wp-content/object-cache.php"
    assert core.skipped()[b"app/cache"]
    assert (uploads.name, uploads.place) == ("uploads", "wp-content/uploads")
    assert uploads.local(b"2024/a.jpg") == b"wp-content/uploads/2024/a.jpg"


@pytest.mark.parametrize("path", [b"", b"/a", b"a/", b"a//b", b"..", b"a/../b", b"./a", b"a\0", b".wpclone-incoming-1/x"])
def test_paths_that_leave_or_trick_are_refused(path: bytes) -> None:
    with pytest.raises(SiteError):
        checked_path(path)


@pytest.mark.parametrize("path", [b"a", b".a", b"..a", b"a..", b"...", b"a/.b/..c/d.", b"\xff\n", b"a/.wpclone-incoming-1"])
def test_paths_that_only_look_odd_are_copied(path: bytes) -> None:
    assert checked_path(path) == path


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_damage(junk: bytes) -> None:
    for read in (
        lambda raw: list(wire.entries(raw)),
        lambda raw: list(wire.parts(raw)),
        lambda raw: wire.rows_frame(raw, {}),
        wire.piece,
    ):
        try:
            read(junk)
        except wire.Damaged:
            continue


def test_a_row_frame_tells_null_from_empty() -> None:
    lengths = struct.pack(">4I", 1, 0xFFFFFFFF, 0, 2)
    payload = struct.pack(">IBIIQHI", 3, 1, 2, 2, 7, 1, 5) + struct.pack(">I", 1) + b"k" + lengths + b"abc"
    frame = wire.rows_frame(payload, {})
    assert (frame.index, frame.last, frame.rows, frame.width, frame.offset, frame.cursor) == (3, True, 2, 2, 7, (b"k",))
    assert frame.values == [b"a", None, b"", b"bc"]
    with pytest.raises(wire.Damaged):
        wire.rows_frame(payload + b"x", {})


def test_a_value_that_came_in_parts_is_put_in_its_place_and_counted_as_if_it_had_not() -> None:
    def payload(lengths: bytes, data: bytes) -> bytes:
        return struct.pack(">IBIIQHI", 0, 0, 1, 3, 1, 0, 0) + lengths + data

    plain = wire.rows_frame(payload(struct.pack(">3I", 1, 4, 2), b"alarge" + b"z"), {})
    parts = wire.rows_frame(payload(struct.pack(">3I", 1, 0xFFFFFFFE, 2), b"aez"), {1: b"larg"})
    assert (parts.values, parts.sums, parts.size) == (plain.values, plain.sums, plain.size)
    with pytest.raises(wire.Damaged):
        wire.rows_frame(payload(struct.pack(">3I", 1, 0xFFFFFFFE, 2), b"aez"), {2: b"larg"})


def test_tables_of_a_server_without_capitals_get_those_of_the_configuration() -> None:
    stored = [b"wp_posts", b"wp_options", b"forum"]
    assert as_configured(stored, b"WP_") == {b"WP_posts": b"wp_posts", b"WP_options": b"wp_options", b"forum": b"forum"}
    assert as_configured(stored, b"wp_") == {name: name for name in stored}


def test_a_code_depends_on_key_nonce_place_kind_and_content() -> None:
    good = wire.frame_code(b"k", "n", 0, b"J", b"x")
    changes: list[tuple[bytes, str, int, bytes, bytes]] = [
        (b"l", "n", 0, b"J", b"x"), (b"k", "m", 0, b"J", b"x"), (b"k", "n", 1, b"J", b"x"), (b"k", "n", 0, b"E", b"x"),
        (b"k", "n", 0, b"J", b"y"),
    ]  # fmt: skip
    others = {wire.frame_code(*change) for change in changes}
    assert good not in others
    assert len(others) == 5
    said = b"n" + struct.pack(">I", 0) + b"J" + hashlib.sha256(b"x").digest()
    assert hmac.new(b"k", said, hashlib.sha256).digest()[:16] == good


def test_a_frame_is_proved_by_either_code_and_by_no_others() -> None:
    key = hmac.new(b"k", b"frames n", hashlib.sha256).digest()
    gmac = AESGCM(key).encrypt(b"J" + bytes(7) + struct.pack(">I", 3), b"", b"x")
    codes = (gmac, wire.frame_code(b"k", "n", 3, b"J", b"x"))
    proof = wire.Proof(b"k", "n")
    assert all(proof.holds(3, b"J", b"x", code) for code in codes)
    for other, place, kind, payload in (
        (wire.Proof(b"l", "n"), 3, b"J", b"x"), (wire.Proof(b"k", "m"), 3, b"J", b"x"), (proof, 4, b"J", b"x"),
        (proof, 3, b"E", b"x"), (proof, 3, b"J", b"y"),
    ):  # fmt: skip
        assert not any(other.holds(place, kind, payload, code) for code in (*codes, b"", gmac[:8]))
    unsigned = wire.frame_code(b"k", "", 0, b"X", b"x")
    assert proof.holds(0, b"X", b"x", unsigned)
    assert not proof.holds(0, b"J", b"x", wire.frame_code(b"k", "", 0, b"J", b"x"))


def test_the_agents_zip_is_one_file_with_its_key_and_always_the_same() -> None:
    packed = agent_zip(key=b"k" * 32, folder="copy-12345678", expires_at=99)
    assert packed == agent_zip(key=b"k" * 32, folder="copy-12345678", expires_at=99)
    archive = zipfile.ZipFile(BytesIO(packed))
    assert archive.namelist() == ["copy-12345678/copy-12345678.php"]
    source = archive.read("copy-12345678/copy-12345678.php")
    assert source == agent_source(key=b"k" * 32, expires_at=99)
    assert b"@@WPCLONE" not in source
    assert (b"k" * 32).hex().encode() in source


def test_an_agent_without_a_key_is_a_plugin_of_its_own_and_one_with_a_key_enrols_nobody() -> None:
    folder = "wpc-" + "0a" * 12
    packed = keyless_agent_zip(folder=folder)
    assert packed == keyless_agent_zip(folder=folder)
    source = zipfile.ZipFile(BytesIO(packed)).read(f"{folder}/{folder}.php")
    assert b" * Text Domain: wpclone-agent\n" in source
    assert b"const KEY = '';" in source
    assert b"@@WPCLONE" not in source
    keyed = agent_source(key=b"k" * 32, expires_at=99)
    assert b"register_rest_route" in source
    assert b"register_rest_route" not in keyed
    assert b"Text Domain" not in keyed


def test_agents_do_not_get_in_each_others_way_in_one_php(tmp_path: Path) -> None:
    """WordPress includes all active plugins: with the same classes in two, opcache ends every request."""
    made = [agent_source(key=bytes([n]) * 32, expires_at=0) for n in (1, 2)]
    for folder in ("wpc-" + "0a" * 12, "wpc-" + "0b" * 12):
        made.append(zipfile.ZipFile(BytesIO(keyless_agent_zip(folder=folder))).read(f"{folder}/{folder}.php"))
    script = "<?php\n"
    for n, source in enumerate(made):
        (tmp_path / f"{n}.php").write_bytes(source)
        script += f"include '{tmp_path}/{n}.php';\n"
    done = subprocess.run(["php", "-n"], input=(script + "echo 'all';").encode(), capture_output=True, timeout=60, check=False)
    assert done.stdout == b"all"


@pytest.mark.parametrize("folder", ["short", "../../../etc", "Copy-12345678", "a" * 80, "copy_12345678"])
def test_a_folder_is_a_plain_name(folder: str) -> None:
    with pytest.raises(ValueError, match="folder"):
        agent_zip(key=b"k" * 32, folder=folder, expires_at=0)
