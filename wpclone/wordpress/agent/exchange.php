<?php
/*
 * The exchange of a restore: old content for new and back, under a journal, so that any request that died is finished by the next.
 * Shipped as a part of agent.php: see package.py. PHP 7.4 or newer.
 */
namespace WpcloneAgent;

/** WordPress's own maintenance mode, which a health check with the right header passes through. */
final class Maintenance
{
    const MARK = 'wpclone restore';

    private static function file(Site $site): string
    {
        return $site->abspath . '.maintenance';
    }

    /** @param bool $lasting not over after ten minutes, as WordPress has it: a site half exchanged must not answer */
    public static function on(Site $site, string $key, bool $lasting): void
    {
        $file = self::file($site);
        $text = (string) @file_get_contents($file);
        if ($text !== '' && strpos($text, self::MARK) === false && filemtime($file) > time() - 600) {
            throw new Failure('CHANGING', 'the target is being updated');
        }
        $since = $lasting ? 'time()' : (string) time();
        $hash = hash('sha256', $key);
        Place::write($file, "<?php // " . self::MARK . "\n\$upgrading = hash('sha256', (string) (\$_SERVER['HTTP_X_WPCLONE_HEALTH'] ?? '')) === '$hash' ? 0 : $since;\n");
        self::forget($file);
    }

    public static function off(Site $site): void
    {
        $file = self::file($site);
        if (strpos((string) @file_get_contents($file), self::MARK) !== false && !@unlink($file)) {
            throw Place::refused($file);
        }
        self::forget($file);
    }

    private static function forget(string $file): void
    {
        if (function_exists('opcache_invalidate')) {
            @opcache_invalidate($file, true);
        }
    }
}

/** The exchange of all tables, and the way back. */
final class Renaming
{
    const SECONDS = 10;
    const STRAYS_SECONDS = 10;
    const LOCKED = 1192;
    /** @var Tables */
    private $tables;
    /** @var array<string, int> the tables to exchange and their numbers */
    private $numbers;

    /** @param array<string, int> $numbers */
    public function __construct(Tables $tables, array $numbers)
    {
        $this->tables = $tables;
        $this->numbers = $numbers;
    }

    /** @return array<int, array{0: string, 1: string}> what is still to be renamed towards the new tables; a request may have died in there */
    public function forward(): array
    {
        $there = $this->there();
        $found = [];
        foreach ($this->numbers as $name => $number) {
            [$new, $old] = [$this->tables->staged($number), $this->tables->kept($number)];
            if (isset($there[$new])) {
                if (isset($there[$name])) {
                    $found[] = [(string) $name, $old];
                }
                $found[] = [$new, (string) $name];
            }
        }
        return $found;
    }

    /** @return array<int, array{0: string, 1: string}> what is still to be renamed towards the old tables */
    public function back(): array
    {
        $there = $this->there();
        $found = [];
        foreach ($this->numbers as $name => $number) {
            [$new, $old] = [$this->tables->staged($number), $this->tables->kept($number)];
            if (isset($there[$name]) && !isset($there[$new])) {
                $found[] = [(string) $name, $new];
                unset($there[$name]);
            }
            if (isset($there[$old]) && !isset($there[$name])) {
                $found[] = [$old, (string) $name];
            }
        }
        return $found;
    }

    /** @return array<string, int> */
    private function there(): array
    {
        return array_flip(array_column($this->tables->db->rows('SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()'), 0));
    }

    /** @param array<int, array{0: string, 1: string}> $pairs */
    public function rename(array $pairs): void
    {
        if ($pairs) {
            $this->tables->run(self::all($pairs));
        }
    }

    /** @param array<int, array{0: string, 1: string}> $pairs */
    private static function all(array $pairs): string
    {
        return 'RENAME TABLE ' . implode(', ', array_map(function (array $pair): string {
            return Database::name($pair[0]) . ' TO ' . Database::name($pair[1]);
        }, $pairs));
    }

