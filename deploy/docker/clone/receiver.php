<?php
/**
 * The receiver of a clone's pod: takes the copied files, the wp-config and the guard from a worker, and nothing else.
 *
 * It runs in a container of its own beside WordPress, behind a Service that only workers reach, and never loads the site's code.
 * Each request is signed: HMAC-SHA256 over method, path, time and the body's hash, with the key of the clone's Secret. All requests
 * may be repeated. A body is a row of frames, each one line of JSON followed by `n` bytes.
 *
 *   GET  /health           for the probe; not signed
 *   GET  /state            {"adopted": bool}
 *   POST /tree/SESSION     frames d (directory), f (part of a file), l (link); written beside the site, invisible to it. The first
 *                          has no frames, and ends every other session
 *   POST /adopt/SESSION    the tree of that session becomes the site, unless there is one already
 *   POST /content          frames g (a file of the guard) and c (wp-config.php); the guard first
 *   POST /expiry           {"expires_at": …}: what the guard says from now on
 */

const WPCLONE_CLOCK_SKEW = 300;

function wpclone_answer( $status, array $answer ) {
	http_response_code( $status );
	header( 'Content-Type: application/json' );
	echo json_encode( $answer, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE );
	exit;
}

function wpclone_refuse( $status, $message ) {
	wpclone_answer( $status, array( 'error' => $message ) );
}

/** The directory of the volume; Apache's configuration names it. */
function wpclone_site() {
	return $_SERVER['WPCLONE_SITE'];
}

/** The body, once its signature is right. */
function wpclone_checked_body( $method, $path ) {
	$key  = @file_get_contents( $_SERVER['WPCLONE_KEY_FILE'] );
	$body = file_get_contents( 'php://input' );
	$time = isset( $_SERVER['HTTP_X_WPCLONE_TIME'] ) ? $_SERVER['HTTP_X_WPCLONE_TIME'] : '';
	$sent = isset( $_SERVER['HTTP_X_WPCLONE_SIGNATURE'] ) ? $_SERVER['HTTP_X_WPCLONE_SIGNATURE'] : '';
	if ( ! is_string( $key ) || strlen( $key ) < 32 ) {
		wpclone_refuse( 503, 'the key is not there' );
	}
	// OpenSSL's hash: it uses what the processor has for it, which hash() does not.
	$right = hash_hmac( 'sha256', "$method\n$path\n$time\n" . openssl_digest( $body, 'sha256' ), $key );
	if ( ! ctype_digit( $time ) || abs( time() - (int) $time ) > WPCLONE_CLOCK_SKEW || ! hash_equals( $right, $sent ) ) {
		wpclone_refuse( 403, 'the signature is wrong' );
	}
	return $body;
}

/** The frames of a body, as [header, bytes]. */
function wpclone_frames( $body ) {
	$at = 0;
	while ( $at < strlen( $body ) ) {
		$end    = strpos( $body, "\n", $at );
		$header = false === $end ? null : json_decode( substr( $body, $at, $end - $at ), true );
		$length = is_array( $header ) && isset( $header['n'] ) ? $header['n'] : 0;
		if ( ! is_array( $header ) || ! isset( $header['k'] ) || ! is_int( $length ) || $length < 0 || $end + 1 + $length > strlen( $body ) ) {
			wpclone_refuse( 400, 'a frame is broken' );
		}
		yield array( $header, substr( $body, $end + 1, $length ) );
		$at = $end + 1 + $length;
	}
}

/** A path below a tree, from a header. Refuses what leads out. */
function wpclone_path( array $header ) {
	$path = isset( $header['p'] ) ? base64_decode( $header['p'], true ) : false;
	if ( ! is_string( $path ) || '' === $path || false !== strpos( $path, "\0" ) || array_intersect( explode( '/', $path ), array( '', '.', '..' ) ) ) {
		wpclone_refuse( 400, 'a path leads out of the site' );
	}
	return $path;
}

