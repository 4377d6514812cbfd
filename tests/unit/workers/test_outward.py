"""Addresses on their way back: what a clone makes of a site's content is that content again at the site."""

from dataclasses import replace

import pytest

from tests.unit.workers.test_clone_steps import REPORT
from workers.outward import outward
from workers.steps.copy_tables import mapping
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.rewrite import Rewriter
from wpclone.wordpress.roots import Root

CLONE = replace(
    REPORT, home="http://clone-1.localhost:8080", siteurl="http://clone-1.localhost:8080", abspath="/docroot/",
    content_dir="/docroot/wp-content", roots=(Root("core", "/docroot", ""),),
)  # fmt: skip
ROOT = replace(REPORT, siteurl="https://e.com")
BLOG = replace(REPORT, home="https://e.com/blog", siteurl="https://e.com/blog")
BEDROCK = replace(
    REPORT, roots=(*REPORT.roots, Root("content", "/srv/e/app", "wp-content")), constants={"WP_CONTENT_URL": "https://e.com/app"}
)
PLUGINS = replace(ROOT, constants={"WP_PLUGIN_URL": "https://e.com/parts"})


@pytest.mark.parametrize(("target", "text"), [
    (ROOT, "https://e.com/about/ /wp-content/a.jpg //e.com/wp-admin/ /srv/e/wp/wp-content/x"),
    (BLOG, "https://e.com/blog/about/ https:\\/\\/e.com\\/blog\\/wp-content\\/a.jpg https://e.com/blog"),
    (BLOG, 'src="/blog/wp-content/a.jpg" href="/blog/wp-admin/" url(\\/blog\\/wp-includes\\/x.css) href="/blog/about/"'),
    (BEDROCK, "https://e.com/app/uploads/a.jpg https:\\/\\/e.com\\/app\\/plugins https://e.com/about/"),
    (BEDROCK, 'src="/app/uploads/a.jpg" /app/themes/x /wp/wp-includes/x.js'),
    (BEDROCK, "https://e.com/wp/wp-admin/post.php https://e.com/wp/wp-includes/x.js /srv/e/app/uploads/x"),
    (PLUGINS, "https://e.com/parts/a/b.js https://e.com/wp-content/uploads/a.jpg"),
], ids=lambda value: "" if isinstance(value, SiteReport) else None)  # fmt: skip
def test_what_comes_into_a_clone_goes_back_as_it_was(target: SiteReport, text: str) -> None:
    in_clone = Rewriter(mapping(target, CLONE.home, CLONE.abspath)).value(text.encode()).value
    assert Rewriter(outward(CLONE, target)).value(in_clone).value.decode() == text


@pytest.mark.parametrize(("source", "target", "before", "after"), [
    (BEDROCK, BLOG, "//e.com/app/uploads/a /app/uploads/b", "//e.com/blog/wp-content/uploads/a /blog/wp-content/uploads/b"),
    (BLOG, BEDROCK, "//e.com/blog/wp-content/a.jpg /blog/wp-content/b.jpg", "//e.com/app/a.jpg /app/b.jpg"),
    (BLOG, ROOT, "//e.com/blog/wp-content/a.jpg /blog/wp-admin/", "//e.com/wp-content/a.jpg /wp-admin/"),
], ids=["bedrock to a directory", "a directory to bedrock", "a directory to the root"])  # fmt: skip
def test_one_sites_content_comes_to_where_the_other_shows_it(
    source: SiteReport, target: SiteReport, before: str, after: str
) -> None:
    constants = {name: str(value).replace("e.com", "f.net") for name, value in source.constants.items()}
    home, siteurl = (address.replace("e.com", "f.net") for address in (source.home, source.siteurl))
    elsewhere = replace(source, home=home, siteurl=siteurl, constants=constants)
    moved = Rewriter(outward(elsewhere, target)).value(before.replace("e.com", "f.net").encode()).value
    assert moved.decode() == after
