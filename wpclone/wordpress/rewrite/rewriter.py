"""The rewriter: one value in, one value out."""

from wpclone.wordpress.rewrite.edits import Edit, applied
from wpclone.wordpress.rewrite.engine import edits_of
from wpclone.wordpress.rewrite.formats import Format, proved
from wpclone.wordpress.rewrite.json_keys import colliding
from wpclone.wordpress.rewrite.mapping import Mapping
from wpclone.wordpress.rewrite.report import Left, Reason, Result, remarks
from wpclone.wordpress.rewrite.text import Finder


class Rewriter:
    """Moves a site's addresses and directories in values of any format. Immutable; one may serve all threads."""

    def __init__(self, mapping: Mapping) -> None:
        self._finder = Finder(mapping)

    def could_match(self, raw: bytes) -> bool:
        """A cheap filter: False means `value` would change and report nothing. May be asked of many rows' bytes at once."""
        return self._finder.could_match(raw)

    def value(self, raw: bytes) -> Result:
        """The value of a column, or a text, rewritten; its format (serialized, JSON, text, each in each) is found out.

        Never raises, takes time linear in the size, and returns `raw` itself as the value when nothing changed. A value
        that PHP or JSON could read before can be read after, or is left: each changed one is read again.
        """
        if not self._finder.could_match(raw):
            return Result(raw, 0, ())
        edits, left, new, kind = self._settled(raw)
        return Result(new, sum(edit.counts for edit in edits), remarks(left), kind)

    def changes(self, raw: bytes) -> tuple[list[Edit], list[Left]]:
        """What `value` does, as edits in order, for callers whose `raw` is itself an escaped text's meaning."""
        edits, left, _, _ = self._settled(raw)
        return edits, left

    def _settled(self, raw: bytes) -> tuple[list[Edit], list[Left], bytes, Format]:
        edits, left = edits_of(self._finder, raw)
        left = left + [Left(Reason.BASE64, at) for at in self._finder.in_base64(raw)]
        if not edits:
            return edits, left, raw, Format.TEXT
        lost = colliding(raw, edits)
        if lost:
            left += [Left(Reason.KEY_COLLISION, edit.start) for edit in edits if edit in lost]
            edits = [edit for edit in edits if edit not in lost]
        new = applied(raw, edits)
        kind = proved(raw, new)
        if kind is None:
            return [], [*left, Left(Reason.UNPROVED, edits[0].start)], raw, Format.TEXT
        return edits, left, new, kind
