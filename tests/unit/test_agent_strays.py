"""A rename of a request that died, and that does not end, is waited for so long and no longer."""

import subprocess
from importlib.resources import files

_STANDING_IN = r"""<?php
namespace WpcloneAgent;
class Failure extends \Exception {
    public $reason;
    function __construct($reason, $message) { $this->reason = $reason; parent::__construct($message); }
}
class Link { public $thread_id = 1; public $killed = []; function query($sql) { $this->killed[] = $sql; } }
class Database {
    public $link; public $looks = 0; public $lasts;
    function __construct($lasts) { $this->link = new Link(); $this->lasts = $lasts; }
    function rows($sql) {
        $this->looks++;
        $mine = [1, '', '', '', '', 0, '', 'RENAME TABLE `wpcrabcdef_1` TO `wp_posts`'];
        return $this->looks > $this->lasts ? [$mine] : [$mine, [7] + $mine];
    }
}
class Tables { public $db; function __construct($db) { $this->db = $db; } function own($sql) { return true; } }
"""
_TRY = r"""
foreach ([3, PHP_INT_MAX] as $lasts) {
    $tables = new Tables(new Database($lasts));
    try {
        (new Renaming($tables, []))->endStrays();
        echo 'ended ', count($tables->db->link->killed), ' ', $tables->db->link->killed[0], "\n";
    } catch (Failure $failure) {
        echo $failure->reason, "\n";
    }
}
"""


def test_a_rename_that_does_not_end_is_told_after_a_while() -> None:
    source = files("wpclone.wordpress.agent").joinpath("exchange.php").read_text()
    body = source.partition("namespace WpcloneAgent;\n")[2].replace("STRAYS_SECONDS = 10;", "STRAYS_SECONDS = 0.2;")
    assert "STRAYS_SECONDS = 0.2;" in body
    script = (_STANDING_IN + body + _TRY).encode()
    done = subprocess.run(["php", "-n"], input=script, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().splitlines() == ["ended 3 KILL 7", "CHANGING"]
