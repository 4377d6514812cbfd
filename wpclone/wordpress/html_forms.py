"""The forms of a page, as a browser would send them; and the few other things a sign-in looks for in HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(frozen=True)
class Form:
    """A form: its id, name and class joined by spaces, where it is sent, its fields with their values, and all its fields'
    names."""

    labels: str
    action: str
    fields: Mapping[str, str]
    names: frozenset[str]


@dataclass
class Document:
    """What was found in a page: forms, links (a and link elements, by address), text of elements by id, classes of body."""

    forms: list[Form] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    body_class: str = ""

    def form(self, label: str) -> Form | None:
        """The first form that has this id, name or class."""
        return next((form for form in self.forms if label in form.labels.split()), None)


_VOID = {"input", "img", "br", "hr", "meta", "link", "source", "area", "base", "col", "embed", "param", "track", "wbr"}
# Elements whose text tells why a sign-in or an upload failed.
_TELLING = {"login_error", "error-page", "wpbody-content", "message"}


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.document = Document()
        self._form: tuple[str, str, dict[str, str], set[str]] | None = None
        self._depth = 0
        self._open: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self._depth += 1
            if found.get("id") in _TELLING:
                self._open.append((found["id"], self._depth))
        if tag == "form":
            labels = " ".join(found.get(name, "") for name in ("id", "name", "class"))
            self._form = (labels, found.get("action", ""), {}, set())
        elif tag in ("input", "select", "textarea", "button"):
            self._input(found)
        elif tag == "body":
            self.document.body_class = found.get("class", "")
            if found.get("id") == "error-page":
                self._open.append(("error-page", self._depth))
        elif tag in ("a", "link") and "href" in found:
            self.document.links.append((found.get("rel", ""), found["href"]))

    def _input(self, found: Mapping[str, str]) -> None:
        name = found.get("name", "")
        if self._form is None or not name:
            return
        self._form[3].add(name)
        kind = found.get("type", "text")
        if kind in ("hidden", "text", "submit", "email", "password") or (kind == "checkbox" and "checked" in found):
            self._form[2].setdefault(name, found.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._form is not None:
            labels, action, fields, names = self._form
            self.document.forms.append(Form(labels, action, fields, frozenset(names)))
            self._form = None
        if tag not in _VOID:
            self._open = [(name, depth) for name, depth in self._open if depth < self._depth]
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        for name, _ in self._open:
            self.document.texts[name] = self.document.texts.get(name, "") + data


def parsed(text: str) -> Document:
    """What is in a page; never raises, however broken the page."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    return parser.document