    /**
     * Rename if every live table still is what was expected, with nobody able to write from the comparison to the last rename.
     *
     * A rename that waits for the lock of another connection would not do: it asks for one table after the other, and a writer that
     * waits for a later one comes before it. MySQL renames locked tables at once; MariaDB only one by one, so that a request that
     * was let in before the maintenance may find a table missing, and fails.
     *
     * @param array<int, array{0: string, 1: string}> $pairs
     * @param array<string, string> $expected
     * @return string[] tables that changed; then nothing was renamed
     */
    public function renameUnchanged(array $pairs, array $expected): array
    {
        $db = $this->tables->db;
        $db->query('SET SESSION lock_wait_timeout=' . self::SECONDS);
        $there = $this->there();
        $locked = array_intersect(array_merge(array_column($pairs, 0), array_map('strval', array_keys($this->numbers))), array_keys($there));
        $this->tables->run('LOCK TABLES ' . implode(' WRITE, ', array_map([Database::class, 'name'], array_unique($locked))) . ' WRITE');
        try {
            $changed = [];
            foreach ($expected as $name => $mark) {
                $name = (string) $name;
                if (isset($this->numbers[$name]) && (isset($there[$name]) ? Tables::mark($db, $name) : '') !== $mark) {
                    $changed[] = $name;
                }
            }
            if ($changed === []) {
                $this->renameLocked($pairs);
            }
            return $changed;
        } finally {
            @$db->link->query('UNLOCK TABLES');
        }
    }

    /** @param array<int, array{0: string, 1: string}> $pairs */
    private function renameLocked(array $pairs): void
    {
        $link = $this->tables->db->link;
        if (@$link->query(self::all($pairs)) !== false) {
            return;
        }
        if ($link->errno !== self::LOCKED) {
            throw Tables::failure($link->errno, $link->error);
        }
        foreach ($pairs as $pair) {
            $this->tables->run('ALTER TABLE ' . Database::name($pair[0]) . ' RENAME TO ' . Database::name($pair[1]));
        }
    }

    /** End the renames of requests that died: one could still come true after its result was looked for. Fails with CHANGING if one stays. */
    public function endStrays(): void
    {
        $mine = $this->tables->db->link->thread_id;
        $until = microtime(true) + self::STRAYS_SECONDS;
        do {
            $strays = array_filter($this->tables->db->rows('SHOW FULL PROCESSLIST'), function (array $row) use ($mine): bool {
                return (int) $row[0] !== $mine && preg_match('/^(?:RENAME|ALTER) TABLE /', (string) $row[7]) && $this->tables->own((string) $row[7]);
            });
            if ($strays && microtime(true) > $until) {
                throw new Failure('CHANGING', 'a rename of a request that died does not end');
            }
            foreach ($strays as $row) {
                @$this->tables->db->link->query('KILL ' . (int) $row[0]);
            }
        } while ($strays && usleep(20000) === null);
    }
}

/** Files and directories, exchanged one by one. Each can be asked for again, whatever the request before it came to. */
final class Units
{
    /** @var Place */
    private $place;
    /** @var int bytes moved to the old set */
    public $bytes = 0;

    public function __construct(Place $place)
    {
        $this->place = $place;
    }

    public function path(): string
    {
        return $this->place->directory . '/list.php';
    }

    /** @return \Generator<int, array{0: string, 1: string, 2: string}> kind (r: the new takes its place, x: goes away), root, path */
    public function from(int $first): \Generator
    {
        $file = @fopen($this->path(), 'rb');
        if ($file === false) {
            throw new Failure('DAMAGED', 'the list of files is gone');
        }
        fgets($file);
        for ($number = 0; ($line = fgets($file)) !== false; $number++) {
            if ($number >= $first) {
                $unit = json_decode($line, true);
                yield $number => [$unit[0], $unit[1], (string) base64_decode($unit[2])];
            }
        }
        fclose($file);
    }

