<?php
/**
 * The guard of a clone: PHP runs this file before every script of the site (`auto_prepend_file`).
 *
 * It promises that a copied site stays harmless from its first line of code, without one row or file of the copy changed:
 * no mail leaves, no cron runs, no request goes out but to itself and an allow-list, and no search engine is let in.
 * Without a readable configuration, or without its state directory, it answers 503 and runs nothing.
 *
 * WordPress takes hooks from before its own start: `$wp_filter` filled here is turned into WP_Hook objects by
 * wp-includes/plugin.php (`WP_Hook::build_preinitialized_hooks`, since 4.7). So the filters below hold before drop-ins,
 * mu-plugins and plugins, and `mu-plugin.php`, beside this file, joins on `muplugins_loaded`.
 *
 * PHP 7.4 or newer. Names start with `wpclone_guard_`. The configuration is `config.json` beside this file, written by
 * wpclone/wordpress/guard/config.py.
 */

if ( defined( 'WPCLONE_GUARD' ) ) {
	return;
}
define( 'WPCLONE_GUARD', 1 );

/** Answers 503 (or another status) with one sentence and ends the request: the only way out when something is amiss. */
function wpclone_guard_refuse( $status, $sentence ) {
	if ( ! headers_sent() ) {
		http_response_code( $status );
		header( 'Content-Type: text/plain; charset=utf-8' );
		header( 'X-Robots-Tag: noindex, nofollow' );
		header( 'Cache-Control: no-store' );
		if ( 503 === $status ) {
			header( 'Retry-After: 10' );
		}
	}
	echo $sentence, "\n";
	exit( 1 );
}

/** The configuration, read once a request. Never returns an incomplete one. */
function wpclone_guard_config() {
	static $config = null;
	if ( null !== $config ) {
		return $config;
	}
	$text = @file_get_contents( __DIR__ . '/config.json' );
	$read = is_string( $text ) ? json_decode( $text, true ) : null;
	$need = array( 'clone_id', 'url', 'expires_at', 'admin_login', 'password_hash', 'key', 'allow_hosts', 'inactive_plugins', 'state_dir' );
	foreach ( $need as $name ) {
		if ( ! is_array( $read ) || ! isset( $read[ $name ] ) ) {
			wpclone_guard_refuse( 503, 'This clone is not ready: its guard has no configuration.' );
		}
	}
	$read['key_bytes'] = base64_decode( $read['key'], true );
	$read['ends']      = strtotime( $read['expires_at'] );
	if ( ! is_string( $read['key_bytes'] ) || strlen( $read['key_bytes'] ) < 32 || ! $read['ends'] || ! is_array( $read['allow_hosts'] ) ) {
		wpclone_guard_refuse( 503, 'This clone is not ready: its guard cannot read its configuration.' );
	}
	if ( ! is_dir( $read['state_dir'] ) || ! is_writable( $read['state_dir'] ) ) {
		wpclone_guard_refuse( 503, 'This clone is not ready: its guard cannot keep its notes.' );
	}
	$config = $read;
	return $config;
}

/** Appends one JSON line to a log in the state directory; whole lines, whoever writes at the same time. */
function wpclone_guard_note( $log, array $entry ) {
	$path = wpclone_guard_config()['state_dir'] . '/' . $log . '.jsonl';
	// A page that tries in a loop must not fill the disk.
	if ( @filesize( $path ) > 5000000 ) {
		return;
	}
	$line = json_encode( array( 'at' => gmdate( 'Y-m-d\TH:i:s\Z' ) ) + $entry, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR );
	@file_put_contents( $path, $line . "\n", FILE_APPEND | LOCK_EX );
}

/** `host`, lower case, of a URL, with `:port` when it names one. */
function wpclone_guard_host( $url ) {
	$parts = @parse_url( (string) $url );
	if ( ! is_array( $parts ) || empty( $parts['host'] ) ) {
		return '';
	}
	return strtolower( $parts['host'] ) . ( isset( $parts['port'] ) ? ':' . $parts['port'] : '' );
}

