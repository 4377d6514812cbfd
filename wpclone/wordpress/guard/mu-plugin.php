<?php
/**
 * The part of the guard that needs WordPress: signing in, and telling a visitor that this is a clone.
 *
 * guard.php requires it on `muplugins_loaded`, from outside the site's own directories.
 *
 * Signing in never touches a row of the copy. The generated password is checked against a hash in the guard's
 * configuration, in front of WordPress's own check (wp-includes/user.php hooks that to `authenticate` at 20), because
 * WordPress would write a fresh hash of a password it accepted. The one-time link is described in wpclone/core/sign_in.py.
 */

if ( ! defined( 'WPCLONE_GUARD' ) || ! function_exists( 'add_filter' ) ) {
	exit( 1 );
}

/** Whether this is the clone's generated password. The hash is `pbkdf2-sha256$<rounds>$<salt>$<hash>`, base64 both. */
function wpclone_guard_password_is( $password ) {
	$parts = explode( '$', wpclone_guard_config()['password_hash'] );
	if ( ! is_string( $password ) || 4 !== count( $parts ) || 'pbkdf2-sha256' !== $parts[0] || (int) $parts[1] < 1000 ) {
		return false;
	}
	$expected = base64_decode( $parts[3], true );
	$salt     = base64_decode( $parts[2], true );
	if ( ! is_string( $expected ) || ! is_string( $salt ) || strlen( $expected ) < 32 ) {
		return false;
	}
	return hash_equals( $expected, hash_pbkdf2( 'sha256', $password, $salt, (int) $parts[1], strlen( $expected ), true ) );
}

/** Filter `authenticate`, first and last: the administrator, when the password is the generated one; else what it was. */
function wpclone_guard_authenticate( $user, $login, $password ) {
	$name = wpclone_guard_config()['admin_login'];
	if ( ! is_string( $login ) || '' === $login || ! wpclone_guard_password_is( $password ) ) {
		return $user;
	}
	$admin = get_user_by( 'login', $name );
	if ( ! $admin || ( $login !== $name && strtolower( $login ) !== strtolower( $admin->user_email ) ) ) {
		return $user;
	}
	return $admin;
}

/** Decodes base64url without padding; null when it is none. */
function wpclone_guard_decode( $text ) {
	$data = base64_decode( strtr( $text, '-_', '+/' ), true );
	return is_string( $data ) ? $data : null;
}

/** The payload of a sign-in token that is signed, ours, in its time; else null. It does not yet mark it used. */
function wpclone_guard_token( $token ) {
	$config = wpclone_guard_config();
	$parts  = is_string( $token ) ? explode( '.', $token ) : array();
	if ( 2 !== count( $parts ) || strlen( $token ) > 2000 ) {
		return null;
	}
	$signature = wpclone_guard_decode( $parts[1] );
	$expected  = hash_hmac( 'sha256', "wpclone-sign-in\n" . $parts[0], $config['key_bytes'], true );
	if ( null === $signature || ! hash_equals( $expected, $signature ) ) {
		return null;
	}
	$payload = json_decode( (string) wpclone_guard_decode( $parts[0] ), true );
	if ( ! is_array( $payload ) || ! isset( $payload['c'], $payload['u'], $payload['e'], $payload['n'] ) ) {
		return null;
	}
	$left = (int) $payload['e'] - time();
	if ( $payload['c'] !== $config['clone_id'] || $left < 0 || $left > 330 ) {
		return null;
	}
	return preg_match( '/\A[A-Za-z0-9_-]{16,64}\z/', (string) $payload['n'] ) ? $payload : null;
}

/** Marks a nonce used; true for exactly one caller (`x` is O_CREAT|O_EXCL). */
function wpclone_guard_first_use( $nonce ) {
	$dir = wpclone_guard_config()['state_dir'] . '/used';
	if ( ! is_dir( $dir ) && ! @mkdir( $dir, 0700 ) && ! is_dir( $dir ) ) {
		return false;
	}
	$file = @fopen( $dir . '/' . $nonce, 'x' );
	return is_resource( $file ) && fclose( $file );
}

/** Action `init`: a visit with a sign-in token becomes a session and a clean address, or a 403. */
function wpclone_guard_link() {
	if ( ! isset( $_GET['wpclone-sign-in'] ) ) {
		return;
	}
	// A preview or a prefetch must not use the link up.
	$purpose = strtolower( implode( ' ', array_intersect_key( $_SERVER, array( 'HTTP_PURPOSE' => 1, 'HTTP_SEC_PURPOSE' => 1, 'HTTP_X_MOZ' => 1 ) ) ) );
	if ( 'GET' !== $_SERVER['REQUEST_METHOD'] || false !== strpos( $purpose, 'prefetch' ) ) {
		wpclone_guard_refuse( 403, 'A sign-in link is opened, not fetched ahead.' );
	}
	$payload = wpclone_guard_token( wp_unslash( $_GET['wpclone-sign-in'] ) );
	$user    = null === $payload ? false : get_user_by( 'login', (string) $payload['u'] );
	if ( ! $user || ! wpclone_guard_first_use( $payload['n'] ) ) {
		wpclone_guard_refuse( 403, 'This sign-in link was used already, is too old, or is not for this clone. Ask for a new one.' );
	}
	nocache_headers();
	header( 'Referrer-Policy: no-referrer' );
	wp_set_auth_cookie( $user->ID, false );
	wp_safe_redirect( admin_url() );
	exit;
}

