import pytest

from wpclone.client.target import _address


@pytest.mark.parametrize(
    ("target", "address", "is_secret"),
    [
        ("127.0.0.1:5000", "127.0.0.1:5000", False),
        ("clones.example", "clones.example:50051", False),
        ("http://clones.example:80/", "clones.example:80", False),
        ("https://clones.example", "clones.example:443", True),
        ("[::1]:5000", "[::1]:5000", False),
        ("unix:/run/wpclone.sock", "unix:/run/wpclone.sock", False),
    ],
)
def test_a_target_is_an_address_and_says_whether_tls_is_used(target: str, address: str, is_secret: bool) -> None:
    assert _address(target) == (address, is_secret)


@pytest.mark.parametrize("target", ["", "ftp://x", "http://x/path", "host:port", "https://u@x", "host:99999"])
def test_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        _address(target)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="server's address") as raised:
        _address("https://user:hidden@clones.example")
    assert "hidden" not in str(raised.value)