/** Whether a request to this URL may leave: the clone's own address exactly, or a host of the allow-list. */
function wpclone_guard_may_reach( $url ) {
	$config = wpclone_guard_config();
	$to     = wpclone_guard_host( $url );
	if ( '' === $to ) {
		return false;
	}
	if ( wpclone_guard_host( $config['url'] ) === $to ) {
		return true;
	}
	$bare = preg_replace( '/:\d+$/', '', $to );
	return in_array( $to, $config['allow_hosts'], true ) || in_array( $bare, $config['allow_hosts'], true );
}

/** Filter `pre_http_request`: refuses what may not leave, and notes the attempt without its query or body. */
function wpclone_guard_http( $answer, $arguments, $url ) {
	if ( wpclone_guard_may_reach( $url ) ) {
		return $answer;
	}
	$method = is_array( $arguments ) && isset( $arguments['method'] ) ? (string) $arguments['method'] : 'GET';
	$path   = (string) @parse_url( (string) $url, PHP_URL_PATH );
	wpclone_guard_note( 'http', array( 'method' => $method, 'host' => wpclone_guard_host( $url ), 'path' => $path ) );
	return new WP_Error( 'http_request_not_executed', 'This is a clone: outbound requests are refused.' );
}

/**
 * Filter `pre_wp_mail`: keeps the message in a file and reports success, as a mail server that accepted it would.
 *
 * A site that mails in a loop must not fill the disk: 500 messages are kept, of each 250 kB. capture-mail.sh has the same bounds.
 */
function wpclone_guard_mail( $answer, $message ) {
	$file = wpclone_guard_config()['state_dir'] . '/mail/wp-' . gmdate( 'Ymd\THis' ) . '-' . bin2hex( random_bytes( 6 ) ) . '.json';
	$kept = array();
	foreach ( array( 'to', 'subject', 'message', 'headers', 'attachments' ) as $part ) {
		$kept[ $part ] = isset( $message[ $part ] ) ? $message[ $part ] : null;
	}
	@mkdir( dirname( $file ), 0700 );
	$others = @scandir( dirname( $file ), SCANDIR_SORT_NONE );
	if ( is_array( $others ) && count( $others ) < 502 ) { // with . and ..
		$text = json_encode( $kept, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR );
		@file_put_contents( $file, substr( (string) $text, 0, 250000 ) );
	}
	return true;
}

/** Action `phpmailer_init`, for WordPress before 5.7: whatever transport was chosen, PHP's mail() is captured below. */
function wpclone_guard_mailer( $mailer ) {
	$mailer->Mailer = 'mail';
}

/** Filter `option_active_plugins`: without the plugins that would lock the sign-in or force https. The row keeps them. */
function wpclone_guard_active_plugins( $plugins ) {
	if ( ! is_array( $plugins ) || ! empty( $GLOBALS['wpclone_guard_raw_plugins'] ) ) {
		return $plugins;
	}
	return array_values( array_filter( $plugins, 'wpclone_guard_plugin_stays' ) );
}

/** Whether a plugin file such as `akismet/akismet.php` stays active in the clone. */
function wpclone_guard_plugin_stays( $plugin ) {
	$slug = is_string( $plugin ) ? strtok( $plugin, '/' ) : '';
	return ! in_array( $slug, wpclone_guard_config()['inactive_plugins'], true );
}

/** Filter `pre_update_option_active_plugins`: what the clone does not show must not vanish from the row on a save. */
function wpclone_guard_save_plugins( $value ) {
	if ( ! is_array( $value ) ) {
		return $value;
	}
	$GLOBALS['wpclone_guard_raw_plugins'] = true;
	$row                                  = get_option( 'active_plugins' );
	$GLOBALS['wpclone_guard_raw_plugins'] = false;
	foreach ( is_array( $row ) ? $row : array() as $plugin ) {
		if ( ! wpclone_guard_plugin_stays( $plugin ) && ! in_array( $plugin, $value, true ) ) {
			$value[] = $plugin;
		}
	}
	sort( $value );
	return $value;
}

