"""The protocol between the client and agent.php: signed requests, answers in frames that prove themselves.

Request: POST, a JSON object of strings: `time` (epoch seconds), `nonce` (32 hex digits, never used twice), `body` (base64 of
a JSON object with a `verb`) and `signature`, the hex HMAC-SHA256 of `POST`, the file's name, the SHA-256 of the body, time
and nonce, joined by newlines. JSON and base64 because firewalls let both pass; the file's name instead of the path because
proxies change paths. What is written at a target travels as `data` (base64) beside the body, which then holds its SHA-256
as `digest`.

What is on the way may refuse JSON and spoil bytes: then the request is the form field `wpclone`, that JSON in base64 with a field
`text`, and the answer is `TEXT_MAGIC` and each frame in base64 after its length in eight hexadecimal digits.

Answer: `MAGIC`, then frames: type (1 byte), length (4, big endian), payload, code (16). The code is the start of
HMAC-SHA256(key, nonce + number of the frame (4) + type + SHA-256(payload)): an answer cannot be forged, replayed, reordered
or cut unnoticed, because the last frame is `E` (end) or `X` (failure). A question with `gmac` allows another code, many times as
fast: the GMAC (NIST SP 800-38D, AES-256) of the payload, its key HMAC-SHA256(key, `frames ` + nonce), its initialization vector
the type, seven zeros and the frame's number. Agents that cannot make it, older ones too, use the first.

Frames: `J` a JSON object, `I` index records, `F` file parts, `R` rows, `P` a part of a value too large for a frame of rows, `S` a
range of rows that is still what is known of it, `E` the end (JSON), `X` a failure (JSON reason and message).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from yarl import URL

MAGIC = b"\x89WPCLONE2\r\n"
TEXT_MAGIC = b"wpclone-text-2\r\n"
#: The fragment of an agent's URL that says so.
TEXT = "text"
TEXT_LENGTH_BYTES = 8
HEADER = struct.Struct(">cI")
CODE_BYTES = 16
#: No honest frame is larger, unless it holds one huge row; MySQL's own largest packet is 1 GiB.
MOST_FRAME_BYTES = 1 << 30

_INDEX = struct.Struct(">cHQQII")
_PART = struct.Struct(">IBBQQQI")
_ROWS = struct.Struct(">IBIIQHI")
_PIECE = struct.Struct(">IIQIQ")
_NOTHING = 0xFFFFFFFF
_IN_PARTS = 0xFFFFFFFE


class Damaged(ValueError):
    """A frame that no honest agent sends."""


@dataclass(frozen=True)
class Frame:
    """One proved frame."""

    kind: str
    payload: bytes

    def json(self) -> dict[str, object]:
        """The payload of a J, E or X frame; raises Damaged."""
        try:
            value = json.loads(self.payload)
        except ValueError:
            raise Damaged("a frame is not JSON") from None
        if isinstance(value, list) and not value:  # PHP's empty object
            return {}
        if not isinstance(value, dict):
            raise Damaged("a frame is not a JSON object")
        return value


def request_body(
    body: Mapping[str, object], *, key: bytes, name: str, time: int, nonce: str, data: bytes | None = None, as_text: bool = False
) -> bytes:
    """The signed request that asks `body` of the agent whose file is called `name`; `data` travels beside it. `as_text`:
    as a form."""
    if data is not None:
        body = {**body, "digest": hashlib.sha256(data).hexdigest()}
    asked = json.dumps(body, separators=(",", ":")).encode()
    signed = "\n".join(["POST", name, hashlib.sha256(asked).hexdigest(), str(time), nonce])
    signature = hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
    envelope = {"time": str(time), "nonce": nonce, "body": base64.b64encode(asked).decode(), "signature": signature}
    if data is not None:
        envelope["data"] = base64.b64encode(data).decode()
    if as_text:
        envelope["text"] = "1"
    sent = json.dumps(envelope, separators=(",", ":")).encode()
    return b"wpclone=" + quote(base64.b64encode(sent), safe="").encode() if as_text else sent


def agent_file(url: URL) -> str:
    """The name of an agent's file by the address it answers at, which may be WordPress's."""
    route = url.query.get("rest_route", "").strip("/").partition("/")[0]
    name = url.query.get("action", "") or route
    return f"{name}.php" if name else url.name


def frame_code(key: bytes, nonce: str, sequence: int, kind: bytes, payload: bytes) -> bytes:
    """What proves one frame of an answer."""
    said = nonce.encode() + struct.pack(">I", sequence) + kind + hashlib.sha256(payload).digest()
    return hmac.digest(key, said, "sha256")[:CODE_BYTES]


class Proof:
    """Tells the frames that the holder of `key` sent in answer to the question of this nonce."""

    def __init__(self, key: bytes, nonce: str) -> None:
        self._key, self._nonce = key, nonce
        self._gmac = AESGCM(hmac.digest(key, b"frames " + nonce.encode(), "sha256"))

    def holds(self, sequence: int, kind: bytes, payload: bytes, code: bytes) -> bool:
        """Whether `code` proves this frame. A refusal before the signature was found good is proved with no nonce."""
        if hmac.compare_digest(self._gmac.encrypt(struct.pack(">8sI", kind, sequence), b"", payload), code):
            return True
        return any(
            hmac.compare_digest(frame_code(self._key, nonce, sequence, kind, payload), code)
            for nonce in ((self._nonce, "") if kind == b"X" else (self._nonce,))
        )


def encoded(raw: bytes) -> str:
    """Bytes as the protocol's JSON holds them."""
    return base64.b64encode(raw).decode()


def decoded(value: object) -> bytes:
    """The bytes of a JSON string made by `encoded`; raises Damaged."""
    if not isinstance(value, str):
        raise Damaged("base64 expected")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise Damaged("base64 expected") from None


