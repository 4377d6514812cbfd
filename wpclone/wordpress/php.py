"""Python values as PHP literals that cannot be broken out of.

Strings are single-quoted, where PHP gives meaning to exactly two bytes, the quote and the backslash
(https://www.php.net/manual/en/language.types.string.php#language.types.string.syntax.single); both are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

PhpValue = str | bytes | int | float | bool | None | Sequence["PhpValue"] | Mapping[str, "PhpValue"]
"""What a PHP constant can hold, apart from resources and objects. Text with lone surrogates stands for raw bytes."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def php_literal(value: PhpValue) -> bytes:
    """`value` as a PHP expression. Raises ValueError for an integer PHP has no literal for, TypeError for other types."""
    if value is None or isinstance(value, bool):
        return {None: b"null", True: b"true", False: b"false"}[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _floating(value)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
    if isinstance(value, Mapping):
        pairs = (php_literal(key) + b" => " + php_literal(item) for key, item in value.items())
        return b"array(" + b", ".join(pairs) + b")"
    if isinstance(value, Sequence):
        return b"array(" + b", ".join(php_literal(item) for item in value) + b")"
    raise TypeError(f"PHP has no literal for {type(value).__name__}")


def _integer(value: int) -> bytes:
    if not _INT_MIN <= value <= _INT_MAX:
        raise ValueError("an integer beyond 64 bits has no PHP literal")
    # PHP reads -9223372036854775808 as a negated float.
    return b"PHP_INT_MIN" if value == _INT_MIN else str(value).encode()


def _floating(value: float) -> bytes:
    if math.isnan(value):
        return b"NAN"
    if math.isinf(value):
        return b"INF" if value > 0 else b"-INF"
    return repr(value).encode()
