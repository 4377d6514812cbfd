"""Secrets at rest: a key ring, AES-GCM, keyed hashes, and passwords derived from a job's seed.

A blob is `0x01 | length of key id | key id | 12 bytes nonce | ciphertext and tag`. Its context (a job's or clone's id) is
authenticated, so a blob moved to another row cannot be read there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wpclone.core.ids import Randomness
from wpclone.core.jobs.errors import WpcloneError

_VERSION = 1
_NONCE = 12
_KEY = 32


class SecretsUnreadable(WpcloneError):
    """A secret cannot be read: its key is not in the key ring, or it was changed or moved."""

    reason = "SECRETS_UNREADABLE"


class KeyRingUnusable(WpcloneError):
    """The key ring file cannot be used."""

    reason = "KEY_RING_UNUSABLE"


class KeyRing:
    """The keys of one installation: one encrypts, all decrypt, and one more keys the hashes.

    To rotate, add a key to the file and name it in `current`; old keys stay as long as blobs name them. `hash` never changes:
    the hashes of tokens and requests in the database depend on it.
    """

    def __init__(self, current: str, keys: Mapping[str, bytes], hash_key: bytes, randomness: Randomness) -> None:
        if current not in keys:
            raise KeyRingUnusable("The key ring's `current` names no key of it.")
        if any(len(key) != _KEY for key in (*keys.values(), hash_key)) or any(not 0 < len(i.encode()) < 256 for i in keys):
            raise KeyRingUnusable(f"Each key of the key ring must have {_KEY} bytes and an id of 1 to 255 bytes.")
        self._current = current
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._hash_key = hash_key
        self._randomness = randomness

    def __repr__(self) -> str:
        return f"KeyRing(current={self._current!r}, keys={sorted(self._keys)!r})"

    @classmethod
    def from_file(cls, path: Path, *, randomness: Randomness = os.urandom) -> KeyRing:
        """Read `{"current": id, "keys": {id: base64 of 32 bytes}, "hash": base64 of 32 bytes}`.

        Raises KeyRingUnusable when the file is missing, malformed, or readable by group or others.
        """
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise KeyRingUnusable(f"The key ring {path} must be readable by its owner only: chmod 600.")
            document = json.loads(path.read_text())
            keys = {str(i): base64.b64decode(k, validate=True) for i, k in document["keys"].items()}
            return cls(document["current"], keys, base64.b64decode(document["hash"], validate=True), randomness)
        except OSError as e:
            raise KeyRingUnusable(f"The key ring {path} cannot be read: {e.strerror}.") from e
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as e:
            # The parser's message could quote a key.
            raise KeyRingUnusable(f"The key ring {path} is not a JSON object with current, keys and hash.") from e

    @classmethod
    def create(cls, path: Path, randomness: Randomness) -> KeyRing:
        """Write a new ring with one key, mode 0600. Raises KeyRingUnusable when the file exists or cannot be written."""
        keys = {"k1": randomness(_KEY)}
        hash_key = randomness(_KEY)
        document = {
            "current": "k1",
            "keys": {i: base64.b64encode(k).decode() for i, k in keys.items()},
            "hash": base64.b64encode(hash_key).decode(),
        }
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
                json.dump(document, f)
                f.flush()
                os.fsync(f.fileno())
        except OSError as e:
            raise KeyRingUnusable(f"The key ring {path} cannot be written: {e.strerror}.") from e
        return cls("k1", keys, hash_key, randomness)

    def encrypt(self, plain: bytes, context: str) -> bytes:
        """A blob that only this ring can read, and only with the same context."""
        nonce = self._randomness(_NONCE)
        key_id = self._current.encode()
        return bytes([_VERSION, len(key_id)]) + key_id + nonce + self._keys[self._current].encrypt(nonce, plain, context.encode())

    def decrypt(self, blob: bytes, context: str) -> bytes:
        """What `encrypt` was given. Raises SecretsUnreadable."""
        if len(blob) < 2 or blob[0] != _VERSION:
            raise SecretsUnreadable
        start = 2 + blob[1]
        key = self._keys.get(blob[2:start].decode(errors="replace"))
        if key is None:
            raise SecretsUnreadable
        try:
            return key.decrypt(blob[start : start + _NONCE], blob[start + _NONCE :], context.encode())
        except (InvalidTag, ValueError) as e:
            raise SecretsUnreadable from e

    def seal(self, content: Mapping[str, Any], context: str) -> bytes:
        """A JSON object, encrypted. In UTF-8: escaped, a character beyond ASCII takes 12 bytes of what `jobs.secrets` holds."""
        return self.encrypt(json.dumps(content, ensure_ascii=False).encode(), context)

    def unseal(self, blob: bytes, context: str) -> dict[str, Any]:
        """What `seal` was given. Raises SecretsUnreadable."""
        content: dict[str, Any] = json.loads(self.decrypt(blob, context))
        return content

    def request_hash(self, data: bytes) -> bytes:
        """32 bytes that tell whether two requests are equal; keyed, because requests may hold guessable passwords."""
        return self._keyed(b"request", data)

    def token_hash(self, token: str) -> bytes:
        """32 bytes under which a bearer token is kept."""
        return self._keyed(b"token", token.encode())

    def receiver_key(self, clone_id: str) -> bytes:
        """32 bytes with which workers sign what they send to a clone's pod: the same for every worker, whatever was rotated."""
        return self._keyed(b"receiver", clone_id.encode())

    def _keyed(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._hash_key, purpose + b"\x00" + data, hashlib.sha256)


def derive(seed: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose (`database`, `admin`, `agent`, `salts`): a retried step finds the same secret again."""
    return hmac.digest(seed, b"wpclone\x00" + purpose.encode(), hashlib.sha256)


def password(seed: bytes, purpose: str) -> str:
    """24 letters and digits (over 140 bits) that need no quoting in a URL, a shell, PHP or SQL."""
    return base64.b64encode(derive(seed, purpose), altchars=b"xy").decode()[:24]
