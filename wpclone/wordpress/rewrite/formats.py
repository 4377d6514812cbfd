"""What a whole value is to the programs that read it, so that a rewritten one can be proved to be the same still."""

import json
import re
from enum import StrEnum

from wpclone.wordpress.rewrite import serialized

MOST_JSON = 8 << 20
"""Bytes. Reading JSON takes ten times its size in memory; larger values count as text."""

_JSON_BEGINS = re.compile(rb'[ \t\r\n]*[\[{"]')
_SPACE = b" \t\n\r\0\x0b"


class Format(StrEnum):
    """How a value is read."""

    TEXT = "text"
    SERIALIZED = "serialized"
    JSON = "json"


def format_of(value: bytes) -> Format:
    """SERIALIZED when PHP's `unserialize()` reads all of it, JSON when `json_decode()` does and it holds text; else TEXT."""
    begins = serialized.BEGINS.match(value)
    if begins is not None:
        read = serialized.read(value, begins.end(), len(value), [], 0)
        if read is not None and not value[read.end :].strip(_SPACE):
            return Format.SERIALIZED
    if len(value) <= MOST_JSON and _JSON_BEGINS.match(value) and is_json(value):
        return Format.JSON
    return Format.TEXT


def proved(old: bytes, new: bytes) -> Format | None:
    """What `new` is, and `old` was; None when `old` could be read and `new` cannot."""
    kind = format_of(new)
    if kind is not Format.TEXT:
        return kind
    was = format_of(old)
    return None if was is Format.SERIALIZED or (was is Format.JSON and len(new) <= MOST_JSON) else kind


def is_json(value: bytes) -> bool:
    """Whether the value is one JSON document."""
    try:
        json.loads(value.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return False
    return True
