"""The operator's own customer and token, made once, and the file in which the command line finds them."""

from __future__ import annotations

from pathlib import Path

from wpclone.standalone.programs import Programs
from wpclone.standalone.state import read_document, write_private

CUSTOMER = "local"
"""The customer that `wpclone up` makes for whoever started it."""


async def keep_credentials(path: Path, programs: Programs, *, grpc_port: int, edge_port: int) -> None:
    """Have a token in `path` (0600) beside the addresses: `{"server": "127.0.0.1:…", "rest": "http://…", "token": "…"}`.

    Raises AdminFailed when the customer or the token can't be made.
    """
    kept = read_document(path)
    token = kept.get("token")
    if not token:
        await programs.admin("customer", "create", CUSTOMER)
        token = (await programs.admin("token", "create", "--customer", CUSTOMER)).strip()
    document = {"server": f"127.0.0.1:{grpc_port}", "rest": f"http://127.0.0.1:{edge_port}", "token": token}
    if document != kept:
        write_private(path, document)
