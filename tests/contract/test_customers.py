"""The promises of `core.store` about customers and their tokens."""

import pytest

from tests.support.stores import StoreBench
from wpclone.core.ids import token_id
from wpclone.core.jobs.errors import CustomerNotFound, TokenNotFound
from wpclone.core.jobs.job import Limits, Principal


async def test_customers_tokens_and_limits_are_kept(bench: StoreBench) -> None:
    made = await bench.store.create_customer("acme", Limits(live_clones=2))
    assert (await bench.store.create_customer("acme", Limits())) == made
    assert await bench.store.get_customer("acme") == made
    assert await bench.store.get_customer("nobody") is None
    assert (await bench.store.set_limits("acme", Limits(1, 2, 3))).limits == Limits(1, 2, 3)
    assert (await bench.store.set_limits("acme", Limits(1, 2, 3))).limits == Limits(1, 2, 3)
    with pytest.raises(CustomerNotFound):
        await bench.store.set_limits("nobody", Limits())
    token = b"\x00\xff'\\" + b"h" * 28
    await bench.store.add_token(token, Principal("acme", is_admin=True))
    assert await bench.store.who(token) == Principal("acme", is_admin=True)
    assert await bench.store.who(b"z" * 32) is None
    with pytest.raises(CustomerNotFound):
        await bench.store.add_token(b"y" * 32, Principal("nobody", is_admin=False))


async def test_a_token_is_listed_by_its_id_and_withdrawn_alone(bench: StoreBench) -> None:
    await bench.store.create_customer("acme", Limits())
    await bench.store.create_customer("globex", Limits())
    kept = {"acme": b"a" * 32, "globex": b"\x00\xff'\\" + b"h" * 28}
    for customer_id, key in kept.items():
        await bench.store.add_token(key, Principal(customer_id, is_admin=False))
        await bench.advance(60)
    listed = await bench.store.tokens(customer_id=None)
    assert [(token.token_id, token.principal.customer_id) for token in listed] == [
        (token_id(key), customer_id) for customer_id, key in kept.items()
    ]
    assert listed[0].created_at < listed[1].created_at
    assert await bench.store.tokens(customer_id="globex") == listed[1:]
    await bench.store.withdraw_token(token_id(kept["globex"]))
    assert await bench.store.who(kept["globex"]) is None
    assert await bench.store.who(kept["acme"]) is not None
    with pytest.raises(TokenNotFound):
        await bench.store.withdraw_token(token_id(kept["globex"]))