    public function forward(string $kind, string $root, string $path): void
    {
        [$live, $new, $old] = $this->places($root, $path);
        if ($kind === 'r' && !self::is($new)) {
            return; // done before
        }
        if (self::is($live)) {
            $this->bytes += (int) @filesize($live);
            $this->move($live, self::is($old) ? $this->place->beside('late', $root, $path) : $old);
        }
        if ($kind === 'r') {
            $this->move($new, $live);
        }
    }

    public function back(string $kind, string $root, string $path): void
    {
        [$live, $new, $old] = $this->places($root, $path);
        if ($kind === 'r' && !self::is($new) && self::is($live)) {
            $this->move($live, $new);
        }
        if (self::is($old)) {
            if (self::is($live)) {
                $this->move($live, $this->place->beside('late', $root, $path));
            }
            $this->move($old, $live);
        }
    }

    public function waiting(string $kind, string $root, string $path): bool
    {
        return $kind !== 'r' || self::is($this->places($root, $path)[1]);
    }

    /** @return array{0: string, 1: string, 2: string} */
    private function places(string $root, string $path): array
    {
        return [$this->place->live($root, $path), $this->place->beside('new', $root, $path), $this->place->beside('old', $root, $path)];
    }

    private static function is(string $path): bool
    {
        clearstatcache(true, $path);
        return @lstat($path) !== false;
    }

    private function move(string $from, string $to): void
    {
        if (self::is($to)) { // only something late of an earlier exchange
            self::clear($to, null);
        }
        Place::make(dirname($to));
        if (!@rename($from, $to)) {
            throw Place::refused($from);
        }
        if (function_exists('opcache_invalidate') && substr($to, -4) === '.php') {
            @opcache_invalidate($to, true);
        }
    }

    /** Delete a tree; false when time ran out. */
    public static function clear(string $path, ?Budget $budget): bool
    {
        if (is_dir($path) && !is_link($path)) {
            foreach (@scandir($path) ?: [] as $name) {
                if ($name !== '.' && $name !== '..' && !self::clear("$path/$name", $budget)) {
                    return false;
                }
            }
            @rmdir($path);
        } else {
            @unlink($path);
        }
        return $budget === null || !$budget->spent();
    }
}

/** The states of a restore and the ways between them. */
final class Exchange
{
    const LARGE = 16777216;
    /** @var Site */
    private $site;
    /** @var Place */
    private $place;
    /** @var Journal */
    private $journal;
    /** @var Tables */
    private $tables;
    /** @var Budget */
    private $budget;

    public function __construct(Site $site, Place $place, Journal $journal, Tables $tables, Budget $budget)
    {
        $this->site = $site;
        $this->place = $place;
        $this->journal = $journal;
        $this->tables = $tables;
        $this->budget = $budget;
    }

    /** @return array<string, mixed> */
    public function said(): array
    {
        $said = $this->journal->said;
        $names = array_map('base64_encode', array_map('strval', array_keys($said['tables'])));
        return ['state' => $said['state'], 'tables' => $names, 'units' => $said['units'], 'moved' => $said['moved'], 'key' => $said['key'], 'bytes' => $said['bytes'] ?? 0, 'rules' => $said['rules'] ?? ''];
    }

    /** A part of the list of files, or of rows too long for one request, at its place. */
    public function note(string $what, int $offset, string $lines): void
    {
        $this->journal->needs('staging', 'staged', 'rolled_back');
        $path = $what === 'list' ? (new Units($this->place))->path() : $this->place->directory . '/spool.php';
        $file = @fopen($path, 'c+b');
        $at = strlen(Journal::GUARD) + $offset;
        if ($file === false || fwrite($file, Journal::GUARD) === false || fseek($file, $at) !== 0 || fwrite($file, $lines) !== strlen($lines)) {
            throw Place::refused($path);
        }
        ftruncate($file, $at + strlen($lines));
        fclose($file);
    }

