"""Which addresses may be contacted."""

from ipaddress import ip_address

import pytest
from yarl import URL

from wpclone.wordpress.address import AddressPolicy, PinnedResolver, check_address, check_url, checked_addresses, is_local_name
from wpclone.wordpress.errors import SENTENCES, Reason, SiteError
from wpclone.wordpress.session import same_host

PUBLIC = AddressPolicy()
PRIVATE = AddressPolicy(allow_private=True)

_NEVER = [
    "169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "192.0.0.192",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
_PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "2002:7f00:1::",
    "127.255.0.1",
]
_PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "8.8.8.8"]


@pytest.mark.parametrize("address", _NEVER)
def test_metadata_link_local_and_nobodys_addresses_are_always_refused(address: str) -> None:
    for policy in (PUBLIC, PRIVATE):
        assert policy.refuses(ip_address(address), host="x", port=80)


@pytest.mark.parametrize("address", _PRIVATE)
def test_private_addresses_need_a_policy(address: str) -> None:
    assert PUBLIC.refuses(ip_address(address), host="x", port=80)
    assert not PRIVATE.refuses(ip_address(address), host="x", port=80)


@pytest.mark.parametrize("address", _PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert not PUBLIC.refuses(ip_address(address), host="x", port=80)


def test_a_named_host_may_be_anywhere() -> None:
    policy = AddressPolicy(allow_hosts=frozenset({"intern.example", "other.example:8080"}))
    assert not policy.refuses(ip_address("10.0.0.1"), host="intern.example", port=80)
    assert not policy.refuses(ip_address("10.0.0.1"), host="other.example", port=8080)
    assert policy.refuses(ip_address("10.0.0.1"), host="other.example", port=80)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://example.com", "http://example.com/"),
        (" https://example.com/blog ", "https://example.com/blog/"),
        ("https://example.com/wp-admin/plugins.php?x=1#y", "https://example.com/"),
        ("https://example.com/shop/wp-login.php", "https://example.com/shop/"),
        ("http://EXAMPLE.com:8080/a/", "http://example.com:8080/a/"),
        ("https://user:secret@example.com/", "https://user:secret@example.com/"),
    ],
)
def test_a_sites_address_is_normalised(given: str, wanted: str) -> None:
    assert check_url(given) == wanted


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "ftp://example.com", "http://", "http://a b/", "http:///x", "http://example.com:99999/", "file:///etc/passwd",
     "http://exa\nmple.com/", "http://example.com\\@evil/", "https://" + "a" * 3000, "javascript:alert(1)"],
)  # fmt: skip
def test_what_is_not_a_sites_address_is_refused(url: str) -> None:
    with pytest.raises(SiteError) as refused:
        check_url(url)
    assert refused.value.reason is Reason.MALFORMED_URL


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:80/", "http://localhost/", "http://a.b.localhost/", "http://[::1]/", "http://2130706433/"]
)
async def test_local_names_and_digits_are_judged_alike(url: str) -> None:
    with pytest.raises(SiteError) as refused:
        await check_address(url, PUBLIC)
    assert refused.value.reason is Reason.ADDRESS_NOT_ALLOWED


async def test_the_resolver_answers_what_was_checked_even_when_the_name_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [[ip_address("93.184.216.34")], [ip_address("127.0.0.1")]]

    async def moving(host: str, port: int) -> list[object]:
        return answers.pop(0)  # type: ignore[return-value]

    monkeypatch.setattr("wpclone.wordpress.address.resolve", moving)
    resolver = PinnedResolver(PUBLIC)
    await resolver.check(URL("http://moving.example/"))
    found = await resolver.resolve("moving.example", 80)
    assert [one["host"] for one in found] == ["93.184.216.34"]
    with pytest.raises(SiteError):
        await checked_addresses("moving.example", 80, PUBLIC)


@pytest.mark.parametrize(("name", "local"), [("localhost", True), ("x.localhost.", True), ("localhost.example.com", False)])
def test_local_names(name: str, local: bool) -> None:
    assert is_local_name(name) is local


@pytest.mark.parametrize(
    ("start", "target", "stays"),
    [
        ("http://a.example/", "https://a.example/x", True),
        ("http://a.example/", "/wp-login.php", True),
        ("http://a.example:81/", "http://a.example:81/x", True),
        ("http://a.example/", "http://www.a.example/", False),
        ("http://a.example:81/", "http://a.example:82/", False),
        ("https://a.example/", "file:///etc/passwd", False),
        ("https://a.example/", "//b.example/", False),
    ],
)
def test_redirects_stay_on_the_host(start: str, target: str, stays: bool) -> None:
    if stays:
        assert same_host(URL(start), target).host == URL(start).host
        return
    with pytest.raises(SiteError) as elsewhere:
        same_host(URL(start), target)
    assert elsewhere.value.reason is Reason.SOURCE_REDIRECTS_ELSEWHERE


def test_every_reason_has_one_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
    for reason, said in SENTENCES.items():
        assert reason.value == reason.name
        assert said.sentence.endswith(".")
        assert said.sentence.count(". ") == 0
