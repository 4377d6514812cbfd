<?php
/*
 * Plugin Name: Temporary copy agent
 * Description: Reads this site's files and tables for a copy its owner asked for, answers only signed requests, and removes itself.
 * Version: 2.0.0
 * License: GPL-2.0-or-later
 *
 * One file, PHP 7.4 or newer. It does not start WordPress: it reads wp-config.php and talks to the database itself, so that plugins
 * cannot break it and it cannot change anything. Where hosts refuse that, it is activated, and answers when WordPress has started
 * for a request that names it. The protocol is described in wpclone/wordpress/agent/wire.py.
 */
namespace WpcloneAgent;

if (Request::KEY === '' && function_exists('add_action')) {
    Enrolment::offer(); // an agent without a key, in its place among the active plugins
}
if (defined('ABSPATH') && !Request::isForUs()) {
    return; // included by WordPress for somebody else's request
}

final class Failure extends \Exception
{
    /** @var string */
    public $reason;
    /** @var int */
    public $status;

    public function __construct(string $reason, string $message, int $status = 200)
    {
        parent::__construct($message);
        $this->reason = $reason;
        $this->status = $status;
    }
}

/** The answer: a magic word, then frames of type, length, payload and a code that proves key, order and content. */
final class Answer
{
    const MAGIC = "\x89WPCLONE2\r\n";
    const TEXT_MAGIC = "wpclone-text-2\r\n";
    /** @var bool whether what is on the way spoils bytes: frames in base64, each after its length in eight hex digits */
    public $text = false;
    /** @var string */
    private $key;
    /** @var string */
    private $nonce;
    /** @var int */
    private $sequence = 0;
    /** @var bool */
    private $begun = false;
    /** @var bool */
    private $openssl;
    /** @var string the key of this answer's GMAC codes, '' when they were not asked for */
    private $gmac = '';

    public function __construct(string $key)
    {
        $this->key = $key;
        $this->nonce = '';
        $this->openssl = function_exists('openssl_digest');
    }

    public function about(string $nonce, string $key): void
    {
        $this->nonce = $nonce;
        $this->key = $key;
    }

    /** Frames are proved by GMAC from now on, where this PHP has it: ten times as fast as SHA-256. Call after `about`. */
    public function byGmac(): void
    {
        if (function_exists('openssl_encrypt')) {
            $this->gmac = hash_hmac('sha256', 'frames ' . $this->nonce, $this->key, true);
        }
    }

    public function begin(int $status = 200): void
    {
        if ($this->begun) {
            return;
        }
        $this->begun = true;
        while (ob_get_level() > 0 && @ob_end_clean()) {
            continue;
        }
        if (!headers_sent()) {
            header_remove();
            http_response_code($status);
            header('Content-Type: ' . ($this->text ? 'text/plain; charset=us-ascii' : 'application/octet-stream'));
            header('Cache-Control: no-store, no-transform');
            header('X-Accel-Buffering: no');
            header('X-Robots-Tag: noindex');
            if ($status === 429) {
                header('Retry-After: 1');
            }
        }
        echo $this->text ? self::TEXT_MAGIC : self::MAGIC;
    }

    public function frame(string $type, string $payload): void
    {
        $this->begin();
        $code = $this->code($type, $payload);
        $this->sequence++;
        if ($this->text) {
            $encoded = base64_encode($type . pack('N', strlen($payload)) . $payload . $code);
            echo sprintf('%08x', strlen($encoded)), $encoded;
        } else {
            echo $type, pack('N', strlen($payload)), $payload, $code;
        }
        flush();
    }

    private function code(string $type, string $payload): string
    {
        $number = pack('N', $this->sequence);
        if ($this->gmac !== '') {
            $code = '';
            @openssl_encrypt('', 'aes-256-gcm', $this->gmac, OPENSSL_RAW_DATA, str_pad($type, 8, "\0") . $number, $code, $payload, 16);
            if (is_string($code) && strlen($code) === 16) {
                return $code;
            }
        }
        $digest = $this->openssl ? openssl_digest($payload, 'sha256', true) : hash('sha256', $payload, true);
        return substr(hash_hmac('sha256', $this->nonce . $number . $type . $digest, $this->key, true), 0, 16);
    }

    /** @param array<string, mixed> $value */
    public function json(string $type, array $value): void
    {
        $this->frame($type, json_encode($value, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR));
    }

    public function fail(string $reason, string $message, int $status = 200): void
    {
        $this->begin($status);
        $this->json('X', ['reason' => $reason, 'message' => $message, 'time' => time()]);
    }
}

/** How long and how much one request may work. */
final class Budget
{
    /** @var float */
    private $end;
    /** @var int */
    public $frame;
    /** @var int a value of more bytes is sent in parts */
    public $large;

    public function __construct(float $asked)
    {
        $limit = (int) ini_get('max_execution_time');
        $seconds = min($limit > 0 ? 0.6 * $limit : 15.0, 15.0, $asked > 0 ? $asked : 15.0);
        $this->end = microtime(true) + $seconds;
        $memory = self::bytes((string) ini_get('memory_limit'));
        // A frame exists about six times at once (row, values, lengths, pieces, payload, output).
        $share = $memory > 0 ? ($memory / 2 - memory_get_usage()) / 6 : 67108864;
        $this->frame = (int) max(65536, min(1048576, $share));
        $this->large = (int) max(65536, min(67108864, $share));
    }

    public function spent(): bool
    {
        return microtime(true) >= $this->end;
    }

    private static function bytes(string $value): int
    {
        $unit = ['k' => 1024, 'm' => 1048576, 'g' => 1073741824][strtolower(substr(trim($value), -1))] ?? 1;
        return (int) $value * $unit;
    }
}

/** What the agent keeps between requests, outside the database: used nonces and a lock. */
final class State
{
    const WINDOW = 300;
    /** @var string */
    private $path;
    /** @var resource|null */
    private $lock = null;

    public function __construct(string $key)
    {
        $name = 'state-' . substr(hash_hmac('sha256', 'state ' . __FILE__, $key), 0, 24) . '.php';
        $this->path = self::dedicated() && is_writable(__DIR__) ? __DIR__ . '/' . $name : self::temporary() . '/wpclone-' . $name;
    }

    /** Takes the agent off the list of active plugins, when WordPress is there to do it. */
    private function deactivate(): void
    {
        if (!function_exists('update_option') || !function_exists('get_option')) {
            return;
        }
        $active = \get_option('active_plugins');
        $own = basename(__DIR__) . '/' . basename(__FILE__);
        if (is_array($active) && in_array($own, $active, true)) {
            \update_option('active_plugins', array_values(array_diff($active, [$own])));
        }
    }

    /** Whether this folder exists only for the agent: then it is removed with it. */
    public static function dedicated(): bool
    {
        return basename(__DIR__) === basename(__FILE__, '.php');
    }

    private static function temporary(): string
    {
        $directory = sys_get_temp_dir();
        return @is_writable($directory) ? rtrim($directory, '/') : __DIR__;
    }

    /** @return string[] names (not paths: the site may be reached through links) of what belongs to the agent */
    public function names(): array
    {
        return [basename($this->path), self::dedicated() ? basename(__DIR__) : basename(__FILE__)];
    }

