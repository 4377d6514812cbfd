<?php
/*
 * What the agent does at the target of a restore, up to the exchange: proves the right to write, stages tables and files beside
 * the live ones. Shipped as a part of agent.php: see package.py. PHP 7.4 or newer.
 */
namespace WpcloneAgent;

/** Verb `hash`: the SHA-256 of many files, to send only those that differ. */
final class Hash
{
    /** @param array<string, mixed> $asked */
    public static function answer(Site $site, Answer $answer, Budget $budget, array $asked): void
    {
        $root = $site->roots()[$asked['root'] ?? ''] ?? null;
        if ($root === null) {
            throw new Failure('BAD_REQUEST', 'no such root', 400);
        }
        self::send($answer, $budget, array_map(function (string $encoded) use ($root): string {
            return $root . '/' . Place::checked((string) base64_decode($encoded));
        }, $asked['files']));
    }

    /** @param string[] $files full paths */
    public static function send(Answer $answer, Budget $budget, array $files): void
    {
        $done = 0;
        foreach ($files as $full) {
            if ($done > 0 && $budget->spent()) {
                break;
            }
            $answer->json('J', ['hash' => !@is_link($full) && @is_file($full) ? (string) @hash_file('sha256', $full) : '', 'size' => (int) @filesize($full)]);
            $done++;
        }
        $answer->json('E', ['done' => $done]);
    }
}

/** The directory beside the live ones where a restore keeps what is to come, what was there, and its journal. */
final class Place
{
    /** @var string */
    public $directory;
    /** @var string */
    private $name;
    /** @var Site */
    private $site;
    /** @var resource|null */
    private $lock = null;

    public function __construct(Site $site, string $id)
    {
        if (!preg_match('/^[a-z0-9-]{6,60}$/', $id)) {
            throw new Failure('BAD_REQUEST', 'a restore has no such name', 400);
        }
        $this->site = $site;
        $this->name = '.wpclone-restore-' . $id;
        $this->directory = $site->contentDir() . '/' . $this->name;
    }

    /** A path that stays below where it starts. */
    public static function checked(string $path): string
    {
        if ($path === '' || preg_match('#(^|/)\.{0,2}(/|$)#', $path) || strpos($path, "\0") !== false) {
            throw new Failure('BAD_REQUEST', 'a path leaves its root', 400);
        }
        return $path;
    }

    /** Hold the place for this request. Only the newest claim may; a claim puts its number there. */
    public function enter(int $fence, bool $claims, bool $makes): void
    {
        if ($makes && !is_dir($this->directory)) {
            self::make($this->directory);
            self::write($this->directory . '/.htaccess', "<IfModule mod_authz_core.c>\nRequire all denied\n</IfModule>\n<IfModule !mod_authz_core.c>\nDeny from all\n</IfModule>\n");
            self::write($this->directory . '/index.html', '');
        }
        $this->lock = @fopen($this->directory . '/lock', $makes ? 'c+b' : 'r+b') ?: null;
        if ($this->lock === null) {
            throw new Failure(is_dir($this->directory) ? 'NOT_WRITABLE' : 'NO_RESTORE', 'there is no such restore here');
        }
        if (!flock($this->lock, LOCK_EX | LOCK_NB)) {
            throw new Failure('BUSY', 'another request of this restore is being answered', 429);
        }
        $standing = (int) stream_get_contents($this->lock);
        if ($standing > $fence || ($standing < $fence && !$claims)) {
            throw new Failure('STALE', "fence $standing stands in the way of $fence");
        }
        if ($standing < $fence) {
            rewind($this->lock);
            fwrite($this->lock, str_pad((string) $fence, 20));
            fflush($this->lock);
        }
    }

    /** Where something of a root waits (`new`) or is kept (`old`): on the file system of that root, so that a rename moves it. */
    public function beside(string $which, string $root, string $path): string
    {
        return $this->base($root) . "/$which/$root" . ($path === '' ? '' : "/$path");
    }

    public function live(string $root, string $path): string
    {
        $roots = $this->site->roots();
        if (!isset($roots[$root]) || $root === 'core') {
            throw new Failure('BAD_REQUEST', 'no such root to write to', 400);
        }
        return $roots[$root] . '/' . self::checked($path);
    }

    private function base(string $root): string
    {
        $own = $this->site->roots()[$root] ?? $this->site->contentDir();
        $here = @stat($own);
        $content = @stat($this->site->contentDir());
        return $here && $content && $here['dev'] !== $content['dev'] ? $own . '/' . $this->name : $this->directory;
    }

