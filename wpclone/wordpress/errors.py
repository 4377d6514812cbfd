"""What can be wrong with a site: one list of reasons, each with the sentence a person gets and whether waiting helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason a `SiteError` can have. The value equals the name; tables elsewhere are checked against this list."""

    MALFORMED_URL = "MALFORMED_URL"
    ADDRESS_NOT_ALLOWED = "ADDRESS_NOT_ALLOWED"
    SOURCE_UNREACHABLE = "SOURCE_UNREACHABLE"
    SOURCE_TLS = "SOURCE_TLS"
    SOURCE_BASIC_AUTH = "SOURCE_BASIC_AUTH"
    SOURCE_REDIRECTS_ELSEWHERE = "SOURCE_REDIRECTS_ELSEWHERE"
    SOURCE_WAF = "SOURCE_WAF"
    SOURCE_BUSY = "SOURCE_BUSY"
    SOURCE_BROKEN = "SOURCE_BROKEN"
    SOURCE_DATABASE_DOWN = "SOURCE_DATABASE_DOWN"
    SOURCE_QUERY_FAILED = "SOURCE_QUERY_FAILED"
    SOURCE_DAMAGED_ANSWER = "SOURCE_DAMAGED_ANSWER"
    NOT_WORDPRESS = "NOT_WORDPRESS"
    MULTISITE_UNSUPPORTED = "MULTISITE_UNSUPPORTED"
    LOGIN_REFUSED = "LOGIN_REFUSED"
    LOGIN_TWO_FACTOR = "LOGIN_TWO_FACTOR"
    LOGIN_CAPTCHA = "LOGIN_CAPTCHA"
    LOGIN_HIDDEN = "LOGIN_HIDDEN"
    LOGIN_LACKS_CAPABILITY = "LOGIN_LACKS_CAPABILITY"
    LOGIN_TRY_LATER = "LOGIN_TRY_LATER"
    REST_HIDDEN = "REST_HIDDEN"
    APPLICATION_PASSWORDS_OFF = "APPLICATION_PASSWORDS_OFF"
    APPLICATION_PASSWORDS_NEED_HTTPS = "APPLICATION_PASSWORDS_NEED_HTTPS"
    AUTHORIZATION_STRIPPED = "AUTHORIZATION_STRIPPED"
    FILE_MODS_DISABLED = "FILE_MODS_DISABLED"
    FILESYSTEM_NOT_DIRECT = "FILESYSTEM_NOT_DIRECT"
    UPLOAD_REFUSED = "UPLOAD_REFUSED"
    AGENT_MISSING = "AGENT_MISSING"
    AGENT_BLOCKED = "AGENT_BLOCKED"
    AGENT_REFUSED = "AGENT_REFUSED"
    AGENT_EXPIRED = "AGENT_EXPIRED"
    AGENT_STAYS = "AGENT_STAYS"
    AGENT_CLOCK = "AGENT_CLOCK"
    TABLE_UNSUPPORTED = "TABLE_UNSUPPORTED"
    CORE_TABLE_EXCLUDED = "CORE_TABLE_EXCLUDED"
    TARGET_DATABASE_DOWN = "TARGET_DATABASE_DOWN"
    TARGET_DATABASE_REFUSED = "TARGET_DATABASE_REFUSED"
    TOO_LITTLE_SPACE = "TOO_LITTLE_SPACE"
    HOSTILE_PATH = "HOSTILE_PATH"
    NESTED_TOO_DEEP = "NESTED_TOO_DEEP"
    TARGET_NOT_WRITABLE = "TARGET_NOT_WRITABLE"
    TARGET_TOO_SMALL = "TARGET_TOO_SMALL"
    TARGET_INCOMPATIBLE = "TARGET_INCOMPATIBLE"
    RESTORE_ONTO_ITSELF = "RESTORE_ONTO_ITSELF"
    PRESERVE_UNKNOWN = "PRESERVE_UNKNOWN"
    TARGET_UNHEALTHY = "TARGET_UNHEALTHY"
    TARGET_CHANGING = "TARGET_CHANGING"
    STAGING_DAMAGED = "STAGING_DAMAGED"
    NOTHING_TO_ROLL_BACK = "NOTHING_TO_ROLL_BACK"


@dataclass(frozen=True)
class _Said:
    sentence: str
    transient: bool = False


