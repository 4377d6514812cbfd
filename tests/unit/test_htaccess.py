"""What a copy makes of its source's `.htaccess`."""

import pytest

from wpclone.wordpress.htaccess import rules_for_copy

BLOCK = b"""# BEGIN WordPress
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteBase /blog/
RewriteRule ^index\\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteRule . /blog/index.php [L]
</IfModule>
# END WordPress
"""
HERE = BLOCK.replace(b"/blog/", b"/")
HARMLESS = b"# ours\nOptions -Indexes\nRewriteRule ^old/(.*)$ new/$1 [L]\n"


@pytest.mark.parametrize(
    "line",
    [
        b"RewriteCond %{HTTPS} off\nRewriteRule ^(.*)$ https://%{HTTP_HOST}/$1 [R=301,L]\n",
        b"AuthType Basic\nRequire valid-user\n",
        b"AddHandler application/x-httpd-php74 .php\n",
        b"php_value auto_prepend_file '/home/u/wordfence-waf.php'\n",
        b"Redirect 301 /a https://example.com/b\n",
        b'RewriteRule ^x$ "https://cdn.example.com/x" [P]\n',
        b"  Order deny,allow\n",
    ],
)
def test_rules_that_would_break_a_copy_leave_wordpresss_own_alone(line: bytes) -> None:
    assert rules_for_copy(line + HERE + HARMLESS, path="", has_permalinks=True) == HERE


def test_harmless_rules_stay_byte_for_byte() -> None:
    content = HARMLESS + HERE + b"\r\n<IfModule mod_deflate.c>\nAddOutputFilterByType DEFLATE text/html\n</IfModule>\n"
    assert rules_for_copy(content, path="", has_permalinks=True) == content


def test_rules_for_a_directory_become_rules_for_the_root_once() -> None:
    made = rules_for_copy(HARMLESS + BLOCK, path="/blog", has_permalinks=True)
    assert made == HARMLESS + HERE
    assert rules_for_copy(made, path="/blog", has_permalinks=True) == made


def test_a_source_without_apache_gets_the_rules_its_permalinks_need() -> None:
    made = rules_for_copy(None, path="", has_permalinks=True)
    assert made is not None
    assert b"RewriteRule . /index.php [L]" in made
    assert rules_for_copy(None, path="", has_permalinks=False) is None
