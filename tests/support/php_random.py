"""Random PHP values that hold addresses everywhere a WordPress site does: nested, escaped, shared, with traps beside them."""

import base64
import random
import re
import struct

from tests.support.php_oracle import Node

PAIRS = {
    "{U}": ("https://example.com", "https://clone-1a2b3c.clones.test"),
    "{H}": ("http://example.com", "https://clone-1a2b3c.clones.test"),
    "{W}": ("https://www.example.com", "https://clone-1a2b3c.clones.test"),
    "{P}": ("//example.com", "//clone-1a2b3c.clones.test"),
    "{C}": ("HTTPS://Example.COM", "https://clone-1a2b3c.clones.test"),
    "{D}": ("/home/u/site", "/srv/clones/1a2b3c"),
}
MARKS = list(PAIRS)
ENDS = ["/", "/a/b.png", "?q=1", " ", '"', "'", "\n", "é", "&x", "<", ")", ",", ";", "\\ ", "//", "😀", "\t"]
DIRECTORY_ENDS = ["/", "/a/b.png", " ", '"', "'", "\n", "<", ")", ",", ";"]
TRAPS = [
    "bob@example.com ",
    "https://example.com.au/ ",
    "https://notexample.com/",
    "https://example.com:8443/ ",
    "/home/u/site2 ",
    's:5:"abc" ',
    's:3:"abc"; ',
    "a:1:{ ",
    '";s:4:"',
    's:3:\\"',
    "\\\\",
    '\\"',
    '"',
    "'",
    "\0",
    "\n",
    "%22",
    "&amp;",
    "&quot;",
    "s:1:&quot;",
    "s%3A3%3A%22",
    "größe ",
    "日本語 ",
    "😀",
    "lorem ipsum ",
    "12345",
    "{}",
    ":",
    "\r\n",
    "\x1a",
    "</script>",
    "--",
]
_LIKE_A_VALUE = re.compile(r"[ \t\n\r\0\x0b]*[sSaOC]:[0-9]+:")
_JSON_FLAGS = (0, 64, 256, 320, 15, 128)
"""None, unescaped slashes, unescaped Unicode, both, all HEX flags (block attributes' way), pretty."""


class Maker:
    """Makes descriptions of values from a seeded generator; `depth` bounds the nesting."""

    def __init__(self, seed: int, depth: int = 5) -> None:
        self._random = random.Random(seed)
        self._depth = depth

    def value(self) -> Node:
        """A value worth serializing: mostly an array or object, sometimes a lone string."""
        return self._random.choice([self._array, self._array, self._array, self._object, self._text])(self._depth)

    def _node(self, depth: int) -> Node:
        pick = self._random.random()
        if depth <= 0 or pick < 0.45:
            return self._text(depth)
        if pick < 0.6:
            return self._scalar()
        makers = [self._array, self._array, self._object, self._wrapped, self._wrapped, self._wrapped, self._custom]
        return self._random.choice(makers)(depth - 1)

    def _scalar(self) -> Node:
        r = self._random
        number = struct.pack(">d", r.choice([0.1, 1e25, -0.0, float("inf"), r.uniform(-1e9, 1e9), 5e-324]))
        kinds: list[Node] = [
            ["null"],
            ["bool", r.random() < 0.5],
            ["int", r.randint(-(2**53), 2**53)],
            ["float", base64.b64encode(number).decode()],
            ["enum", r.random() < 0.5],
        ]
        return r.choice(kinds)

    def _marked(self) -> str:
        r = self._random
        parts: list[str] = []
        for _ in range(r.randint(0, 5)):
            parts.append(self._mark() if r.random() < 0.5 else r.choice(TRAPS))
        text = "".join(parts) + (r.choice(MARKS[:3]) if r.random() < 0.3 else "")
        return "x" + text if _LIKE_A_VALUE.match(text) else text

    def _mark(self) -> str:
        r = self._random
        mark = r.choice(MARKS)
        if mark == "{D}":  # letters around a directory would make it another one
            return f" {mark}{r.choice(DIRECTORY_ENDS)}"
        return (" " if mark == "{P}" else "") + mark + r.choice(ENDS)

    def _text(self, depth: int) -> Node:
        return ["text", self._encoded(self._marked())]

    @staticmethod
    def _encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    def _items(self, depth: int) -> list[Node]:
        r = self._random
        items: list[Node] = []
        for number in range(r.randint(0, 5)):
            key: object = number
            if r.random() < 0.6:
                key = self._encoded(f"k{number}" + (r.choice(MARKS[:1]) + "/" if r.random() < 0.2 else ""))
            pick = r.random()
            shared: Node = [r.choice(["same", "alias"]), r.randint(0, 9)]
            items.append([key, shared if pick < 0.12 else self._node(depth)])
        return items

    def _array(self, depth: int) -> Node:
        return [self._random.choice(["array", "array", "stdclass"]), self._items(depth)]

    def _object(self, depth: int) -> Node:
        return ["object", [self._node(depth) for _ in range(4)]]

    def _custom(self, depth: int) -> Node:
        if self._random.random() < 0.5:
            return ["custom", self._node(depth)]
        return ["opaque", self._encoded(self._marked())]

    def _wrapped(self, depth: int) -> Node:
        """A string with a format of its own inside."""
        r = self._random
        kind = r.choice(["serialize", "serialize", "json", "json", "percent", "entities", "prefix"])
        if kind == "serialize":
            return [kind, self._node(depth)]
        if kind == "json":
            return [kind, self._plain(depth), r.choice(_JSON_FLAGS)]
        if kind == "prefix":
            return [kind, self._encoded("{U}/a.mp3\n1234\naudio/mpeg\n"), ["serialize", self._array(depth)]]
        return [kind, r.choice([self._text, self._wrapped])(depth - 1) if depth > 0 else self._text(0)]

    def _plain(self, depth: int) -> Node:
        """What JSON can hold: arrays and strings, some of them with a format of their own."""
        r = self._random
        if depth <= 0 or r.random() < 0.3:
            return self._text(0)
        items: list[Node] = [
            [n if r.random() < 0.3 else self._encoded(f"k{n}"), r.choice([self._plain, self._wrapped])(depth - 1)]
            for n in range(r.randint(1, 3))
        ]
        return ["array", items]


_PIECES = [
    *(trap.encode() for trap in TRAPS),
    *(old.encode() for old, _ in PAIRS.values()),
    *(b's:19:"', b'";', b"a:1:{", b"}", b"\\", b'C:1:"a":19:{', b'S:3:"', b"i:0;", b"R:1;", b"\xff"),
]


def damaged(raw: bytes, random_: random.Random) -> bytes:
    """The value with up to three pieces put in, cut out or overwritten: sometimes still readable, mostly not."""
    value = bytearray(raw)
    for _ in range(random_.randint(0, 3)):
        at = random_.randint(0, len(value))
        match random_.randint(0, 3):
            case 0:
                value[at:at] = random_.choice(_PIECES)
            case 1:
                del value[at : at + random_.randint(1, 8)]
            case 2:
                value[at : at + 1] = bytes([random_.randint(0, 255)])
            case _:
                del value[at:]
                value += raw[random_.randint(0, len(raw)) :]
    return bytes(value)
