"""Where a mapping reaches and where it ends: directories, ports, names beyond ASCII, targets inside their source."""

import pytest

from wpclone.wordpress.rewrite import Mapping, Reason, Rewriter


def moved(mapping: Mapping, value: str) -> str:
    return Rewriter(mapping).value(value.encode()).value.decode()


BLOG = Mapping.of(["https://example.com/blog"], "http://c1.localhost:8080")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://example.com/blog", "http://c1.localhost:8080"),
        ("https://example.com/blog/", "http://c1.localhost:8080/"),
        ("https://example.com/blog?p=1", "http://c1.localhost:8080?p=1"),
        ('"https:\\/\\/example.com\\/blog\\/x"', '"http:\\/\\/c1.localhost:8080\\/x"'),
        ("https%3A%2F%2Fexample.com%2Fblog%2Fx", "http%3A%2F%2Fc1.localhost%3A8080%2Fx"),
        ("https%253A%252F%252Fexample.com%252Fblog%252Fx", "http%253A%252F%252Fc1.localhost%253A8080%252Fx"),
        ("see https://example.com/blog.", "see http://c1.localhost:8080."),
        ("https://example.com/blogger", None),
        ("https://example.com/blog-2/", None),
        ("https://example.com/blog.html", None),
        ("https://example.com/", None),
        ("https://example.com/shop/blog/", None),
        ("https://example.com/Blog/", None),
        ("https%3A%2F%2Fexample.com%2Fblogger", None),
    ],
)
def test_a_site_in_a_directory_ends_at_that_directory(before: str, after: str | None) -> None:
    assert moved(BLOG, before) == (before if after is None else after)


def test_a_site_moves_into_a_directory_in_every_escaping() -> None:
    mapping = Mapping.of(["http://example.com"], "https://t.test/sites/a")
    assert moved(mapping, "http://example.com/x http://example.com") == "https://t.test/sites/a/x https://t.test/sites/a"
    assert moved(mapping, r'{"u":"http:\/\/example.com\/x"}') == r'{"u":"https:\/\/t.test\/sites\/a\/x"}'
    assert moved(mapping, "http%3a%2f%2fexample.com%2fx") == "https%3a%2f%2ft.test%2fsites%2fa%2fx"
    assert moved(mapping, "http:\\u002f\\u002fexample.com") == "https:\\u002f\\u002ft.test\\u002fsites\\u002fa"


@pytest.mark.parametrize("target", ["https://example.com/stage", "https://staging.example.com", "https://example.com:8443"])
def test_a_target_inside_its_source_is_not_moved_twice(target: str) -> None:
    rewriter = Rewriter(Mapping.of(["https://example.com"], target))
    once = rewriter.value(b's:21:"https://example.com/a"; //example.com/b http:\\/\\/example.com\\/c').value
    assert target.encode() in once
    assert rewriter.value(once).value is once


def test_the_way_back_restores_every_byte() -> None:
    raw = b'a:1:{s:1:"u";s:26:"https://shop.test/a?b#c\xc3\xa9 ";}'
    there = Rewriter(Mapping.of(["https://shop.test"], "https://c1.localhost:8443")).value(raw).value
    back = Rewriter(Mapping.of(["https://c1.localhost:8443"], "https://shop.test")).value(there).value
    assert back == raw


def test_home_and_site_address_on_different_hosts_both_move() -> None:
    mapping = Mapping.of(["https://www.example.com", "https://backend.example.net/wp"], "https://t.test")
    assert (
        moved(mapping, "https://example.com/a https://backend.example.net/wp/wp-admin")
        == "https://t.test/a https://t.test/wp-admin"
    )
    assert moved(mapping, "https://backend.example.net/other") == "https://backend.example.net/other"


def test_a_site_address_below_home_keeps_its_tail() -> None:
    mapping = Mapping.of(["https://example.com/wp/", "https://example.com/"], "https://t.test")
    assert (
        moved(mapping, "https://example.com/wp/wp-admin https://example.com/a") == "https://t.test/wp/wp-admin https://t.test/a"
    )


def test_a_source_with_a_port_is_only_that_port() -> None:
    mapping = Mapping.of(["http://localhost:8081"], "https://t.test")
    assert moved(mapping, "http://localhost:8081/a //localhost:8081") == "https://t.test/a //t.test"
    assert moved(mapping, "http%3A%2F%2Flocalhost%3A8081%2Fa") == "https%3A%2F%2Ft.test%2Fa"
    for other in ("http://localhost/a", "http://localhost:80811/", "http://localhost:808/", "http://x.localhost:8081"):
        assert moved(mapping, other) == other