    /** Everything to come is there. @param string[] $names */
    public function seal(array $names, int $units): void
    {
        $this->journal->needs('staging', 'staged', 'rolled_back');
        $list = new Units($this->place);
        $count = 0;
        foreach ($list->from(0) as $unit) {
            if (!$list->waiting(...$unit)) {
                throw new Failure('DAMAGED', 'a file to come is not there: ' . $unit[2]);
            }
            $count++;
        }
        $known = $this->tables->cursors();
        $there = $this->tables->all();
        $sealed = [];
        foreach ($names as $name) {
            if (!isset($known[$name], $there[$this->tables->staged($known[$name][0])])) {
                throw new Failure('DAMAGED', "table $name was not staged");
            }
            $sealed[$name] = $known[$name][0];
        }
        if ($count !== $units) {
            throw new Failure('DAMAGED', "the list has $count files, not $units");
        }
        $this->journal->put(['state' => 'staged', 'tables' => $sealed, 'units' => $units, 'moved' => 0, 'marks' => []]);
        $this->mark(); // while the site is open: marking a large table takes its time
    }

    /** @param array<string, string>|null $expected @return string[] tables that changed */
    public function swap(?array $expected): array
    {
        $this->journal->needs('staged', 'switching', 'swapped');
        if ($this->journal->state() === 'switching' && $this->journal->said['phase'] === 'tables') {
            $this->resume(); // a request died in there
        }
        if ($this->journal->state() === 'staged') {
            $this->journal->put(['state' => 'switching', 'phase' => 'tables', 'moved' => 0, 'bytes' => 0]);
            Maintenance::on($this->site, $this->journal->said['key'], true);
        }
        if ($this->journal->state() === 'switching' && $this->journal->said['phase'] === 'tables') {
            $changed = $this->exchangeTables($expected);
            if ($changed) {
                $this->journal->put(['state' => 'staged']);
                Maintenance::on($this->site, $this->journal->said['key'], false);
                return $changed;
            }
            $this->journal->put(['phase' => 'files']);
        }
        if ($this->journal->state() === 'switching' && $this->walk('forward')) {
            $rules = (new Permalinks($this->site, $this->place, $this->tables))->forward($this->journal->said['tables']);
            $this->forgetCode();
            $this->journal->put(['state' => 'swapped', 'phase' => '', 'rules' => $rules]);
        }
        return [];
    }

    /** @param array<string, string>|null $expected @return string[] */
    private function exchangeTables(?array $expected): array
    {
        $renaming = new Renaming($this->tables, $this->journal->said['tables']);
        try {
            $pairs = $renaming->forward();
            if ($pairs && $expected !== null) {
                return $renaming->renameUnchanged($pairs, $expected);
            }
            $renaming->rename($pairs);
        } catch (Failure $failure) {
            $this->resume(); // the old site answers while the caller thinks about it
            throw $failure;
        }
        return [];
    }

    /** After a request that died: forward if all tables are the new ones, else back. */
    public function resume(): void
    {
        $state = $this->journal->state();
        if ($state === 'switching' && $this->journal->said['phase'] === 'tables') {
            $renaming = new Renaming($this->tables, $this->journal->said['tables']);
            $renaming->endStrays();
            if ($renaming->forward() !== []) {
                $renaming->rename($renaming->back());
                $this->journal->put(['state' => 'staged', 'phase' => '']);
            } else {
                $this->journal->put(['phase' => 'files', 'moved' => 0]);
            }
        }
        $state = $this->journal->state();
        if ($state === 'switching') {
            $this->swap(null);
        } elseif ($state === 'undoing') {
            $this->undo();
        } elseif ($state !== 'swapped') {
            Maintenance::off($this->site);
        }
    }