    public function lock(): void
    {
        $file = @fopen($this->path, 'c+b');
        if ($file === false) {
            throw new Failure('STATE', 'the agent can write neither beside itself nor in the temporary directory', 500);
        }
        if (!flock($file, LOCK_EX | LOCK_NB)) {
            fclose($file);
            throw new Failure('BUSY', 'another request is being answered', 429);
        }
        $this->lock = $file;
    }

    /** Refuse a nonce seen before; keep the ones whose time is still acceptable. Needs the lock. */
    public function once(string $nonce, int $time): void
    {
        $kept = "<?php exit; ?>\n"; // asked for directly, the file shows nothing
        rewind($this->lock);
        while (($line = fgets($this->lock)) !== false) {
            $parts = explode(' ', trim($line));
            if (count($parts) !== 2 || !ctype_digit($parts[0])) {
                continue;
            }
            if (hash_equals($parts[1], $nonce)) {
                throw new Failure('REPLAYED', 'this request was answered before', 403);
            }
            if ((int) $parts[0] >= time() - 2 * self::WINDOW) {
                $kept .= $line;
            }
        }
        $kept .= $time . ' ' . $nonce . "\n";
        rewind($this->lock);
        ftruncate($this->lock, 0);
        fwrite($this->lock, $kept);
        fflush($this->lock);
    }

    /** The nonces are not needed any more. */
    public function forget(): void
    {
        @unlink($this->path);
    }

    public function remove(): void
    {
        $this->deactivate();
        $this->forget();
        @unlink(__FILE__);
        if (function_exists('opcache_invalidate')) {
            @opcache_invalidate(__FILE__, true);
        }
        if (self::dedicated()) {
            @rmdir(__DIR__);
        }
    }
}

/** Where the WordPress is, and what its wp-config.php says, without starting it. */
final class Site
{
    /** @var string with a slash at the end */
    public $abspath;
    /** @var string */
    public $config;
    /** @var array<string, mixed> */
    public $constants = [];
    /** @var string */
    public $prefix = 'wp_';
    /** @var string[] */
    public $code = [];

    public function __construct()
    {
        if (defined('WPINC')) {
            $this->abspath = rtrim(ABSPATH, '/') . '/';
            $this->config = $this->locate();
            $this->ask();
            return;
        }
        $this->abspath = $this->find();
        $this->config = $this->locate();
        $this->evaluate();
    }

    /** What a WordPress that has started knows: of all constants those that the configuration's files name. */
    private function ask(): void
    {
        if (function_exists('token_get_all')) {
            $this->cut((string) @file_get_contents($this->config));
        }
        $named = [];
        $reached = false;
        foreach (get_included_files() as $file) {
            $reached = $reached || $file === realpath($this->config);
            if (basename($file) === 'wp-settings.php') {
                break;
            }
            if ($reached && preg_match_all('/[\'"]([A-Za-z_]\w*)[\'"]/', (string) @file_get_contents($file), $found)) {
                $named += array_flip($found[1]);
            }
        }
        $this->prefix = (string) ($GLOBALS['table_prefix'] ?? 'wp_');
        $this->constants = array_diff_key(array_intersect_key(get_defined_constants(true)['user'] ?? [], $named), ['ABSPATH' => 0]);
    }

    private function find(): string
    {
        $starts = [__DIR__, dirname((string) ($_SERVER['SCRIPT_FILENAME'] ?? __FILE__)), (string) ($_SERVER['DOCUMENT_ROOT'] ?? '')];
        foreach (array_filter($starts) as $start) {
            for ($directory = $start, $last = ''; $directory !== $last; $last = $directory, $directory = dirname($directory)) {
                if (self::core($directory)) {
                    return rtrim($directory, '/') . '/';
                }
                // WordPress in its own directory, its content and configuration beside it
                if (@is_file($directory . '/wp-config.php')) {
                    foreach (@scandir($directory) ?: [] as $name) {
                        if ($name[0] !== '.' && self::core($directory . '/' . $name)) {
                            return $directory . '/' . $name . '/';
                        }
                    }
                }
            }
        }
        throw new Failure('NOT_WORDPRESS', 'no WordPress was found around the agent');
    }

    public static function core(string $directory): bool
    {
        return @is_file($directory . '/wp-settings.php') && @is_file($directory . '/wp-includes/version.php');
    }

    /** As wp-load.php does. */
    private function locate(): string
    {
        $here = $this->abspath . 'wp-config.php';
        $above = dirname($this->abspath) . '/wp-config.php';
        if (@is_readable($here)) {
            return $here;
        }
        if (@is_readable($above) && !@is_file(dirname($this->abspath) . '/wp-settings.php')) {
            return $above;
        }
        throw new Failure('CONFIG_FAILED', 'wp-config.php is missing or unreadable');
    }

    private function evaluate(): void
    {
        $source = (string) @file_get_contents($this->config);
        $kept = function_exists('token_get_all') ? $this->cut($source) : $this->cutRoughly($source);
        $before = get_defined_constants(true)['user'] ?? [];
        define('ABSPATH', $this->abspath);
        define('SHORTINIT', true); // should an included file start WordPress after all, it stops before plugins
        ob_start();
        try {
            $prefix = self::run($kept);
        } catch (\Throwable $error) {
            throw new Failure('CONFIG_FAILED', 'wp-config.php cannot be evaluated: ' . get_class($error));
        } finally {
            ob_end_clean();
        }
        header_remove('Location');
        $this->prefix = is_string($prefix) ? $prefix : 'wp_';
        $this->constants = array_diff_key(get_defined_constants(true)['user'] ?? [], $before, ['ABSPATH' => 0, 'SHORTINIT' => 0]);
    }

    /** @return mixed */
    private static function run(string $wpcloneAgentCode)
    {
        global $table_prefix;
        eval('?>' . $wpcloneAgentCode);
        return $table_prefix;
    }

    /** The source without the line that starts WordPress, its magic constants resolved; notes what else than settings it does. */
    private function cut(string $source): string
    {
        $kept = '';
        $statement = null; // text of an include statement being read
        $tokens = token_get_all($source);
        foreach ($tokens as $i => $token) {
            $id = is_array($token) ? $token[0] : 0;
            $text = is_array($token) ? $token[1] : $token;
            if (in_array($id, [T_REQUIRE, T_REQUIRE_ONCE, T_INCLUDE, T_INCLUDE_ONCE], true)) {
                $statement = '';
            }
            if ($id === T_DIR) {
                $text = var_export(dirname($this->config), true);
            } elseif ($id === T_FILE) {
                $text = var_export($this->config, true);
            }
            if ($statement === null) {
                $this->note($tokens, $i, $id, $text);
                $kept .= $text;
                continue;
            }
            $statement .= $text;
            if ($text === ';' || $id === T_CLOSE_TAG) {
                if (stripos($statement, 'wp-settings.php') === false) {
                    $this->code['include'] = true;
                    $kept .= $statement;
                } elseif ($id === T_CLOSE_TAG) {
                    $kept .= $text;
                }
                $statement = null;
            }
        }
        $this->code = array_keys($this->code);
        return $kept . ($statement !== null && stripos($statement, 'wp-settings.php') === false ? $statement : '');
    }

    /** @param array<int, mixed> $tokens */
    private function note(array $tokens, int $i, int $id, string $text): void
    {
        $plain = ['define', 'defined', 'dirname', 'true', 'false', 'null'];
        if ($id === T_STRING && !in_array(strtolower($text), $plain, true) && self::after($tokens, $i) === '(') {
            $this->code['call of ' . $text] = true;
        } elseif ($id === T_VARIABLE && $text !== '$table_prefix') {
            $this->code['variable ' . $text] = true;
        } elseif (in_array($id, [T_FUNCTION, T_CLASS, T_NEW, T_EVAL, T_ECHO, T_EXIT, T_FOREACH, T_WHILE, T_FOR], true)) {
            $this->code[strtolower($text)] = true;
        }
    }

