"""What a restore exchanges and what production keeps, decided without any site."""

import pytest

from wpclone.wordpress.preserve import (
    Activation,
    TableClass,
    activation,
    drops_option,
    is_host_mu_plugin,
    is_host_plugin,
    is_order_type,
    keeps_option,
    stays_at_target,
    table_class,
)
from wpclone.wordpress.restore.file_plan import FileChoice, FilePlan, Found, link_text, make_plan, to_compare

ROOTS = ("content", "plugins", "uploads")


def _found(path: str, *, kind: str = "f", size: int = 5, target: str = "") -> Found:
    full = b"wp-content/" + path.encode()
    return Found(kind, full, size, 1, 0o644, target.encode(), "core", full)


def _tree(*paths: str, size: int = 5) -> list[Found]:
    """Files, and the directories they are in, in the order an index has them."""
    made: dict[bytes, Found] = {}
    for path in paths:
        parts = path.split("/")
        for count in range(1, len(parts)):
            directory = _found("/".join(parts[:count]), kind="d")
            made.setdefault(directory.path, directory)
        file = _found(path, size=size)
        made[file.path] = file
    return list(made.values())


def _plan(source: list[Found], target: list[Found], choice: FileChoice, same: tuple[str, ...] = ()) -> FilePlan:
    there = {found.path: found for found in target}
    return make_plan(source, there, choice, same={b"wp-content/" + path.encode() for path in same}, roots=ROOTS)


def _units(plan: FilePlan) -> list[tuple[str, str, str]]:
    return [(kind, root, path.decode()) for kind, root, path in plan.units() if (root, path) not in _CACHES]


_CACHES = {("content", b"cache"), ("content", b"et-cache"), ("content", b"litespeed"), ("uploads", b"cache")} | {
    ("uploads", b"elementor/css"), ("uploads", b"bb-plugin/cache"), ("uploads", b"oxygen/css"),
}  # fmt: skip


def test_only_what_differs_is_exchanged() -> None:
    both = _tree("uploads/a.jpg", "uploads/b.jpg")
    plan = _plan(both, both, FileChoice(), same=("uploads/a.jpg",))
    assert _units(plan) == [("r", "uploads", "b.jpg")]
    assert (plan.added, plan.changed, plan.removed, plan.size) == (0, 1, 0, 5)


def test_a_new_directory_is_exchanged_as_one() -> None:
    plan = _plan(_tree("uploads/2026/01/a.jpg", "uploads/2026/01/b.jpg"), _tree("uploads/old.jpg"), FileChoice())
    assert _units(plan) == [("r", "uploads", "2026")]
    assert [found.path for found in plan.writes if found.kind == "f"] == [
        b"wp-content/uploads/2026/01/a.jpg", b"wp-content/uploads/2026/01/b.jpg",
    ]  # fmt: skip
    assert plan.added == 2


def test_a_chosen_file_brings_the_directories_it_is_in() -> None:
    plan = _plan(_tree("uploads/2026/01/a.jpg", "uploads/c.jpg"), _tree("uploads/x"), FileChoice(paths=("*/a.jpg",)))
    assert _units(plan) == [("r", "uploads", "2026")]


def test_files_of_another_size_are_not_compared() -> None:
    source, target = _tree("uploads/a.jpg", "uploads/b.jpg"), _tree("uploads/a.jpg") + _tree("uploads/b.jpg", size=6)
    there = {found.path: found for found in target}
    assert [found.path for found in to_compare(source, there, FileChoice())] == [b"wp-content/uploads/a.jpg"]


def test_uploads_of_the_target_never_go_away() -> None:
    assert (
        _units(_plan(_tree("uploads/a"), _tree("uploads/a", "uploads/own", "fonts/own"), FileChoice(), same=("uploads/a",))) == []
    )


def test_plugins_and_themes_stay_or_become_the_sources() -> None:
    source = _tree("plugins/shop/shop.php", "themes/new/style.css")
    target = _tree("plugins/own/own.php", "plugins/sg-cachepress/sg.php", "plugins/index.php", "themes/old/style.css")
    assert _units(_plan(source, target, FileChoice(preserve_plugins=True, preserve_themes=True))) == []
    assert _units(_plan(source, target, FileChoice(preserve_plugins=False, preserve_themes=False))) == [
        ("r", "plugins", "shop"), ("r", "content", "themes/new"), ("x", "plugins", "own"), ("x", "content", "themes/old"),
    ]  # fmt: skip
    kept = FileChoice(preserve_plugins=False, keep_plugins=("own",), keep_themes=("old",), preserve_themes=False)
    assert ("x", "plugins", "own") not in _units(_plan(source, target, kept))
    assert ("x", "content", "themes/old") not in _units(_plan(source, target, kept))


