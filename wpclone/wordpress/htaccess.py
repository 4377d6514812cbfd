"""The `.htaccess` beside a copy's WordPress: the source's own where it is harmless, else WordPress's rules alone.

A copy lies at the root of a host of its own and speaks http. Rules that send visitors elsewhere, ask for passwords or choose
another PHP would break it, and rules for a directory (`RewriteBase /blog/`) match nothing. Source: WP_Rewrite::mod_rewrite_rules.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from wpclone.wordpress.fence import Fence
from wpclone.wordpress.file_rules import LeftOut

NAME = ".htaccess"
_BLOCK = re.compile(rb"^# BEGIN WordPress\b.*?^# END WordPress[^\n]*\n?", re.DOTALL | re.MULTILINE)
_HARMFUL = re.compile(
    rb"^[ \t]*(?:AddHandler|SetHandler|AddType[ \t]+\S*php|Action|php_(?:admin_)?(?:value|flag)|suPHP"
    rb"|Auth\w+|Require\b|Order\b|Deny\b|Satisfy\b|Redirect|ErrorDocument[ \t]+\d+[ \t]+\"?https?:"
    rb"|Header[ \t].*Strict-Transport|RewriteRule[ \t].*\[[^\]]*\bR\b"
    rb"|RewriteRule[ \t]+\S+[ \t]+\"?https?:|RewriteCond[ \t]+\"?%\{(?:HTTPS|HTTP_HOST|SERVER_PORT|HTTP_REFERER|HTTP:))",
    re.IGNORECASE | re.MULTILINE,
)
_RULES = b"""# BEGIN WordPress
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
</IfModule>
# END WordPress
"""


def rules_for_copy(content: bytes | None, *, path: str, has_permalinks: bool) -> bytes | None:
    """The file's content in a copy, None for no file. `path` is where the source's WordPress is on its host: empty or `/blog`."""
    if content is None:
        return _RULES if has_permalinks else None
    block = _BLOCK.search(content)
    outside = content if block is None else content[: block.start()] + content[block.end() :]
    if _HARMFUL.search(outside):
        content = block.group() if block else _RULES if has_permalinks else b""
    if not path:
        return content
    base = re.escape(path.encode())
    content = re.sub(rb"(?mi)^([ \t]*RewriteBase[ \t]+)" + base + rb"/?[ \t]*$", rb"\1/", content)
    return re.sub(rb"(?mi)^([ \t]*RewriteRule[ \t]+\S+[ \t]+)" + base + rb"/", rb"\1/", content)


def adapt(root: Path, fence: Fence, *, path: str, has_permalinks: bool) -> LeftOut | None:
    """Put the copy's file in the place of the source's; what to report if it differs. Repeatable. Blocks."""
    file = root / NAME
    content = file.read_bytes() if file.is_file() and not file.is_symlink() else None
    wanted = rules_for_copy(content, path=path, has_permalinks=has_permalinks)
    if wanted == content or wanted is None:
        return None
    fence.check()
    fresh = root / f"{NAME}.wpclone-new"
    fresh.write_bytes(wanted)
    fresh.chmod(0o644)
    os.replace(fresh, file)
    return LeftOut(NAME, "the copy has WordPress's own rules, for its own address")