    /** @param array<int, mixed> $tokens */
    private static function after(array $tokens, int $i): string
    {
        for ($i++; isset($tokens[$i]); $i++) {
            if (!is_array($tokens[$i])) {
                return $tokens[$i];
            }
            if (!in_array($tokens[$i][0], [T_WHITESPACE, T_COMMENT], true)) {
                return $tokens[$i][1];
            }
        }
        return '';
    }

    private function cutRoughly(string $source): string
    {
        $this->code = ['unknown: this PHP has no tokenizer'];
        return (string) preg_replace('/\b(?:require|include)(?:_once)?\b[^;]*wp-settings\.php[^;]*;/i', '', $source);
    }

    public function constant(string $name, string $default = ''): string
    {
        return isset($this->constants[$name]) && is_scalar($this->constants[$name]) ? (string) $this->constants[$name] : $default;
    }

    public function contentDir(): string
    {
        return rtrim($this->constant('WP_CONTENT_DIR', $this->abspath . 'wp-content'), '/');
    }

    /**
     * The directories that belong to the site, by name. Only below these does the agent read.
     *
     * @return array<string, string>
     */
    public function roots(): array
    {
        $roots = ['core' => rtrim($this->abspath, '/'), 'content' => $this->contentDir()];
        $roots['plugins'] = rtrim($this->constant('WP_PLUGIN_DIR', $roots['content'] . '/plugins'), '/');
        $roots['mu-plugins'] = rtrim($this->constant('WPMU_PLUGIN_DIR', $roots['content'] . '/mu-plugins'), '/');
        $uploads = $this->constant('UPLOADS');
        $roots['uploads'] = $uploads === '' ? $roots['content'] . '/uploads' : $this->abspath . trim($uploads, '/');
        return array_filter($roots, 'is_dir');
    }
}

/** The database of the site. Reads only, waits for locks at most five seconds, takes none. */
final class Database
{
    /** @var \mysqli */
    public $link;
    /** @var string */
    public $prefix;

    public function __construct(Site $site)
    {
        if (!class_exists('mysqli')) {
            throw new Failure('DATABASE_DOWN', 'this PHP has no mysqli');
        }
        mysqli_report(MYSQLI_REPORT_OFF);
        $this->prefix = $site->prefix;
        $this->link = mysqli_init();
        $this->link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 5);
        [$host, $port, $socket] = self::host($site->constant('DB_HOST', 'localhost'));
        $flags = (int) $site->constant('MYSQL_CLIENT_FLAGS', '0');
        $name = $site->constant('DB_NAME');
        if (!@$this->link->real_connect($host, $site->constant('DB_USER'), $site->constant('DB_PASSWORD'), $name, $port, $socket, $flags)) {
            throw new Failure('DATABASE_DOWN', 'the database refuses the connection, error ' . mysqli_connect_errno());
        }
        $this->link->set_charset('binary'); // bytes leave as they are stored, whatever charset the column claims
        $this->query("SET SESSION sql_mode='', time_zone='+00:00', lock_wait_timeout=5, net_write_timeout=120, sql_quote_show_create=1");
        foreach (['innodb_lock_wait_timeout=5', 'information_schema_stats_expiry=0', 'sql_big_selects=1', 'optimizer_trace="enabled=off"'] as $setting) {
            @$this->link->query('SET SESSION ' . $setting); // not every server knows every one
        }
    }

    /** As wpdb::parse_db_host does. @return array{0: string, 1: int|null, 2: string|null} */
    private static function host(string $host): array
    {
        $socket = null;
        $at = strpos($host, ':/');
        if ($at !== false) {
            $socket = substr($host, $at + 1);
            $host = substr($host, 0, $at);
        }
        $pattern = substr_count($host, ':') > 1 ? '#^(?:\[)?(?P<host>[0-9a-fA-F:]+)(?:\]:(?P<port>[\d]+))?#' : '#^(?P<host>[^:/]*)(?::(?P<port>[\d]+))?#';
        preg_match($pattern, $host, $found);
        $port = !empty($found['port']) ? (int) $found['port'] : null;
        return [($found['host'] ?? '') !== '' ? $found['host'] : 'localhost', $port, $socket];
    }

    /** @return \mysqli_result|bool */
    public function query(string $sql, int $mode = MYSQLI_STORE_RESULT)
    {
        $result = $this->link->query($sql, $mode);
        if ($result === false) {
            $gone = in_array($this->link->errno, [2006, 2013, 1053, 1927], true);
            throw new Failure($gone ? 'DATABASE_DOWN' : 'QUERY_FAILED', 'error ' . $this->link->errno . ': ' . substr($this->link->error, 0, 300));
        }
        return $result;
    }

    /** @return array<int, array<int, string|null>> */
    public function rows(string $sql): array
    {
        return $this->query($sql)->fetch_all(MYSQLI_NUM);
    }

    public function text(string $value): string
    {
        return $value === '' ? "''" : "x'" . bin2hex($value) . "'";
    }

    public static function name(string $identifier): string
    {
        return '`' . str_replace('`', '``', $identifier) . '`';
    }

    public function snapshot(): void
    {
        $this->query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        if (!@$this->link->query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')) {
            $this->query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
        }
    }
}

/** Verb `describe`: what there is. */
final class Describe
{
    public static function answer(Site $site, Database $db, Answer $answer): void
    {
        $version = self::versions($site);
        $server = $db->rows('SELECT VERSION(), @@character_set_database, @@collation_database, @@lower_case_table_names, @@max_allowed_packet')[0];
        $constants = [];
        foreach ($site->constants as $name => $value) {
            $constants[$name] = self::plain($value);
        }
        $answer->json('J', [
            'abspath' => base64_encode($site->abspath),
            'config' => base64_encode($site->config),
            'roots' => array_map('base64_encode', $site->roots()),
            'real' => array_map('base64_encode', array_filter(array_map('realpath', $site->roots()))),
            'folder' => base64_encode(State::dedicated() ? __DIR__ : __FILE__),
            'wp' => $version,
            'php' => PHP_VERSION,
            'os' => PHP_OS_FAMILY,
            'prefix' => $site->prefix,
            'constants' => $constants,
            'code' => $site->code,
            'database' => ['version' => $server[0], 'charset' => $server[1], 'collation' => $server[2], 'lower_case' => (int) $server[3], 'packet' => (int) $server[4]],
            'tables' => self::tables($db),
            'triggers' => $db->rows('SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()'),
            'client' => ['charset' => $site->constant('DB_CHARSET', 'utf8'), 'collation' => $site->constant('DB_COLLATE')],
            'options' => self::options($db),
            'administrators' => self::administrators($db),
            'multisite' => !empty($site->constants['MULTISITE']) || self::networked($db),
            'limits' => ['time' => (int) ini_get('max_execution_time'), 'memory' => (string) ini_get('memory_limit'), 'post' => (string) ini_get('post_max_size')],
            'extensions' => array_values(array_intersect(get_loaded_extensions(), ['mysqli', 'tokenizer', 'openssl', 'zlib', 'gd', 'imagick', 'intl', 'mbstring'])),
        ]);
        $answer->json('E', []);
    }