def test_an_address_of_numbers_is_a_host_too() -> None:
    assert moved(Mapping.of(["http://127.0.0.1:8081"], "https://t.test"), "http://127.0.0.1:8081/a") == "https://t.test/a"
    assert moved(Mapping.of(["http://[::1]:8081"], "https://t.test"), "http://[::1]:8081/a") == "https://t.test/a"


@pytest.mark.parametrize("source", ["https://bücher.example", "https://xn--bcher-kva.example", "https://www.BÜCHER.example"])
@pytest.mark.parametrize(
    "spelling",
    [
        "https://bücher.example/x",
        "https://BÜCHER.example/x",
        "https://www.bücher.example/x",
        "https://xn--bcher-kva.example/x",
        "https://XN--BCHER-KVA.example/x",
        "https://b\\u00fccher.example/x",
        "https://b\\\\u00FCcher.example/x",
        "https://b%C3%BCcher.example/x",
        "https://b&#252;cher.example/x",
    ],
)
def test_a_name_beyond_ascii_is_found_in_every_spelling(source: str, spelling: str) -> None:
    assert moved(Mapping.of([source], "https://t.test"), spelling) == "https://t.test/x"


def test_a_target_beyond_ascii_is_written_in_ascii() -> None:
    assert (
        moved(Mapping.of(["https://a.test"], "https://bücher.example"), "https://a.test/ü") == "https://xn--bcher-kva.example/ü"
    )


DIRECTORIES = Mapping.of(["https://a.test"], "https://b.test", [("/var/www/html", "/srv/c1"), ("/var/www/html/blog", "/srv/c2")])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/var/www/html", "/srv/c1"),
        ("/var/www/html/wp-content", "/srv/c1/wp-content"),
        ("/var/www/html/blog/x", "/srv/c2/x"),
        ("/var/www/html/blogger", "/srv/c1/blogger"),
        ('s:20:"/var/www/html/upload";', 's:14:"/srv/c1/upload";'),
        ('"\\/var\\/www\\/html\\/a"', '"\\/srv\\/c1\\/a"'),
        ("d=%2Fvar%2Fwww%2Fhtml%2Fa", "d=%2Fsrv%2Fc1%2Fa"),
        ("file:///var/www/html/a", "file:///srv/c1/a"),
        ("x\\n/var/www/html", "x\\n/srv/c1"),
        ("/var/www/html2 /var/www/html.bak /var/www/html-old", None),
        ("/mnt/var/www/html ./var/www/html ~/var/www/html", None),
        ("mnt\\/var\\/www\\/html mnt%2Fvar%2Fwww%2Fhtml", None),
        ("/VAR/www/html", None),
    ],
)
def test_directories_move_by_whole_names(before: str, after: str | None) -> None:
    assert moved(DIRECTORIES, before) == (before if after is None else after)


def test_a_windows_directory_moves_with_either_separator() -> None:
    mapping = Mapping.of(["https://a.test"], "https://b.test", [("C:\\inetpub\\wwwroot", "/srv/c1")])
    assert moved(mapping, "C:\\inetpub\\wwwroot\\x c:/inetpub/wwwroot/x") == "/srv/c1\\x /srv/c1/x"
    assert moved(mapping, 's:22:"C:\\inetpub\\wwwroot/a/b";') == 's:11:"/srv/c1/a/b";'


def test_keys_that_would_become_one_stay_and_the_rest_moves() -> None:
    raw = b'a:3:{s:20:"http://example.com/a";i:1;s:21:"https://example.com/a";i:2;s:21:"https://example.com/b";s:19:"https://example.com";}'
    result = Rewriter(Mapping.of(["https://example.com"], "https://t.test")).value(raw)
    assert result.value == raw.replace(b's:21:"https://example.com/b"', b's:16:"https://t.test/b"').replace(
        b's:19:"https://example.com"', b's:14:"https://t.test"'
    )
    assert {left.reason for left in result.left} == {Reason.KEY_COLLISION}


@pytest.mark.parametrize("url", ["example.com", "ftp://example.com", "https://", "", "https://exa mple.com", "https:///x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not "):
        Mapping.of([url], "https://t.test")
    with pytest.raises(ValueError, match="not "):
        Mapping.of(["https://t.test"], url)


@pytest.mark.parametrize("directory", ["relative/path", "/", "C:\\", ""])
def test_what_is_no_directory_to_move_is_refused(directory: str) -> None:
    with pytest.raises(ValueError, match="directory"):
        Mapping.of(["https://a.test"], "https://b.test", [(directory, "/srv")])


def test_a_mapping_needs_a_source() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mapping.of([], "https://t.test")
