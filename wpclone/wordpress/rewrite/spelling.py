"""How text spells the slash and the colon of an address: plain, or as JSON, percent and HTML escapes, each at any depth.

All patterns are for ASCII-lower-cased bytes. The `_BACK` ones match reversed text: a regular expression cannot look behind for
something of no fixed length, but it can look ahead in a reversed copy of the few bytes before a host.
"""

import re

ESCAPER = rb"(?:\\|%(?:25)*5c)"  # JSON's backslash, itself URL-encoded perhaps
ESCAPER_BACK = rb"(?:\\|c5(?:52)*%)"
SLASH = rb"(?:" + ESCAPER + rb"*(?:/|%(?:25)*2f|&(?:amp;)*(?:#0*47|#x0*2f|sol);)|" + ESCAPER + rb"+(?:u00)?2f)"
SLASH_BACK = rb"(?:(?:/|f2(?:52)*%|;(?:740*#|f20*x#|los)(?:;pma)*&)" + ESCAPER_BACK + rb"*|f2(?:00u)?" + ESCAPER_BACK + rb"+)"
COLON = rb"(?::|\\+(?:u00)?3a|%(?:25)*3a|&(?:amp;)*(?:#0*58|#x0*3a|colon);)"
COLON_BACK = rb"(?::|a3(?:00u)?\\+|a3(?:52)*%|;(?:850*#|a30*x#|noloc)(?:;pma)*&)"

_HOST_CONTINUES = rb"[a-z0-9_-]|\.+[a-z0-9_-]|\\+u002[de]|%(?:25)*2[de]"
HOST_END = rb"(?!" + _HOST_CONTINUES + rb")"
"""Nothing that would make the host another one: a full stop ends a sentence unless a name follows it. Letters beyond ASCII end
the host too: no top-level domain mixes them with ASCII."""

_PATH_ENDERS = rb"%(?:25)*(?:2[0236789cf]|3[abcef]|5[bcd]|7[bcd]|0[9ad])"
PATH_END = rb"(?:(?=" + _PATH_ENDERS + rb")|(?![a-z0-9_~@$*+%\x80-\xff-]|\.+[a-z0-9_%-]))"
"""`/blog` is not `/blogger`, `/blog-2`, `/blog.html`; it ends at a slash, a quote, a space, `?`, `#` and their escapes."""


def segments(path: str, *, windows: bool = False) -> bytes:
    """A pattern for a path from its first segment on: its letters exact, its separators in any spelling."""
    names = [re.escape(name.encode()) for name in re.split(r"[/\\]" if windows else "/", path) if name]
    if windows:  # the drive letter's case means nothing, and its colon may be escaped
        names[0] = b"(?i:" + names[0][:1] + COLON + b")"
    separator = rb"(?i:" + SLASH + (rb"|\\+|%(?:25)*5c" if windows else b"") + rb")"
    return separator.join(names)


def like(slash: bytes, path: bytes) -> bytes:
    """`path` with its slashes spelled as `slash`."""
    return path if slash == b"/" else path.replace(b"/", slash)


def colon_like(slash: bytes) -> bytes:
    """The colon that belongs to a spelling of the slash: percent escapes (their case and depth kept), else the plain one."""
    percent = slash.rfind(b"%")
    if percent < 0 or slash[-1:] not in b"fF" or b"u" in slash[percent:]:
        return b":"
    return slash[percent:-2] + (b"3A" if slash[-1:] == b"F" else b"3a")