    /** The old content is back, from whatever state. */
    public function undo(): void
    {
        $state = $this->journal->state();
        if (in_array($state, ['staging', 'staged', 'rolled_back'], true)) {
            $this->journal->put(['state' => 'rolled_back']);
            Maintenance::off($this->site);
            return;
        }
        if ($state !== 'undoing') {
            (new Renaming($this->tables, $this->journal->said['tables']))->endStrays();
            $this->journal->put(['state' => 'undoing', 'phase' => 'files', 'moved' => 0]);
        }
        Maintenance::on($this->site, $this->journal->said['key'], true);
        if ($this->journal->said['phase'] === 'files') {
            if (!$this->walk('back')) {
                return;
            }
            (new Permalinks($this->site, $this->place, $this->tables))->back();
            $this->journal->put(['phase' => 'tables']);
        }
        $renaming = new Renaming($this->tables, $this->journal->said['tables']);
        $renaming->rename($renaming->back());
        $this->forgetCode();
        $this->journal->put(['state' => 'rolled_back', 'phase' => '']);
        Maintenance::off($this->site);
    }

    /** Exchange files one way until all are done or time is over; true when all are done. */
    private function walk(string $way): bool
    {
        $units = new Units($this->place);
        $bytes = (int) ($this->journal->said['bytes'] ?? 0);
        foreach ($units->from((int) $this->journal->said['moved']) as $number => $unit) {
            $units->$way(...$unit);
            if ($this->budget->spent()) {
                $this->journal->put(['moved' => $number + 1, 'bytes' => $bytes + $units->bytes]);
                return $number + 1 >= $this->journal->said['units'];
            }
        }
        $this->journal->put(['moved' => $this->journal->said['units'], 'bytes' => $bytes + $units->bytes]);
        return true;
    }

    private function forgetCode(): void
    {
        if (function_exists('opcache_reset')) {
            @opcache_reset();
        }
        clearstatcache(true);
    }

    /** Note what the new tables are, as far as that is not known and time allows. */
    private function mark(): void
    {
        $live = $this->journal->state() === 'swapped';
        $marks = $this->journal->said['marks'];
        $sizes = array_column($this->tables->db->rows('SELECT TABLE_NAME, DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()'), 1, 0);
        foreach ($this->journal->said['tables'] as $name => $number) {
            // The health check's visits write to small ones (options), which are marked again after it.
            $known = isset($marks[$name]) && (!$live || ($sizes[$name] ?? 0) > self::LARGE);
            if (!$known && !$this->budget->spent()) {
                $marks[$name] = Tables::mark($this->tables->db, $live ? (string) $name : $this->tables->staged($number));
            }
        }
        $this->journal->put(['marks' => $marks]);
    }

    /** Everybody may see the new content. */
    public function goLive(): void
    {
        $this->journal->needs('swapped', 'live');
        if ($this->journal->state() === 'swapped') {
            $this->mark();
            $this->journal->put(['state' => 'live']);
        }
        Maintenance::off($this->site);
    }

    /** @return string[] tables written to since the new content went live */
    public function changedSince(): array
    {
        $this->journal->needs('live');
        return array_values(array_filter(array_map('strval', array_keys($this->journal->said['tables'])), function (string $name): bool {
            return ($this->journal->said['marks'][$name] ?? '?') !== Tables::mark($this->tables->db, $name);
        }));
    }

    /** Options that tell an older version than before: code that stayed is newer than its data. @return array<int, string[]> name, was, is */
    public function behind(): array
    {
        $options = $this->tables->db->prefix . 'options';
        if (!in_array($this->journal->state(), ['swapped', 'live'], true) || !isset($this->journal->said['tables'][$options])) {
            return [];
        }
        [$new, $old] = [Database::name($options), Database::name($this->tables->kept($this->journal->said['tables'][$options]))];
        $sql = "SELECT o.option_name, o.option_value, n.option_value FROM $new n JOIN $old o ON BINARY o.option_name = BINARY n.option_name"
            . " WHERE n.option_name LIKE '%version' AND o.option_name LIKE '%version' AND LENGTH(n.option_value) < 40 AND LENGTH(o.option_value) < 40";
        $found = array_filter($this->tables->db->rows("$sql ORDER BY 1"), function (array $row): bool {
            return preg_match('/^\d[\w.+-]*$/', $row[1]) && preg_match('/^\d[\w.+-]*$/', $row[2]) && version_compare($row[2], $row[1], '<');
        });
        return array_slice(array_values($found), 0, 200);
    }

