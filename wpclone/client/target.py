"""How a target's text becomes a channel: `host:port` and `http://` in the clear, `https://` with TLS, `unix:` a socket."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import grpc

from wpclone.client.lines import OPTIONS


def channel_opener(target: str, *, root_certificates: bytes | None) -> Callable[[], grpc.aio.Channel]:
    """A function that opens a new channel to the target each time. Raises ValueError for a target that is none.

    `root_certificates` (PEM) replaces the system's for `https://` targets. A bearer token in the clear is for loopback and for
    networks one trusts; the choice is the caller's, by the target's scheme.
    """
    address, is_secret = _address(target)
    if is_secret:
        credentials = grpc.ssl_channel_credentials(root_certificates)
        return lambda: grpc.aio.secure_channel(address, credentials, options=OPTIONS)
    return lambda: grpc.aio.insecure_channel(address, options=OPTIONS)


def _address(target: str) -> tuple[str, bool]:
    """The address for grpc, and whether to use TLS."""
    if target.startswith("unix:"):
        return target, False
    parts = urlsplit(target if "://" in target else f"http://{target}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.username:
        # Not repeated: it may hold a password.
        raise ValueError("this is not a server's address; give host:port, or https://host[:port] for TLS")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_secret = parts.scheme == "https"
    # urlsplit checks the port when it is read.
    port = parts.port or (443 if is_secret else 50051)
    return f"{host}:{port}", is_secret
