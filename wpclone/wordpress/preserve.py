"""What production always keeps when content comes back to it: options, tables by class, order types, the plugins' activation.

Pure data and functions. Sources: wp-admin/includes/schema.php and the option names of the plugins named here. Behind
them are incidents (a shop disconnected from its payment account, a site left `noindex`, licences that moved).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class TableClass(StrEnum):
    """What kind of data a table holds, and so whose it is."""

    CONTENT = "content"
    COMMERCE = "commerce"
    USERS = "users"
    COMMENTS = "comments"
    FORMS = "forms"
    LOGS = "logs"
    SESSIONS = "sessions"
    QUEUE = "queue"
    SECURITY = "security"


# Tried in this order, on the name without its prefix.
_TABLES: tuple[tuple[TableClass, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (TableClass.SESSIONS, r"woocommerce_sessions|.*_sessions?|edd_sessions"),
        (TableClass.QUEUE, r"actionscheduler_\w+|wc_webhooks|wc_rate_limits|queue|\w+_queue|failed_jobs"
            r"|mailpoet_scheduled_task\w*"
            r"|mailpoet_sending_queues"),
        (TableClass.COMMERCE, r"wc_orders(?:_meta)?|wc_order_\w+|woocommerce_order_items"
            r"|woocommerce_order_itemmeta|wc_customer_lookup"
            r"|woocommerce_payment_tokens|woocommerce_payment_tokenmeta|wc_download_log|woocommerce_downloadable_product_permissions"
            r"|wc_reserved_stock|woocommerce_api_keys|wc_product_download_directories|edd_orders?\w*|edd_customers?\w*|edd_logs?\w*"
            r"|mepr_(?:transactions|subscriptions|members|events|jobs)|pmpro_(?:memberships_users|membership_orders|subscriptions)\w*"
            r"|mm_(?:scheduled_\w+|card_on_file|transaction_log|orders?|order_items|user_data)|rcp_(?:payments|memberships|customers)\w*"
            r"|give_(?:donations?|donors?|donationmeta|donormeta|revenue)\w*|bookings?|\w+_bookings?|fluentcart_\w+"),
        (TableClass.USERS, r"users|usermeta|signups|bp_\w+"),
        (TableClass.COMMENTS, r"comments|commentmeta|ratings|\w+_reviews?"),
        (TableClass.FORMS, r"gf_entry\w*|gf_draft_submissions|gf_form_view|rg_lead\w*"
            r"|wpforms_(?:entries|entry_meta|entry_fields|payments|payment_meta)"
            r"|frm_items?|frm_item_metas|nf3_\w*subs\w*|fluentform_(?:submissions|submission_meta|entry_details|logs)|db7_forms|cf7_vdata\w*"
            r"|formidable_entries|e_submissions(?:_\w+)?|mailpoet_subscribers?|mailpoet_subscriber_\w+"),
        (TableClass.SECURITY, r"wf\w+|itsec_\w+|aiowps_\w+|defender_\w+|sucuri_\w+|limit_login\w*|loginizer_\w+"
            r"|icwp_wpsf_\w+|cerber_\w+"),
        (TableClass.LOGS, r"(?:\w+_)?logs?|\w+_log_\w+|simple_history\w*|stream(?:_meta)?|wsal_\w+|statistics_\w+|matomo_\w+"
            r"|slim_stats\w*"
            r"|redirection_(?:logs|404)|wpmailsmtp_\w+|wpml_mails|email_log|rank_math_analytics\w*|burst_\w+|koko_analytics\w*"),
    )
)  # fmt: skip

#: Classes of which a clone's rows never reach production, whatever changed where.
NEVER_MERGED = frozenset({TableClass.SESSIONS, TableClass.QUEUE, TableClass.LOGS, TableClass.SECURITY})

#: Orders and their like that are kept as posts (WooCommerce before HPOS, its backup posts, subscriptions, EDD, memberships).
ORDER_TYPES = frozenset(
    {
        b"shop_order", b"shop_order_refund", b"shop_order_placehold", b"shop_subscription", b"wc_booking", b"wc_user_membership",
        b"edd_payment", b"give_payment", b"mepr-event", b"sc_order", b"llms_order", b"wpforms-log", b"flamingo_inbound",
        b"flamingo_contact", b"feedback",
    }
)  # fmt: skip


def table_class(name: str, prefix: str) -> TableClass:
    """What the table `name` of an installation with `prefix` holds; CONTENT for what nobody knows."""
    bare = name[len(prefix) :] if name.startswith(prefix) else name
    return next((kind for kind, pattern in _TABLES if pattern.fullmatch(bare)), TableClass.CONTENT)


def stays_at_target(kind: TableClass) -> bool:
    """Whether a restore that knows no common base leaves the table alone."""
    return kind is not TableClass.CONTENT


def is_order_type(post_type: bytes) -> bool:
    """Whether posts of this type are a customer's business, not content."""
    return post_type in ORDER_TYPES