/** Whether what was to be done was done; if not, why, and that is the end of the request. */
function wpclone_must( $done ) {
	if ( false === $done ) {
		$error = error_get_last();
		$why   = $error ? $error['message'] : 'unknown';
		wpclone_refuse( false !== stripos( $why, 'space' ) || false !== stripos( $why, 'quota' ) ? 507 : 500, $why );
	}
	return $done;
}

/** The directory of a session's tree. */
function wpclone_incoming( $session ) {
	return wpclone_site() . '/incoming-' . $session;
}

/** Removes a tree; follows no link. */
function wpclone_remove( $path ) {
	if ( is_link( $path ) || ! is_dir( $path ) ) {
		@unlink( $path );
		return;
	}
	foreach ( array_diff( (array) @scandir( $path ), array( '.', '..' ) ) as $name ) {
		wpclone_remove( "$path/$name" );
	}
	@rmdir( $path );
}

/** Makes the directory above a path of a tree, and checks that no part of it is a link: links come last. */
function wpclone_parent( $tree, $path ) {
	$at = $tree;
	foreach ( array_slice( explode( '/', $path ), 0, -1 ) as $part ) {
		$at .= '/' . $part;
		if ( is_link( $at ) ) {
			wpclone_refuse( 400, 'a path leads through a link' );
		}
		if ( ! is_dir( $at ) ) {
			wpclone_must( @mkdir( $at, 0750 ) );
		}
	}
}

function wpclone_take_tree( $session, $body ) {
	$tree = wpclone_incoming( $session );
	if ( ! is_dir( $tree ) ) {
		$others = glob( wpclone_site() . '/incoming-*' );
		if ( $others && '' !== $body ) {
			// What a lost worker sent comes late, or ours after it: half a tree must not become the site.
			wpclone_refuse( 409, 'another worker sends this site' );
		}
		foreach ( $others as $older ) {
			wpclone_remove( $older );
		}
		wpclone_must( @mkdir( $tree, 0750 ) );
	}
	foreach ( wpclone_frames( $body ) as list( $header, $bytes ) ) {
		$path = wpclone_path( $header );
		wpclone_parent( $tree, $path );
		$full = $tree . '/' . $path;
		switch ( $header['k'] ) {
			case 'd':
				if ( ! is_dir( $full ) ) {
					wpclone_must( @mkdir( $full, 0750 ) );
				}
				break;
			case 'f':
				wpclone_take_part( $full, $header, $bytes );
				break;
			case 'l':
				wpclone_remove( $full );
				wpclone_must( @symlink( $bytes, $full ) );
				break;
			default:
				wpclone_refuse( 400, 'a frame of no known kind' );
		}
	}
	wpclone_answer( 200, array( 'ok' => true ) );
}

/** Writes one part of a file where it belongs, so that a repeated part changes nothing. */
function wpclone_take_part( $full, array $header, $bytes ) {
	if ( is_link( $full ) ) {
		wpclone_refuse( 400, 'a path leads through a link' );
	}
	$file = wpclone_must( @fopen( $full, 'c' ) );
	wpclone_must( 0 === fseek( $file, $header['o'] ) );
	wpclone_must( @fwrite( $file, $bytes ) === strlen( $bytes ) );
	if ( ! empty( $header['last'] ) ) {
		wpclone_must( ftruncate( $file, $header['o'] + strlen( $bytes ) ) );
	}
	fclose( $file );
	if ( ! empty( $header['last'] ) ) {
		wpclone_must( chmod( $full, $header['x'] ? 0750 : 0640 ) );
		wpclone_must( touch( $full, $header['t'] ) );
	}
}

/** Has the disk keep all that was written to the volume: once for a tree, because thousands of files one by one take seconds. */
function wpclone_sync() {
	exec( '/bin/sync -f ' . escapeshellarg( wpclone_site() ) . ' 2>&1', $said, $code );
	if ( 0 !== $code ) {
		wpclone_refuse( 500, 'the volume does not keep what it is given: ' . implode( ' ', $said ) );
	}
}

/** Whether the site has been handed over. Apache wants a docroot from the start, so that a directory is there says nothing. */
function wpclone_is_adopted() {
	return is_file( wpclone_site() . '/adopted' );
}

