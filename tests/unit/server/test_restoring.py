"""What a restore's request means: the same for the same body, also across deployments."""

from dataclasses import dataclass, fields, replace

from server.restore_ask import RestoreAsk
from server.restoring import _meaning
from server.site_access import Source

TARGET = Source("admin_login", "https://a.example", {"username": "u", "password": "p"})
ASK = RestoreAsk("r-1", "acme", "clone-0123456789ab", None, TARGET, True, False, (), (), (), "keep_target", False)


@dataclass(frozen=True)
class _LaterAsk(RestoreAsk):
    """As a later version may have it."""

    another_choice: bool = False


def test_a_restore_that_says_no_more_means_what_it_meant_before_there_was_more_to_say() -> None:
    later = _LaterAsk(**{field.name: getattr(ASK, field.name) for field in fields(ASK)})
    assert _meaning(later) == _meaning(ASK)
    assert _meaning(replace(later, another_choice=True)) != _meaning(ASK)


def test_what_a_restore_means_is_what_versions_before_remembered() -> None:
    assert _meaning(ASK) == {
        "request_id": "", "customer_id": "", "clone_id": "clone-0123456789ab", "source": None,
        "target": {"kind": "admin_login", "url": "https://a.example", "secrets": {"username": "u", "password": "p"}},
        "preserve_plugins": True, "preserve_themes": False, "preserve": (), "tables": (), "paths": (),
        "conflict_policy": "keep_target", "dry_run": False,
    }  # fmt: skip


def test_whatever_a_restore_says_is_part_of_what_it_means() -> None:
    others = [
        replace(ASK, clone_id="", source=TARGET), replace(ASK, target=replace(TARGET, url="https://b.example")),
        replace(ASK, preserve_plugins=False), replace(ASK, preserve_themes=True), replace(ASK, preserve=("a",)),
        replace(ASK, tables=("a",)), replace(ASK, paths=("a",)), replace(ASK, conflict_policy="abort"),
        replace(ASK, dry_run=True),
    ]  # fmt: skip
    meanings = [_meaning(ask) for ask in (ASK, *others)]
    assert all(meanings.count(meaning) == 1 for meaning in meanings)


def test_who_asks_for_a_restore_and_under_which_id_is_not_what_is_asked() -> None:
    assert _meaning(replace(ASK, request_id="r-2", customer_id="globex")) == _meaning(ASK)
