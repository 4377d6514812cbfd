"""What a small shop has beside WordPress's own tables, and what people do in it: made by SQL, no plugin needed."""

from tests.support.shop import Shop

TABLES = (
    "CREATE TABLE IF NOT EXISTS wp_wc_orders (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, status VARCHAR(20),"
    " total_amount DECIMAL(26,8))",
    "CREATE TABLE IF NOT EXISTS wp_woocommerce_order_items (order_item_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " order_item_name TEXT NOT NULL, order_id BIGINT UNSIGNED NOT NULL)",
    "CREATE TABLE IF NOT EXISTS wp_woocommerce_order_itemmeta (meta_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " order_item_id BIGINT UNSIGNED NOT NULL, meta_key VARCHAR(255), meta_value LONGTEXT)",
    "CREATE TABLE IF NOT EXISTS wp_woocommerce_sessions (session_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " session_key CHAR(32) NOT NULL UNIQUE, session_value LONGTEXT NOT NULL)",
)  # fmt: skip
_POST = (
    "INSERT INTO wp_posts (ID, post_author, post_content, post_title, post_excerpt, post_status, post_type, post_name, to_ping,"
    " pinged, post_content_filtered, post_date, post_date_gmt, post_modified, post_modified_gmt) VALUES"
    " (%s, 1, %s, %s, '', 'publish', %s, %s, '', '', '', NOW(), UTC_TIMESTAMP(), NOW(), UTC_TIMESTAMP())"
)


def insert_post(shop: Shop, where: str, number: int, title: str, kind: str = "post", content: str = "") -> None:
    """A post with this number, at the `clone` or the `target`."""
    at = shop.at_clone if where == "clone" else shop.at_target
    at(_POST, number, content, title, kind, title.lower().replace(" ", "-"))


def open_shop(shop: Shop) -> None:
    """Before the clone is made: tables of orders with one order."""
    for statement in TABLES:
        shop.at_target(statement)
    for table in ("wp_wc_orders", "wp_woocommerce_order_items", "wp_woocommerce_order_itemmeta", "wp_woocommerce_sessions"):
        shop.at_target(f"DELETE FROM {table}")
    place_order(shop, 1)


def place_order(shop: Shop, number: int) -> None:
    """An order as WooCommerce keeps it in its own tables."""
    shop.at_target("INSERT INTO wp_wc_orders VALUES (%s, 'wc-processing', 12.5)", number)
    shop.at_target("INSERT INTO wp_woocommerce_order_items (order_item_name, order_id) VALUES ('Tea', %s)", number)
    shop.at_target(
        "INSERT INTO wp_woocommerce_order_itemmeta (order_item_id, meta_key, meta_value) VALUES (%s, '_qty', '1')", number
    )


def place_order_as_post(shop: Shop, number: int) -> None:
    """An order as WooCommerce kept it before: a post and its meta."""
    insert_post(shop, "target", number, f"Order {number}", "shop_order")
    shop.at_target("INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (%s, '_order_total', '12.5')", number)


def comment(shop: Shop, post: int, text: str) -> None:
    """A visitor's comment, counted as WordPress counts it."""
    shop.at_target(
        "INSERT INTO wp_comments (comment_post_ID, comment_author, comment_content, comment_date, comment_date_gmt)"
        " VALUES (%s, 'Visitor', %s, NOW(), UTC_TIMESTAMP())", post, text
    )  # fmt: skip
    shop.at_target("UPDATE wp_posts SET comment_count = comment_count + 1 WHERE ID = %s", post)


def register(shop: Shop, name: str) -> None:
    """A new customer."""
    shop.at_target(
        "INSERT INTO wp_users (user_login, user_pass, user_nicename, user_registered) VALUES (%s, 'x', %s, NOW())", name, name
    )
