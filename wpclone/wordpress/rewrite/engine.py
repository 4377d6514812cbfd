"""From places to edits: lengths put right at every depth, escapings undone where lengths hide in them, the unreadable left.

Addresses are found flat, whatever surrounds them (`text`). What surrounds them matters only where a length counts their bytes:
PHP-serialized strings, alone, inside text, inside each other, and inside JSON, HTML or URL escapes. Every byte is looked at once
per escaping, and each serialized token once, so the time is linear for any input.
"""

import re
from dataclasses import dataclass

from wpclone.wordpress.rewrite import serialized
from wpclone.wordpress.rewrite.edits import Edit, applied
from wpclone.wordpress.rewrite.escapes import BACKSLASH, ENTITY, PERCENT, PHP_HEX, Escaping
from wpclone.wordpress.rewrite.report import Left, Reason
from wpclone.wordpress.rewrite.serialized import Text
from wpclone.wordpress.rewrite.text import Finder

MAX_DEPTH = 64
"""Serialized strings inside each other; WordPress itself makes two, plugins three. Deeper ones are left and reported."""
MAX_LAYERS = 12
"""Escapings inside each other; each costs a pass over what it holds. Three are seen in the wild."""

_GUESSES = 2
"""Escapings within which a wrong guess at what is outermost is tried the other way: each may double the work."""

