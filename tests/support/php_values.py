"""PHP's serialization format, written by hand for tests: a second opinion on lengths, independent of the rewriter."""


def php(value: object) -> bytes:
    """`serialize()` of None, bool, int, bytes, str, list and dict."""
    match value:
        case None:
            return b"N;"
        case int():  # True and False too
            return b"%s:%d;" % (b"b" if isinstance(value, bool) else b"i", value)
        case str() | bytes():
            raw = value if isinstance(value, bytes) else value.encode()
            return b's:%d:"%s";' % (len(raw), raw)
        case list() | dict():
            items = value if isinstance(value, dict) else dict(enumerate(value))
            return b"a:%d:{%s}" % (len(items), b"".join(php(key) + php(item) for key, item in items.items()))
    raise TypeError(f"no PHP value: {value!r}")


def php_object(name: str, properties: dict[str | bytes, object]) -> bytes:
    """`serialize()` of an object; names of private properties carry their NULs."""
    return b'O:%d:"%s"%s' % (len(name.encode()), name.encode(), php(dict(properties))[1:])


def php_custom(name: str, payload: bytes) -> bytes:
    """What a class with the old `Serializable` interface leaves."""
    return b'C:%d:"%s":%d:{%s}' % (len(name.encode()), name.encode(), len(payload), payload)
