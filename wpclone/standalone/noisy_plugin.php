<?php
/*
 * Plugin Name: Noisy
 * Description: On every page view it tries to reach a sink in every way PHP has. A clone of this site must reach nothing.
 * Version: 1.0
 */

add_action('wp_footer', function () {
    $sink = '@@SINK@@';
    if ($sink === '') {
        return;
    }
    $said = 'from=' . rawurlencode(home_url());
    @mail('customer@example.com', 'noisy', $said);
    wp_mail('customer@example.com', 'noisy', $said);
    wp_remote_get("http://$sink/wp_remote_get?$said", ['timeout' => 2]);
    if (function_exists('curl_init')) {
        $curl = curl_init("http://$sink/curl?$said");
        curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT_MS => 2000, CURLOPT_CONNECTTIMEOUT_MS => 2000]);
        @curl_exec($curl);
        curl_close($curl);
    }
    [$host, $port] = explode(':', $sink);
    $socket = @fsockopen($host, (int) $port, $number, $message, 2);
    if ($socket) {
        fwrite($socket, "GET /fsockopen?$said HTTP/1.0\r\n\r\n");
        fclose($socket);
    }
});