function wpclone_adopt( $session ) {
	$docroot = wpclone_site() . '/content/docroot';
	$tree    = wpclone_incoming( $session );
	if ( wpclone_is_adopted() ) {
		wpclone_remove( $tree );
	} elseif ( is_dir( $tree ) ) {
		wpclone_sync(); // before anything says that the site is whole
		wpclone_remove( $docroot );
		wpclone_must( @rename( $tree, $docroot ) );
		wpclone_must( touch( wpclone_site() . '/adopted' ) );
	} else {
		wpclone_refuse( 409, 'another worker sends this site' );
	}
	wpclone_answer( 200, array( 'ok' => true ) );
}

/** Replaces a file whole: beside it first, then renamed over it, whatever lies there. */
function wpclone_replace( $path, $bytes, $mode ) {
	$fresh = dirname( $path ) . '/.' . basename( $path ) . '.new';
	@unlink( $fresh );
	$file = wpclone_must( @fopen( $fresh, 'x' ) );
	wpclone_must( @fwrite( $file, $bytes ) === strlen( $bytes ) );
	wpclone_must( fsync( $file ) );
	fclose( $file );
	wpclone_must( chmod( $fresh, $mode ) );
	wpclone_must( @rename( $fresh, $path ) );
}

function wpclone_take_content( $body ) {
	$docroot = wpclone_site() . '/content/docroot';
	if ( ! wpclone_is_adopted() || is_link( $docroot ) || ! is_dir( $docroot ) ) {
		wpclone_refuse( 409, 'there is no site yet' );
	}
	foreach ( wpclone_frames( $body ) as list( $header, $bytes ) ) {
		$path = wpclone_path( $header );
		if ( false !== strpos( $path, '/' ) || ! in_array( $header['k'], array( 'g', 'c' ), true ) ) {
			wpclone_refuse( 400, 'a frame of no known kind' );
		}
		if ( 'g' === $header['k'] ) {
			wpclone_replace( wpclone_site() . '/guard/' . $path, $bytes, 0640 );
		} else {
			wpclone_replace( $docroot . '/' . $path, $bytes, 0400 );
		}
	}
	wpclone_answer( 200, array( 'ok' => true ) );
}

function wpclone_take_expiry( $body ) {
	$told   = json_decode( $body, true );
	$path   = wpclone_site() . '/guard/config.json';
	$config = json_decode( (string) @file_get_contents( $path ), true );
	if ( ! is_array( $config ) ) {
		wpclone_refuse( 409, 'there is no site yet' );
	}
	if ( ! is_array( $told ) || ! isset( $told['expires_at'] ) || ! strtotime( $told['expires_at'] ) ) {
		wpclone_refuse( 400, 'expires_at is no time' );
	}
	$config['expires_at'] = $told['expires_at'];
	wpclone_replace( $path, json_encode( $config, JSON_UNESCAPED_SLASHES ), 0640 );
	wpclone_answer( 200, array( 'ok' => true ) );
}

function wpclone_receive() {
	$method = $_SERVER['REQUEST_METHOD'];
	$path   = $_SERVER['REQUEST_URI'];
	if ( 'GET /health' === "$method $path" ) {
		wpclone_answer( 200, array( 'ok' => true ) );
	}
	$body   = wpclone_checked_body( $method, $path );
	set_time_limit( 0 );
	if ( 'GET /state' === "$method $path" ) {
		wpclone_answer( 200, array( 'adopted' => wpclone_is_adopted() ) );
	}
	if ( 'POST' === $method && preg_match( '~^/(tree|adopt)/([0-9a-f]{16})$~D', $path, $found ) ) {
		'tree' === $found[1] ? wpclone_take_tree( $found[2], $body ) : wpclone_adopt( $found[2] );
	}
	if ( 'POST /content' === "$method $path" ) {
		wpclone_take_content( $body );
	}
	if ( 'POST /expiry' === "$method $path" ) {
		wpclone_take_expiry( $body );
	}
	wpclone_refuse( 404, 'no such verb' );
}

wpclone_receive();
