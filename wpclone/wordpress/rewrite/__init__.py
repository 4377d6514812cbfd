"""Moves a site's addresses in its content: the law here is purity. Bytes in, bytes out, no I/O, no clock, no state.

What no match covers stays identical, PHP values are never built, lengths are put right at every depth, and what cannot be
rewritten safely is left and reported. Imports nothing outside this package but the standard library.
"""

from wpclone.wordpress.rewrite.formats import Format
from wpclone.wordpress.rewrite.mapping import Mapping
from wpclone.wordpress.rewrite.report import Left, Reason, Result, Tally
from wpclone.wordpress.rewrite.rewriter import Rewriter
from wpclone.wordpress.rewrite.stream import rewrite_stream

__all__ = ["Format", "Left", "Mapping", "Reason", "Result", "Rewriter", "Tally", "rewrite_stream"]