/**
 * Action `template_redirect`: an address in the directory that the source has at its host leads to where it is at the clone's root.
 *
 * Links without a host (`/blog/about/`) stay in the copy as they are, so that they are right again when it is restored. What the
 * clone itself has at such an address comes first. Clones from before have no `source_path`.
 */
function wpclone_guard_moved() {
	$config = wpclone_guard_config();
	$path   = isset( $config['source_path'] ) ? (string) $config['source_path'] : '';
	$asked  = isset( $_SERVER['REQUEST_URI'] ) ? (string) $_SERVER['REQUEST_URI'] : '';
	if ( '' === $path || ! is_404() || ! preg_match( '#\\A' . preg_quote( $path, '#' ) . '(?=[/?]|\\z)#i', $asked ) ) {
		return;
	}
	nocache_headers();
	// One slash, whatever came: `//` would begin a host. 307: a form keeps what it sends.
	wp_safe_redirect( home_url( '/' . ltrim( substr( $asked, strlen( $path ) ), '/' ) ), 307 );
	exit;
}

/** The banner's sentence, in plain text. */
function wpclone_guard_sentence() {
	return 'This is a clone of a site. It is removed after ' . gmdate( 'Y-m-d H:i', wpclone_guard_config()['ends'] ) . ' UTC. It sends no mail and reaches no other server.';
}

/** The banner on pages and in wp-admin; the comments let a comparison with the source cut it out. */
function wpclone_guard_banner() {
	static $shown = false;
	if ( $shown || wp_doing_ajax() || ( function_exists( 'is_embed' ) && did_action( 'wp' ) && ( is_embed() || is_feed() ) ) ) {
		return;
	}
	$shown = true;
	echo '<!--wpclone-banner--><div id="wpclone-banner" role="note" style="position:fixed;z-index:99998;left:0;right:0;bottom:0;margin:0;padding:6px 16px;'
		. 'background:#1d2327;color:#fff;font:13px/1.5 sans-serif;text-align:center">' . esc_html( wpclone_guard_sentence() ) . '</div><!--/wpclone-banner-->';
}

/**
 * Action `admin_init`: the whole list of what the copy left as it was (wpclone/wordpress/left_places.py), to an administrator, as JSON
 * lines. Clones from before have no such list.
 */
function wpclone_guard_left() {
	if ( ! isset( $_GET['wpclone-left'] ) ) {
		return;
	}
	if ( ! current_user_can( 'manage_options' ) ) {
		wpclone_guard_refuse( 403, 'What was left is for administrators.' );
	}
	global $wpdb;
	$wpdb->suppress_errors();
	// Binary, because the connection may have any character set; a page at a time, because there may be millions.
	$page = 'SELECT id, table_name, CAST(row_key AS BINARY) AS row_key, column_name, reason, places FROM wpclone_left WHERE id > %d ORDER BY id LIMIT 2000';
	$rows = $wpdb->get_results( $wpdb->prepare( $page, 0 ) );
	if ( '' !== $wpdb->last_error ) {
		wpclone_guard_refuse( 404, 'This clone has no list of what was left.' );
	}
	while ( ob_get_level() ) {
		ob_end_clean();
	}
	set_time_limit( 0 );
	nocache_headers();
	header( 'Content-Type: application/x-ndjson; charset=utf-8' );
	header( 'Content-Disposition: attachment; filename="wpclone-left.jsonl"' );
	while ( $rows ) {
		foreach ( $rows as $row ) {
			$line = array( 'table' => $row->table_name, 'key' => $row->row_key, 'column' => $row->column_name, 'reason' => $row->reason, 'places' => (int) $row->places );
			echo json_encode( $line, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE ), "\n";
			$last = $row->id;
		}
		flush();
		$rows = $wpdb->get_results( $wpdb->prepare( $page, $last ) );
	}
	exit;
}

/** The same in the admin bar, where there is one. */
function wpclone_guard_bar( $bar ) {
	$bar->add_node( array(
		'id'    => 'wpclone',
		'title' => esc_html( 'CLONE – until ' . gmdate( 'H:i', wpclone_guard_config()['ends'] ) . ' UTC' ),
		'meta'  => array( 'title' => wpclone_guard_sentence() ),
	) );
	if ( current_user_can( 'manage_options' ) ) {
		$bar->add_node( array(
			'id'     => 'wpclone-left',
			'parent' => 'wpclone',
			'title'  => esc_html( 'Addresses of the source that were left' ),
			'href'   => admin_url( '?wpclone-left' ),
		) );
	}
}

add_filter( 'authenticate', 'wpclone_guard_authenticate', PHP_INT_MIN, 3 );
add_filter( 'authenticate', 'wpclone_guard_authenticate', PHP_INT_MAX, 3 );
add_action( 'init', 'wpclone_guard_link', PHP_INT_MIN );
add_action( 'admin_init', 'wpclone_guard_left', PHP_INT_MIN );
add_action( 'template_redirect', 'wpclone_guard_moved', PHP_INT_MIN ); // before WordPress guesses what was meant
add_action( 'wp_footer', 'wpclone_guard_banner', PHP_INT_MAX );
add_action( 'admin_footer', 'wpclone_guard_banner', PHP_INT_MAX );
add_action( 'login_footer', 'wpclone_guard_banner', PHP_INT_MAX );
add_action( 'admin_bar_menu', 'wpclone_guard_bar', 1 );
