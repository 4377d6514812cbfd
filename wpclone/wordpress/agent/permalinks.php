<?php
/*
 * WordPress's own rules in the target's .htaccess, for a restore that turns plain permalinks into pretty ones.
 * Shipped as a part of agent.php: see package.py. PHP 7.4 or newer.
 */
namespace WpcloneAgent;

/**
 * The block between WordPress's markers, as WP_Rewrite::mod_rewrite_rules and insert_with_markers (wp-admin/includes/misc.php) write
 * it. All else in the file stays byte for byte. Each way can be asked for again, whatever the request before it came to.
 */
final class Permalinks
{
    const BEGIN = '/^# BEGIN WordPress[ \t]*\r?$/m';
    const BLOCK = '/^# BEGIN WordPress[ \t]*\r?$.*?^# END WordPress[ \t]*(?=\r?$)/ms';
    /** @var Site */
    private $site;
    /** @var Tables */
    private $tables;
    /** @var string the old file; with `.none` behind it: there was none */
    private $kept;

    public function __construct(Site $site, Place $place, Tables $tables)
    {
        $this->site = $site;
        $this->tables = $tables;
        $this->kept = $place->directory . '/old/permalinks';
    }

    /**
     * When the new tables are live: give pretty permalinks their rules, where the old ones had none.
     *
     * @param array<string, int> $exchanged the exchanged tables and their numbers
     * @return string empty: nothing to do; `written`; `there`: the rules were; `not_…`: why they could not be written
     */
    public function forward(array $exchanged): string
    {
        $options = $this->tables->db->prefix . 'options';
        if (!isset($exchanged[$options]) || !self::pretty($this->option('permalink_structure', $options))) {
            return '';
        }
        if (self::pretty($this->option('permalink_structure', $this->tables->kept($exchanged[$options])))) {
            return '';
        }
        [$directory, $path] = $this->home();
        if (!self::apache()) {
            return 'not_apache';
        }
        return $directory === '' ? 'not_found' : $this->write("$directory/.htaccess", $path);
    }

    private function write(string $file, string $path): string
    {
        clearstatcache(true);
        $is = @lstat($file) !== false;
        $text = $is ? @file_get_contents($file) : '';
        $wanted = $text === false ? null : self::inserted($text, $path);
        if ($wanted !== null && $wanted === $text) {
            return @lstat($this->kept) || @lstat("$this->kept.none") ? 'written' : 'there';
        }
        if ($text === false || !is_writable($is ? $file : dirname($file)) || !is_writable(dirname($file)) || is_link($file)) {
            return 'not_writable';
        }
        if ($wanted === null) {
            return 'not_clear';
        }
        $this->keep($file, $is, $text);
        Place::write($file, $wanted, $is ? $file : dirname($file) . '/index.php');
        return 'written';
    }

    /** The old file itself is kept, with its owner, where the file system can: the new one comes in its place by one rename. */
    private function keep(string $file, bool $is, string $text): void
    {
        Place::make(dirname($this->kept));
        @unlink($this->kept);
        if (!$is) {
            Place::write("$this->kept.none", '');
        } elseif (!function_exists('link') || !@link($file, $this->kept)) {
            Place::write($this->kept, $text, $file);
        }
    }

    /** The old file is back, or none. */
    public function back(): void
    {
        clearstatcache(true);
        $none = @lstat("$this->kept.none") !== false;
        $kept = @lstat($this->kept);
        if (!$none && $kept === false) {
            return;
        }
        $directory = $this->home()[0];
        if ($directory === '') {
            throw new Failure('DAMAGED', 'the directory of .htaccess is not known any more');
        }
        $file = "$directory/.htaccess";
        if ($kept === false) {
            if (@lstat($file) !== false && @unlink($file) === false) {
                throw Place::refused($file);
            }
        } elseif ($kept['dev'] !== (@stat($directory)['dev'] ?? null)) { // PHP's rename would copy in place
            Place::write($file, (string) file_get_contents($this->kept), $this->kept);
        } elseif (!@rename($this->kept, $file)) {
            throw Place::refused($file);
        }
        @unlink($this->kept); // two names of one file: the rename left both
        @unlink("$this->kept.none");
        @unlink("$file.fresh");
    }