# Names of options production keeps, absent ones included. `{p}` is the table prefix.
_KEPT = re.compile(
    rb"siteurl|home|blog_public|admin_email|new_admin_email|adminhash|cron|recently_activated|upload_path|upload_url_path"
    rb"|mailserver_(?:url|login|pass|port)|auth_(?:key|salt)|logged_in_(?:key|salt)|nonce_(?:key|salt)|secure_auth_(?:key|salt)"
    rb"|secret_key|initial_db_version|auto_updater\.lock|core_updater\.lock|auto_update_(?:plugins|themes)|auto_core_update_\w+"
    rb"|recovery_(?:keys|mode_email_last_sent)|fresh_site|https_detection_errors|wp_force_deactivated_plugins|application_password\w*"
    rb"|using_application_passwords|uninstall_plugins|wp_environment_type|db_upgraded"
    # the shop's identity towards others
    rb"|wc_subscriptions_siteurl|woocommerce_subscriptions_\w*siteurl\w*|wcs_\w*lock\w*|_wcpay_\w+|wcpay_\w+|woocommerce_woocommerce_payments_\w+"
    rb"|woocommerce_stripe_\w+|wc_stripe_\w+|woocommerce[-_]ppcp[-_]\w+|woocommerce_paypal_\w+|woocommerce_square_\w+|wc_square_\w+"
    rb"|woocommerce_helper_\w+|woocommerce_connect_\w+|wc_connect_\w+|woocommerce_(?:klarna|kco|mollie|amazon|braintree|payfast|razorpay)_\w+"
    rb"|woocommerce_order_number_\w+|\w*order_number_(?:start|next)\w*|wpo_wcpdf_\w*number\w*|woocommerce_allow_tracking|mollie\w*_(?:key|profile)\w*"
    # accounts at services
    rb"|jetpack_\w+|jetpack_(?:private_)?options|jp_\w+|wpcom_\w+|akismet_\w*|wordpress_api_key|mc4wp\w*|mailchimp[-_]\w+|klaviyo_\w*"
    rb"|sendgrid\w*|wp_mail_smtp\w*|postman_options|mailpoet_settings|elementor_connect\w*|elementor_pro_license\w*|_elementor_pro_license\w*"
    rb"|\w*(?:license|licence)\w*|\w+_(?:api|consumer|private|secret)_key\w*|\w+_api_(?:token|secret)|\w+_(?:access|refresh|auth)_token\w*"
    rb"|fs_\w+|edd_sl_\w+|wc_am_\w+|external_updates-\w+|googlesitekit_\w+|wpseo_(?:ryte|tracking\w*)|rank_math_connect_data|updraft\w*"
    rb"|wp_?rocket_settings|siteground_\w+|sg_\w+|wpe_\w+|kinsta\w*|litespeed\.conf\.\w*|wordfence\w*|wf\w+|itsec\w*|aio_wp_security\w*|sucuri\w*"
    rb"|wp_installer_settings|_?wpmudev_\w+|wpmudev\w*",
    re.DOTALL,
)
# What is made again when it is missed: caches, and results of what only one server can know.
_DROPPED = re.compile(
    rb"_(?:site_)?transient_.*|rewrite_rules|_elementor_(?:global_css|assets_data)|elementor-custom-breakpoints-files|elementor_atomic_\w+_cache"
    rb"|et_core_\w*cache\w*|_fl_builder_\w*cache\w*|wc_blocks_\w*cache\w*|can_compress_scripts|\w+_children|action_scheduler_lock_.*|doing_cron"
    rb"|_wp_session_.*|wpclone_.*",
    re.DOTALL,
)
#: Post meta that is a cache of a page builder's styles, with the old address in it.
CACHE_META = frozenset(
    {b"_elementor_css", b"_elementor_element_cache", b"_et_builder_module_features_cache", b"_et_dynamic_cached_shortcodes"}
)
#: Directories of caches at the target that the exchange takes away, by root and path.
CACHES = (
    ("content", b"cache"), ("content", b"et-cache"), ("content", b"litespeed"), ("uploads", b"elementor/css"),
    ("uploads", b"cache"),
    ("uploads", b"bb-plugin/cache"), ("uploads", b"oxygen/css"),
)  # fmt: skip
#: The options that name what is active; which side's count depends on what is preserved.
ACTIVE_PLUGINS = b"active_plugins"
THEME_OPTIONS = (b"template", b"stylesheet", b"current_theme")