    public function maintenance(bool $on): void
    {
        $this->journal->needs('staging', 'staged', 'swapped');
        if ($on) {
            Maintenance::on($this->site, $this->journal->said['key'], $this->journal->state() === 'swapped');
        } else {
            $this->journal->needs('staging', 'staged');
            Maintenance::off($this->site);
        }
    }

    /** Nothing of the restore stays but the content that is live; false when time ran out. */
    public function release(): bool
    {
        $this->journal->needs('staging', 'staged', 'live', 'rolled_back', 'releasing');
        Maintenance::off($this->site);
        $this->journal->put(['state' => 'releasing']);
        foreach ($this->place->directories() as $directory) {
            foreach (['new', 'old', 'late', 'parts'] as $which) {
                if (!Units::clear("$directory/$which", $this->budget)) {
                    return false;
                }
            }
        }
        foreach (array_keys($this->tables->all()) as $table) {
            $this->tables->run('DROP TABLE IF EXISTS ' . Database::name((string) $table));
            if ($this->budget->spent()) {
                return false;
            }
        }
        foreach ($this->place->directories() as $directory) {
            Units::clear($directory, null);
        }
        return true;
    }
}

/** Verb `restore`: one order about one restore. */
final class Restore
{
    /** @param array<string, mixed> $asked */
    public static function answer(Site $site, State $state, Answer $answer, Budget $budget, array $asked): void
    {
        ignore_user_abort(true);
        $do = (string) ($asked['do'] ?? '');
        if ($do === 'examine') {
            $answer->json('J', Examination::of($site, new Database($site)));
            $answer->json('E', []);
            return;
        }
        $place = new Place($site, (string) ($asked['id'] ?? ''));
        if ($do === 'forget') { // runs WordPress's start, which may end this request
            self::forgetObjects($site, new Journal($place));
            $answer->json('E', ['flushed' => true]);
            return;
        }
        $place->enter((int) ($asked['fence'] ?? 0), $do === 'claim', !empty($asked['make']));
        $tables = new Tables(new Database($site), (string) $asked['id'], (int) $asked['fence']);
        $journal = new Journal($place);
        $exchange = new Exchange($site, $place, $journal, $tables, $budget);
        if ($do === 'claim') {
            if ($journal->state() !== 'releasing') {
                $tables->claim();
                $journal->put([]);
            }
            $answer->json('E', $exchange->said());
            return;
        }
        $answer->json('E', self::stage($do, $asked, $answer, $budget, $place, $journal, $tables) ?? self::exchange($do, $asked, $exchange));
    }

