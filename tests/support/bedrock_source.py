"""A source laid out as Bedrock does it: WordPress in `web/wp`, content in `web/app`, settings in `config/` and `.env` above both.

Source: roots/bedrock (config/application.php, web/wp-config.php), with the few lines of its libraries that it uses.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.support.servers import SERVICE, Mariadb
from tests.support.source_site import SourceSite, running_source_site

_AUTOLOAD = """<?php
namespace Env { function env(string $name) { $value = getenv($name); return $value === false ? null : $value; } }
namespace Dotenv {
    final class Dotenv {
        public $directory;
        public function __construct(string $directory) { $this->directory = $directory; }
        public static function createUnsafeImmutable(string $directory): self { return new self($directory); }
        public function load(): void {
            foreach (file($this->directory . '/.env', FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
                putenv(str_replace("'", '', $line));
            }
        }
    }
}
namespace Roots\\WPConfig {
    final class Config {
        private static $map = [];
        public static function define($key, $value) { self::$map[$key] = $value; }
        public static function get($key) { return self::$map[$key]; }
        public static function apply() { foreach (self::$map as $key => $value) { defined($key) || define($key, $value); } }
    }
}
"""
_APPLICATION = """<?php
use Roots\\WPConfig\\Config;
use function Env\\env;
$root_dir = dirname(__DIR__);
$webroot_dir = $root_dir . '/web';
Dotenv\\Dotenv::createUnsafeImmutable($root_dir)->load();
define('WP_ENV', env('WP_ENV') ?: 'production');
Config::define('WP_HOME', env('WP_HOME'));
Config::define('WP_SITEURL', env('WP_SITEURL'));
Config::define('CONTENT_DIR', '/app');
Config::define('WP_CONTENT_DIR', $webroot_dir . Config::get('CONTENT_DIR'));
Config::define('WP_CONTENT_URL', Config::get('WP_HOME') . Config::get('CONTENT_DIR'));
foreach (['DB_NAME', 'DB_USER', 'DB_PASSWORD', 'DB_HOST', 'AUTH_KEY'] as $name) {
    Config::define($name, env($name));
}
Config::define('DB_CHARSET', 'utf8mb4');
$table_prefix = env('DB_PREFIX') ?: 'wp_';
Config::define('DISABLE_WP_CRON', true);
Config::define('WP_HTTP_BLOCK_EXTERNAL', true);
Config::define('WP_POST_REVISIONS', 5);
Config::apply();
if (!defined('ABSPATH')) {
    define('ABSPATH', $webroot_dir . '/wp/');
}
"""
_CONFIG = """<?php
require_once dirname(__DIR__) . '/vendor/autoload.php';
require_once dirname(__DIR__) . '/config/application.php';
require_once ABSPATH . 'wp-settings.php';
"""
_INDEX = "<?php\ndefine('WP_USE_THEMES', true);\nrequire __DIR__ . '/wp/wp-blog-header.php';\n"


@contextmanager
def running_bedrock_source(mariadb: Mariadb) -> Iterator[SourceSite]:
    """The site; its `docroot` is `web`."""
    with running_source_site(mariadb, upload_bytes=200_000, posts=2, table_prefix="bed_") as source:
        place, old = source.place / "docroot", source.docroot
        config = old.joinpath("wp-config.php").read_text()
        values = dict(re.findall(r"define\('(\w+)', '([^']*)'\);", config))
        # `place` becomes the project, its `web` what the web server shows.
        core = source.place / "core"
        old.rename(core)
        web = place / "web"
        (place / "config").mkdir(parents=True)
        (place / "vendor").mkdir()
        web.mkdir()
        core.rename(web / "wp")
        (web / "wp" / "wp-content").rename(web / "app")
        (web / "wp" / "wp-config.php").unlink()
        (web / "wp" / ".htaccess").rename(web / ".htaccess")
        (web / "wp-config.php").write_text(_CONFIG)
        (web / "index.php").write_text(_INDEX)
        (place / "vendor" / "autoload.php").write_text(_AUTOLOAD)
        (place / "config" / "application.php").write_text(_APPLICATION)
        wanted = {name: values[name] for name in ("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "AUTH_KEY")}
        settings = wanted | {"WP_HOME": source.url, "WP_SITEURL": f"{source.url}/wp", "DB_PREFIX": "bed_"}
        (place / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
        for path in (place, place / ".env", *(place / name for name in ("config", "vendor")), web, *web.glob("*")):
            SERVICE.own(path)
        for table, column in (("posts", "post_content"), ("posts", "guid")):
            source.sql(f"UPDATE bed_{table} SET {column} = REPLACE({column}, '/wp-content/', '/app/')")
        source.sql("UPDATE bed_options SET option_value = %s WHERE option_name = 'siteurl'", f"{source.url}/wp")
        apache = source.place / "apache.conf"
        text = apache.read_text().replace(f"DocumentRoot {place}\n", f"DocumentRoot {web}\n")
        apache.write_text(text.replace(f"<Directory {place}>", f"<Directory {web}>"))
        yield SourceSite(replace(source.site, docroot=web), source.place, source.mariadb)