    /** @return array<string, mixed> */
    private static function versions(Site $site): array
    {
        $wp_version = $wp_db_version = $required_php_version = null;
        ob_start();
        include $site->abspath . 'wp-includes/version.php';
        ob_end_clean();
        return ['version' => $wp_version, 'db' => $wp_db_version, 'php' => $required_php_version];
    }

    /** A constant as JSON can hold it: bytes that are not text become null. @param mixed $value @return mixed */
    private static function plain($value)
    {
        if (is_string($value)) {
            return preg_match('//u', $value) ? $value : null;
        }
        if (is_array($value)) {
            return array_map([self::class, 'plain'], $value);
        }
        return is_scalar($value) ? $value : null;
    }

    /** @return array<int, array<string, mixed>> */
    private static function tables(Database $db): array
    {
        $tables = [];
        $columns = 'TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH, AVG_ROW_LENGTH, TABLE_COLLATION';
        foreach ($db->rows("SELECT $columns FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()") as $row) {
            $tables[] = [
                'name' => base64_encode($row[0]), 'type' => $row[1], 'engine' => $row[2], 'rows' => (int) $row[3], 'bytes' => (int) $row[4],
                'index' => (int) $row[5], 'average' => (int) $row[6], 'collation' => $row[7],
            ];
        }
        return $tables;
    }

    /** @return array<string, string|array<int, string>> */
    private static function options(Database $db): array
    {
        $names = ['home', 'siteurl', 'template', 'stylesheet', 'permalink_structure', 'blog_charset', 'db_version', 'active_plugins', 'blogname', 'upload_path', 'upload_url_path'];
        $table = Database::name($db->prefix . 'options');
        $found = [];
        try {
            $in = implode(',', array_map([$db, 'text'], $names));
            // BINARY: option names are compared in the table's collation otherwise, and hex is binary anyway
            foreach ($db->rows("SELECT option_name, option_value FROM $table WHERE option_name IN ($in)") as $row) {
                $found[$row[0]] = $row[1];
            }
        } catch (Failure $failure) {
            if ($failure->reason === 'DATABASE_DOWN') {
                throw $failure;
            }
            throw new Failure('NOT_WORDPRESS', 'the database has no table ' . $db->prefix . 'options: ' . $failure->getMessage());
        }
        $plugins = @unserialize($found['active_plugins'] ?? 'a:0:{}', ['allowed_classes' => false]);
        $found['active_plugins'] = is_array($plugins) ? array_values(array_filter($plugins, 'is_string')) : [];
        return $found;
    }

    /** @return string[] */
    private static function administrators(Database $db): array
    {
        $base = Database::name($db->prefix . 'users');
        $meta = Database::name($db->prefix . 'usermeta');
        $key = $db->text($db->prefix . 'capabilities');
        try {
            $sql = "SELECT u.user_login, m.meta_value FROM $base u JOIN $meta m ON m.user_id = u.ID WHERE m.meta_key = $key ORDER BY u.ID";
            $admins = array_filter($db->rows($sql . ' LIMIT 5000'), function (array $row): bool {
                return strpos((string) $row[1], '"administrator";b:1') !== false;
            });
        } catch (Failure $failure) {
            return []; // shared or renamed user tables; the copy makes its own sign-in
        }
        return array_slice(array_column($admins, 0), 0, 50);
    }

    private static function networked(Database $db): bool
    {
        $name = $db->text($db->prefix . 'blogs');
        return (int) $db->rows("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = $name")[0][0] > 0;
    }
}

/** Verb `index`: every file below a root, in an order that a path alone resumes. */
final class Index
{
    /** @var Answer */
    private $answer;
    /** @var Budget */
    private $budget;
    /** @var array<string, bool> */
    private $skip;
    /** @var string[] */
    private $roots = [];
    /** @var string[] names of the agent's own files, which no copy gets */
    private $own;
    /** @var string */
    private $real;
    /** @var string */
    private $records = '';
    /** @var string */
    private $last = '';

    /** @param array<string, mixed> $asked */
    public static function answer(Site $site, State $state, Answer $answer, Budget $budget, array $asked): void
    {
        $roots = $site->roots();
        $root = $roots[$asked['root'] ?? ''] ?? null;
        if ($root === null) {
            throw new Failure('BAD_REQUEST', 'no such root', 400);
        }
        $self = new self();
        $self->answer = $answer;
        $self->budget = $budget;
        $self->own = $state->names();
        $self->roots = array_values($roots);
        $self->real = (string) realpath($root);
        $self->skip = array_fill_keys(array_map('base64_decode', $asked['skip'] ?? []), true);
        $after = isset($asked['after']) ? (string) base64_decode($asked['after']) : '';
        $done = $self->walk($root, '', $after === '' ? [] : explode('/', $after), [$self->real]);
        $self->flush();
        $answer->json('E', ['done' => $done, 'after' => base64_encode($self->last)]);
    }

    /**
     * Depth first, names in byte order, what was sent before left out.
     *
     * @param string[] $after   the rest of the path to resume after
     * @param string[] $above   the real directories on the way here: a link to one of them is a circle
     */
    private function walk(string $directory, string $path, array $after, array $above): bool
    {
        $names = @scandir($directory, SCANDIR_SORT_NONE);
        if ($names === false) {
            $this->entry('u', $path, [], '');
            return true;
        }
        sort($names, SORT_STRING);
        $from = array_shift($after);
        foreach ($names as $name) {
            $name = (string) $name;
            if ($name === '.' || $name === '..' || ($from !== null && strcmp($name, $from) < 0)) {
                continue;
            }
            $resumed = $from !== null && $name === $from;
            if ($resumed && $after === []) {
                // This entry was sent; a directory's own content comes after it, so it is entered, not skipped.
                if (!$this->enter($directory . '/' . $name, ltrim($path . '/' . $name, '/'), [], $above, true)) {
                    return false;
                }
                continue;
            }
            if (!$this->enter($directory . '/' . $name, ltrim($path . '/' . $name, '/'), $resumed ? $after : [], $above, $resumed)) {
                return false;
            }
        }
        return true;
    }

    /** @param string[] $after @param string[] $above */
    private function enter(string $full, string $path, array $after, array $above, bool $sent): bool
    {
        $name = basename($path);
        // Other copies of this site may be under way: their agents hold keys, and are no part of the site either.
        if (in_array($name, $this->own, true) || strpos($name, '.wpclone-restore-') === 0 || preg_match('/^(?:wpc-[0-9a-f]{24}(?:-\d+)?|wpclone-agent[a-z0-9-]*)(?:\.(?:zip|php|tmp))?$/', $name)) {
            return true;
        }
        $about = @lstat($full);
        if ($about === false) {
            return true; // gone since the directory was read
        }
        if (isset($this->skip[$path])) {
            if (!$sent) {
                $this->entry('s', $path, $about, '');
            }
            return true;
        }
        $kind = $about['mode'] & 0170000;
        if ($kind === 0120000) {
            return $this->link($full, $path, $after, $above, $sent, $about);
        }
        if ($kind === 0040000) {
            // Another site in a directory of this one. One without a configuration is this site's: WordPress in its own directory.
            $other = Site::core($full) && @is_file($full . '/wp-config.php') && !in_array($full, $this->roots, true);
            if (!$sent) {
                $this->entry($other ? 'n' : 'd', $path, $about, '');
            }
            if ($other) {
                return !$this->due();
            }
            $real = realpath($full) ?: $full;
            return $this->due() ? false : $this->walk($full, $path, $after, array_merge($above, [$real]));
        }
        if (!$sent) {
            $this->entry($kind === 0100000 ? 'f' : 'o', $path, $about, '');
        }
        return !$this->due();
    }

