"""From places to edits: lengths put right at every depth, escapings undone where lengths hide in them, the unreadable left.

Addresses are found flat, whatever surrounds them (`text`). What surrounds them matters only where a length counts their bytes:
PHP-serialized strings, alone, inside text, inside each other, and inside JSON, HTML or URL escapes. Every byte is looked at once
per escaping, and each serialized token once, so the time is linear for any input.
"""

import re

from wpclone.wordpress.rewrite import serialized
from wpclone.wordpress.rewrite.edits import Edit, applied
from wpclone.wordpress.rewrite.escapes import BACKSLASH, ENTITY, PERCENT, PHP_HEX, Escaping
from wpclone.wordpress.rewrite.report import Left, Reason
from wpclone.wordpress.rewrite.serialized import Text
from wpclone.wordpress.rewrite.text import Finder

MAX_DEPTH = 64
"""Serialized strings inside each other; WordPress itself makes two, plugins three. Deeper ones are left and reported."""
MAX_LAYERS = 8
"""Escapings inside each other (JSON in JSON doubles its backslashes each time: eight need 255)."""

_HEADER = re.compile(rb':[0-9]{1,18}:(?:(?P<plain>")|(?P<backslash>\\+(?:"|u0022))|(?P<entity>&(?:amp;)*(?:quot|#0*34|#x0*22);))')
_PERCENT_HEADER = re.compile(rb"[sSC](?P<colon>%(?:25)*3A)[0-9]{1,18}(?P=colon)%(?:25)*22", re.IGNORECASE)
_PERCENT_RUN = re.compile(rb"[A-Za-z0-9%_.~+*!()-]+")
_KINDS = {"plain": frozenset(b"sC"), "backslash": frozenset(b"sSC"), "entity": frozenset(b"sSC")}
"""The letters of length-prefixed stretches. A plain `S:` counts only inside a whole value: to find its end takes reading it."""
_WORD = frozenset(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def edits_of(finder: Finder, raw: bytes, *, depth: int = 0, layers: int = 0) -> tuple[list[Edit], list[Left]]:
    """Every change `raw` needs, in order, and what is left of the source in it."""
    places, left = finder.find(raw)
    if not places:
        return [], left
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
        if serialized.claims_to_be(self.raw, begins.end(), hi):
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
            longer, growth = self._layer(PHP_HEX, text.lo, text.hi, depth + 1)
        else:
            longer = growth = self._payload(text, depth) if text.kind == "C" else self.content(text.lo, text.hi, depth + 1)
        lo, hi = text.digits
        new = b"%d" % (int(self.raw[lo:hi]) + longer)
        if longer == 0:
            return growth
        self.out[slot] = Edit(lo, hi, new, 0)
        return growth + len(new) - (hi - lo)

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
            start, floor = self._around(name, floor, at, end, hi)
            growth += self._take(start)
            if self._pending(floor):
                escaping = {"backslash": BACKSLASH, "entity": ENTITY, "percent": PERCENT}[name]
                growth += self._layer(escaping, start, floor, depth)[1]
        return growth + self._take(hi)

    def _header(self, floor: int, hi: int) -> tuple[str, int, int] | None:
        """The next header of a stretch from `floor` on: how it is escaped, where its letter is, where it ends."""
        percent = self._percent_header(floor, hi)
        limit = percent.start() if percent else hi
        at = floor
        while found := _HEADER.search(self.raw, at, limit):
            letter, name = found.start() - 1, found.lastgroup or ""
            if letter >= floor and self.raw[letter] in _KINDS[name]:
                in_word = letter > floor and self.raw[letter - 1] in _WORD
                if name != "plain" or not in_word:  # an escape before it may end in a letter: undone first
                    return name, letter, found.end()
            at = found.end()
        return ("percent", percent.start(), percent.end()) if percent else None

    def _percent_header(self, floor: int, hi: int) -> re.Match[bytes] | None:
        """The next URL-encoded header; searched for once, however often asked."""
        while self._percent and self._percent.start() < floor:
            self._percent = _PERCENT_HEADER.search(self.raw, floor)
        return self._percent if self._percent and self._percent.end() <= hi else None

    def _around(self, name: str, floor: int, at: int, end: int, hi: int) -> tuple[int, int]:
        """The stretch to unescape around a header: from the quote before it to the quote after it, as far as there are."""
        if name == "percent":
            run = _PERCENT_RUN.match(self.raw, at, hi)
            return at, run.end() if run else hi
        start = at
        while start > floor:
            quote = self.raw.rfind(b'"', floor, start)
            if quote < 0 or not self._escaped(quote, floor):
                start = quote + 1 if quote >= 0 else floor
                break
            start = quote
        quote = self.raw.find(b'"', end, hi)
        while quote >= 0 and self._escaped(quote, end):
            quote = self.raw.find(b'"', quote + 1, hi)
        return start, quote if quote >= 0 else hi

    def _escaped(self, quote: int, floor: int) -> bool:
        """Whether an odd number of backslashes stands before the quote."""
        at = quote
        while at > floor and self.raw[at - 1] == 0x5C:
            at -= 1
        return (quote - at) % 2 == 1

    def _layer(self, escaping: Escaping, lo: int, hi: int, depth: int) -> tuple[int, int]:
        """Settle the plain text of `[lo, hi)`. Returns by how much the plain text grows, and by how much the escaped."""
        if self._layers >= MAX_LAYERS:
            return self._leave(hi, Reason.TOO_DEEP), 0
        plain = escaping.undo(self.raw, lo, hi)
        edits, left = edits_of(self._finder, plain.text, depth=depth, layers=self._layers + 1)
        self._leave(hi, None)
        self.left += [Left(one.reason, plain.raw_offset(one.excerpt_offset)) for one in left if one.reason != Reason.BARE_HOST]
        longer = growth = 0
        for edit in edits:
            start, end = plain.raw_offset(edit.start), plain.raw_offset(edit.end)
            new = escaping.spell(edit.new, self.raw[start:end])
            self.out.append(Edit(start, end, new, edit.counts))
            longer += len(edit.new) - (edit.end - edit.start)
            growth += len(new) - (end - start)
        return longer, growth
