"""What a request means: the same for the same body, also across deployments."""

from dataclasses import replace

from server.accept import _meaning
from server.translate import CloneAsk, Source
from wpclone.core.jobs.states import Priority

ASK = CloneAsk("r-1", "acme", Source("admin_login", "https://a.example", {"username": "u", "password": "p"}), 60)


def test_a_request_that_says_no_more_means_what_it_meant_before_there_was_more_to_say() -> None:
    assert _meaning(ASK) == {
        "request_id": "", "customer_id": "", "ttl_minutes": 60,
        "source": {"kind": "admin_login", "url": "https://a.example", "secrets": {"username": "u", "password": "p"}},
    }  # fmt: skip


def test_whatever_a_request_says_is_part_of_what_it_means() -> None:
    others = [
        replace(ASK, ttl_minutes=61), replace(ASK, keep_constants=("X",)), replace(ASK, exclude_paths=("*.zip",)),
        replace(ASK, exclude_tables=("logs",)), replace(ASK, dry_run=True), replace(ASK, priority=Priority.LOW),
        replace(ASK, source=replace(ASK.source, url="https://b.example")),
        replace(ASK, source=replace(ASK.source, secrets={"username": "u", "password": "q"})),
    ]  # fmt: skip
    meanings = [_meaning(ask) for ask in (ASK, *others)]
    assert all(meanings.count(meaning) == 1 for meaning in meanings)


def test_who_asks_and_under_which_id_is_not_what_is_asked() -> None:
    assert _meaning(replace(ASK, request_id="r-2", customer_id="globex")) == _meaning(ASK)
