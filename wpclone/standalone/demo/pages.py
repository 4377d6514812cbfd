"""Whether the clone's pages are the source's: the same HTML but for addresses, nonces, the banner and the word noindex."""

from __future__ import annotations

import difflib
import re
from urllib.parse import urlsplit

from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.web import Answer, Visitor, images_of

_BANNER = re.compile(r"<!--wpclone-banner-->.*?<!--/wpclone-banner-->", re.DOTALL)
_ROBOTS = re.compile(r"<meta name=['\"]robots['\"][^>]*>\s*")
_NONCE = re.compile(r"(nonce['\"]?\s*(?::|=|value=)\s*['\"]|_wpnonce=|name=['\"]_wpnonce['\"] value=['\"])[0-9a-f]{10}\b")
_GRAVATAR = re.compile(r"//[0-9]\.gravatar\.com/")
"""WordPress picks one of Gravatar's hosts at random (wp-includes/link-template.php)."""
_PUBLIC_ONLY = re.compile(r"<link rel=['\"]canonical['\"][^>]*>\s*")


def check_page(findings: Findings, source: Site, clone: Site, path: str, *, shows: list[str]) -> None:
    """Check one page: it answers, shows what it should, is the source's, names nothing of the source, and its pictures load."""
    visitor = Visitor()
    there, here = visitor.get(source.url + path), Visitor().get(clone.url + path)
    if not findings.check(f"{path} answers 200", here.status == 200, f"status {here.status}"):
        return
    missing = [text for text in [*shows, "</html>"] if text not in here.text]
    findings.check(f"{path} shows its title, picture, widget and end", not missing, f"without {missing}")
    difference = _difference(_comparable(there, source), _comparable(here, clone))
    findings.check(f"{path} is the source's page but for address, nonces and banner", not difference, difference)
    trace = source.trace_in(here.body)
    findings.check(f"{path} has no trace of the source's host", trace is None, repr(trace))
    _check_images(findings, clone, path, here)


def _check_images(findings: Findings, clone: Site, path: str, page: Answer) -> None:
    """The pictures of the site itself; those of other sites (Gravatar's faces) are not the clone's to serve."""
    images = [url for url in images_of(page) if not _GRAVATAR.search(url)]
    visitor = Visitor()
    broken = []
    for url in images:
        answer = visitor.get(url) if urlsplit(url).netloc == clone.host else None
        if answer is None or answer.status != 200 or not answer.headers.get("content-type", "").startswith("image/"):
            broken.append(f"{url} ({answer.status if answer else 'of another site'})")
    findings.check(f"{path}: its {len(images)} pictures load from the clone", bool(images) and not broken, ", ".join(broken[:3]))


def _comparable(page: Answer, site: Site) -> list[str]:
    text = _ROBOTS.sub("", _BANNER.sub("", page.text))
    text = _GRAVATAR.sub("//gravatar.com/", _PUBLIC_ONLY.sub("", _NONCE.sub(r"\1nonce", text)))
    return site.without_address(text.encode()).decode(errors="replace").splitlines()


def _difference(there: list[str], here: list[str]) -> str:
    lines = [line for line in difflib.unified_diff(there, here, "source", "clone", lineterm="", n=0) if line[:1] in "+-"]
    return " | ".join(line[:200] for line in lines[2:8])
