"""The agent: one PHP file beside a source site, and the client that asks it for files and rows.

`agent.php` must stay one self-contained file (PHP 7.4+) that only reads; `wire` describes the protocol both sides keep.
"""