    /** @return string[] this place on every file system the site has */
    public function directories(): array
    {
        return array_values(array_unique(array_merge(array_map([$this, 'base'], array_keys($this->site->roots())), [$this->directory])));
    }

    public static function make(string $directory): void
    {
        if (!is_dir($directory) && !@mkdir($directory, 0755, true) && !is_dir($directory)) {
            throw self::refused($directory);
        }
    }

    /** A file whole or not at all. @param string|null $like a file whose mode and group it gets */
    public static function write(string $file, string $data, ?string $like = null): void
    {
        $fresh = $file . '.fresh';
        $out = @fopen($fresh, 'wb');
        if ($out === false || fwrite($out, $data) !== strlen($data) || !fflush($out)) {
            throw self::refused($file);
        }
        if (function_exists('fsync')) { // since PHP 8.1
            @fsync($out);
        }
        fclose($out);
        if ($like !== null && ($about = @stat($like)) !== false) {
            @chgrp($fresh, $about['gid']);
            @chmod($fresh, $about['mode'] & 0777);
        }
        if (!rename($fresh, $file)) {
            throw self::refused($file);
        }
    }

    public static function refused(string $path): Failure
    {
        $free = @disk_free_space(dirname($path));
        $full = is_float($free) && $free < 1048576;
        return new Failure($full ? 'NO_SPACE' : 'NOT_WRITABLE', ($full ? 'no space for ' : 'cannot write ') . basename($path));
    }
}

/** How far a restore is: read at every request, written before every step. */
final class Journal
{
    const GUARD = "<?php exit; ?>\n"; // asked for directly, the file shows nothing
    /** @var array<string, mixed> */
    public $said = ['state' => 'staging', 'phase' => '', 'tables' => [], 'units' => 0, 'moved' => 0, 'key' => '', 'marks' => []];
    /** @var string */
    private $path;

    public function __construct(Place $place)
    {
        $this->path = $place->directory . '/journal.php';
        $text = @file_get_contents($this->path);
        $found = $text === false ? null : json_decode(substr($text, strlen(self::GUARD)), true);
        if (is_array($found)) {
            $this->said = $found + $this->said;
        }
        if ($this->said['key'] === '') {
            $this->said['key'] = bin2hex(random_bytes(16));
        }
    }

    /** @param array<string, mixed> $changed */
    public function put(array $changed): void
    {
        $this->said = $changed + $this->said;
        Place::write($this->path, self::GUARD . json_encode($this->said));
    }

    public function state(): string
    {
        return (string) $this->said['state'];
    }

    /** A table's mark holds no more: its rows are about to change. @param string[] $names */
    public function touch(array $names): void
    {
        if (array_intersect_key($this->said['marks'], array_flip($names))) {
            $this->put(['marks' => array_diff_key($this->said['marks'], array_flip($names))]);
        }
    }

    public function needs(string ...$states): void
    {
        if (!in_array($this->state(), $states, true)) {
            throw new Failure('BAD_REQUEST', 'the restore is ' . $this->state(), 409);
        }
    }
}

/** The private tables of a restore, in the target's own database. */
final class Tables
{
    /** @var Database */
    public $db;
    /** @var string */
    private $hex;
    /** @var int */
    private $fence;

    public function __construct(Database $db, string $id, int $fence)
    {
        $this->db = $db;
        $this->hex = substr(hash('sha256', $db->prefix . "\0" . $id), 0, 6);
        $this->fence = $fence;
        // Zero ids and the 30th of February are the source's truth, as in a clone (target.py).
        $db->query("SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', foreign_key_checks=0, wait_timeout=120");
        @$db->link->query('SET SESSION check_constraint_checks=0'); // MariaDB only
        @$db->link->query('SET SESSION sql_require_primary_key=0'); // MySQL only
    }

    public function staged(int $number): string
    {
        return 'wpcr' . $this->hex . '_' . $number;
    }

    public function kept(int $number): string
    {
        return 'wpco' . $this->hex . '_' . $number;
    }

    public function control(): string
    {
        return 'wpcr' . $this->hex . '_control';
    }

    /** Whether a statement is about private tables of this restore. */
    public function own(string $sql): bool
    {
        return preg_match('/`wpc[ro]' . $this->hex . '_\d+`/', $sql) === 1;
    }

    /** @return array<string, int> every private table, the control table last */
    public function all(): array
    {
        $found = [];
        foreach ($this->db->rows('SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()') as $row) {
            if (preg_match('/^wpc[ro]' . $this->hex . '_(\d+|control)$/', $row[0], $parts)) {
                $found[$row[0]] = (int) $parts[1];
            }
        }
        asort($found);
        return array_reverse($found, true);
    }

