<?php
/*
 * What the agent does at the target of a restore. Shipped as a part of agent.php: see package.py.
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
        $done = 0;
        foreach ($asked['files'] as $encoded) {
            if ($done > 0 && $budget->spent()) {
                break;
            }
            $full = $root . '/' . Paths::checked((string) base64_decode($encoded));
            $answer->json('J', ['hash' => @is_file($full) ? (string) @hash_file('sha256', $full) : '']);
            $done++;
        }
        $answer->json('E', ['done' => $done]);
    }
}

/** Paths below a root. */
final class Paths
{
    public static function checked(string $path): string
    {
        if ($path === '' || preg_match('#(^|/)\.{0,2}(/|$)#', $path) || strpos($path, "\0") !== false) {
            throw new Failure('BAD_REQUEST', 'a path leaves its root', 400);
        }
        return $path;
    }
}
