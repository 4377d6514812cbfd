"""Which passwords are an application's, and what a site's index says of them."""

import pytest
from yarl import URL

from wpclone.wordpress.consent import is_application_password, may_be_application_password, require_offer
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.rest import RestIndex

PAGE = URL("https://a.example/wp-admin/authorize-application.php")


@pytest.mark.parametrize(
    ("password", "could_be", "is_one"),
    [
        ("abcd EFGH 1234 ijkl MNOP 5678", True, True),
        (" abcd EFGH 1234 ijkl MNOP 5678\n", True, True),
        ("abcdEFGH1234ijklMNOP5678", True, False),
        ("abcd EFGH 1234 ijkl MNOP 567", False, False),
        ("abcd EFGH 1234 ijkl MNOP 56-8", False, False),
        ("abcdEFGH1234ijklMNOP567!", False, False),
        ("", False, False),
    ],
)
def test_an_application_password_is_known_by_its_form(password: str, could_be: bool, is_one: bool) -> None:
    assert (may_be_application_password(password), is_application_password(password)) == (could_be, is_one)


def _index(scheme: str, *, consent: URL | None = None, is_old: bool = False, is_closed: bool = False) -> RestIndex:
    home = URL(f"{scheme}://a.example/")
    return RestIndex(home.join(URL("wp-json/")), home, home, consent, is_old=is_old, is_closed=is_closed)


@pytest.mark.parametrize(
    ("index", "reason", "word"),
    [
        (_index("https"), Reason.APPLICATION_PASSWORDS_OFF, "plugin"),
        (_index("https", is_old=True), Reason.APPLICATION_PASSWORDS_OFF, "5.6"),
        (_index("http"), Reason.APPLICATION_PASSWORDS_NEED_HTTPS, "https://"),
        (_index("http", is_closed=True), Reason.APPLICATION_PASSWORDS_NEED_HTTPS, "https://"),
    ],
)
def test_a_site_that_offers_none_says_why(index: RestIndex, reason: Reason, word: str) -> None:
    with pytest.raises(SiteError) as refused:
        require_offer(index)
    assert (refused.value.reason, word in refused.value.message) == (reason, True)


@pytest.mark.parametrize(
    "index", [_index("https", consent=PAGE), _index("http", consent=PAGE), _index("https", is_closed=True)],
    ids=["offered", "offered by http, where WordPress allows it", "not shown to strangers"],
)  # fmt: skip
def test_a_site_that_may_offer_them_is_asked(index: RestIndex) -> None:
    require_offer(index)


def test_routes_have_an_address_with_and_without_permalinks() -> None:
    route = "/wp/v2/users/me?context=edit"
    assert str(_index("https").route(route)) == "https://a.example/wp-json/wp/v2/users/me?context=edit"
    plain = RestIndex(URL("https://a.example/blog/?rest_route=/"), URL(), URL())
    assert plain.route(route) == URL("https://a.example/blog/?rest_route=/wp/v2/users/me&context=edit")
