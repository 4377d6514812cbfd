"""What a request means, the same for the same body, also across deployments; and which clone a clone job reads."""

from dataclasses import replace

import pytest

from server.accept import Accept, _meaning
from server.ringer import Ringer
from server.site_access import Source
from server.translate import CloneAsk
from tests.support.clock import ManualClock
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import CloneInUse
from wpclone.core.jobs.job import Clone, Limits
from wpclone.core.jobs.states import CloneState, Priority
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.secrets import KeyRing
from wpclone.core.store.memory import MemoryStore

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


@pytest.mark.parametrize(("source", "customer_id", "is_held"), [
    ("http://{id}.localhost:8080", "acme", True),
    ("http://{id}.localhost:8080/wp-content/agent.php", "acme", True),
    ("http://{id}.localhost:8081", "acme", False),
    ("http://{id}.elsewhere.test:8080", "acme", False),
    ("http://clone-000000000000.localhost:8080", "acme", False),
    ("http://{id}.localhost:8080", "globex", False),
])  # fmt: skip
async def test_a_customers_clone_that_is_a_source_is_held(source: str, customer_id: str, is_held: bool) -> None:
    accept = await _edge()
    clone = await _ready(accept)
    asked = replace(ASK, request_id="", source=replace(ASK.source, url=source.format(id=clone.clone_id)))
    job = await accept.clone(asked, customer_id)
    assert job.request["source_url"] == asked.source.url
    if is_held:
        with pytest.raises(CloneInUse):
            await accept.delete(clone, "")
    else:
        await accept.delete(clone, "")


async def _edge() -> Accept:
    store, counter = MemoryStore(ManualClock()), iter(range(1, 1000))
    for customer_id in ("acme", "globex"):
        await store.create_customer(customer_id, Limits())
    randomness = lambda count: next(counter).to_bytes(count)  # noqa: E731
    keys = KeyRing("k1", {"k1": bytes(32)}, bytes(32), randomness)
    return Accept(store, Ringer(MemoryBus()), keys, randomness, "local")


async def _ready(accept: Accept) -> Clone:
    """A clone of acme's that answers at a host of its own."""
    claim = await accept.store.claim((await accept.clone(ASK, "acme")).job_id, worker="w1")
    assert claim is not None
    change = CloneChange(CloneState.READY, url=f"http://{claim.job.job_id}.localhost:8080", starts_ttl=True)
    await accept.store.apply(transitions.completed(claim, result={}, status_message="", clone=change))
    clone = await accept.store.get_clone(claim.job.job_id)
    assert clone is not None
    return clone
