"""Secrets at rest."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wpclone.core.secrets import KeyRing, KeyRingUnusable, SecretsUnreadable, derive, password


class Counter:
    """Randomness that never repeats and always starts the same."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


def ring() -> KeyRing:
    return KeyRing("k1", {"k1": b"1" * 32}, b"h" * 32, Counter())


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_is_encrypted_reads_back_in_its_own_context_only(plain: bytes, context: str) -> None:
    keys = ring()
    blob = keys.encrypt(plain, context)
    assert keys.decrypt(blob, context) == plain
    with pytest.raises(SecretsUnreadable):
        keys.decrypt(blob, context + "x")


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 255))
def test_a_changed_or_cut_blob_is_unreadable(position: int, flip: int) -> None:
    keys = ring()
    blob = bytearray(keys.encrypt(b"the password", "clone-1"))
    position %= len(blob)
    blob[position] ^= flip
    with pytest.raises(SecretsUnreadable):
        keys.decrypt(bytes(blob), "clone-1")
    with pytest.raises(SecretsUnreadable):
        keys.decrypt(bytes(blob[:position]), "clone-1")


def test_two_encryptions_of_the_same_differ() -> None:
    keys = ring()
    assert keys.encrypt(b"x", "c") != keys.encrypt(b"x", "c")


def test_an_old_key_still_reads_after_rotation_and_a_removed_one_does_not() -> None:
    old = ring()
    rotated = KeyRing("k2", {"k1": b"1" * 32, "k2": b"2" * 32}, b"h" * 32, Counter())
    assert rotated.decrypt(old.encrypt(b"x", "c"), "c") == b"x"
    assert rotated.token_hash("t") == old.token_hash("t")
    with pytest.raises(SecretsUnreadable):
        old.decrypt(rotated.encrypt(b"x", "c"), "c")


def test_a_new_ring_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    made = KeyRing.create(path, Counter())
    assert path.stat().st_mode & 0o777 == 0o600
    read = KeyRing.from_file(path)
    assert read.decrypt(made.encrypt(b"x", "c"), "c") == b"x"
    assert read.request_hash(b"r") == made.request_hash(b"r")
    with pytest.raises(KeyRingUnusable):
        KeyRing.create(path, Counter())


def test_a_ring_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    KeyRing.create(path, Counter())
    path.chmod(0o640)
    with pytest.raises(KeyRingUnusable, match="chmod 600"):
        KeyRing.from_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", '{"current": "k", "keys": [], "hash": ""}',
        json.dumps({"current": "k", "keys": {"k": "c2hvcnQ="}, "hash": "c2hvcnQ="}),
        json.dumps({"current": "x", "keys": {"k": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}, "hash": "!"}),
    ],
)  # fmt: skip
def test_a_malformed_ring_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ring"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(KeyRingUnusable) as refusal:
        KeyRing.from_file(path)
    assert "c2hvcnQ" not in str(refusal.value)


def test_a_missing_ring_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyRingUnusable, match="nowhere"):
        KeyRing.from_file(tmp_path / "nowhere")


def test_no_key_shows_in_a_repr() -> None:
    assert "1111" not in repr(ring())
    assert "k1" in repr(ring())


def test_derived_secrets_are_stable_and_differ_by_purpose_and_seed() -> None:
    assert derive(b"seed", "admin") == derive(b"seed", "admin")
    assert len({derive(b"seed", "admin"), derive(b"seed", "agent"), derive(b"other", "admin")}) == 3


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_password_needs_no_quoting(seed: bytes) -> None:
    word = password(seed, "admin")
    assert len(word) == 24
    assert word.isascii()
    assert word.isalnum()


def test_a_receivers_key_is_the_same_after_a_rotation_and_another_for_each_clone() -> None:
    before = KeyRing("k1", {"k1": bytes(32)}, b"h" * 32, Counter())
    after = KeyRing("k2", {"k1": bytes(32), "k2": b"n" * 32}, b"h" * 32, Counter())
    assert before.receiver_key("clone-1") == after.receiver_key("clone-1") != after.receiver_key("clone-2")
    assert before.receiver_key("x") != before.token_hash("x")
