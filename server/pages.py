"""Page tokens: where a listing goes on, opaque to clients, good for the same filters only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime, timedelta

from wpclone.core.jobs.ids import JOB_ID

LONGEST = 256
"""Characters; ours have fewer than 128."""
_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class BadPageToken(ValueError):
    """The text is no page token of this listing."""


def to_token(created_at: datetime, row_id: str, *, filters: tuple[str, ...]) -> str:
    """The token of the page that starts after this row."""
    content = [_VERSION, (created_at - _EPOCH) // _MICROSECOND, row_id, _digest(filters)]
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).rstrip(b"=").decode()


def from_token(token: str, *, filters: tuple[str, ...]) -> tuple[datetime, str]:
    """The row that a page starts after. Raises BadPageToken."""
    if len(token) > LONGEST:
        raise BadPageToken
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        version, micros, row_id, digest = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        created_at = _EPOCH + micros * _MICROSECOND
    except (ValueError, TypeError, OverflowError, binascii.Error) as e:
        raise BadPageToken from e
    if version != _VERSION or digest != _digest(filters) or not isinstance(row_id, str) or not JOB_ID.fullmatch(row_id):
        raise BadPageToken
    return created_at, row_id


def _digest(filters: tuple[str, ...]) -> str:
    return hashlib.sha256("\x00".join(filters).encode()).hexdigest()[:16]