def keeps_option(name: bytes, prefix: bytes) -> bool:
    """Whether production's value of this option stays, or its absence."""
    return name == prefix + b"user_roles" or name.endswith(b"user_roles") or _KEPT.fullmatch(name) is not None


def drops_option(name: bytes) -> bool:
    """Whether this option is a cache that neither side's value should survive in."""
    return _DROPPED.fullmatch(name) is not None


#: Plugins of hosts and of this service: what a source says of them does not concern the target.
_HOST_PLUGINS = re.compile(
    r"wpc-[0-9a-f]{24}|wpclone-agent[a-z0-9-]*|sg-cachepress|sg-security|wp-engine\w*|kinsta-mu-plugins|bluehost-\w+|hostinger\w*|ionos-\w+|nexcess-\w+|wpcomsh"
    r"|spinupwp|godaddy-\w+|gd-system-plugin|pressable-\w+|mojo-marketplace\w*|dreamhost-\w+|wp-native-php-sessions|pantheon-\w+"
)
#: Must-use files and directories that belong to a server or to a clone, by the name below mu-plugins.
_HOST_MU_PLUGINS = re.compile(
    r"wpclone[-\w]*(?:\.php)?|0?-?wpclone[-\w]*(?:\.php)?|slt-force-strong-passwords\.php|wpengine-common"
    r"|wpengine-security-auditor\.php"
    r"|force-strong-passwords|stop-long-comments\.php|kinsta-mu-plugins(?:\.php)?|wp-stack-cache\.php|pantheon(?:\.php)?|pantheon-mu-plugin"
    r"|gd-system-plugin(?:\.php)?|endurance-\w+(?:\.php)?|sso\.php|wpcomsh(?:-loader\.php)?|hosting-\w+\.php|nexcess-mapps(?:\.php)?"
    r"|spinupwp-debug-log-path\.php|rocket-net\w*|wp-fail2ban\w*|hostinger-\w+\.php|0-worker\.php|wp-cli-login\w*"
)


def is_host_plugin(name: str) -> bool:
    """Whether the plugin (directory or file name) belongs to a host or to this service, so that no restore touches it."""
    return _HOST_PLUGINS.fullmatch(name.removesuffix(".php")) is not None


def is_host_mu_plugin(name: str) -> bool:
    """Whether a name below mu-plugins belongs to a host, or is a clone's guard."""
    return _HOST_MU_PLUGINS.fullmatch(name) is not None


@dataclass(frozen=True)
class Activation:
    """Which plugins are active after a restore; `missing` were active at the source and have no files at the target."""

    active: tuple[str, ...]
    missing: tuple[str, ...]


def activation(
    target: Sequence[str], source: Sequence[str], *, there: Collection[str] | None, preserve_plugins: bool
) -> Activation:
    """The active plugins (`dir/file.php`) after a restore.

    Preserved: production's own set, for its files are there. Replaced: the source's, plus what production's host needs. `there`
    are the names below the plugin directory after the restore, None if unknown.
    """
    if preserve_plugins:
        return Activation(tuple(target), ())
    hosts = [plugin for plugin in target if is_host_plugin(plugin.partition("/")[0])]
    wanted = [plugin for plugin in source if not is_host_plugin(plugin.partition("/")[0])]
    missing = tuple(plugin for plugin in wanted if there is not None and plugin.partition("/")[0] not in there)
    return Activation(tuple(sorted({*hosts, *wanted} - set(missing))), missing)