/** Filter: `blog_public` reads as '0'; the row stays as copied. */
function wpclone_guard_not_public() {
	return '0';
}

/** Filter: no. */
function wpclone_guard_no() {
	return false;
}

/** Filter: zero. */
function wpclone_guard_zero() {
	return 0;
}

/** Filter: nothing is due. */
function wpclone_guard_none() {
	return array();
}

/** Filter `robots_txt`, for sites whose robots.txt reaches WordPress. */
function wpclone_guard_robots() {
	return "User-agent: *\nDisallow: /\n";
}

/** Action `muplugins_loaded`: the rest of the guard, which needs WordPress's own functions. */
function wpclone_guard_join() {
	require_once __DIR__ . '/mu-plugin.php';
}

/** Puts one callback into `$wp_filter`, as WordPress will find it when it starts. */
function wpclone_guard_hook( $name, $function, $accepted_args = 1, $priority = PHP_INT_MAX ) {
	$GLOBALS['wp_filter'][ $name ][ $priority ][] = array(
		'function'      => $function,
		'accepted_args' => $accepted_args,
	);
}

/** Everything above, tied to the site about to start. */
function wpclone_guard_start() {
	$config = wpclone_guard_config();
	// The service removes a clone when its time is over; ten minutes later nothing may be left that still answers.
	if ( time() > $config['ends'] + 600 ) {
		wpclone_guard_refuse( 410, 'This clone has expired.' );
	}
	if ( 'wp-cron.php' === basename( isset( $_SERVER['SCRIPT_FILENAME'] ) ? $_SERVER['SCRIPT_FILENAME'] : '' ) ) {
		wpclone_guard_refuse( 403, 'This is a clone: scheduled work does not run.' );
	}
	header( 'X-Robots-Tag: noindex, nofollow' );
	// The service reads a clone by the agent beside this file, which answers to signed questions and runs no code of the site.
	if ( '/wpclone-agent.php' === ( isset( $_SERVER['PATH_INFO'] ) ? $_SERVER['PATH_INFO'] : '' ) && is_file( __DIR__ . '/wpclone-agent.php' ) ) {
		require __DIR__ . '/wpclone-agent.php';
		exit;
	}
	defined( 'DISABLE_WP_CRON' ) || define( 'DISABLE_WP_CRON', true );

	wpclone_guard_hook( 'muplugins_loaded', 'wpclone_guard_join', 0, PHP_INT_MIN );
	wpclone_guard_hook( 'pre_http_request', 'wpclone_guard_http', 3 );
	wpclone_guard_hook( 'pre_wp_mail', 'wpclone_guard_mail', 2 );
	wpclone_guard_hook( 'phpmailer_init', 'wpclone_guard_mailer', 1 );
	wpclone_guard_hook( 'pre_option_blog_public', 'wpclone_guard_not_public' );
	wpclone_guard_hook( 'robots_txt', 'wpclone_guard_robots' );
	wpclone_guard_hook( 'option_active_plugins', 'wpclone_guard_active_plugins' );
	wpclone_guard_hook( 'pre_update_option_active_plugins', 'wpclone_guard_save_plugins' );
	wpclone_guard_hook( 'pre_get_ready_cron_jobs', 'wpclone_guard_none' );
	wpclone_guard_hook( 'enable_loading_advanced_cache_dropin', 'wpclone_guard_no' );
	wpclone_guard_hook( 'enable_loading_object_cache_dropin', 'wpclone_guard_no' );
	wpclone_guard_hook( 'action_scheduler_allow_async_request_runner', 'wpclone_guard_no' );
	wpclone_guard_hook( 'action_scheduler_queue_runner_concurrent_batches', 'wpclone_guard_zero' );
}

wpclone_guard_start();