_AGENT_ZIP = "install the agent by hand (`wpclone agent zip`) and clone with its key instead"

#: The default sentence of each reason: what is wrong and what to do. Complete by test.
SENTENCES: Mapping[Reason, _Said] = {
    Reason.MALFORMED_URL: _Said("The URL is malformed; give it as https://example.com/ with an optional path."),
    Reason.ADDRESS_NOT_ALLOWED: _Said(
        "The site's address is private, local or reserved; use a public address, or have the operator allow this host."
    ),
    Reason.SOURCE_UNREACHABLE: _Said("The site does not answer; check the URL and that the site is up.", transient=True),
    Reason.SOURCE_TLS: _Said("The site's TLS certificate is not valid; renew it, or use the http:// address if that is served."),
    Reason.SOURCE_BASIC_AUTH: _Said(
        "The site asks for a web server password (HTTP Basic); put it in the URL as https://user:password@host/ or lift it."
    ),
    Reason.SOURCE_REDIRECTS_ELSEWHERE: _Said("The site redirects to another host; give the address it redirects to."),
    Reason.SOURCE_WAF: _Said(f"A firewall in front of the site refused the request; let this service through, or {_AGENT_ZIP}."),
    Reason.SOURCE_BUSY: _Said("The site is overloaded or limits requests; try again later.", transient=True),
    Reason.SOURCE_BROKEN: _Said("The site answers with a server error; repair it, then try again.", transient=True),
    Reason.SOURCE_DATABASE_DOWN: _Said("The site cannot reach its database; repair that, then try again.", transient=True),
    Reason.SOURCE_QUERY_FAILED: _Said("The site's database refused a query; repair the table it names, then try again."),
    Reason.SOURCE_DAMAGED_ANSWER: _Said(
        "The agent's answers arrive altered; switch off what rewrites responses (optimiser, proxy), then try again.",
        transient=True,
    ),
    Reason.NOT_WORDPRESS: _Said("There is no WordPress at this URL; give the address of the site's home page."),
    Reason.MULTISITE_UNSUPPORTED: _Said(
        "The site is a WordPress multisite network, which cannot be cloned; choose a single site."
    ),
    Reason.LOGIN_REFUSED: _Said("WordPress refused the username or password; check both by signing in to wp-admin."),
    Reason.LOGIN_TWO_FACTOR: _Said(f"The account needs a second factor; use one without it, or {_AGENT_ZIP}."),
    Reason.LOGIN_CAPTCHA: _Said(f"The login page asks for a captcha; switch it off for the moment, or {_AGENT_ZIP}."),
    Reason.LOGIN_HIDDEN: _Said(f"The login page is hidden or changed by a plugin; restore wp-login.php, or {_AGENT_ZIP}."),
    Reason.LOGIN_LACKS_CAPABILITY: _Said("The account may not install plugins; use an administrator's."),
    Reason.LOGIN_TRY_LATER: _Said("WordPress refuses sign-ins for now after too many attempts; try again later.", transient=True),
    Reason.REST_HIDDEN: _Said(
        f"The site's REST API does not answer, and application passwords open nothing else; switch it on, or {_AGENT_ZIP}."
    ),
    Reason.APPLICATION_PASSWORDS_OFF: _Said(
        f"The site offers no application passwords: a plugin switches them off; allow them, or {_AGENT_ZIP}."
    ),
    Reason.APPLICATION_PASSWORDS_NEED_HTTPS: _Said(
        f"WordPress takes application passwords over https only; give the site's https:// address, or {_AGENT_ZIP}."
    ),
    Reason.AUTHORIZATION_STRIPPED: _Said(
        "The web server keeps the Authorization header from PHP, so that application passwords open nothing; in Apache's"
        " .htaccess, `CGIPassAuth On` passes it on."
    ),
    Reason.FILE_MODS_DISABLED: _Said(f"The site forbids installing plugins (DISALLOW_FILE_MODS); {_AGENT_ZIP}."),
    Reason.FILESYSTEM_NOT_DIRECT: _Said(f"WordPress cannot write its own plugins and asks for FTP access; {_AGENT_ZIP}."),
    Reason.UPLOAD_REFUSED: _Said(f"WordPress did not accept the agent's upload; {_AGENT_ZIP}."),
    Reason.AGENT_MISSING: _Said(
        "An application password needs our agent at the site, as WordPress's REST API installs no plugin of ours; make it with"
        " `wpclone agent zip --keyless`, upload it in wp-admin (Plugins, Add New, Upload), then try again."
    ),
    Reason.AGENT_BLOCKED: _Said(
        "The site does not run PHP files in its plugins directory; put the agent (`wpclone agent zip`) where it does."
    ),
    Reason.AGENT_REFUSED: _Said(
        "The agent does not accept this key; check the key, or make a new agent with `wpclone agent zip`."
    ),
    Reason.AGENT_EXPIRED: _Said("The agent has expired; make a new one with `wpclone agent zip`."),
    Reason.AGENT_STAYS: _Said(
        "The agent could not delete its own file at the site; delete its folder below wp-content/plugins by hand."
    ),
    Reason.AGENT_CLOCK: _Said("The site's clock is wrong by more than five minutes; set it, then try again."),
    Reason.TABLE_UNSUPPORTED: _Said("A table's definition uses something that cannot be copied; leave the table out."),
    Reason.CORE_TABLE_EXCLUDED: _Said(
        "exclude_tables names a table that WordPress itself needs; narrow it to tables of plugins."
    ),
    Reason.TARGET_DATABASE_DOWN: _Said("The copy's database does not answer; it is tried again.", transient=True),
    Reason.TARGET_DATABASE_REFUSED: _Said("The copy's database refused the site's data; see the details for the table."),
    Reason.TOO_LITTLE_SPACE: _Said("There is too little disk space for the copy; free some, or clone a smaller site."),
    Reason.HOSTILE_PATH: _Said("The site sent a file name that leaves its own directory; the copy was stopped."),
    Reason.NESTED_TOO_DEEP: _Said(
        "The site has directories nested more than 200 deep; remove them there, or leave them out with exclude_paths."
    ),
    Reason.TARGET_NOT_WRITABLE: _Said(
        "The web server's user may not write the target's files; give it write access to wp-content, then try again."
    ),
    Reason.TARGET_TOO_SMALL: _Said(
        "The target has too little disk space for the new and the old content side by side; free some, or restore less."
    ),
    Reason.TARGET_INCOMPATIBLE: _Said("The target cannot take this content; see the details for what stands in the way."),
    Reason.RESTORE_ONTO_ITSELF: _Said("Source and target are the same site; name two different ones."),
    Reason.PRESERVE_UNKNOWN: _Said("A plugin or theme to preserve is not at the target; name only ones that are there."),
    Reason.TARGET_UNHEALTHY: _Said(
        "The target did not answer well with the new content, so its old content was put back; see the details."
    ),
    Reason.TARGET_CHANGING: _Said(
        "The target went on changing while its content was to be exchanged; it is tried again.", transient=True
    ),
    Reason.STAGING_DAMAGED: _Said(
        "What was written to the target is not what was sent; check its disk and database, then try again."
    ),
    Reason.NOTHING_TO_ROLL_BACK: _Said("The target keeps no older content of this restore; it was released or never made."),
}


class SiteError(Exception):
    """Something is wrong with a site, its access or its copy, and a person can do something about it.

    `message` is one sentence that says what to do; `transient` says that waiting may help, `retry_after` (seconds) how long at
    least; `metadata` are safe details (host, table, status) and never a secret.
    """

    def __init__(
        self,
        reason: Reason,
        message: str = "",
        *,
        transient: bool | None = None,
        retry_after: float | None = None,
        **metadata: str,
    ) -> None:
        said = SENTENCES[reason]
        self.reason = reason
        self.message = message or said.sentence
        self.transient = said.transient if transient is None else transient
        self.retry_after = retry_after
        self.metadata = metadata
        super().__init__(self.message)

    def __repr__(self) -> str:
        return f"SiteError({self.reason}, {self.message!r}, {self.metadata})"


class TableGone(SiteError):
    """A table that was being read has been dropped. `name` is the table's."""

    def __init__(self, name: bytes, cause: SiteError) -> None:
        super().__init__(cause.reason)
        self.metadata = {**cause.metadata, "table": name.decode("utf-8", "replace")}
        self.name = name


class FencedOff(Exception):
    """Somebody with a larger fence number works on the same target: stop at once and write nothing more."""
