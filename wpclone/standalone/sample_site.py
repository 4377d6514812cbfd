"""A real WordPress to clone: for the demonstration and the tests.

Its files come from Debian's packages (see deploy/local/fetch_wordpress), its web server is an Apache of its own on its own
port under an unprivileged uid, its content is written by `sample_site.php`. Everything lies below one directory and one database.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import aiohttp
import pymysql

from wpclone.standalone.child import Account, Child
from wpclone.standalone.http_probe import status_of
from wpclone.standalone.readiness import ServerNotReady, answer_of
from wpclone.wordpress.constants import SALTS

_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_MODULES = Path("/usr/lib/apache2/modules")
_IMAGES_SHARE = 400_000
"""About the size in bytes of one picture; the number of pictures follows from `upload_bytes`."""


@dataclass(frozen=True)
class DatabaseAdmin:
    """An account on a MariaDB that may create databases and users. TCP on 127.0.0.1."""

    port: int
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class SampleOptions:
    """What the sample holds. `sink` (`host:port`) is what its noisy plugin tries to reach; empty for nothing. `path` is the
    directory below the web root that WordPress is in: empty, or as `/blog`. `also_at`: a further address to listen at."""

    port: int
    host: str = "source.localhost"
    title: str = "A sample of everything"
    admin: str = "admin"
    password: str = field(default="sample password", repr=False)
    posts: int = 20
    upload_bytes: int = 30_000_000
    table_prefix: str = "wp_"
    path: str = ""
    sink: str = ""
    also_at: str = ""
    constants: tuple[tuple[str, str], ...] = (("WP_POST_REVISIONS", "7"), ("SAMPLE_LICENSE_KEY", "'not for copies'"))


@dataclass(frozen=True)
class SampleSite:
    """A running sample site; `stop` ends its Apache and leaves its files and database to whoever owns the directory."""

    url: str
    admin: str
    password: str = field(repr=False)
    docroot: Path
    database: str
    child: Child

    async def stop(self) -> None:
        """End the web server."""
        await self.child.stop()


async def make_sample_site(
    place: Path, database: DatabaseAdmin, *, packages: Path, account: Account, options: SampleOptions
) -> SampleSite:
    """Make and start a sample site below `place`, a directory that `account` may enter.

    `packages` is what `fetch_wordpress` filled. Raises ServerNotReady when PHP, the database or Apache refuses, FileNotFoundError
    when WordPress was not fetched.
    """
    docroot, url = Path(f"{place}/docroot{options.path}"), f"http://{options.host}:{options.port}{options.path}"
    name = "source_" + hashlib.sha256(str(place).encode()).hexdigest()[:12]
    secret = hashlib.sha256(f"{database.password}{name}".encode()).hexdigest()[:32]
    await asyncio.to_thread(_lay_out, packages / "wordpress", docroot)
    await asyncio.to_thread(_make_database, database, name, secret)
    (docroot / "wp-config.php").write_text(_wp_config(options, database.port, name, secret))
    (docroot / ".htaccess").write_text(_HTACCESS.replace("@@PATH@@", options.path))
    _write_plugin(docroot / "wp-content" / "plugins" / "noisy", options.sink)
    for directory in ("scratch", "log", "run"):
        (place / directory).mkdir(exist_ok=True)
    await asyncio.to_thread(_own, place, account)
    await asyncio.to_thread(_install, place, docroot, url, options, account)
    child = await start_apache(place, port=options.port, account=account, path=options.path, also_at=options.also_at)
    await _first_view(options)
    return SampleSite(url, options.admin, options.password, docroot, name, child)


def _lay_out(wordpress: Path, docroot: Path) -> None:
    if not (wordpress / "wp-settings.php").exists():
        raise FileNotFoundError(f"no WordPress in {wordpress}: run deploy/local/fetch_wordpress {wordpress.parent}")
    shutil.copytree(wordpress, docroot, ignore=shutil.ignore_patterns(".fetched"))
    content = docroot / "wp-content"
    (content / "uploads").mkdir()
    for directory in (content, content / "themes"):
        (directory / "index.php").write_text("<?php\n// Silence is golden.\n")


def _make_database(admin: DatabaseAdmin, name: str, secret: str) -> None:
    connection = pymysql.connect(
        host="127.0.0.1",
        port=admin.port,
        user=admin.user,
        password=admin.password,
        connect_timeout=5,
        read_timeout=30,
        write_timeout=30,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
            cursor.execute(f"CREATE OR REPLACE USER '{name}'@'127.0.0.1' IDENTIFIED BY '{secret}'")
            cursor.execute(f"GRANT ALL ON `{name}`.* TO '{name}'@'127.0.0.1'")
    finally:
        connection.close()


def _wp_config(options: SampleOptions, port: int, name: str, secret: str) -> str:
    defined = {
        "DB_NAME": f"'{name}'", "DB_USER": f"'{name}'", "DB_PASSWORD": f"'{secret}'", "DB_HOST": f"'127.0.0.1:{port}'",
        "DB_CHARSET": "'utf8mb4'", "DB_COLLATE": "''",
        **{salt: f"'{hashlib.sha256(f'{secret}{salt}'.encode()).hexdigest()}'" for salt in SALTS},
        # The sample talks to nobody but its sink, and its contents change only when somebody asks.
        "WP_HTTP_BLOCK_EXTERNAL": "true", "WP_ACCESSIBLE_HOSTS": f"'{options.sink.partition(':')[0]}'", "DISABLE_WP_CRON": "true",
        "AUTOMATIC_UPDATER_DISABLED": "true", **dict(options.constants),
    }  # fmt: skip
    lines = [f"define('{key}', {value});" for key, value in defined.items()]
    prefix = f"$table_prefix = '{options.table_prefix}';"
    boot = "if (!defined('ABSPATH')) {\n    define('ABSPATH', __DIR__ . '/');\n}\nrequire_once ABSPATH . 'wp-settings.php';\n"
    return "<?php\n" + "\n".join([*lines, prefix, boot])


_HTACCESS = """# BEGIN WordPress
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase @@PATH@@/
RewriteRule ^index\\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . @@PATH@@/index.php [L]
</IfModule>
# END WordPress
"""


def _write_plugin(folder: Path, sink: str) -> None:
    folder.mkdir()
    source = files(__package__).joinpath("noisy_plugin.php").read_text()
    (folder / "noisy.php").write_text(source.replace("@@SINK@@", sink))


def _own(place: Path, account: Account) -> None:
    """Hand everything below `place` to the account."""
    for directory, _, names in os.walk(place):
        for name in [".", *names]:
            os.chown(Path(directory) / name, account.uid, account.gid, follow_symlinks=False)


def _install(place: Path, docroot: Path, url: str, options: SampleOptions, account: Account) -> None:
    images = max(options.posts, options.upload_bytes // _IMAGES_SHARE)
    settings = place / "sample.json"
    settings.write_text(
        json.dumps(
            {
                "docroot": str(docroot), "url": url, "title": options.title, "admin": options.admin, "password": options.password,
                "posts": options.posts, "images": images, "image_bytes": options.upload_bytes // images,
            }
        )
    )  # fmt: skip
    drop = os.getuid() == 0
    script = str(files(__package__).joinpath("sample_site.php"))
    done = subprocess.run(
        ["php", "-d", "memory_limit=512M", "-d", f"sys_temp_dir={place / 'scratch'}", script, str(settings)],
        env=_ENV, cwd=place, capture_output=True, timeout=300, check=False,
        user=account.uid if drop else None, group=account.gid if drop else None, extra_groups=[] if drop else None,
    )  # fmt: skip
    settings.unlink()
    if done.returncode != 0 or not done.stdout.strip().endswith(b"}"):
        said = (done.stderr + done.stdout).decode(errors="replace")[-2000:]
        raise ServerNotReady(f"the sample site could not be made (PHP ended with {done.returncode}): {said}")


async def start_apache(place: Path, *, port: int, account: Account, path: str = "", also_at: str = "") -> Child:
    """Start an Apache for `place`/docroot; return once WordPress's files below `path` answer. Raises ServerNotReady."""
    config, log = place / "apache.conf", place / "log" / "apache.log"
    config.write_text(_apache_config(place, port, also_at))
    config.chmod(0o644)
    log.touch()
    account.own(log)
    child = await Child.start(
        "sample-apache", ["apache2", "-D", "FOREGROUND", "-f", str(config)], account=account, env=_ENV, log=log, cwd=place
    )

    async def answers() -> bool | None:
        return await status_of(port, "127.0.0.1", f"{path}/wp-includes/images/blank.gif", within=10) == 200 or None

    await answer_of(child, answers, within=30, log=log)
    return child