    /** @param string[] $after @param string[] $above @param array<int|string, int> $about */
    private function link(string $full, string $path, array $after, array $above, bool $sent, array $about): bool
    {
        $real = @realpath($full);
        $inside = $real !== false && ($real === $this->real || strpos($real, $this->real . '/') === 0);
        if ($real === false || $inside) {
            if (!$sent) {
                $this->entry($real === false ? 'x' : 'l', $path, $about, $real === false ? '' : ltrim(substr($real, strlen($this->real)), '/'));
            }
            return !$this->due();
        }
        foreach ($above as $directory) {
            if ($directory === $real || strpos($directory, $real . '/') === 0) {
                if (!$sent) {
                    $this->entry('c', $path, $about, ''); // leads back to a directory that holds it
                }
                return true;
            }
        }
        $target = @stat($full);
        if ($target === false) {
            return true;
        }
        if (in_array(basename($real), ['wp-config.php', '.env'], true)) {
            if (!$sent) {
                $this->entry('h', $path, $about, '');
            }
            return true;
        }
        $directory = ($target['mode'] & 0170000) === 0040000;
        if (!$sent) {
            $this->entry($directory ? 'D' : 'F', $path, $target, '');
        }
        if ($this->due()) {
            return false;
        }
        return $directory ? $this->walk($full, $path, $after, array_merge($above, [$real])) : true;
    }

    /** @param array<int|string, int> $about */
    private function entry(string $type, string $path, array $about, string $target): void
    {
        $this->records .= $type . pack('nJJNN', ($about['mode'] ?? 0) & 07777, $about['size'] ?? 0, max(0, $about['mtime'] ?? 0), strlen($path), strlen($target)) . $path . $target;
        $this->last = $path;
        if (strlen($this->records) >= 131072) {
            $this->flush();
        }
    }

    private function due(): bool
    {
        return $this->budget->spent();
    }

    private function flush(): void
    {
        if ($this->records !== '') {
            $this->answer->frame('I', $this->records);
            $this->records = '';
        }
    }
}

/** Verb `read`: many small files or parts of big ones, each part with the size and time its file had. */
final class Read
{
    const OK = 0;
    const GONE = 1;
    const UNREADABLE = 2;

    /** @var Answer */
    private $answer;
    /** @var int */
    private $frame;
    /** @var string[] records not yet sent, put together once */
    private $held = [];
    /** @var int their bytes */
    private $size = 0;

    /** @param array<string, mixed> $asked */
    public static function answer(Site $site, Answer $answer, Budget $budget, array $asked): void
    {
        $self = new self();
        $self->answer = $answer;
        $self->frame = $budget->frame;
        $roots = $site->roots();
        $root = $roots[$asked['root'] ?? ''] ?? null;
        if ($root === null) {
            throw new Failure('BAD_REQUEST', 'no such root', 400);
        }
        $next = null;
        foreach ($asked['files'] as $i => $file) {
            $path = (string) base64_decode($file[0]);
            if ($path === '' || strpos("/$path/", '/../') !== false || strpos($path, "\0") !== false) {
                throw new Failure('BAD_REQUEST', 'a path leaves its root', 400);
            }
            $offset = $self->file($i, $root . '/' . $path, (int) $file[1], $budget);
            if ($offset !== null || $budget->spent()) {
                $next = $offset !== null ? [$i, $offset] : [$i + 1, 0];
                break;
            }
        }
        $self->flush();
        $answer->json('E', ['next' => $next]);
    }

    /** Sends one file from an offset; the offset to go on from if time ran out, else null. */
    private function file(int $index, string $full, int $offset, Budget $budget): ?int
    {
        clearstatcache(true, $full);
        $file = @is_file($full) ? @fopen($full, 'rb') : false;
        if ($file === false) {
            $this->record($index, @file_exists($full) ? self::UNREADABLE : self::GONE, true, 0, 0, 0, '');
            return null;
        }
        $about = fstat($file);
        if ($offset > 0) {
            fseek($file, $offset);
        }
        stream_set_read_buffer($file, 0);
        do {
            $want = (int) min($this->frame, max(0, $about['size'] - $offset));
            $data = $want > 0 ? (string) stream_get_contents($file, $want) : '';
            $last = strlen($data) < $want || $offset + strlen($data) >= $about['size'];
            $this->record($index, self::OK, $last, $about['size'], $about['mtime'], $offset, $data);
            $offset += strlen($data);
        } while (!$last && !$budget->spent());
        fclose($file);
        return $last ? null : $offset;
    }

    private function record(int $index, int $status, bool $last, int $size, int $time, int $offset, string $data): void
    {
        $this->held[] = pack('NCCJJJN', $index, $status, $last ? 1 : 0, $size, max(0, $time), $offset, strlen($data));
        $this->held[] = $data;
        $this->size += strlen($data);
        if ($this->size >= 262144 || count($this->held) >= 2000) {
            $this->flush();
        }
    }

    private function flush(): void
    {
        if ($this->held !== []) {
            $payload = implode('', $this->held);
            $this->held = [];
            $this->size = 0;
            $this->answer->frame('F', $payload);
        }
    }
}

/** Verb `schema`: definitions, columns and keys of tables. */
final class Schema
{
    /** @param array<string, mixed> $asked */
    public static function answer(Database $db, Answer $answer, Budget $budget, array $asked): void
    {
        $done = 0;
        foreach ($asked['tables'] as $encoded) {
            if ($done > 0 && $budget->spent()) {
                break;
            }
            try {
                $said = self::table($db, (string) base64_decode($encoded));
            } catch (Failure $failure) {
                if ($failure->reason === 'DATABASE_DOWN') {
                    throw $failure;
                }
                $said = ['error' => $failure->getMessage()]; // dropped meanwhile, or broken
            }
            $answer->json('J', $said + ['name' => $encoded]);
            $done++;
        }
        $answer->json('E', ['done' => $done]);
    }

    /** @return array<string, mixed> */
    private static function table(Database $db, string $table): array
    {
        $create = $db->rows('SHOW CREATE TABLE ' . Database::name($table))[0][1];
        $columns = [];
        $what = 'COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE, EXTRA';
        $where = 'TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ' . $db->text($table);
        foreach ($db->rows("SELECT $what FROM information_schema.COLUMNS WHERE $where ORDER BY ORDINAL_POSITION") as $row) {
            $columns[] = ['name' => base64_encode($row[0]), 'data' => strtolower($row[1]), 'type' => base64_encode($row[2]), 'charset' => $row[3], 'null' => $row[4] === 'YES', 'extra' => strtoupper((string) $row[5])];
        }
        $keys = [];
        foreach ($db->rows('SHOW INDEX FROM ' . Database::name($table)) as $row) {
            if ($row[1] === '0') {
                $keys[$row[2]][(int) $row[3] - 1] = ['name' => base64_encode((string) $row[4]), 'part' => $row[7] !== null, 'null' => $row[9] === 'YES'];
            }
        }
        $named = [];
        foreach ($keys as $name => $parts) {
            ksort($parts);
            $named[] = ['name' => base64_encode((string) $name), 'primary' => (string) $name === 'PRIMARY', 'parts' => array_values($parts)];
        }
        return ['create' => base64_encode($create), 'columns' => $columns, 'keys' => $named];
    }
}