    /** Run a statement; what the server says about it becomes a reason. @return \mysqli_result|bool */
    public function run(string $sql)
    {
        $result = $this->db->link->query($sql);
        if ($result === false) {
            throw self::failure($this->db->link->errno, $this->db->link->error);
        }
        return $result;
    }

    public static function failure(int $error, string $text): Failure
    {
        $reasons = [1021 => 'NO_SPACE', 1026 => 'NO_SPACE', 1041 => 'NO_SPACE', 1114 => 'NO_SPACE', 2006 => 'DATABASE_DOWN', 2013 => 'DATABASE_DOWN', 1053 => 'DATABASE_DOWN'];
        $reasons += [1205 => 'CHANGING', 1213 => 'CHANGING', 1020 => 'CHANGING', 1317 => 'CHANGING', 1062 => 'DAMAGED'];
        return new Failure($reasons[$error] ?? 'TARGET_REFUSED', "error $error: " . substr($text, 0, 300));
    }

    public function claim(): void
    {
        $control = Database::name($this->control());
        $this->run("CREATE TABLE IF NOT EXISTS $control (name VARBINARY(255) PRIMARY KEY, number INT NOT NULL DEFAULT 0, fence BIGINT NOT NULL DEFAULT 0, cursor_json LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
        $this->run("INSERT IGNORE INTO $control (name, fence, cursor_json) VALUES ('', 0, '')");
        $this->run("UPDATE $control SET fence = {$this->fence} WHERE name = '' AND fence <= {$this->fence}");
    }

    /** Do something in one transaction that nobody with a newer fence can be in. */
    public function holding(callable $work): void
    {
        $this->run('START TRANSACTION');
        try {
            $found = $this->run('SELECT fence FROM ' . Database::name($this->control()) . " WHERE name = '' FOR UPDATE")->fetch_row();
            if (!$found || (int) $found[0] !== $this->fence) {
                throw new Failure('STALE', 'fence ' . ($found[0] ?? 'none') . " stands in the way of {$this->fence}");
            }
            $work();
            $this->run('COMMIT');
        } catch (\Throwable $error) {
            @$this->db->link->query('ROLLBACK');
            throw $error;
        }
    }

    /** @return array<string, array{0: int, 1: string}> number and cursor by name */
    public function cursors(): array
    {
        $found = [];
        foreach ($this->db->rows('SELECT name, number, cursor_json FROM ' . Database::name($this->control()) . " WHERE name <> ''") as $row) {
            $found[$row[0]] = [(int) $row[1], $row[2]];
        }
        return $found;
    }

    /** Give each table a number, for ever the same. @param string[] $names @return array<string, array{0: int, 1: string}> */
    public function number(array $names): array
    {
        $this->holding(function () use ($names): void {
            $known = $this->cursors();
            $next = $known ? max(array_column($known, 0)) + 1 : 0;
            foreach (array_diff($names, array_keys($known)) as $name) {
                $this->run('INSERT INTO ' . Database::name($this->control()) . " (name, number, cursor_json) VALUES ({$this->db->text($name)}, $next, '')");
                $next++;
            }
        });
        return $this->cursors();
    }

    /** Definitions of one staged table: DDL commits by itself, so the lock on the place is what keeps others away. @param string[] $statements */
    public function define(string $name, array $statements, bool $anew, string $cursor): void
    {
        $number = $this->numbered($name);
        $private = Database::name($this->staged($number));
        if ($anew) {
            $this->run("DROP TABLE IF EXISTS $private");
        }
        foreach ($statements as $sql) {
            if (strpos($sql, "CREATE TABLE $private (") !== 0 && strpos($sql, "ALTER TABLE $private ADD ") !== 0) {
                throw new Failure('BAD_REQUEST', 'a definition of another table', 400);
            }
            $this->run($sql);
        }
        $this->holding(function () use ($name, $cursor): void {
            $this->move($name, $cursor);
        });
    }

    private function numbered(string $name): int
    {
        $known = $this->cursors();
        if (!isset($known[$name])) {
            throw new Failure('BAD_REQUEST', 'a table without a number', 400);
        }
        return $known[$name][0];
    }

    private function move(string $name, string $cursor): void
    {
        $this->run('UPDATE ' . Database::name($this->control()) . " SET cursor_json = {$this->utf8($cursor)} WHERE name = {$this->db->text($name)}");
    }

    private function utf8(string $text): string
    {
        return 'CONVERT(' . $this->db->text($text) . ' USING utf8mb4)';
    }

    /**
     * Rows of staged tables: statements and the move of each table's cursor in one transaction. Asked a second time, it does nothing.
     *
     * @param array<int, array{name: string, before: string, after: string}> $moves
     * @param resource $data each statement after its length
     */
    public function load(array $moves, $data): void
    {
        $this->holding(function () use ($moves, $data): void {
            $known = $this->cursors();
            $done = 0;
            foreach ($moves as $move) {
                $name = (string) base64_decode($move['name']);
                $done += ($known[$name][1] ?? null) === $move['after'] ? 1 : 0;
                if (!in_array($known[$name][1] ?? null, [$move['before'], $move['after']], true)) {
                    throw new Failure('DAMAGED', 'the rows do not continue what is there');
                }
            }
            if ($moves && $done === count($moves)) {
                return;
            }
            while (strlen($head = (string) fread($data, 4)) === 4) {
                $this->fill((string) stream_get_contents($data, unpack('N', $head)[1]));
            }
            foreach ($moves as $move) {
                $this->move((string) base64_decode($move['name']), $move['after']);
            }
        });
    }

    private function fill(string $sql): void
    {
        if (!preg_match('/^(?:(?:INSERT|REPLACE) INTO `wpcr' . $this->hex . '_\d+` |SET @wpclone_\d+ = )/', substr($sql, 0, 60))) {
            throw new Failure('BAD_REQUEST', 'rows of another table', 400);
        }
        $this->run($sql);
        if ($this->db->link->warning_count > 0) {
            foreach ($this->db->rows('SHOW WARNINGS LIMIT 5') as $row) {
                if ($row[0] !== 'Note') { // a value that does not fit is cut and only warned about
                    throw new Failure('DAMAGED', "error {$row[1]}: " . substr($row[2], 0, 300));
                }
            }
        }
    }

    /**
     * Make rows of a staged table what the live table has, by key; or only remove them.
     *
     * @param string[] $by the key's columns; none for the primary key
     * @param string[] $omit columns not carried
     * @param array<int, string[]> $keys
     */
    public function carry(string $name, array $by, array $omit, array $keys, bool $removes): int
    {
        $private = $this->staged($this->numbered($name));
        $columns = $this->columns($private);
        $there = $removes ? [] : $this->columns($name);
        $by = $by ?: $this->primary($private);
        if (!$by || array_diff($by, array_keys($columns))) {
            throw new Failure('TARGET_REFUSED', "table $name has no such key");
        }
        $named = array_diff(array_keys(array_intersect_key($columns, $there)), $omit);
        $list = implode(',', array_map([Database::class, 'name'], $named));
        $carried = 0;
        $this->holding(function () use ($private, $name, $by, $columns, $keys, $there, $list, &$carried): void {
            foreach (array_chunk($keys, 500) as $part) {
                $where = ' WHERE ' . self::among($by, $columns, $part);
                $this->run('DELETE FROM ' . Database::name($private) . $where);
                if ($there) {
                    $this->run('INSERT INTO ' . Database::name($private) . " ($list) SELECT $list FROM " . Database::name($name) . $where);
                    $carried += (int) $this->db->link->affected_rows;
                }
            }
        });
        return $carried;
    }

    /** @return array<string, string> the columns that can be written, with how their values are compared; none for no table */
    private function columns(string $table): array
    {
        $found = [];
        $sql = 'SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, EXTRA FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()';
        foreach ($this->db->rows("$sql AND TABLE_NAME = {$this->db->text($table)} ORDER BY ORDINAL_POSITION") as $row) {
            if (stripos((string) $row[3], 'GENERATED') === false || stripos((string) $row[3], 'DEFAULT_GENERATED') !== false) {
                $number = preg_match('/^(?:(?:tiny|small|medium|big)?int|decimal|year)$/i', $row[1]);
                $found[$row[0]] = $number ? 'int' : ($row[2] ?? (preg_match('/(?:blob|binary)$/i', $row[1]) ? 'binary' : 'ascii'));
            }
        }
        return $found;
    }

    /** @return string[] */
    private function primary(string $table): array
    {
        return array_column($this->db->rows('SHOW INDEX FROM ' . Database::name($table) . " WHERE Key_name = 'PRIMARY'"), 4);
    }

    /** @param string[] $by @param array<string, string> $columns @param array<int, string[]> $keys */
    private static function among(array $by, array $columns, array $keys): string
    {
        if (count($by) === 1) {
            return Database::name($by[0]) . ' IN (' . implode(',', array_map(function (array $key) use ($by, $columns): string {
                return self::literal($columns[$by[0]], $key[0]);
            }, $keys)) . ')';
        }
        return implode(' OR ', array_map(function (array $key) use ($by, $columns): string {
            $parts = [];
            foreach ($by as $i => $column) {
                $parts[] = Database::name($column) . ' = ' . self::literal($columns[$column], $key[$i]);
            }
            return '(' . implode(' AND ', $parts) . ')';
        }, $keys));
    }

    /** A key's value as it is compared, in its column's own collation, so that the index is used. */
    private static function literal(string $kind, string $value): string
    {
        if ($kind === 'int') {
            if (!preg_match('/^-?\d+(?:\.\d+)?$/', $value)) {
                throw new Failure('BAD_REQUEST', 'a key is not a number', 400);
            }
            return $value;
        }
        $hex = "x'" . bin2hex($value) . "'";
        if ($kind === 'ascii') {
            return "'" . preg_replace('/[^0-9 .:\-]/', '', $value) . "'"; // dates and times
        }
        return $kind === 'binary' ? $hex : '_' . preg_replace('/[^a-z0-9]/', '', $kind) . ' ' . $hex;
    }

    /** What tells whether a table changed: its rows and the sum of their checksums; empty for no table. */
    public static function mark(Database $db, string $table): string
    {
        $sum = $db->rows('CHECKSUM TABLE ' . Database::name($table) . ' EXTENDED')[0][1] ?? null;
        return $sum === null ? '' : $db->rows('SELECT COUNT(*) FROM ' . Database::name($table))[0][0] . ":$sum";
    }
}

/** The files to come, written into the place from parts. */
final class Files
{
    /** @var Place */
    private $place;

