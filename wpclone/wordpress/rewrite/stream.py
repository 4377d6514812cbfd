"""Rewriting what does not fit in memory: an SQL dump, JSON lines or text, as a stream."""

from collections.abc import Iterator
from itertools import chain

from wpclone.wordpress.rewrite.lines import settle_lines
from wpclone.wordpress.rewrite.mapping import Mapping
from wpclone.wordpress.rewrite.report import Tally
from wpclone.wordpress.rewrite.rewriter import Rewriter
from wpclone.wordpress.rewrite.sql_dump import is_dump, settle_dump

_PART = 256 << 10
"""Bytes settled at a time; a value that is longer doubles it until it fits."""
_HEAD = 64 << 10


def rewrite_stream(read: Iterator[bytes], mapping: Mapping, tally: Tally | None = None) -> Iterator[bytes]:
    """The bytes of `read`, in pieces of any size, with the site moved; what was done is added to `tally`.

    An SQL dump (told by its beginning) is rewritten literal by literal, all else line by line. Memory is bounded by the largest
    value: a literal, a line (of at most 64 MB), a serialized string over several lines. Bytes outside matches stay identical.
    """
    rewriter, tally = Rewriter(mapping), tally if tally is not None else Tally()
    head = _gathered(read, _HEAD)
    settle = settle_dump if is_dump(head) else settle_lines
    source = chain((head,), read)
    data, ended, wanted = b"", False, _PART
    while data or not ended:
        more = _gathered(source, wanted - len(data))
        ended = len(data) + len(more) < wanted
        data += more
        parts, done = settle(data, rewriter, tally, ended=ended)
        yield from (part for part in parts if part)
        data = data[done:]
        wanted = max(_PART, 2 * len(data))


def _gathered(read: Iterator[bytes], size: int) -> bytes:
    """The next pieces of `read`, together at least `size` bytes unless it ends before."""
    pieces: list[bytes] = []
    while size > 0:
        piece = next(read, None)
        if piece is None:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
