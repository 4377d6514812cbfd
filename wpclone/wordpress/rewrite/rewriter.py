"""The rewriter: one value in, one value out."""

from wpclone.wordpress.rewrite.edits import Edit, applied
from wpclone.wordpress.rewrite.engine import edits_of
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

        Never raises, takes time linear in the size, and returns `raw` itself as the value when nothing changed.
        """
        if not self._finder.could_match(raw):
            return Result(raw, 0, ())
        edits, left = self.changes(raw)
        return Result(applied(raw, edits), sum(edit.counts for edit in edits), remarks(left))

    def changes(self, raw: bytes) -> tuple[list[Edit], list[Left]]:
        """What `value` does, as edits in order, for callers whose `raw` is itself an escaped text's meaning."""
        edits, left = edits_of(self._finder, raw)
        return edits, left + [Left(Reason.BASE64, at) for at in self._finder.in_base64(raw)]