/** Verb `changes`: the database's time, and when each table was changed last, where it knows. */
final class Changes
{
    public static function answer(Database $db, Answer $answer): void
    {
        $now = (int) $db->rows('SELECT UNIX_TIMESTAMP()')[0][0];
        $times = [];
        $sql = "SELECT TABLE_NAME, UNIX_TIMESTAMP(UPDATE_TIME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
        foreach ($db->rows($sql) as $row) {
            $times[] = [base64_encode($row[0]), $row[1] === null ? null : (int) $row[1]];
        }
        $answer->json('J', ['now' => $now, 'tables' => $times]);
        $answer->json('E', []);
    }
}

/** Verb `programs`: what runs inside the database: views, and triggers of its tables. */
final class Programs
{
    /** @param array<string, mixed> $asked */
    public static function answer(Database $db, Answer $answer, array $asked): void
    {
        $views = $triggers = [];
        foreach ($asked['views'] as $encoded) {
            try {
                $created = $db->rows('SHOW CREATE VIEW ' . Database::name((string) base64_decode($encoded)))[0][1];
                $views[] = [$encoded, base64_encode((string) $created), ''];
            } catch (Failure $failure) {
                $views[] = [$encoded, '', $failure->getMessage()];
            }
        }
        $columns = 'TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, SQL_MODE';
        $sql = "SELECT $columns FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY EVENT_OBJECT_TABLE, ACTION_ORDER";
        foreach ($db->rows($sql) as $row) {
            $triggers[] = array_map('base64_encode', array_map('strval', $row));
        }
        $answer->json('J', ['views' => $views, 'triggers' => $triggers]);
        $answer->json('E', []);
    }
}

/** Verb `rows`: tables from a key on, in frames of lengths and bytes, all of one request in one snapshot. */
final class Rows
{
    const NOTHING = 0xFFFFFFFF;
    const IN_PARTS = 0xFFFFFFFE;
    /** @var Database */
    private $db;
    /** @var Answer */
    private $answer;
    /** @var Budget */
    private $budget;
    /** @var int the place of the table among those asked for */
    private $index = 0;
    /** @var array<string, mixed> */
    private $table = [];
    /** @var int */
    private $width = 0;
    /** @var string[]|null the key of the last row sent */
    private $cursor = null;
    /** @var int rows sent of a table without a key */
    private $offset = 0;
    /** @var array{0: int, 1: int}|null a column and an offset within its value, to go on from in the next large row */
    private $within = null;
    /** @var \HashContext[]|null sums over lengths and values instead of frames */
    private $sums = null;
    /** @var int */
    private $summed = 0;

    /** @param array<string, mixed> $asked */
    public static function answer(Database $db, Answer $answer, Budget $budget, array $asked): void
    {
        $self = new self();
        $self->db = $db;
        $self->answer = $answer;
        $self->budget = $budget;
        $db->snapshot();
        foreach ($asked['tables'] as $i => $table) {
            if (!$self->begin($i, $table)) {
                $answer->json('E', ['done' => false]);
                return;
            }
        }
        $answer->json('E', ['done' => true]);
    }

    /** Sends one table, or says that it is as it was; false when time ran out before its end. @param array<string, mixed> $table */
    private function begin(int $index, array $table): bool
    {
        if ($index > 0 && $this->budget->spent()) {
            return false;
        }
        $this->index = $index;
        $this->table = $table;
        $this->width = count($table['columns']);
        if (isset($table['known'])) {
            $this->restart();
            $this->sums = [hash_init('crc32b'), hash_init('crc32b')];
            $this->summed = 0;
            $this->rows();
            $found = [$this->summed, hash_final($this->sums[0]), hash_final($this->sums[1])];
            $this->sums = null;
            if ($found === $table['known']) {
                $this->answer->frame('S', pack('N', $index));
                return true;
            }
        }
        $this->restart();
        return $this->rows();
    }

    private function restart(): void
    {
        $this->cursor = isset($this->table['after']) ? array_map('base64_decode', $this->table['after']) : null;
        $this->offset = (int) ($this->table['offset'] ?? 0);
        $this->within = $this->table['within'] ?? null;
    }

    private function rows(): bool
    {
        $keys = $this->table['key'] ?? [];
        $step = (int) max(1, min(4096, $this->budget->frame / max(1, (int) ($this->table['average'] ?? 256))));
        while (true) {
            [$rows, $bytes, $large] = $this->part($keys, $this->within === null ? $step : 1);
            if ($large !== null) {
                if (!$this->large($keys, $large[0], $large[1])) {
                    return false;
                }
                $step = (int) max(1, $step / 4);
            } elseif ($this->within !== null) {
                $this->within = null; // the large row was shortened or deleted meanwhile
                if ($rows === 0) {
                    return true;
                }
            } elseif ($rows < $step) {
                return true;
            } else {
                // Without a key each query counts past what was sent: the longer its part, the fewer there are.
                $most = $keys ? 8192 : 50000;
                $step = (int) max(1, min($most, ($keys ? 1 : 16) * $this->budget->frame / max(1, $bytes / $rows), $step * 4));
            }
            if ($this->budget->spent() && $this->sums === null) {
                return false;
            }
        }
    }

    /**
     * Runs one query, row by row, and sends its rows in frames of bounded size, up to a row too large to be held.
     *
     * @param array<int, array{0: string, 1: string}> $keys
     * @return array{0: int, 1: int, 2: array{0: array<int, string|null>, 1: string}|null} rows, bytes, the large row with what is large in it
     */
    private function part(array $keys, int $step): array
    {
        $places = array_map('intval', $this->table['places'] ?? []);
        $select = array_map([self::class, 'expression'], $this->table['columns'], array_fill(0, $this->width, $this->budget->large));
        $marked = self::marks($this->table['columns'], $this->budget->large);
        $sql = 'SELECT ' . implode(',', $select) . ($marked === '' ? '' : ",$marked") . ' FROM ' . $this->name() . $this->where($keys)
            . ($keys ? ' ORDER BY ' . implode(',', array_map([self::class, 'column'], $keys)) . " LIMIT $step" : " LIMIT {$this->offset}, $step");
        $result = $this->db->query($sql, MYSQLI_USE_RESULT);
        $rows = $total = $count = 0;
        $lengths = [];
        $data = '';
        $last = $large = null;
        while (($row = $result->fetch_row()) !== null && $row !== false) {
            if ($marked !== '' && ($found = array_pop($row)) !== null) {
                $large = [$row, $found];
                break;
            }
            $last = $row;
            foreach ($row as $value) {
                $lengths[] = $value === null ? self::NOTHING : strlen($value);
            }
            $data .= implode('', $row);
            $count++;
            $rows++;
            if (strlen($data) + 4 * count($lengths) >= $this->budget->frame) {
                $total += strlen($data);
                $this->moved($row, $places, $count);
                $this->send(false, $count, $lengths, $data);
                $lengths = [];
                $data = '';
                $count = 0;
            }
        }
        $error = $this->db->link->errno;
        $result->free();
        if ($error !== 0) {
            throw new Failure(in_array($error, [2006, 2013], true) ? 'DATABASE_DOWN' : 'QUERY_FAILED', "error $error while reading rows");
        }
        $total += strlen($data);
        if ($count > 0) {
            $this->moved($last, $places, $count);
        }
        $ended = $large === null && $rows < $step;
        if ($count > 0 || $ended) {
            $this->send($ended, $count, $lengths, $data);
        }
        return [$rows, $total, $large];
    }