    /** A file's text with the block in it; null where its markers make no sense. @param string $path of the site on its host: empty or `/blog` */
    public static function inserted(string $text, string $path): ?string
    {
        if (!preg_match(self::BEGIN, $text)) {
            $end = $text === '' || substr($text, -1) === "\n" ? '' : "\n";
            return $text . $end . ($text === '' ? '' : "\n") . self::block($path) . "\n";
        }
        if (!preg_match(self::BLOCK, $text, $found, PREG_OFFSET_CAPTURE)) {
            return null;
        }
        [$block, $at] = $found[0];
        if (preg_match('/^\s*RewriteRule\s+\S+\s+\S*index\.php\b/mi', $block)) {
            return $text; // a block with rules is the site's, whatever made it
        }
        return substr($text, 0, $at) . self::block($path) . substr($text, $at + strlen($block));
    }

    private static function block(string $path): string
    {
        return implode("\n", [
            '# BEGIN WordPress',
            '# The directives (lines) between "BEGIN WordPress" and "END WordPress" are',
            '# dynamically generated, and should only be modified via WordPress filters.',
            '# Any changes to the directives between these markers will be overwritten.',
            '<IfModule mod_rewrite.c>',
            'RewriteEngine On',
            'RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]',
            "RewriteBase $path/",
            'RewriteRule ^index\.php$ - [L]',
            'RewriteCond %{REQUEST_FILENAME} !-f',
            'RewriteCond %{REQUEST_FILENAME} !-d',
            "RewriteRule . $path/index.php [L]",
            '</IfModule>',
            '',
            '# END WordPress',
        ]);
    }

    /** As WP_Rewrite::using_mod_rewrite_permalinks. */
    private static function pretty(string $structure): bool
    {
        return $structure !== '' && !preg_match('#^/*index\.php#', $structure);
    }

    /** As got_mod_rewrite and $is_apache (wp-includes/vars.php) have it. */
    private static function apache(): bool
    {
        $known = preg_match('/Apache|LiteSpeed/', (string) ($_SERVER['SERVER_SOFTWARE'] ?? '')) === 1;
        return $known && (!function_exists('apache_get_modules') || in_array('mod_rewrite', apache_get_modules(), true));
    }

    /** Where the site begins, as get_home_path (wp-admin/includes/file.php), and its path on its host. @return array{0: string, 1: string} */
    private function home(): array
    {
        [$home, $core] = array_map(function (string $name): string {
            $url = $this->site->constant($name === 'home' ? 'WP_HOME' : 'WP_SITEURL');
            $url = $url !== '' ? $url : $this->option($name, $this->tables->db->prefix . 'options');
            return rtrim((string) parse_url($url, PHP_URL_PATH), '/');
        }, ['home', 'siteurl']);
        $directory = rtrim($this->site->abspath, '/');
        $below = strpos("$core/", "$home/") === 0 ? substr($core, strlen($home)) : '?';
        if ($below !== '' && substr($directory, -strlen($below)) === $below) {
            $directory = substr($directory, 0, -strlen($below));
            $below = '';
        }
        $known = $below === '' && preg_match('#^(?:/[\w.~-]+)*$#', $home) && @is_file("$directory/index.php");
        return $known ? [$directory, $home] : ['', ''];
    }

    private function option(string $name, string $table): string
    {
        $found = $this->tables->db->rows('SELECT option_value FROM ' . Database::name($table) . " WHERE option_name = {$this->tables->db->text($name)}");
        return (string) ($found[0][0] ?? '');
    }
}