    public function __construct(Place $place)
    {
        $this->place = $place;
    }

    /** @param array<int, array<string, mixed>> $orders what to write, in order; the data of files is in one string */
    public function write(array $orders, string $data): void
    {
        $at = 0;
        foreach ($orders as $order) {
            $path = Place::checked((string) base64_decode($order['path']));
            $this->place->live($order['root'], $path);
            $full = $this->place->beside('new', $order['root'], $path);
            if ($order['kind'] === 'd') {
                Place::make($full);
                @chmod($full, ((int) $order['mode'] & 0777) | 0700);
                continue;
            }
            Place::make(dirname($full));
            if ($order['kind'] === 'l') {
                @unlink($full);
                if (!@symlink((string) base64_decode($order['target']), $full)) {
                    throw Place::refused($full);
                }
                continue;
            }
            $this->part($full, $order, substr($data, $at, (int) $order['length']));
            $at += (int) $order['length'];
        }
    }

    /** @param array<string, mixed> $order */
    private function part(string $full, array $order, string $data): void
    {
        if (!empty($order['anew']) && (int) $order['offset'] === 0) {
            @unlink($full);
        }
        if (is_file($full) && !is_link($full)) {
            return; // complete, by a request whose answer was lost
        }
        $part = $this->partial($order['root'], (string) base64_decode($order['path']));
        Place::make(dirname($part));
        $out = @fopen($part, 'c+b');
        if ($out === false || fseek($out, (int) $order['offset']) !== 0 || fwrite($out, $data) !== strlen($data) || !fflush($out)) {
            throw Place::refused($full);
        }
        if ($order['last']) {
            ftruncate($out, (int) $order['offset'] + strlen($data));
            if (hash_file('sha256', $part) !== $order['sha256']) {
                ftruncate($out, 0);
                throw new Failure('DAMAGED', 'a file is not what was sent: ' . basename($full));
            }
            if (function_exists('fsync')) {
                @fsync($out);
            }
            @chmod($part, ((int) $order['mode'] & 0777) | 0600);
            @touch($part, (int) $order['mtime']);
            if (!rename($part, $full)) {
                throw Place::refused($full);
            }
        }
        fclose($out);
    }

    /** What is there of files to come: -1 for a whole one, else the bytes of its beginning. @param array<int, array{0: string, 1: string}> $files @return int[] */
    public function there(array $files): array
    {
        return array_map(function (array $file): int {
            $path = Place::checked((string) base64_decode($file[1]));
            if (is_file($this->place->beside('new', $file[0], $path))) {
                return -1;
            }
            return (int) @filesize($this->partial($file[0], $path));
        }, $files);
    }

    private function partial(string $root, string $path): string
    {
        return $this->place->beside('parts', $root, hash('sha256', $path));
    }
}
