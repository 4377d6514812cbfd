"""The judgements of the clone's steps, without a site."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.workers.desk import Desk
from workers.clone_plan import CloneEnding
from workers.clone_report import MOST_LISTED
from workers.delete_plan import DeleteEnding
from workers.pages import Page
from workers.steps.copy_tables import mapping
from workers.steps.preflight import refuse_too_large, refuse_too_little_space
from workers.steps.verify import refuse_unhealthy, title_of
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.core.jobs.states import CloneState
from wpclone.wordpress.inspect import SiteReport, TableReport
from wpclone.wordpress.rewrite import Rewriter
from wpclone.wordpress.roots import Root

REPORT = SiteReport(
    home="https://e.com", siteurl="https://e.com/wp", title="E & co", abspath="/srv/e/wp/", content_dir="/srv/e/wp/wp-content",
    roots=(Root("core", "/srv/e/wp", ""),), table_prefix="wp_", wp_version="6.1", php_version="8.2", db_version="10.11",
    db_charset="utf8mb4", db_collation="", blog_charset="UTF-8", permalink_structure="", multisite=False,
    tables=(TableReport("wp_posts", 10, 1_000_000, "InnoDB", 100),), left_out=(), views=(), triggers=(), files=3,
    file_bytes=5_000_000, constants={}, withheld={}, code_in_wp_config=False, code_found=(), administrators=("admin",),
    active_plugins=(), template="", stylesheet="", drop_ins=(),
)  # fmt: skip
URL = "http://clone-1.localhost:8080"


@pytest.mark.parametrize(("before", "after"), [
    ("https://e.com/wp/wp-content/uploads/a.jpg", f"{URL}/wp-content/uploads/a.jpg"),
    ("https://e.com/a-post/", f"{URL}/a-post/"),
    ("//www.e.com/a-post/", "//clone-1.localhost:8080/a-post/"),
    ("/srv/e/wp/wp-content/x.log", "/docroot/wp-content/x.log"),
    ("https://e.com.evil.org/", "https://e.com.evil.org/"),
])  # fmt: skip
def test_a_site_with_wordpress_in_a_directory_of_its_own_comes_to_the_clones_root(before: str, after: str) -> None:
    assert Rewriter(mapping(REPORT, URL, "/docroot")).value(before.encode()).value.decode() == after


def test_content_outside_of_the_core_is_mapped_to_its_place_in_the_docroot() -> None:
    report = replace(REPORT, roots=(*REPORT.roots, Root("uploads", "/mnt/media", "wp-content/uploads")))
    moved = Rewriter(mapping(report, URL, "/docroot")).value(b"/mnt/media/2030/a.jpg").value
    assert moved == b"/docroot/wp-content/uploads/2030/a.jpg"


@pytest.mark.parametrize(("before", "after"), [
    ("https://e.com/app/uploads/a.jpg", f"{URL}/wp-content/uploads/a.jpg"),
    ("https:\\/\\/e.com\\/app\\/uploads", "http:\\/\\/clone-1.localhost:8080\\/wp-content\\/uploads"),
    ("https://cdn.e.net/plugins/x.js", f"{URL}/wp-content/plugins/x.js"),
    ("https://e.com/application/", f"{URL}/application/"),
    ("/srv/e/app/uploads", "/docroot/wp-content/uploads"),
    ("/data/e/app/uploads", "/docroot/wp-content/uploads"),
    ('src="/wp/wp-includes/js/x.js"', 'src="/wp-includes/js/x.js"'),
    ("https://other.com/wp/wp-content/x", "https://other.com/wp/wp-content/x"),
    ('src="/app/uploads/a.jpg"', 'src="/wp-content/uploads/a.jpg"'),
    ("/myapp/uploads /app/other", "/myapp/uploads /app/other"),
])  # fmt: skip
def test_content_shown_at_another_address_is_where_the_clone_shows_it(before: str, after: str) -> None:
    roots = (*REPORT.roots, Root("content", "/srv/e/app", "wp-content", real="/data/e/app"))
    constants = {"WP_CONTENT_URL": "https://e.com/app", "WP_PLUGIN_URL": "https://cdn.e.net/plugins"}
    moved = Rewriter(mapping(replace(REPORT, roots=roots, constants=constants), URL, "/docroot"))
    assert moved.value(before.encode()).value.decode() == after


def test_a_site_that_is_too_large_or_does_not_fit_is_refused_with_numbers() -> None:
    refuse_too_large(REPORT, 6_000_000)
    with pytest.raises(Fatal, match="6 MB") as raised:
        refuse_too_large(REPORT, 5_999_999)
    assert raised.value.code == "SITE_TOO_LARGE"
    refuse_too_little_space(REPORT, 100_000_000)
    with pytest.raises(Fatal) as raised:
        refuse_too_little_space(REPORT, 70_000_000)
    assert raised.value.code == "TOO_LITTLE_SPACE"


WHOLE = "<html><head><title>\n E &amp; co &#8211; Home </title></head><body></body></HTML>"


def test_a_whole_home_page_passes_and_its_title_is_read() -> None:
    refuse_unhealthy(Page(URL + "/", 200, WHOLE))
    assert title_of(WHOLE) == "E & co – Home"
    assert title_of("<html>") == ""


@pytest.mark.parametrize("page", [
    Page(URL + "/", 500, WHOLE),
    Page(URL + "/", 200, "<html><title>half</title>"),
    Page(URL + "/wp-admin/install.php", 200, WHOLE),
    Page(URL + "/", 200, WHOLE.replace("<body>", '<body class="wp-core-ui language-chooser">')),
], ids=["error", "cut off", "installer", "language chooser"])  # fmt: skip
def test_a_home_page_that_is_not_the_sites_is_tried_again(page: Page) -> None:
    with pytest.raises(RetryLater) as raised:
        refuse_unhealthy(page)
    assert raised.value.code == "CLONE_UNHEALTHY"


async def test_the_result_counts_what_was_copied_and_cuts_long_lists() -> None:
    desk = Desk()
    job = await desk.accept()
    place = {"key": "ID=7", "column": "post_content", "reason": "BASE64"}
    table = {
        "name": "wp_posts", "rows": 10, "bytes": 700, "read_checksum": "0000000a", "checksum": "0000000b", "rewritten": 4,
        "seen": 50, "changed": {"text": 3, "json": 1}, "left": {"BASE64": 300}, "places": [place] * 150,
    }  # fmt: skip
    withheld = {"A_KEY": "looks like a credential", "DB_HOST": "the clone has its own"}
    facts: dict[str, dict[str, Any]] = {
        "preflight": {"report": REPORT.to_json()},
        "create_site": {"docroot": "/docroot"},
        "copy_files": {"files": 3, "bytes": 300, "excluded": [{}] * (MOST_LISTED + 7), "followed": [], "changed": [],
                       "directories": [{"path": "wp-admin", "files": 3, "bytes": 300, "digest": "00"}]},
        "copy_tables": {"tables": [table, table], "consistency": "SNAPSHOT", "reported": [], "left": {"BASE64": 1}},
        "guard": {"url": URL, "admin_login": "admin", "egress": "rejected", "withheld_constants": withheld},
        "verify": {"title": "E & co"},
        "release_source": {"agent": "removed"},
    }  # fmt: skip
    result, change = CloneEnding().completed(job, facts)
    assert (result["rows"], result["files"], result["bytes"], result["clone_url"]) == (20, 3, 1700, URL)
    assert len(result["report"]["excluded_files"]) == MOST_LISTED
    assert result["report"]["excluded_files_count"] == MOST_LISTED + 7
    proof = result["report"]["rewrite"]
    assert (len(proof["places"]), proof["places"][0]) == (MOST_LISTED, {"table": "wp_posts", **place})
    assert {name: value for name, value in proof.items() if name != "places"} == {
        "seen": 100, "changed": {"json": 2, "text": 6}, "rewritten": 8, "left": {"BASE64": 600}, "places_count": 600,
    }  # fmt: skip
    sums = {"name": "wp_posts", "rows": 10, "bytes": 700, "read_checksum": "0000000a", "checksum": "0000000b"}
    assert result["report"]["integrity"]["tables"] == [sums, sums]
    assert result["report"]["integrity"]["directories"][0]["path"] == "wp-admin"
    assert result["report"]["withheld_constants"] == {"A_KEY": "looks like a credential"}
    assert change is not None
    assert (change.state, change.url, change.admin_login, change.starts_ttl) == (CloneState.READY, URL, "admin", True)


async def test_a_deletion_that_fails_can_be_asked_for_again() -> None:
    desk = Desk()
    job = await desk.accept()
    change = DeleteEnding().given_up(job)
    assert change is not None
    assert change.state is CloneState.FAILED
