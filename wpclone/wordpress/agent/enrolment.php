<?php
/*
 * An agent without a key of its own: it answers nobody until WordPress itself has let an administrator enrol one. A part of agent.php
 * in the plugin that `wpclone agent zip --keyless` makes, and only there: see package.py. PHP 7.4 or newer.
 */
namespace WpcloneAgent;

/** The keys that were enrolled, each a file beside the agent and good for a time. Deactivating the plugin ends all of them. */
final class Enrolment
{
    const ROUTES = 'wpclone-agent/v1';
    const MOST = 8;
    const LONGEST = 172800;
    const HEAD = "<?php exit; ?>\n"; // asked for directly, the files show nothing

    /** What WordPress is told whenever it includes the active plugin. */
    public static function offer(): void
    {
        if (!State::dedicated()) {
            return; // keys lie beside the agent: in a folder of others' they would be copied
        }
        \register_activation_hook(__FILE__, [self::class, 'activated']);
        \register_deactivation_hook(__FILE__, [self::class, 'deactivated']);
        \add_action('rest_api_init', [self::class, 'route']);
    }

    /** The routes are there for who asks for exactly them: the public index shows neither them nor the folder's name. */
    public static function route(): void
    {
        $asked = $GLOBALS['wp']->query_vars['rest_route'] ?? '';
        foreach (['enrol', 'withdraw'] as $verb) {
            $route = '/' . basename(__DIR__) . '/' . $verb;
            if ($asked === '/' . self::ROUTES . $route) {
                $about = ['methods' => 'POST', 'callback' => [self::class, $verb], 'permission_callback' => [self::class, 'permits']];
                \register_rest_route(self::ROUTES, $route, $about);
            }
        }
    }

    /** @return true|\WP_Error whether the one who asks may install plugins, and so could put any code here */
    public static function permits()
    {
        if (!self::isProved()) {
            return new \WP_Error('wpclone_not_signed_in', 'An application password, or a session with its nonce, is needed.', ['status' => 401]);
        }
        if (!\wp_is_file_mod_allowed('capability_update_core')) {
            return new \WP_Error('wpclone_file_mods', 'This site forbids installing plugins.', ['status' => 403]);
        }
        if (!\current_user_can('install_plugins') || !\current_user_can('activate_plugins')) {
            return new \WP_Error('wpclone_forbidden', 'This account may not install plugins.', ['status' => 403]);
        }
        return true;
    }

    /** Whatever other ways in plugins add to a site, these two are WordPress's own, and no other page can have a browser use them. */
    private static function isProved(): bool
    {
        $nonce = $_SERVER['HTTP_X_WP_NONCE'] ?? '';
        return \is_user_logged_in() && (\did_action('application_password_did_authenticate') > 0
            || (is_string($nonce) && \wp_verify_nonce($nonce, 'wp_rest') !== false));
    }

    /** @return array<string, string>|\WP_Error where the agent answers to the key from now on; the same key may come again */
    public static function enrol(\WP_REST_Request $request)
    {
        [$key, $seconds] = self::asked($request);
        if ($key === '') {
            return new \WP_Error('wpclone_bad_key', 'A key is 64 hexadecimal digits.', ['status' => 400]);
        }
        self::sweep();
        if (count(self::found()) >= self::MOST && !is_file(self::path($key))) {
            return new \WP_Error('wpclone_too_many', 'Too many copies of this site are being made.', ['status' => 429]);
        }
        if (!self::put(self::path($key), ['key' => bin2hex($key), 'until' => time() + max(60, min(self::LONGEST, $seconds))])) {
            return new \WP_Error('wpclone_not_writable', 'The folder of this plugin is not writable for PHP.', ['status' => 500]);
        }
        return ['url' => \plugins_url(basename(__FILE__), __FILE__), 'name' => basename(__FILE__, '.php')];
    }

    /**
     * The key is good for nothing any more. After the last one the plugin goes back to what it was before the first: inactive if it
     * was activated for that, deleted if it was installed for that. In one request, so that nobody enrols in between.
     *
     * @return array<string, string>|\WP_Error
     */
    public static function withdraw(\WP_REST_Request $request)
    {
        [$key] = self::asked($request);
        if ($key !== '') {
            self::drop($key);
        }
        self::sweep();
        $before = self::found() === [] ? self::before() : '';
        if ($before !== '') {
            require_once ABSPATH . 'wp-admin/includes/plugin.php';
            require_once ABSPATH . 'wp-admin/includes/file.php';
            \deactivate_plugins(\plugin_basename(__FILE__));
        }
        $gone = $before === 'installed' ? \delete_plugins([\plugin_basename(__FILE__)]) : true;
        return $gone === true ? ['done' => $before] : new \WP_Error('wpclone_stays', 'The plugin could not be deleted.', ['status' => 500]);
    }

