"""The agent as it is handed out: its key and its end baked in, alone or as a plugin's zip."""

from __future__ import annotations

import io
import re
import zipfile
from importlib.resources import files

_FOLDER = re.compile(r"[a-z0-9][a-z0-9-]{6,58}[a-z0-9]")
_KEY_BYTES = 16
# The last line of agent.php. What writes at a target comes before it, so that one file is shipped.
_START = b"Request::serve();\n"
_WRITING = ("restore.php", "exchange.php")
# Zip cannot hold a date before this, and a fixed one makes the same agent the same bytes.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def agent_source(*, key: bytes, expires_at: int) -> bytes:
    """The one PHP file that answers to `key` (at least 16 bytes) until `expires_at` (epoch seconds; 0 for never)."""
    if len(key) < _KEY_BYTES:
        raise ValueError("an agent's key has at least 16 bytes")
    source = files(__package__).joinpath("agent.php").read_bytes()
    head, start, _ = source.rpartition(_START)
    source = head + b"".join(_body(name) for name in _WRITING) + start
    return source.replace(b"@@WPCLONE_KEY@@", key.hex().encode()).replace(b"@@WPCLONE_EXPIRES@@", b"%d" % expires_at)


def agent_zip(*, key: bytes, folder: str, expires_at: int) -> bytes:
    """A plugin zip holding `<folder>/<folder>.php`; the folder's name should be unguessable, as its URL is public.

    Name it `wpc-` and 24 hex digits: agents leave things called so out of every copy, also those of other jobs.
    """
    if not _FOLDER.fullmatch(folder):
        raise ValueError("a folder has 8 to 60 characters of a-z, 0-9 and '-'")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{folder}/{folder}.php", _ZIP_EPOCH)
        entry.external_attr = 0o644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, agent_source(key=key, expires_at=expires_at))
    return packed.getvalue()


def _body(name: str) -> bytes:
    """A PHP source without its head."""
    return files(__package__).joinpath(name).read_bytes().partition(b"namespace WpcloneAgent;\n")[2].lstrip() + b"\n"
