import pytest

from wpclone.core.jobs.site_key import site_key


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "http://EXAMPLE.com/", "https://www.example.com/wp-admin/", "http://example.com:80", "https://example.com:443/",
        "https://example.com/wp-content/plugins/wpc-1/wpc-1.php", "https://example.com./wp-login.php",
    ],
)  # fmt: skip
def test_one_site_has_one_key_however_it_is_spelled(url: str) -> None:
    assert site_key(url) == "example.com"


def test_other_ports_paths_and_hosts_are_other_sites() -> None:
    urls = [
        "http://example.com:8080",
        "http://example.com/blog",
        "http://example.com/blogger",
        "http://shop.example.com",
        "http://example.com",
    ]
    assert len({site_key(url) for url in urls}) == len(urls)


def test_a_key_is_short_and_ascii() -> None:
    keys = {site_key(f"https://exämple.com/{'ü' * 2000}{n}") for n in range(3)}
    assert len(keys) == 3
    assert all(key.isascii() and len(key) <= 255 for key in keys)
