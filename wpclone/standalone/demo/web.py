"""A visitor: plain HTTP to sites on this machine, with cookies, without following redirects by itself."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode, urljoin, urlsplit

_TIMEOUT = 60.0


@dataclass(frozen=True)
class Answer:
    """One HTTP response; header names are lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


@dataclass
class Visitor:
    """Keeps the cookies of one site. Names under `.localhost` (RFC 6761 §6.3) and `.test` (§6.2: nobody's) are this machine."""

    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, url: str, *, hops: int = 0) -> Answer:
        """GET `url`, following up to `hops` redirects. Raises OSError, http.client.HTTPException."""
        answer = self._ask("GET", url)
        while hops and answer.status in {301, 302, 303, 307, 308} and "location" in answer.headers:
            hops -= 1
            answer = self._ask("GET", urljoin(answer.url, answer.headers["location"]))
        return answer

    def post(self, url: str, form: dict[str, str]) -> Answer:
        """POST a form to `url`."""
        return self._ask("POST", url, urlencode(form).encode())

    def _ask(self, method: str, url: str, body: bytes | None = None) -> Answer:
        parts = urlsplit(url)
        here = parts.hostname in {"127.0.0.1", "localhost"} or str(parts.hostname).endswith((".localhost", ".test"))
        if parts.scheme != "http" or not here:
            raise OSError(f"the demonstration stays on this machine, and {url} does not")
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=_TIMEOUT)
        try:
            headers = {"Host": parts.netloc, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            if body is not None:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            response = connection.getresponse()
            for cookie in response.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name.strip()] = value
            return Answer(
                url, response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
            )
        finally:
            connection.close()


def images_of(page: Answer) -> list[str]:
    """The absolute addresses of the pictures a page shows, each once."""
    found = re.findall(r"""<img[^>]+?src=["']([^"']+)["']""", page.text)
    return list(dict.fromkeys(urljoin(page.url, source) for source in found))
