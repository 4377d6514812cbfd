"""The passwords of one installation's own accounts: made at the first start, kept 0600, never shown."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from wpclone.standalone.state import read_document, write_private

Randomness = Callable[[int], bytes]
"""n -> n random bytes."""


@dataclass(frozen=True)
class Passwords:
    """`jobs` opens the job store, `clones` may make databases and users for clones, `nats` is nats-server's token, `spaces` may
    copy tables between clones."""

    jobs: str = field(repr=False)
    clones: str = field(repr=False)
    nats: str = field(repr=False)
    spaces: str = field(repr=False)

    @classmethod
    def kept(cls, path: Path, randomness: Randomness) -> Passwords:
        """The passwords in `path`; those that are missing are made and written there. Raises ValueError for a damaged file."""
        document = read_document(path)
        names = [field.name for field in fields(cls)]
        passwords = cls(**{name: str(document.get(name) or _password(randomness)) for name in names})
        if asdict(passwords) != document:
            write_private(path, asdict(passwords))
        return passwords


def _password(randomness: Randomness) -> str:
    """32 letters and digits that need no quoting in URLs and SQL."""
    return base64.b32encode(randomness(20)).decode().lower()
