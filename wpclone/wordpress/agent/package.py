"""The agent as it is handed out: its key and its end baked in, alone or as a plugin's zip; or as a plugin without a key.

An agent without a key answers nobody until an administrator of its WordPress enrols one: `enrolment.php`, which agents with a key
do not contain.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from importlib.resources import files

_FOLDER = re.compile(r"[a-z0-9][a-z0-9-]{6,58}[a-z0-9]")
_KEY_BYTES = 16
_NAMESPACE = b"namespace WpcloneAgent;\n"
# The last line of agent.php. What writes at a target comes before it, so that one file is shipped.
_START = b"Request::serve();\n"
_WRITING = ("restore.php", "permalinks.php", "exchange.php")
_ENROLLING = "enrolment.php"
#: What a plugin without a key says it belongs to (its text domain): by that it is found among a site's plugins.
KEYLESS = "wpclone-agent"
_HEAD = re.compile(rb" \* Plugin Name: .*\n \* Description: .*\n")
_KEYLESS_HEAD = (
    b" * Plugin Name: Site copy agent\n"
    b" * Description: Lets a copy of this site be made or brought back by whom an administrator gives an application password.\n"
    b" * Text Domain: " + KEYLESS.encode() + b"\n"
)
# Zip cannot hold a date before this, and a fixed one makes the same agent the same bytes.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def agent_source(*, key: bytes, expires_at: int) -> bytes:
    """The one PHP file that answers to `key` (at least 16 bytes) until `expires_at` (epoch seconds; 0 for never)."""
    if len(key) < _KEY_BYTES:
        raise ValueError("an agent's key has at least 16 bytes")
    return _source(key.hex(), expires_at, _WRITING, name=hashlib.sha256(b"namespace" + key).hexdigest()[:12])


def agent_zip(*, key: bytes, folder: str, expires_at: int) -> bytes:
    """A plugin zip holding `<folder>/<folder>.php`; the folder's name should be unguessable, as its URL is public.

    Name it `wpc-` and 24 hex digits: agents leave things called so out of every copy, also those of other jobs.
    """
    return _zipped(folder, agent_source(key=key, expires_at=expires_at))


def keyless_agent_zip(*, folder: str) -> bytes:
    """A plugin zip like `agent_zip`'s whose agent has no key and no end."""
    source = _source("", 0, (*_WRITING, _ENROLLING), name=hashlib.sha256(folder.encode()).hexdigest()[:12])
    return _zipped(folder, _HEAD.sub(lambda _: _KEYLESS_HEAD, source, count=1))


def _source(key: str, expires_at: int, parts: tuple[str, ...], *, name: str) -> bytes:
    """`name` makes the classes' names the agent's own: PHP's opcache ends requests that include two files with the same ones, as
    WordPress does with two active agents."""
    source = files(__package__).joinpath("agent.php").read_bytes()
    head, start, _ = source.rpartition(_START)
    source = head + b"".join(_body(part) for part in parts) + start
    source = source.replace(_NAMESPACE, _NAMESPACE.replace(b";", b"\\A%s;" % name.encode()))
    return source.replace(b"@@WPCLONE_KEY@@", key.encode()).replace(b"@@WPCLONE_EXPIRES@@", b"%d" % expires_at)


def _zipped(folder: str, source: bytes) -> bytes:
    if not _FOLDER.fullmatch(folder):
        raise ValueError("a folder has 8 to 60 characters of a-z, 0-9 and '-'")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{folder}/{folder}.php", _ZIP_EPOCH)
        entry.external_attr = 0o644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, source)
    return packed.getvalue()


def _body(name: str) -> bytes:
    """A PHP source without its head."""
    return files(__package__).joinpath(name).read_bytes().partition(_NAMESPACE)[2].lstrip() + b"\n"
