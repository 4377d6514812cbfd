"""The spellings of a host name: lower case, punycode, Unicode, and Unicode as JSON, percent and HTML escapes write it.

Labels are encoded by RFC 3492 alone, without a table of allowed characters: a host that answers is taken as it is.
"""

import base64
import unicodedata
from collections.abc import Callable
from functools import partial
from itertools import product
from urllib.parse import quote

_ACE = "xn--"


def ascii_host(host: str) -> str:
    """The host in lower-case ASCII (`Bücher.example` gives `xn--bcher-kva.example`); IPv6 keeps its brackets."""
    return ".".join(_to_ascii(label) for label in host.lower().split("."))


def _to_ascii(label: str) -> str:
    label = unicodedata.normalize("NFC", label)
    return label if label.isascii() else _ACE + label.encode("punycode").decode("ascii")


def _to_unicode(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        return label[len(_ACE) :].encode("ascii").decode("punycode")
    except UnicodeError:
        return label  # looks like punycode and is not: DNS does not mind, so neither do we


def without_www(host: str) -> str:
    """The host without a leading `www.`, unless nothing with a dot would remain."""
    rest = host.removeprefix("www.")
    return rest if "." in rest else host


def spellings(host: str) -> tuple[bytes, ...]:
    """Every spelling of an ASCII host to search for in ASCII-lower-cased text, most usual first."""
    unicode_labels = [_to_unicode(label) for label in host.split(".")]
    found = [host.encode("ascii")]
    if all(label.isascii() for label in unicode_labels):
        return tuple(found)
    for label_case in (str.lower, str.upper):  # bytes.lower() leaves non-ASCII letters as they are
        name = ".".join(label_case(label) for label in unicode_labels)
        found.append(name.encode().lower())
        found.append(_escaped(name, quote))
        found.append(_escaped(name, lambda c: quote(quote(c))))
        found.append(_escaped(name, lambda c: f"&#{ord(c)};"))
        found.append(_escaped(name, lambda c: f"&#x{ord(c):x};"))
        for backslashes in ("\\", "\\\\", "\\\\\\\\"):  # JSON; JSON in JSON; one deeper
            found.append(_escaped(name, partial(_json_escape, backslashes)))
    return tuple(dict.fromkeys(found))


def _json_escape(backslashes: str, character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"{backslashes}u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _escaped(name: str, spell: Callable[[str], str]) -> bytes:
    return "".join(c if c.isascii() else spell(c) for c in name).encode("ascii").lower()


def base64_cores(host: bytes) -> tuple[bytes, ...]:
    """What base64 makes of the host at each of the three alignments, without the characters its neighbours decide.

    Empty for hosts so short that the cores would be found by chance; both alphabets are covered.
    """
    cores: list[bytes] = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + host).rstrip(b"=")
        first = (0, 2, 3)[before]
        whole = (before + len(host)) * 8 // 6  # characters decided by our bytes alone
        cores.append(encoded[first:whole])
    if min(map(len, cores)) < 8:
        return ()
    both = [core.translate(table) for core, table in product(cores, (None, bytes.maketrans(b"+/", b"-_")))]
    return tuple(dict.fromkeys(both))