    /** @param array<string, mixed> $asked @return array<string, mixed>|null null for an order that is none of these */
    private static function stage(string $do, array $asked, Answer $answer, Budget $budget, Place $place, Journal $journal, Tables $tables): ?array
    {
        $name = (string) base64_decode((string) ($asked['table'] ?? ''));
        if ($do === 'marks') {
            foreach ($asked['tables'] as $table) {
                $answer->json('J', ['table' => $table, 'mark' => Tables::mark($tables->db, (string) base64_decode($table))]);
            }
            return [];
        }
        if ($do === 'hash') {
            Hash::send($answer, $budget, array_map(function (array $file) use ($place): string {
                return $place->beside('new', $file[0], Place::checked((string) base64_decode($file[1])));
            }, $asked['files']));
            return [];
        }
        if (!in_array($do, ['number', 'define', 'load', 'carry', 'write', 'there'], true)) {
            return null;
        }
        $journal->needs('staging', 'staged');
        $journal->touch(array_merge([$name], array_map('base64_decode', array_column($asked['moves'] ?? [], 'name'))));
        if ($do === 'number') {
            foreach ($tables->number(array_map('base64_decode', $asked['tables'])) as $table => [$number, $cursor]) {
                $answer->json('J', ['table' => base64_encode((string) $table), 'staged' => $tables->staged($number), 'cursor' => $cursor]);
            }
        } elseif ($do === 'define') {
            $tables->define($name, array_map('base64_decode', $asked['statements']), !empty($asked['anew']), (string) $asked['cursor']);
        } elseif ($do === 'load') {
            $data = fopen(empty($asked['spooled']) ? 'php://memory' : $place->directory . '/spool.php', 'c+b');
            fwrite($data, empty($asked['spooled']) ? (string) ($asked['data'] ?? '') : '');
            fseek($data, empty($asked['spooled']) ? 0 : strlen(Journal::GUARD));
            $tables->load($asked['moves'], $data);
        } elseif ($do === 'carry') {
            $keys = array_map(function (array $key): array {
                return array_map('base64_decode', $key);
            }, json_decode((string) $asked['data'], true));
            return ['carried' => $tables->carry($name, array_map('base64_decode', $asked['by']), array_map('base64_decode', $asked['omit']), $keys, !empty($asked['removes']))];
        } elseif ($do === 'write') {
            (new Files($place))->write($asked['orders'], (string) $asked['data']);
        } else {
            return ['there' => (new Files($place))->there($asked['files'])];
        }
        return [];
    }

    /** @param array<string, mixed> $asked @return array<string, mixed> */
    private static function exchange(string $do, array $asked, Exchange $exchange): array
    {
        @set_time_limit(0); // the budget ends the request; the clock must not
        $more = [];
        if ($do === 'note') {
            $exchange->note((string) $asked['what'], (int) $asked['offset'], (string) $asked['data']);
        } elseif ($do === 'seal') {
            $exchange->seal(array_map('base64_decode', $asked['tables']), (int) $asked['units']);
        } elseif ($do === 'maintenance') {
            $exchange->maintenance((bool) $asked['on']);
        } elseif ($do === 'swap') {
            $expected = isset($asked['expected']) ? self::named($asked['expected']) : null;
            $more = ['changed' => array_map('base64_encode', $exchange->swap($expected))];
        } elseif ($do === 'resume') {
            $exchange->resume();
        } elseif ($do === 'undo') {
            $exchange->undo();
        } elseif ($do === 'live') {
            $exchange->goLive();
        } elseif ($do === 'since') {
            $more = ['changed' => array_map('base64_encode', $exchange->changedSince())];
        } elseif ($do === 'release') {
            return ['released' => $exchange->release()];
        } elseif ($do === 'state') {
            $more = ['behind' => array_map(function (array $row): array {
                return array_map('base64_encode', $row);
            }, $exchange->behind())];
        } else {
            throw new Failure('BAD_REQUEST', 'unknown order', 400);
        }
        return $exchange->said() + $more;
    }

    /** @param array<int, array{0: string, 1: string}> $pairs @return array<string, string> */
    private static function named(array $pairs): array
    {
        $found = [];
        foreach ($pairs as [$name, $mark]) {
            $found[(string) base64_decode($name)] = $mark;
        }
        return $found;
    }

    /** A persistent object cache is emptied by its own drop-in, which WordPress's start loads before any plugin. */
    private static function forgetObjects(Site $site, Journal $journal): void
    {
        if (is_file($site->contentDir() . '/object-cache.php')) {
            $_SERVER['HTTP_X_WPCLONE_HEALTH'] = $journal->said['key'];
            require $site->abspath . 'wp-settings.php'; // SHORTINIT is set: it ends after the object cache
            wp_cache_flush();
        }
    }
}

