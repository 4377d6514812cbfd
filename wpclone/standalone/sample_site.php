<?php
/*
 * Fills a new WordPress with what a real small site has: run once by the PHP command line inside the docroot's settings.
 * usage: php sample_site.php SETTINGS.json
 */

$settings = json_decode(file_get_contents($argv[1]), true);
$_SERVER['HTTP_HOST'] = parse_url($settings['url'], PHP_URL_HOST) . (parse_url($settings['url'], PHP_URL_PORT) ? ':' . parse_url($settings['url'], PHP_URL_PORT) : '');
$_SERVER['REQUEST_URI'] = '/';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
define('WP_INSTALLING', true);
define('WP_SITEURL', $settings['url']); // before it is in the database WordPress guesses it, without a path

// WordPress would send these two; a sample site has nobody to write to.
function wp_new_blog_notification() {}
function wp_mail() { return true; }

require $settings['docroot'] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
require_once ABSPATH . 'wp-admin/includes/image.php';

/** A picture whose pixels depend on its number, padded after the end marker to a given size (decoders stop at the marker). */
function sample_jpeg(int $number, int $size, string $path): void
{
    $image = imagecreatetruecolor(640, 400);
    for ($band = 0; $band < 16; $band++) {
        $colour = imagecolorallocate($image, ($number * 37 + $band * 15) % 256, ($number * 91 + $band * 7) % 256, ($band * 16 + $number * 5) % 256);
        imagefilledrectangle($image, $band * 40, 0, $band * 40 + 39, 399, $colour);
    }
    imagestring($image, 5, 20, 20, 'sample ' . $number, imagecolorallocate($image, 255, 255, 255));
    imagejpeg($image, $path, 85);
    imagedestroy($image);
    $missing = $size - filesize($path);
    if ($missing > 0) {
        $noise = openssl_encrypt(str_repeat("\0", $missing), 'aes-128-ctr', md5("sample $number", true), OPENSSL_RAW_DATA, str_repeat("\0", 16));
        file_put_contents($path, substr($noise, 0, $missing), FILE_APPEND);
    }
}

function sample_attachment(string $path, string $title): int
{
    $id = wp_insert_attachment(['post_mime_type' => 'image/jpeg', 'post_title' => $title, 'post_status' => 'inherit'], $path);
    wp_update_attachment_metadata($id, wp_generate_attachment_metadata($id, $path));
    return $id;
}

function sample_post_content(int $number, int $image): string
{
    $url = wp_get_attachment_url($image);
    $home = home_url('/');
    return "<!-- wp:paragraph -->\n<p>Post number $number, written for the sample. See <a href=\"{$home}about/\">about us</a> "
        . "or <a href='//" . preg_replace('#^https?://#', '', $home) . "sample-post-1/'>the first post</a>. 100% of it is made up; \\'quoted\\' too.</p>\n<!-- /wp:paragraph -->\n\n"
        . "<!-- wp:image {\"id\":$image,\"sizeSlug\":\"large\",\"linkDestination\":\"media\"} -->\n"
        . "<figure class=\"wp-block-image size-large\"><a href=\"$url\"><img src=\"$url\" alt=\"Picture $number\" class=\"wp-image-$image\"/></a></figure>\n<!-- /wp:image -->\n\n"
        . "<!-- wp:button {\"url\":\"" . addcslashes($home, '/') . "\"} -->\n<div class=\"wp-block-button\"><a class=\"wp-block-button__link wp-element-button\" href=\"$home\">Home</a></div>\n<!-- /wp:button -->\n\n"
        . "<!-- wp:quote -->\n<blockquote class=\"wp-block-quote\"><p>Grüße, 你好, 🎉 – emoji and umlauts survive.</p></blockquote>\n<!-- /wp:quote -->";
}

wp_install($settings['title'], $settings['admin'], 'admin@example.com', true, '', $settings['password']);
wp_create_user('second', $settings['password'] . '-2', 'second@example.com');
(new WP_User(get_user_by('login', 'second')->ID))->set_role('administrator');
wp_insert_user(['user_login' => 'author', 'user_pass' => wp_generate_password(), 'user_email' => 'author@example.com', 'role' => 'author']);

update_option('siteurl', $settings['url']);
update_option('home', $settings['url']);
update_option('permalink_structure', '/%postname%/');
$GLOBALS['wp_rewrite']->init();
switch_theme('twentytwentyone');
update_option('active_plugins', ['noisy/noisy.php']);