    /** Notes why the plugin is active, when a copy is the cause; an owner who activates it means it to stay. */
    public static function activated(): void
    {
        @unlink(self::note());
        $why = $_POST['wpclone_agent'] ?? '';
        if ($why === 'activated' || $why === 'installed') {
            self::put(self::note(), ['before' => $why]);
        }
    }

    public static function deactivated(): void
    {
        foreach (self::found() as $enrolled) {
            self::drop((string) hex2bin($enrolled['key']));
        }
        @unlink(self::note());
    }

    /** @return string[] also of keys whose time is over, so that they are told so */
    public static function keys(): array
    {
        return array_map('hex2bin', array_column(self::found(), 'key'));
    }

    /**
     * Whether the request ends with this: its key is withdrawn, as asked, or its time is over.
     *
     * @param array<string, mixed> $asked
     */
    public static function ends(string $key, array $asked, State $state, Answer $answer): bool
    {
        $until = self::found()[self::path($key)]['until'] ?? 0;
        $withdraws = $asked['verb'] === 'remove';
        if (!$withdraws && time() <= $until) {
            return false;
        }
        $state->forget();
        @unlink(self::path($key));
        if (!$withdraws) {
            throw new Failure('EXPIRED', 'the time of this key is over', 410);
        }
        if (!empty($asked['inactive'])) {
            @unlink(self::note()); // there is nothing to go back from
        }
        $answer->json('E', ['gone' => !is_file(self::path($key)), 'stays' => self::found() === [] ? self::before() : '']);
        return true;
    }

    /** @return array{0: string, 1: int} the key in bytes, empty when it is none, and the seconds it should live; never from the URL */
    private static function asked(\WP_REST_Request $request): array
    {
        $sent = $request->get_body_params();
        $key = is_string($sent['key'] ?? null) && preg_match('/^[0-9a-f]{64}$/', $sent['key']) ? (string) hex2bin($sent['key']) : '';
        return [$key, is_numeric($sent['seconds'] ?? null) ? (int) $sent['seconds'] : self::LONGEST];
    }

    /** @return array<string, array{key: string, until: int}> by path */
    private static function found(): array
    {
        $found = [];
        foreach (@scandir(__DIR__) ?: [] as $name) {
            if (preg_match('/^key-[0-9a-f]{24}\.php$/', $name)) {
                $enrolled = self::get(__DIR__ . '/' . $name);
                if (is_string($enrolled['key'] ?? null) && preg_match('/^[0-9a-f]{64}$/', $enrolled['key'])) {
                    $found[__DIR__ . '/' . $name] = ['key' => $enrolled['key'], 'until' => (int) ($enrolled['until'] ?? 0)];
                }
            }
        }
        return $found;
    }

    /** Deletes keys whose time is over. */
    private static function sweep(): void
    {
        foreach (self::found() as $enrolled) {
            if (time() > $enrolled['until']) {
                self::drop((string) hex2bin($enrolled['key']));
            }
        }
    }

    private static function drop(string $key): void
    {
        (new State($key))->forget();
        @unlink(self::path($key));
    }

    /** What the plugin goes back to after the last key: `activated` or `installed` for a copy; empty when the owner has it active. */
    private static function before(): string
    {
        return (string) (self::get(self::note())['before'] ?? '');
    }

    private static function path(string $key): string
    {
        return __DIR__ . '/key-' . substr(hash_hmac('sha256', 'enrolled', $key), 0, 24) . '.php';
    }

    private static function note(): string
    {
        return __DIR__ . '/before.php';
    }

    /** @return array<string, mixed> */
    private static function get(string $path): array
    {
        $kept = json_decode(substr((string) @file_get_contents($path), strlen(self::HEAD)), true);
        return is_array($kept) ? $kept : [];
    }

    /** @param array<string, mixed> $value whole or not at all, and for this user's eyes */
    private static function put(string $path, array $value): bool
    {
        $half = $path . '.' . bin2hex(random_bytes(6));
        $mask = umask(0077);
        $done = @file_put_contents($half, self::HEAD . json_encode($value)) !== false && @rename($half, $path);
        umask($mask);
        if (!$done) {
            @unlink($half);
        }
        return $done;
    }
}