_HEADER = re.compile(
    rb':(?<=[sSC]:)[0-9]{1,18}:(?:(?P<plain>")|(?P<backslash>\\+(?:"|u002[26]))|(?P<entity>\\*&(?:amp;)*(?:quot|#0*34|#x0*22);))'
)
_PERCENT_HEADER = re.compile(rb"%(?<=[sSC]%)(?P<rest>(?:25)*3[Aa])[0-9]{1,18}%(?P=rest)%(?:25)*(?:22|5[Cc]|26)")
"""Headers from their first colon on, the letter being looked back at: a literal first byte is found fastest. What ends them is
a quote, or the beginning of an escaped one."""
_HTML_QUOTE = re.compile(rb"&(?:amp;)*(?:quot|#0*34|#x0*22);")
_PERCENT_RUN = re.compile(rb"[A-Za-z0-9%_.~+*!()-]+")
_BACKSLASH = 0x5C
_WORD = frozenset(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def edits_of(finder: Finder, raw: bytes, *, depth: int = 0, layers: int = 0) -> tuple[list[Edit], list[Left]]:
    """Every change `raw` needs, in order, and what is left of the source in it."""
    places, left = finder.find(raw)
    if not places or not (_HEADER.search(raw) or _PERCENT_HEADER.search(raw)):
        return places, left
    settling = _Settling(finder, raw, places, layers)
    settling.content(0, len(raw), depth)
    return [edit for edit in settling.out if edit is not None], left + settling.left


class _Settling:
    """One buffer's walk from left to right: `places[next:]` are still to be settled, `out` are the edits so far."""

    def __init__(self, finder: Finder, raw: bytes, places: list[Edit], layers: int) -> None:
        self.raw = raw
        self.out: list[Edit | None] = []
        self.left: list[Left] = []
        self._finder = finder
        self._places = places
        self._next = 0
        self._layers = layers
        self._percent = _PERCENT_HEADER.search(raw)
        self._unquoted = 0

    def content(self, lo: int, hi: int, depth: int) -> int:
        """Settle `[lo, hi)`: a whole value, or a whole string inside one. Returns by how many bytes it grows."""
        if depth > MAX_DEPTH:
            return self._leave(hi, Reason.TOO_DEEP)
        begins = serialized.BEGINS.match(self.raw, lo, hi)
        if begins is None:
            return self._text(lo, hi, depth)
        value = serialized.read(self.raw, begins.end(), hi, self._places, self._next)
        if value is not None:
            return self._value(value, begins.end(), depth) + self._text(value.end, hi, depth)
        header = self._header(begins.end(), hi)
        escaped = header is not None and header[0] != "plain"  # slashed once too often, say: judged when that is undone
        if not escaped and serialized.claims_to_be(self.raw, begins.end(), hi):
            return self._leave(hi, Reason.BROKEN_SERIALIZED)
        return self._text(lo, hi, depth)

    def _pending(self, hi: int) -> bool:
        return self._next < len(self._places) and self._places[self._next].start < hi

    def _leave(self, hi: int, reason: Reason | None) -> int:
        """Give up the places before `hi`, with one remark."""
        if reason is not None and self._pending(hi):
            self.left.append(Left(reason, self._places[self._next].start))
        while self._pending(hi):
            self._next += 1
        return 0

    def _take(self, hi: int) -> int:
        """Accept the places before `hi` as they are."""
        growth = 0
        while self._pending(hi):
            place = self._places[self._next]
            self.out.append(place)
            growth += len(place.new) - (place.end - place.start)
            self._next += 1
        return growth

    def _value(self, value: serialized.Value, at: int, depth: int) -> int:
        colliding = self._colliding(value, at)
        growth = 0
        for text in value.texts:
            self._leave(text.lo, None)  # in a class name, say: not text
            if text.lo in colliding:
                self._leave(text.hi, Reason.KEY_COLLISION)
            else:
                growth += self._stretch(text, depth)
        self._leave(value.end, None)
        return growth

    def _colliding(self, value: serialized.Value, at: int) -> frozenset[int]:
        """Where those keys begin that must stay, since their new form is that of a sibling."""
        containers = frozenset(text.container for text in value.texts if text.container >= 0)
        if not containers:
            return frozenset()
        whole = serialized.read(self.raw, at, value.end, self._places, self._next, keys_of=containers)
        keys = [text for text in whole.texts if text.container >= 0] if whole else []
        owners: dict[tuple[int, bytes], list[int]] = {}
        changed: set[int] = set()
        place = self._next
        for key in keys:
            while place < len(self._places) and self._places[place].start < key.lo:
                place += 1
            first = place
            while place < len(self._places) and self._places[place].start < key.hi:
                place += 1
            inside = [Edit(e.start - key.lo, e.end - key.lo, e.new, e.counts) for e in self._places[first:place]]
            if inside:
                changed.add(key.lo)
            owners.setdefault((key.container, applied(self.raw[key.lo : key.hi], inside)), []).append(key.lo)
        return frozenset(lo for same in owners.values() if len(same) > 1 for lo in same if lo in changed)

    def _stretch(self, text: Text, depth: int) -> int:
        """Settle a length-prefixed stretch and put its length right. Returns by how much header and content grow."""
        if not self._pending(text.hi):
            return 0
        slot = len(self.out)
        self.out.append(None)
        if text.kind == "S":
            longer, growth = self._hex_escaped(text, depth)
        else:
            longer = growth = self._payload(text, depth) if text.kind == "C" else self.content(text.lo, text.hi, depth + 1)
        lo, hi = text.digits
        new = b"%d" % (int(self.raw[lo:hi]) + longer)
        if longer == 0:
            return growth
        self.out[slot] = Edit(lo, hi, new, 0)
        return growth + len(new) - (hi - lo)

    def _hex_escaped(self, text: Text, depth: int) -> tuple[int, int]:
        """An `S` string: its length counts what its escapes mean. Returns by how much that grows, and by how much they do."""
        layer = self._layer(PHP_HEX, text.lo, text.hi, depth + 1)
        if layer is None:
            return self._leave(text.hi, Reason.TOO_DEEP), 0
        return layer.longer, self._accept(layer, text.hi)

    def _payload(self, text: Text, depth: int) -> int:
        """A `C:` payload: only when all of it is one serialized value is it clear what it means."""
        value = serialized.read(self.raw, text.lo, text.hi, self._places, self._next)
        if value is None or value.end != text.hi:
            return self._leave(text.hi, Reason.CUSTOM_SERIALIZED)
        return self._value(value, text.lo, depth + 1) if depth < MAX_DEPTH else self._leave(text.hi, Reason.TOO_DEEP)

    def _text(self, lo: int, hi: int, depth: int) -> int:
        """Settle text: places are taken as they are, except inside stretches with a length and escapings that hide one."""
        growth, floor = 0, lo
        while self._pending(hi):
            header = self._header(floor, hi)
            if header is None:
                break
            name, at, end = header
            if name == "plain":
                text = serialized.text_at(self.raw, at, hi)
                if text is None:
                    floor = end
                    continue
                growth += self._take(at) + self._stretch(text, depth)
                floor = text.hi
                continue
            start, after, escapings = self._stretch_to_undo(name, floor, at, end, hi)
            growth += self._take(start)
            if self._pending(after):
                growth += self._wrapped(escapings, start, after, depth)
            floor = after
        return growth + self._take(hi)

    def _header(self, floor: int, hi: int) -> tuple[str, int, int] | None:
        """The next header of a stretch from `floor` on: how it is escaped, where its letter is, where it ends."""
        percent = self._percent_header(floor, hi)
        percent_at = percent.start() - 1 if percent else hi
        at = floor
        while found := _HEADER.search(self.raw, at, percent_at):
            letter, name = found.start() - 1, found.lastgroup or ""
            if letter >= floor and (name != "plain" or self._plain_letter(letter, floor)):
                return name, letter, found.end()
            at = found.end()
        return ("percent", percent_at, percent.end()) if percent else None

    def _plain_letter(self, letter: int, floor: int) -> bool:
        """Whether a header in plain text may begin here: not inside a word, and no `S`, whose end only a whole value tells."""
        return self.raw[letter] != 0x53 and (letter == floor or self.raw[letter - 1] not in _WORD)

    def _percent_header(self, floor: int, hi: int) -> re.Match[bytes] | None:
        """The next URL-encoded header; searched for once, however often asked."""
        while self._percent and self._percent.start() <= floor:
            self._percent = _PERCENT_HEADER.search(self.raw, floor)
        return self._percent if self._percent and self._percent.end() <= hi else None

    def _stretch_to_undo(self, name: str, floor: int, at: int, end: int, hi: int) -> tuple[int, int, list[Escaping]]:
        """What to unescape around a header, `[at, end)`, and how: mostly a quoted string, for URL escapes only their run."""
        if name != "percent" or end > self._unquoted:
            start, after = self._around(floor, at, end, hi)
            escapings = self._escapings(name, start, after, quoted=start > floor)
            if escapings != [PERCENT]:
                return start, after, escapings
            self._unquoted = after  # not to be looked through again for every run in it
            floor = start
        run = next(run for run in _PERCENT_RUN.finditer(self.raw, floor, hi) if run.end() >= end)
        return run.start(), run.end(), [PERCENT]

    def _around(self, floor: int, at: int, end: int, hi: int) -> tuple[int, int]:
        """The stretch to unescape around a header: from the quote before it to the quote after it, as far as there are."""
        raw, start = self.raw, at
        while start > floor:
            quote = raw.rfind(b'"', floor, start)
            if quote < 0 or raw[quote - 1] != _BACKSLASH or not self._escaped(quote, floor):
                start = quote + 1 if quote >= 0 else floor
                break
            start = quote
        quote = raw.find(b'"', end, hi)
        while quote >= 0 and raw[quote - 1] == _BACKSLASH and self._escaped(quote, end):
            quote = raw.find(b'"', quote + 1, hi)
        return start, quote if quote >= 0 else hi

    def _escaped(self, quote: int, floor: int) -> bool:
        """Whether an odd number of backslashes stands before the quote."""
        at = quote
        while at > floor and self.raw[at - 1] == _BACKSLASH:
            at -= 1
        return (quote - at) % 2 == 1

    def _escapings(self, name: str, start: int, end: int, *, quoted: bool) -> list[Escaping]:
        """The escapings to undo first, likeliest first, when more than one is there. `name` is the one the header shows.

        Between JSON's quotes HTML may hide a value, and in HTML's text and attributes JSON; a URL's escapes are innermost.
        """
        html = not quoted or self.raw[start - 2 : start] == b'="'
        if html and _HTML_QUOTE.search(self.raw, start, end):
            return [ENTITY, BACKSLASH] if name == "backslash" else [ENTITY]
        backslashes = name == "backslash" or BACKSLASH.pattern.search(self.raw, start, end) is not None
        if name == "entity":
            return [BACKSLASH, ENTITY] if backslashes and not html else [ENTITY]
        return [BACKSLASH] if backslashes else [PERCENT]

    def _wrapped(self, escapings: list[Escaping], lo: int, hi: int, depth: int) -> int:
        """Settle `[lo, hi)` by its plain text, if lengths or unreadable values appear there; else it is just text."""
        for escaping in escapings if self._layers < _GUESSES else escapings[:1]:
            layer = self._layer(escaping, lo, hi, depth)
            if layer is None:
                return self._leave(hi, Reason.TOO_DEEP)
            if layer.left or not all(edit.counts for edit in layer.edits):
                return self._accept(layer, hi)
        return self._take(hi)

    def _layer(self, escaping: Escaping, lo: int, hi: int, depth: int) -> "_Layer | None":
        """The plain text of `[lo, hi)` settled; None when there are too many escapings around already."""
        if self._layers >= MAX_LAYERS:
            return None
        plain = escaping.undo(self.raw, lo, hi)
        inner, left = edits_of(self._finder, plain.text, depth=depth, layers=self._layers + 1)
        edits: list[Edit] = []
        for edit in inner:
            start, end = plain.raw_offset(edit.start), plain.raw_offset(edit.end)
            edits.append(Edit(start, end, escaping.spell(edit.new, self.raw[start:end]), edit.counts))
        remarks = [Left(one.reason, plain.raw_offset(one.excerpt_offset)) for one in left if one.reason != Reason.BARE_HOST]
        return _Layer(edits, remarks, sum(len(edit.new) - (edit.end - edit.start) for edit in inner))

    def _accept(self, layer: "_Layer", hi: int) -> int:
        """Use a layer's edits instead of the places before `hi`. Returns by how much the escaped text grows."""
        while self._pending(hi) and self._places[self._next].end <= hi:  # one that reaches beyond is none of this text
            self._next += 1
        self.out += layer.edits
        self.left += layer.left
        return sum(len(edit.new) - (edit.end - edit.start) for edit in layer.edits)


@dataclass(frozen=True, slots=True)
class _Layer:
    """What settling an escaped stretch's plain text gave: edits of the escaped text, remarks, growth of the plain text."""

    edits: list[Edit]
    left: list[Left]
    longer: int
