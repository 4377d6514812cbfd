"""`python -m server.admin`: the tables, customers and tokens, straight in MySQL. For operators, `wpclone up` and deployments.

    python -m server.admin migrate
    python -m server.admin customer create ID [--running-jobs N] [--live-clones N] [--requests-per-minute N]
    python -m server.admin customer limits ID [the same; a limit that is left out is none]
    python -m server.admin token create --customer ID [--admin]
    python -m server.admin token list [--customer ID]
    python -m server.admin token withdraw TOKEN [its id as listed, or the token itself]
    python -m server.admin job attended JOB_ID [what its undo left has been seen to: it no longer needs attention]

The settings are the server's WPCLONE_DATABASE_URL and, for tokens, WPCLONE_KEY_RING_FILE. A token is printed once, alone on
stdout, and kept only as a hash, whose beginning is its id. Exit codes: 0 done, 1 refused (one line on stderr says why), 2 wrong
usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from wpclone.core.ids import TOKEN, TOKEN_ID, Randomness, new_token, token_id
from wpclone.core.jobs.errors import WpcloneError
from wpclone.core.jobs.ids import CUSTOMER_ID, JOB_ID
from wpclone.core.jobs.job import Customer, Limits, Principal, Token
from wpclone.core.secrets import KeyRing
from wpclone.core.settings import SecretSettings, StoreSettings, read
from wpclone.core.store import JobStore
from wpclone.core.store.migrate import migrate
from wpclone.core.store.mysql import MysqlStore

T = TypeVar("T")
LIMITS = ("running_jobs", "live_clones", "requests_per_minute")


async def create_customer(store: JobStore, customer_id: str, limits: Limits) -> Customer:
    """The customer, new or as it was. Raises WpcloneError."""
    return await store.create_customer(customer_id, limits)


async def create_token(store: JobStore, keys: KeyRing, principal: Principal, randomness: Randomness) -> str:
    """A new token; this is the only time it is seen. Raises CustomerNotFound."""
    token = new_token(randomness)
    await store.add_token(keys.token_hash(token), principal)
    return token


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        said = asked.do(asked)
    except WpcloneError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    if said:
        sys.stdout.write(f"{said}\n")
    return 0


def _migrate(_asked: argparse.Namespace) -> str:
    migrate(read(StoreSettings).database_url.get_secret_value())
    return ""


def _customer_create(asked: argparse.Namespace) -> str:
    return _shown(_with_store(lambda store: create_customer(store, asked.id, _limits(asked))))


def _customer_limits(asked: argparse.Namespace) -> str:
    return _shown(_with_store(lambda store: store.set_limits(asked.id, _limits(asked))))


def _token_create(asked: argparse.Namespace) -> str:
    keys = KeyRing.from_file(read(SecretSettings).key_ring_file)
    principal = Principal(asked.customer, asked.admin)
    return _with_store(lambda store: create_token(store, keys, principal, os.urandom))


def _token_list(asked: argparse.Namespace) -> str:
    return "\n".join(_shown_token(token) for token in _with_store(lambda store: store.tokens(customer_id=asked.customer)))


def _token_withdraw(asked: argparse.Namespace) -> str:
    named = asked.token
    if TOKEN.fullmatch(named):
        named = token_id(KeyRing.from_file(read(SecretSettings).key_ring_file).token_hash(named))
    _with_store(lambda store: store.withdraw_token(named))
    return ""


def _job_attended(asked: argparse.Namespace) -> str:
    job = _with_store(lambda store: store.attended(asked.id))
    return json.dumps({"job_id": job.job_id, "status": job.state.value, "needs_attention": job.needs_attention})


def _with_store(work: Callable[[JobStore], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = read(StoreSettings)
        url = settings.database_url.get_secret_value()
        store = await MysqlStore.open(
            url, pool_size=1, timeout=settings.database_timeout, require_durable=settings.require_durable
        )
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _limits(asked: argparse.Namespace) -> Limits:
    return Limits(**{name: getattr(asked, name) for name in LIMITS})


def _shown(customer: Customer) -> str:
    limits = {name: getattr(customer.limits, name) for name in LIMITS}
    return json.dumps({"customer_id": customer.customer_id, **limits})


def _shown_token(token: Token) -> str:
    whose = token.principal
    made = token.created_at.isoformat(timespec="seconds")
    return json.dumps({"token_id": token.token_id, "customer_id": whose.customer_id, "admin": whose.is_admin, "created_at": made})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server.admin", description="Tables, customers and tokens of wpclone.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    migrating = commands.add_parser("migrate", help="make or update the tables")
    migrating.set_defaults(do=_migrate)
    customers = commands.add_parser("customer", help="customers and their limits").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _limits_parser(customers.add_parser("create", help="make a customer, or show the one there is")).set_defaults(
        do=_customer_create
    )
    _limits_parser(customers.add_parser("limits", help="replace a customer's limits")).set_defaults(do=_customer_limits)
    tokens = commands.add_parser("token", help="bearer tokens").add_subparsers(required=True, metavar="COMMAND")
    token = tokens.add_parser("create", help="print a new token, once")
    token.add_argument("--customer", required=True, type=_customer_id, metavar="ID", help="whose")
    token.add_argument("--admin", action="store_true", help="it may also name other customers and see their things")
    token.set_defaults(do=_token_create)
    listing = tokens.add_parser("list", help="show the tokens there are, one JSON object a line; none can be read back")
    listing.add_argument("--customer", type=_customer_id, metavar="ID", help="only this one's")
    listing.set_defaults(do=_token_list)
    withdrawing = tokens.add_parser("withdraw", help="a token opens nothing any more; servers heed it within 10 seconds")
    withdrawing.add_argument("token", type=_token, metavar="TOKEN", help="its id as listed, or the token itself")
    withdrawing.set_defaults(do=_token_withdraw)
    jobs = commands.add_parser("job", help="jobs that need a person").add_subparsers(required=True, metavar="COMMAND")
    attended = jobs.add_parser("attended", help="say that what a job's undo left has been seen to")
    attended.add_argument("id", type=_job_id, metavar="JOB_ID")
    attended.set_defaults(do=_job_attended)
    return parser


def _limits_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("id", type=_customer_id, metavar="ID", help="1 to 40 of a-z 0-9 -")
    parser.add_argument("--running-jobs", type=_count, metavar="N", help="jobs at work at once; further ones wait")
    parser.add_argument("--live-clones", type=_count, metavar="N", help="clones at once; further ones are refused")
    parser.add_argument("--requests-per-minute", type=_count, metavar="N", help="jobs asked for; further ones are refused")
    return parser


def _customer_id(text: str) -> str:
    if not CUSTOMER_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be 1 to 40 of a-z 0-9 -, neither first nor last a -")
    return text


def _token(text: str) -> str:
    if not TOKEN_ID.fullmatch(text) and not TOKEN.fullmatch(text):
        raise argparse.ArgumentTypeError("must be a token, or its id of 16 hexadecimal digits")
    return text


def _job_id(text: str) -> str:
    if not JOB_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be a job's id, such as clone-0123456789ab")
    return text


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError("must be a number, 0 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