    /** Sends a row whose large values are read and sent in parts; false when time ran out within it. @param array<int, array{0: string, 1: string}> $keys @param array<int, string|null> $row */
    private function large(array $keys, array $row, string $marks): bool
    {
        $where = $this->only($keys, $row);
        $lengths = $real = [];
        foreach ($row as $value) {
            $lengths[] = $real[] = $value === null ? self::NOTHING : strlen($value);
        }
        foreach (explode(',', $marks) as $mark) {
            [$column, $size, $code] = array_map('intval', explode(':', $mark));
            $lengths[$column] = self::IN_PARTS;
            $real[$column] = $size;
        }
        if ($this->sums !== null) {
            hash_update($this->sums[0], pack('N*', ...$real));
        }
        foreach ($row as $column => $value) {
            if ($lengths[$column] !== self::IN_PARTS) {
                if ($this->sums !== null) {
                    hash_update($this->sums[1], (string) $value);
                }
                continue;
            }
            preg_match("/(?:^|,)$column:\\d+:(\\d+)/", $marks, $found);
            if (!$this->value($column, $real[$column], (int) $found[1], $where)) {
                return false;
            }
        }
        $this->within = null;
        $this->moved($row, array_map('intval', $this->table['places'] ?? []), 1);
        if ($this->sums === null) {
            $this->send(false, 1, $lengths, implode('', $row));
        } else {
            $this->summed++;
        }
        return true;
    }

    /** Sends one large value in parts; false when time ran out. */
    private function value(int $column, int $size, int $code, string $where): bool
    {
        $from = 0;
        if ($this->within !== null && $this->sums === null) {
            $from = $column < $this->within[0] ? $size : ($column === (int) $this->within[0] ? min($size, (int) $this->within[1]) : 0);
        }
        $name = Database::name((string) base64_decode($this->table['columns'][$column][0]));
        $head = pack('NNJN', $this->index, $column, $size, $code);
        if ($from >= $size) {
            $this->answer->frame('P', $head . pack('J', $from));
        }
        while ($from < $size) {
            $data = $this->db->rows("SELECT SUBSTRING(CONVERT($name USING binary), " . ($from + 1) . ", {$this->budget->frame}) FROM " . $this->name() . $where)[0][0] ?? '';
            if ($data === '' || $data === null) {
                throw new Failure('QUERY_FAILED', "a value of $size bytes cannot be read: the database's max_allowed_packet is smaller");
            }
            if ($this->sums !== null) {
                hash_update($this->sums[1], $data);
            } else {
                $this->answer->frame('P', $head . pack('J', $from) . $data);
            }
            $from += strlen($data);
            if ($this->sums === null && $from < $size && $this->budget->spent()) {
                return false;
            }
        }
        return true;
    }

    private function name(): string
    {
        return Database::name((string) base64_decode($this->table['name']));
    }

    /** @param array<int, string|null>|null $row @param int[] $places */
    private function moved(?array $row, array $places, int $count): void
    {
        $this->offset += $places ? 0 : $count;
        if ($places && $row !== null) {
            $this->cursor = [];
            foreach ($places as $place) {
                $this->cursor[] = (string) $row[$place];
            }
        }
    }

    /** @param int[] $lengths */
    private function send(bool $last, int $count, array $lengths, string $data): void
    {
        if ($this->sums !== null) {
            hash_update($this->sums[0], $lengths ? pack('N*', ...$lengths) : '');
            hash_update($this->sums[1], $data);
            $this->summed += $count;
            return;
        }
        $packed = '';
        foreach ($this->cursor ?? [] as $value) {
            $packed .= pack('N', strlen($value)) . $value;
        }
        $head = pack('NCNNJnN', $this->index, $last ? 1 : 0, $count, $this->width, $this->offset, count($this->cursor ?? []), strlen($packed));
        $this->answer->frame('R', $head . $packed . ($lengths ? pack('N*', ...$lengths) : '') . $data);
    }

    /** @param array{0: string, 1: string} $column name and how to read it */
    private static function expression(array $column, int $large): string
    {
        $name = Database::name((string) base64_decode($column[0]));
        // A FLOAT is printed with six digits; as a DOUBLE it is printed exactly. A BIT is a number only when asked for one.
        return ['float' => "$name+0e0", 'bit' => "$name+0", 'large' => "IF(LENGTH($name)>$large,NULL,$name)"][$column[1]] ?? $name;
    }

    /** What says of a row which of its values are too large: NULL, or place:length:CRC-32 of each. @param array<int, array{0: string, 1: string}> $columns */
    private static function marks(array $columns, int $large): string
    {
        $marks = [];
        foreach ($columns as $place => $column) {
            if ($column[1] === 'large') {
                $name = Database::name((string) base64_decode($column[0]));
                $marks[] = "IF(LENGTH($name)>$large,CONCAT($place,':',LENGTH($name),':',CRC32($name)),NULL)";
            }
        }
        return $marks ? "NULLIF(CONCAT_WS(','," . implode(',', $marks) . "),'')" : '';
    }

    /** @param array{0: string, 1: string} $key */
    private static function column(array $key): string
    {
        return Database::name((string) base64_decode($key[0]));
    }

    /** The rows behind the cursor and up to the end of what was asked for. @param array<int, array{0: string, 1: string}> $keys */
    private function where(array $keys): string
    {
        $conditions = [];
        if ($keys && $this->cursor !== null) {
            $conditions[] = self::compared($keys, $this->cursor, '>', '');
        }
        if ($keys && isset($this->table['until'])) {
            $conditions[] = self::compared($keys, array_map('base64_decode', $this->table['until']), '<', '=');
        }
        return $conditions ? ' WHERE (' . implode(') AND (', $conditions) . ')' : '';
    }

    /** One row: by its key, or by its place. @param array<int, array{0: string, 1: string}> $keys @param array<int, string|null> $row */
    private function only(array $keys, array $row): string
    {
        if (!$keys) {
            return " LIMIT {$this->offset}, 1";
        }
        $conditions = [];
        foreach ($keys as $i => $key) {
            $conditions[] = self::column($key) . ' = ' . self::literal($key[1], (string) $row[(int) $this->table['places'][$i]]);
        }
        return ' WHERE ' . implode(' AND ', $conditions) . ' LIMIT 1';
    }

    /**
     * (a, b) > (x, y), or <= with `$equal`, in the form an index range is found for.
     *
     * @param array<int, array{0: string, 1: string}> $keys name and kind: int, binary, ascii, or a character set's name
     * @param string[] $values
     */
    private static function compared(array $keys, array $values, string $sign, string $equal): string
    {
        $name = self::column($keys[0]);
        $value = self::literal($keys[0][1], $values[0]);
        if (count($keys) === 1) {
            return "$name $sign$equal $value";
        }
        return "$name $sign= $value AND ($name $sign $value OR (" . self::compared(array_slice($keys, 1), array_slice($values, 1), $sign, $equal) . '))';
    }