$uploads = wp_upload_dir('2025/10');
$images = [];
foreach (range(1, $settings['images']) as $number) {
    $path = $uploads['path'] . "/picture-$number.jpg";
    sample_jpeg($number, $settings['image_bytes'], $path);
    if ($number <= $settings['posts']) {
        $images[] = sample_attachment($path, "Picture $number");
    }
}

foreach (range(1, $settings['posts']) as $number) {
    $image = $images[($number - 1) % count($images)];
    $id = wp_insert_post([
        'post_title' => "Sample post $number", 'post_name' => "sample-post-$number", 'post_status' => 'publish', 'post_author' => 1,
        'post_date' => gmdate('Y-m-d H:i:s', 1735689600 + $number * 86400), 'post_content' => wp_slash(sample_post_content($number, $image)),
    ]);
    set_post_thumbnail($id, $image);
    update_post_meta($id, '_builder_data', wp_slash(json_encode([['id' => "el$number", 'settings' => ['link' => ['url' => home_url("/sample-post-$number/")], 'image' => wp_get_attachment_url($image)]]])));
    update_post_meta($id, '_layout', ['columns' => [1, 2.5, true, null], 'background' => ['url' => wp_get_attachment_url($image)], 'note' => "line\nbreak"]);
    wp_insert_comment(['comment_post_ID' => $id, 'comment_author' => 'Reader', 'comment_content' => 'Nice, see ' . home_url('/about/'), 'comment_approved' => 1]);
}
wp_insert_post(['post_type' => 'page', 'post_title' => 'About', 'post_name' => 'about', 'post_status' => 'publish', 'post_content' => 'About ' . home_url('/')]);

update_option('widget_text', [2 => ['title' => 'Sample widget', 'text' => 'The widget of <a href="' . home_url('/about/') . '">this site</a>, in äöü.', 'filter' => false, 'visual' => false], '_multiwidget' => 1]);
update_option('sidebars_widgets', ['wp_inactive_widgets' => [], 'sidebar-1' => ['text-2'], 'array_version' => 3]);
update_option('theme_mods_twentytwentyone', ['background_color' => 'd1e4dd', 'header_link' => home_url('/'), 'nav_menu_locations' => [], 'custom' => ['deep' => ['url' => $uploads['url'] . '/picture-1.jpg']]]);
update_option('sample_cached_fragment', '<link href="' . urlencode(home_url('/')) . '">');

global $wpdb;
$wpdb->query("CREATE TABLE {$wpdb->prefix}sample_events (site binary(4) NOT NULL, number bigint unsigned NOT NULL, happened datetime(3) NOT NULL, amount decimal(10,4) DEFAULT NULL, ratio float DEFAULT NULL, flags bit(5) NOT NULL DEFAULT b'0', body longblob, doubled decimal(12,4) GENERATED ALWAYS AS (amount * 2) STORED, PRIMARY KEY (site, number), KEY happened (happened))");
$wpdb->query("CREATE TABLE {$wpdb->prefix}sample_notes (note varchar(200) DEFAULT NULL, link text) DEFAULT CHARSET=latin1");
foreach (range(0, 499) as $number) {
    $body = 'x' . bin2hex(pack('N', $number)) . '00ff0a0d5c27';
    $wpdb->query($wpdb->prepare("INSERT INTO {$wpdb->prefix}sample_events (site, number, happened, amount, ratio, flags, body) VALUES (x'00ff5c27', %s, '2025-01-01 00:00:00.125', %f, %f, %d, x'" . substr($body, 1) . "')", (string) ($number === 499 ? '18446744073709551615' : $number), $number / 3, $number / 7, $number % 32));
}
$wpdb->query("INSERT INTO {$wpdb->prefix}sample_notes VALUES (NULL, ''), ('', NULL), ('caf" . "\xC3\xA9" . "', '" . home_url('/') . "'), ('twice', 'a'), ('twice', 'a')");

file_put_contents(WP_CONTENT_DIR . '/uploads/odd näme (1).txt', home_url('/'));
symlink('2025/10/picture-1.jpg', WP_CONTENT_DIR . '/uploads/latest.jpg');
flush_rewrite_rules(false);
delete_transient('_site_transient_update_core');
echo json_encode(['wp' => $GLOBALS['wp_version']]), "\n";
