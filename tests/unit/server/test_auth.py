import pytest

from server.admin import create_token
from server.auth import KNOWN_FOR, Auth
from tests.support.clock import ManualClock
from tests.support.serving import CUSTOMER, keys
from wpclone.core.ids import token_id
from wpclone.core.jobs.errors import Unauthenticated
from wpclone.core.jobs.job import Limits, Principal
from wpclone.core.store.memory import MemoryStore


async def test_a_withdrawn_token_opens_nothing_once_what_is_known_of_it_is_old() -> None:
    clock, ring = ManualClock(), keys()
    store = MemoryStore(clock)
    await store.create_customer(CUSTOMER, Limits())
    token = await create_token(store, ring, Principal(CUSTOMER, is_admin=False), lambda size: b"t" * size)
    metadata = [("authorization", f"Bearer {token}")]
    auth = Auth(store, ring.token_hash, clock)
    assert (await auth.who(metadata)).customer_id == CUSTOMER
    await store.withdraw_token(token_id(ring.token_hash(token)))
    clock.advance(KNOWN_FOR - 0.1)
    await auth.who(metadata)
    clock.advance(0.1)
    with pytest.raises(Unauthenticated):
        await auth.who(metadata)
    with pytest.raises(Unauthenticated):
        await Auth(store, ring.token_hash, clock).who(metadata)