    private static function literal(string $kind, string $value): string
    {
        if ($kind === 'int') {
            if (!preg_match('/^-?\d+(?:\.\d+)?$/', $value)) {
                throw new Failure('BAD_REQUEST', 'a cursor is not a number', 400);
            }
            return $value;
        }
        if ($kind === 'ascii') {
            return "'" . preg_replace('/[^0-9 .:\-]/', '', $value) . "'"; // dates, times, decimals
        }
        if ($value === '') {
            return "''";
        }
        // Compared in the column's own collation, the one ORDER BY uses.
        return ($kind === 'binary' ? '' : '_' . preg_replace('/[^a-z0-9]/', '', $kind) . ' ') . "x'" . bin2hex($value) . "'";
    }
}

/** One request: prove it, lock, work, end. */
final class Request
{
    const KEY = '@@WPCLONE_KEY@@';
    const EXPIRES = '@@WPCLONE_EXPIRES@@';
    const LARGEST = 8388608;

    /** Whether WordPress was started by a request to us: to admin-ajax.php, or to a REST route, that has our name. */
    public static function isForUs(): bool
    {
        $name = basename(__FILE__, '.php');
        $action = is_string($_GET['action'] ?? null) ? $_GET['action'] : '';
        $route = is_string($_GET['rest_route'] ?? null) ? $_GET['rest_route'] : '';
        return ($_SERVER['REQUEST_METHOD'] ?? '') === 'POST' && ($action === $name || strpos($route, "/$name/") === 0);
    }

    public static function serve(): void
    {
        error_reporting(0);
        ini_set('display_errors', '0');
        ini_set('zlib.output_compression', '0');
        ini_set('mysqli.reconnect', '0');
        if (function_exists('apache_setenv')) {
            @apache_setenv('no-gzip', '1');
        }
        if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST') {
            http_response_code(404);
            return;
        }
        $key = (string) @hex2bin(self::KEY);
        $answer = new Answer($key);
        $finished = false;
        register_shutdown_function(function () use ($answer, &$finished): void {
            if (!$finished) {
                $error = error_get_last();
                $answer->fail('CRASHED', 'PHP stopped: ' . substr((string) preg_replace('/ in \/.*/s', '', $error['message'] ?? 'exit in wp-config.php'), 0, 200), 500);
            }
        });
        try {
            self::work(self::KEY === '' ? Enrolment::keys() : [$key], $answer);
        } catch (Failure $failure) {
            $answer->fail($failure->reason, $failure->getMessage(), $failure->status);
        } catch (\Throwable $error) {
            $answer->fail('CRASHED', get_class($error) . ': ' . substr($error->getMessage(), 0, 200) . ' at line ' . $error->getLine(), 500);
        }
        $finished = true;
        if (defined('WPINC')) {
            exit; // the rest of WordPress has nothing to say
        }
    }

    /** @param string[] $keys those that open this agent */
    private static function work(array $keys, Answer $answer): void
    {
        $keys = array_filter($keys, function (string $key): bool {
            return strlen($key) >= 16;
        });
        [$asked, $time, $nonce, $key] = self::proved($keys, $answer);
        $state = new State($key);
        $state->lock();
        $state->once($nonce, $time);
        if (self::KEY === '') {
            if (Enrolment::ends($key, $asked, $state, $answer)) {
                return;
            }
        } elseif (self::EXPIRES > 0 && time() > (int) self::EXPIRES) {
            $state->remove();
            throw new Failure('EXPIRED', 'this agent has expired and removed itself', 410);
        } elseif ($asked['verb'] === 'remove') {
            $state->remove();
            clearstatcache();
            $answer->json('E', ['gone' => !file_exists(__FILE__)]);
            return;
        }
        $budget = new Budget((float) ($asked['seconds'] ?? 0));
        self::dispatch((string) $asked['verb'], $asked, $state, $answer, $budget);
    }

    /** @param array<string, mixed> $asked */
    private static function dispatch(string $verb, array $asked, State $state, Answer $answer, Budget $budget): void
    {
        if ($verb === 'hello') {
            $answer->json('E', ['agent' => 2]);
            return;
        }
        clearstatcache(true); // for minutes PHP opens files where a link led before, if this process followed it then
        $site = new Site();
        if ($verb === 'describe') {
            Describe::answer($site, new Database($site), $answer);
        } elseif ($verb === 'index') {
            Index::answer($site, $state, $answer, $budget, $asked);
        } elseif ($verb === 'read') {
            Read::answer($site, $answer, $budget, $asked);
        } elseif ($verb === 'schema') {
            Schema::answer(new Database($site), $answer, $budget, $asked);
        } elseif ($verb === 'rows') {
            Rows::answer(new Database($site), $answer, $budget, $asked);
        } elseif ($verb === 'changes') {
            Changes::answer(new Database($site), $answer);
        } elseif ($verb === 'programs') {
            Programs::answer(new Database($site), $answer, $asked);
        } elseif ($verb === 'hash') {
            Hash::answer($site, $answer, $budget, $asked);
        } elseif ($verb === 'restore') {
            Restore::answer($site, $state, $answer, $budget, $asked);
        } else {
            throw new Failure('BAD_REQUEST', 'unknown verb', 400);
        }
    }

    /**
     * The request if its signature, time and form are right. Nothing is read or written before that.
     *
     * @param string[] $keys
     * @return array{0: array<string, mixed>, 1: int, 2: string, 3: string} the last is the key that proved it
     */
    private static function proved(array $keys, Answer $answer): array
    {
        $sent = (string) file_get_contents('php://input', false, null, 0, self::LARGEST);
        if (strncmp($sent, 'wpclone=', 8) === 0) {
            $sent = (string) base64_decode(urldecode(substr($sent, 8)));
        }
        $envelope = json_decode($sent, true);
        $answer->text = isset($envelope['text']);
        foreach (['time', 'nonce', 'signature', 'body'] as $field) {
            if (!isset($envelope[$field]) || !is_string($envelope[$field])) {
                throw new Failure('BAD_SIGNATURE', 'the request is not signed', 401);
            }
        }
        $body = (string) base64_decode($envelope['body'], true);
        $signed = implode("\n", ['POST', basename(__FILE__), hash('sha256', $body), $envelope['time'], $envelope['nonce']]);
        $key = '';
        foreach ($keys as $one) {
            $key = hash_equals(hash_hmac('sha256', $signed, $one), $envelope['signature']) ? $one : $key;
        }
        if ($key === '' || !preg_match('/^[0-9a-f]{32}$/', $envelope['nonce'])) {
            throw new Failure('BAD_SIGNATURE', 'the signature is wrong', 401);
        }
        $answer->about($envelope['nonce'], $key);
        if (abs(time() - (int) $envelope['time']) > State::WINDOW) {
            throw new Failure('CLOCK', 'the request is too old or too new', 403);
        }
        $asked = json_decode($body, true);
        if (!is_array($asked) || !isset($asked['verb'])) {
            throw new Failure('BAD_REQUEST', 'the request has no verb', 400);
        }
        if (isset($asked['gmac'])) {
            $answer->byGmac();
        }
        if (isset($asked['digest'])) { // bytes that travel beside the signed question, which holds their hash
            $asked['data'] = (string) base64_decode((string) ($envelope['data'] ?? ''), true);
            if (!is_string($asked['digest']) || !hash_equals(hash('sha256', $asked['data']), $asked['digest'])) {
                throw new Failure('BAD_SIGNATURE', 'the data is not what was signed', 401);
            }
        }
        return [$asked, (int) $envelope['time'], $envelope['nonce'], $key];
    }
}

Request::serve();