def test_a_link_or_a_directory_that_becomes_a_file_is_exchanged() -> None:
    source = [_found("uploads", kind="d"), _found("uploads/a", kind="l", target="wp-content/uploads/b"), _found("uploads/c")]
    target = [_found("uploads", kind="d"), _found("uploads/a"), _found("uploads/c", kind="d"), _found("uploads/c/d")]
    assert _units(_plan(source, target, FileChoice())) == [("r", "uploads", "a"), ("r", "uploads", "c")]
    assert link_text(source[1]) == b"b"


@pytest.mark.parametrize(
    "path",
    [
        "object-cache.php", "db.php", "uploads/.user.ini", "mu-plugins/wpclone-guard.php",
        "plugins/wpc-0123456789abcdef01234567/x.php",
        "mu-plugins/kinsta-mu-plugins.php", "debug.log",
    ],
)  # fmt: skip
def test_what_belongs_to_a_server_or_to_a_clone_never_travels(path: str) -> None:
    assert _plan([_found(path)], [], FileChoice(preserve_plugins=False)).writes == ()


def test_wordpress_itself_stays_the_targets() -> None:
    choice = FileChoice(preserve_plugins=False)
    assert not any(choice.wants(path) for path in (b"wp-login.php", b"wp-includes/version.php", b".htaccess", b"wp-config.php"))


def test_separate_roots_get_their_own_paths() -> None:
    plan = _plan(_tree("plugins/a/a.php"), [], FileChoice(preserve_plugins=False))
    assert plan.address(b"wp-content/plugins/a/a.php") == ("plugins", b"a/a.php")
    assert plan.address(b"wp-content/mu-plugins/x.php") == ("content", b"mu-plugins/x.php")


@pytest.mark.parametrize(
    "name",
    [
        "siteurl", "home", "blog_public", "cron", "wp_user_roles", "other_user_roles", "jetpack_options",
        "jetpack_private_options",
        "wc_subscriptions_siteurl", "_wcpay_account_data", "woocommerce_stripe_settings", "acme_license_key",
        "elementor_pro_license_key",
        "fs_accounts", "auth_key", "mailchimp-woocommerce", "upload_path", "wordfence_version", "acme_api_key",
    ],
)  # fmt: skip
def test_options_production_always_keeps(name: str) -> None:
    assert keeps_option(name.encode(), b"wp_")
    assert not drops_option(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        "blogname",
        "template",
        "theme_mods_x",
        "sidebars_widgets",
        "permalink_structure",
        "page_on_front",
        "woocommerce_currency",
        "db_version",
    ],
)
def test_options_that_travel(name: str) -> None:
    assert not keeps_option(name.encode(), b"wp_")
    assert not drops_option(name.encode())


@pytest.mark.parametrize("name", ["_transient_x", "_site_transient_update_core", "rewrite_rules", "_elementor_global_css"])
def test_caches_never_travel(name: str) -> None:
    assert drops_option(name.encode())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("posts", TableClass.CONTENT), ("postmeta", TableClass.CONTENT), ("term_relationships", TableClass.CONTENT),
        ("catalog", TableClass.CONTENT), ("blog_posts_x", TableClass.CONTENT), ("users", TableClass.USERS),
        ("usermeta", TableClass.USERS), ("comments", TableClass.COMMENTS), ("wc_orders", TableClass.COMMERCE),
        ("wc_orders_meta", TableClass.COMMERCE), ("wc_order_stats", TableClass.COMMERCE),
        ("wc_customer_lookup", TableClass.COMMERCE),
        ("woocommerce_order_items", TableClass.COMMERCE), ("woocommerce_sessions", TableClass.SESSIONS),
        ("actionscheduler_actions", TableClass.QUEUE), ("gf_entry_meta", TableClass.FORMS), ("wfconfig", TableClass.SECURITY),
        ("redirection_404", TableClass.LOGS), ("sample_log", TableClass.LOGS),
    ],
)  # fmt: skip
def test_tables_by_class(name: str, kind: TableClass) -> None:
    assert table_class(f"wp_{name}", "wp_") is kind
    assert stays_at_target(kind) is (kind is not TableClass.CONTENT)


def test_orders_are_no_content() -> None:
    assert is_order_type(b"shop_order")
    assert not is_order_type(b"page")


def test_active_plugins_follow_the_files() -> None:
    target, source = ["own/own.php", "sg-cachepress/sg.php"], ["shop/shop.php", "hello.php", "gone/gone.php"]
    assert activation(target, source, there=None, preserve_plugins=True) == Activation(tuple(target), ())
    replaced = activation(target, source, there={"shop", "hello.php"}, preserve_plugins=False)
    assert replaced == Activation(("hello.php", "sg-cachepress/sg.php", "shop/shop.php"), ("gone/gone.php",))


def test_hosts_plugins_are_known() -> None:
    assert is_host_plugin("wpc-0123456789abcdef01234567")
    assert not is_host_plugin("woocommerce")
    assert is_host_mu_plugin("wpclone-guard.php")
    assert not is_host_mu_plugin("my-own.php")