@dataclass(frozen=True)
class Entry:
    """One name below a root. `kind`: f file, d directory, l link inside the root, F and D file and directory a link leads out to,
    x dead link, s left out as asked, c link in a circle, h link to a file of secrets, n another WordPress, o other (socket,
    device), u unreadable directory. `target`: of l, relative to the root."""

    kind: str
    path: bytes
    size: int
    mtime: int
    mode: int
    target: bytes


def entries(payload: bytes) -> Iterator[Entry]:
    """The records of an I frame."""
    at = 0
    try:
        while at < len(payload):
            kind, mode, size, mtime, path_length, target_length = _INDEX.unpack_from(payload, at)
            at += _INDEX.size
            path, target = payload[at : at + path_length], payload[at + path_length : at + path_length + target_length]
            at += path_length + target_length
            if at > len(payload):
                raise Damaged("an index record is cut")
            yield Entry(kind.decode("ascii"), path, size, mtime, mode, target)
    except (struct.error, UnicodeDecodeError):
        raise Damaged("an index record is cut") from None


@dataclass(frozen=True)
class Part:
    """A part of the file asked for as number `index`. `status`: 0 fine, 1 gone, 2 unreadable. `last`: the file ends with it."""

    index: int
    status: int
    last: bool
    size: int
    mtime: int
    offset: int
    data: memoryview


def parts(payload: bytes, first: int = 0) -> Iterator[Part]:
    """The records of an F frame; their data are views of the payload. `first` is added to each index."""
    view, at = memoryview(payload), 0
    try:
        while at < len(payload):
            index, status, last, size, mtime, offset, length = _PART.unpack_from(payload, at)
            at += _PART.size
            data = view[at : at + length]
            at += length
            if at > len(payload):
                raise Damaged("a file part is cut")
            yield Part(first + index, status, bool(last), size, mtime, offset, data)
    except struct.error:
        raise Damaged("a file part is cut") from None


@dataclass(frozen=True)
class RowsFrame:
    """Rows of the table asked for as number `index`: values row by row, None for NULL, and the cursor to go on after them.

    `raw` holds all values, to search in them at once; `size` counts their bytes. `sums` are the CRC-32 of the values' lengths, as
    the protocol writes them, and of the values. `same`: the range is what was known of it, and no row is sent.
    """

    index: int
    last: bool
    rows: int
    width: int
    offset: int
    cursor: tuple[bytes, ...]
    values: list[bytes | None]
    size: int
    raw: bytes
    sums: tuple[int, int]
    same: bool = False


@dataclass(frozen=True)
class Piece:
    """A part of a large value, of the next row of the table asked for as number `index`, in its column number `column`.

    `total` is the value's length, `code` its CRC-32."""

    index: int
    column: int
    total: int
    code: int
    offset: int
    data: memoryview


def piece(payload: bytes) -> Piece:
    """A P frame; raises Damaged."""
    try:
        index, column, total, code, offset = _PIECE.unpack_from(payload, 0)
    except struct.error:
        raise Damaged("a part of a value is cut") from None
    return Piece(index, column, total, code, offset, memoryview(payload)[_PIECE.size :])


def same_frame(payload: bytes) -> RowsFrame:
    """An S frame; raises Damaged."""
    if len(payload) != 4:
        raise Damaged("a frame is cut")
    return RowsFrame(struct.unpack(">I", payload)[0], True, 0, 0, 0, (), [], 0, b"", (0, 0), same=True)


def rows_frame(payload: bytes, large: Mapping[int, bytes]) -> RowsFrame:
    """An R frame; `large` are the values, by column, that came in parts before it. Raises Damaged."""
    try:
        index, last, count, width, offset, cursors, cursor_bytes = _ROWS.unpack_from(payload, 0)
        at = _ROWS.size
        end = at + cursor_bytes
        cursor = []
        for _ in range(cursors):
            (length,) = struct.unpack_from(">I", payload, at)
            cursor.append(payload[at + 4 : at + 4 + length])
            at += 4 + length
        if at != end:
            raise Damaged("a cursor is cut")
        lengths = struct.unpack_from(f">{count * width}I", payload, at)
    except struct.error:
        raise Damaged("a row frame is cut") from None
    if _IN_PARTS in lengths:
        if count != 1 or any(length == _IN_PARTS and column not in large for column, length in enumerate(lengths)):
            raise Damaged("a large value did not come before its row")
        payload, lengths = _filled(payload[at + 4 * width :], lengths, large)
        at = 0
    values_at = at + 4 * len(lengths)
    view = memoryview(payload)
    sums = zlib.crc32(view[at:values_at]), zlib.crc32(view[values_at:])
    at = values_at
    size = len(payload) - at
    values: list[bytes | None] = []
    add = values.append
    for length in lengths:
        if length == _NOTHING:
            add(None)
        else:
            add(payload[at : at + length])
            at += length
    if at != len(payload):
        raise Damaged("a row frame is cut")
    return RowsFrame(index, bool(last), count, width, offset, tuple(cursor), values, size, payload, sums)


def _filled(data: bytes, lengths: tuple[int, ...], large: Mapping[int, bytes]) -> tuple[bytes, tuple[int, ...]]:
    """Lengths and values of one row with its large values in their places."""
    found, values, at = list(lengths), [], 0
    for column, length in enumerate(lengths):
        if length == _IN_PARTS:
            values.append(large[column])
            found[column] = len(large[column])
        elif length != _NOTHING:
            values.append(data[at : at + length])
            at += length
    if at != len(data):
        raise Damaged("a row frame is cut")
    return struct.pack(f">{len(found)}I", *found) + b"".join(values), tuple(found)
