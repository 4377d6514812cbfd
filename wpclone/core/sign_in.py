"""One-time sign-in links to a clone: made here with the clone's guard key, checked by the guard's PHP.

The link's token is `<payload>.<signature>`, both base64url without padding. The payload is a JSON object: `c` the clone's
id, `u` the login name, `e` the end of its validity (unix seconds), `n` a nonce. The signature is HMAC-SHA256 over the
words `wpclone-sign-in` and a newline, then the encoded payload. The guard (`wpclone/wordpress/guard/mu-plugin.php`)
refuses another clone's id, a time past `e`, an `e` further away than five minutes, and a nonce it has seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta

VALIDITY = timedelta(minutes=5)
PARAMETER = "wpclone-sign-in"
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


def sign_in_token(key: bytes, clone_id: str, user: str, now: datetime, nonce: str) -> str:
    """The signed token. `now` is aware; `nonce` is 16 to 64 of `A-Za-z0-9_-`, never used before. Raises ValueError."""
    if now.tzinfo is None:
        raise ValueError("now must carry a time zone")
    if not _NONCE.fullmatch(nonce):
        raise ValueError("the nonce must be 16 to 64 characters of A-Z a-z 0-9 _ -")
    if len(key) < 32:
        raise ValueError("the guard key must have at least 32 bytes")
    ends = int((now + VALIDITY).timestamp())
    payload = _encode(json.dumps({"c": clone_id, "u": user, "e": ends, "n": nonce}, separators=(",", ":")).encode())
    signature = hmac.digest(key, f"{PARAMETER}\n{payload}".encode(), hashlib.sha256)
    return f"{payload}.{_encode(signature)}"


def sign_in_url(clone_url: str, key: bytes, clone_id: str, user: str, now: datetime, nonce: str) -> str:
    """A URL that signs its first visitor in as `user`, valid for `VALIDITY` from `now`. Raises ValueError."""
    return f"{clone_url.rstrip('/')}/?{PARAMETER}={sign_in_token(key, clone_id, user, now, nonce)}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
