"""A source whose administrator lets us in by consent: application passwords, and our agent without a key among its plugins."""

import io
import json
import os
import secrets
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers import SERVICE
from tests.support.source_site import SourceSite
from wpclone.wordpress.agent.package import keyless_agent_zip
from wpclone.wordpress.login import AdminLogin

_START = """error_reporting(0); $_SERVER += ['HTTP_HOST' => 'source.localhost', 'REQUEST_METHOD' => 'GET', 'REQUEST_URI' => '/'];
require $argv[1] . '/wp-load.php'; require_once ABSPATH . 'wp-admin/includes/plugin.php';
"""
_MAKE = """[$password, $item] = WP_Application_Passwords::create_new_application_password(
    get_user_by('login', $argv[2])->ID, ['name' => uniqid('wpclone ', true)]);
echo json_encode([WP_Application_Passwords::chunk_password($password), $item['uuid']]);"""
_ACTIVATE = "$done = activate_plugin($argv[2]); echo json_encode($done === null);"
_DEACTIVATE = "deactivate_plugins($argv[2]); echo 'true';"
_WITHDRAW = """WP_Application_Passwords::delete_all_application_passwords(get_user_by('login', $argv[2])->ID); echo 'true';"""


@dataclass
class Consenting:
    """The site, an application password of its administrator, and where the agent's plugin lies."""

    source: SourceSite
    password: str
    folder: str

    @property
    def login(self) -> AdminLogin:
        return self.login_of(self.source.site.admin, self.password)

    def login_of(self, username: str, password: str) -> AdminLogin:
        return AdminLogin(self.source.url, username, password)

    @property
    def plugin(self) -> str:
        return f"{self.folder}/{self.folder}.php"

    @property
    def directory(self) -> Path:
        return self.source.docroot / "wp-content/plugins" / self.folder

    def php(self, code: str, *words: str) -> Any:
        """What PHP says with WordPress started, as the site's own user."""
        drop = os.getuid() == 0
        done = subprocess.run(
            ["php", "-d", "memory_limit=256M", "-r", _START + code, str(self.source.docroot), *words],
            capture_output=True, timeout=60, check=True, cwd=self.source.place,
            user=SERVICE.uid if drop else None, group=SERVICE.gid if drop else None, extra_groups=[] if drop else None,
        )  # fmt: skip
        return json.loads(done.stdout)

    def new_password(self, username: str) -> str:
        return str(self.php(_MAKE, username)[0])

    def withdraw_passwords(self) -> None:
        """What their owner does in wp-admin."""
        self.php(_WITHDRAW, self.source.site.admin)

    def activate(self) -> None:
        assert self.php(_ACTIVATE, self.plugin)

    def deactivate(self) -> None:
        assert self.php(_DEACTIVATE, self.plugin)

    @property
    def is_active(self) -> bool:
        (active,) = self.source.sql("SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'")
        return self.plugin in str(active[0])

    def lying_there(self) -> list[str]:
        """The plugin's files besides the agent."""
        return sorted(path.name for path in self.directory.iterdir() if path.name != f"{self.folder}.php")


@contextmanager
def local_environment(source: SourceSite) -> Iterator[None]:
    """Application passwords by http, as WordPress allows in a developer's environment."""
    file = source.docroot / "wp-config.php"
    before = file.read_text()
    file.write_text(before.replace("$table_prefix", "define('WP_ENVIRONMENT_TYPE', 'local');\n$table_prefix", 1))
    try:
        yield
    finally:
        file.write_text(before)


@contextmanager
def consenting(source: SourceSite) -> Iterator[Consenting]:
    """The source with an application password and our plugin, inactive; and back again."""
    folder = f"wpc-{secrets.token_hex(12)}"
    with zipfile.ZipFile(io.BytesIO(keyless_agent_zip(folder=folder))) as archive:
        file = source.put(f"wp-content/plugins/{folder}/{folder}.php", archive.read(f"{folder}/{folder}.php"))
    with local_environment(source):
        one = Consenting(source, "", folder)
        try:
            one.password = one.new_password(source.site.admin)
            yield one
        finally:
            if file.exists() and one.is_active:
                one.deactivate()
            source.sql("DELETE FROM wp_usermeta WHERE meta_key = '_application_passwords'")
            source.sql("DELETE FROM wp_options WHERE option_name = 'using_application_passwords'")
            if one.directory.exists():
                assert one.lying_there() == []
                file.unlink()
                one.directory.rmdir()