/** What stands in the way of a restore, asked before anything is written; a probe table is made and dropped. */
final class Examination
{
    /** @return array<string, mixed> */
    public static function of(Site $site, Database $db): array
    {
        $roots = array_diff_key($site->roots(), ['core' => 0]);
        $free = $devices = [];
        foreach ($roots as $name => $path) {
            $size = function_exists('disk_free_space') ? @disk_free_space($path) : false;
            $free[$name] = is_float($size) ? (int) $size : -1;
            $devices[$name] = (int) ((@stat($path) ?: [])['dev'] ?? 0);
        }
        $server = $db->rows('SELECT VERSION(), @@max_allowed_packet')[0];
        return [
            'refused' => array_map('base64_encode', self::refused($site, $roots)),
            'missing' => array_values(array_filter(['rename', 'mkdir', 'symlink', 'chmod', 'touch', 'flock', 'unlink', 'rmdir'], function (string $name): bool {
                return !function_exists($name);
            })),
            'free' => $free,
            'devices' => $devices,
            'post' => (string) ini_get('post_max_size'),
            'memory' => (string) ini_get('memory_limit'),
            'version' => $server[0],
            'packet' => (int) $server[1],
            'collations' => array_column($db->rows('SHOW COLLATION'), 0),
            'charsets' => array_column($db->rows('SHOW CHARACTER SET'), 0),
            'triggers' => array_map('base64_encode', array_values(array_unique(array_column($db->rows('SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()'), 0)))),
            'references' => array_map(function (array $row): array {
                return array_map('base64_encode', $row);
            }, $db->rows('SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_SCHEMA = DATABASE()')),
            'database' => self::probe($db),
            'plugins' => array_map('base64_encode', self::names($roots['plugins'] ?? '')),
            'themes' => array_map('base64_encode', self::names($site->contentDir() . '/themes')),
            'restores' => array_map(function (string $path): string {
                return substr(basename($path), strlen('.wpclone-restore-'));
            }, glob($site->contentDir() . '/.wpclone-restore-*', GLOB_ONLYDIR) ?: []),
        ];
    }

    /** @return string[] */
    private static function names(string $directory): array
    {
        return array_values(array_filter($directory === '' ? [] : (@scandir($directory) ?: []), function (string $name): bool {
            return $name[0] !== '.' && $name !== 'index.php';
        }));
    }

    /** @param array<string, string> $roots @return string[] directories that cannot be written */
    private static function refused(Site $site, array $roots): array
    {
        $directories = array_merge([rtrim($site->abspath, '/')], array_values($roots));
        foreach ($roots as $path) {
            foreach (@scandir($path) ?: [] as $name) {
                if ($name[0] !== '.' && is_dir("$path/$name") && !is_link("$path/$name")) {
                    $directories[] = "$path/$name";
                }
            }
        }
        return array_slice(array_values(array_filter(array_unique($directories), function (string $directory): bool {
            return !is_writable($directory);
        })), 0, 20);
    }

    /** What the database's account may not do, empty when it may do all that is needed. */
    private static function probe(Database $db): string
    {
        $name = 'wpcr' . bin2hex(random_bytes(3)) . '_';
        [$one, $two] = ["`{$name}0`", "`{$name}1`"];
        $said = '';
        foreach (["CREATE TABLE $one (id INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO $one VALUES (1)", "LOCK TABLES $one WRITE", 'UNLOCK TABLES', "RENAME TABLE $one TO $two", "ALTER TABLE $two ADD KEY id (id)"] as $sql) {
            if (@$db->link->query($sql) === false) {
                $said = strtok($sql, '`') . ': error ' . $db->link->errno;
                break;
            }
        }
        @$db->link->query('UNLOCK TABLES');
        @$db->link->query("DROP TABLE IF EXISTS $one, $two");
        return $said;
    }
}