async def _first_view(options: SampleOptions) -> None:
    """View the home page once: WordPress writes its widgets' options then, and a source should not change by being looked at."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{options.port}{options.path}/"
        async with http.get(url, headers={"Host": f"{options.host}:{options.port}"}, allow_redirects=False) as response:
            page = await response.text()
    if response.status != 200 or "</html>" not in page:
        raise ServerNotReady(f"the sample site's home page answers {response.status}: {page[-500:]}")


def _apache_config(place: Path, port: int, also_at: str) -> str:
    wanted = [
        "mpm_prefork",
        "alias",
        "authz_core",
        "authn_core",
        "auth_basic",
        "authn_file",
        "authz_user",
        "dir",
        "mime",
        "rewrite",
        "env",
        "setenvif",
        "headers",
    ]
    modules = [f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in wanted]
    listen = "".join(f"Listen {address}:{port}\n" for address in ("127.0.0.1", also_at) if address)
    modules.append(f"LoadModule php_module {next(_MODULES.glob('libphp*.so'), _MODULES / 'libphp8.2.so')}")
    return (
        "\n".join(modules)
        + f"""
ServerRoot {place}
ServerName source.localhost
{listen}PidFile {place}/run/apache.pid
DefaultRuntimeDir {place}/run
ErrorLog {place}/log/error.log
TypesConfig /etc/mime.types
StartServers 2
MinSpareServers 1
MaxSpareServers 4
MaxRequestWorkers 12
GracefulShutdownTimeout 2
DocumentRoot {place}/docroot
DirectoryIndex index.php index.html
<FilesMatch "\\.php$">
    SetHandler application/x-httpd-php
</FilesMatch>
php_admin_value sys_temp_dir {place}/scratch
php_admin_value upload_tmp_dir {place}/scratch
php_admin_value session.save_path {place}/scratch
php_admin_value sendmail_path /bin/false
php_admin_value opcache.revalidate_freq 0
php_value memory_limit 256M
php_value upload_max_filesize 32M
php_value post_max_size 32M
<Directory {place}/docroot>
    AllowOverride All
    Options FollowSymLinks
    Require all granted
</Directory>
"""
    )
