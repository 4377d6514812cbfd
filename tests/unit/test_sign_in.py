import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from wpclone.core.sign_in import sign_in_token, sign_in_url

KEY = bytes(range(32))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NONCE = "abcdefghijklmnop"


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_link_names_clone_user_nonce_and_an_end_five_minutes_away() -> None:
    payload, signature = sign_in_token(KEY, "clone-0123456789ab", "ädmin", NOW, NONCE).split(".")
    assert json.loads(decode(payload)) == {"c": "clone-0123456789ab", "u": "ädmin", "e": int(NOW.timestamp()) + 300, "n": NONCE}
    assert decode(signature) == hmac.digest(KEY, b"wpclone-sign-in\n" + payload.encode(), hashlib.sha256)


def test_the_url_is_the_clones_front_page_with_the_token() -> None:
    token = sign_in_token(KEY, "clone-0123456789ab", "admin", NOW, NONCE)
    for base in ("http://a.localhost:1", "http://a.localhost:1/"):
        assert (
            sign_in_url(base, KEY, "clone-0123456789ab", "admin", NOW, NONCE) == f"http://a.localhost:1/?wpclone-sign-in={token}"
        )


def test_a_naive_time_a_short_key_and_a_bad_nonce_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        sign_in_token(KEY, "c", "u", datetime(2026, 1, 1), NONCE)  # noqa: DTZ001
    with pytest.raises(ValueError, match="32 bytes"):
        sign_in_token(KEY[:31], "c", "u", NOW, NONCE)
    with pytest.raises(ValueError, match="nonce"):
        sign_in_token(KEY, "c", "u", NOW, "../../etc/passwd")
