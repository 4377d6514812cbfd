"""Whether wp-admin opens: with the generated password, and with a one-time link that works once."""

from __future__ import annotations

from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.web import Answer, Visitor


def check_password(findings: Findings, clone: Site, username: str, password: str) -> None:
    """Sign in as a person would, through the form."""
    visitor = Visitor()
    visitor.get(f"{clone.url}/wp-login.php")  # its test cookie must come back
    form = {
        "log": username, "pwd": password, "wp-submit": "Log In", "redirect_to": f"{clone.url}/wp-admin/", "testcookie": "1",
    }  # fmt: skip
    answer = visitor.post(f"{clone.url}/wp-login.php", form)
    dashboard = visitor.get(f"{clone.url}/wp-admin/", hops=2)
    findings.check(
        "wp-admin opens with the returned password",
        answer.status == 302 and _is_dashboard(dashboard),
        f"sign-in {answer.status}, dashboard {dashboard.status}",
    )
    stranger = Visitor().post(f"{clone.url}/wp-login.php", form | {"pwd": "not " + password})
    findings.check("wp-admin stays shut with another password", stranger.status == 200 and "login_error" in stranger.text)


def check_link(findings: Findings, link: str) -> None:
    """Open a sign-in link, twice."""
    first = Visitor().get(link, hops=3)
    findings.check("wp-admin opens with `clone open`'s link", _is_dashboard(first), f"status {first.status} at {first.url}")
    second = Visitor().get(link, hops=3)
    findings.check("the link works once", second.status == 403, f"the second time: status {second.status}")


def _is_dashboard(page: Answer) -> bool:
    return page.status == 200 and 'id="wpadminbar"' in page.text and "/wp-admin/" in page.url
