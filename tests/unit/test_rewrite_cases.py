"""Every case that was measured on five existing search-replace tools, and the neighbours that belong to it.

A row is a name and a function of the site's address: what is stored with the source's address must become, byte for byte, what
is stored with the target's. Rows in KEPT must stay as they are, with the reason given (None: nothing to remark).
"""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.php_values import php, php_custom, php_object
from wpclone.wordpress.rewrite import Mapping, Reason, Rewriter

SOURCE, TARGET = "https://example.com", "https://clone-1a2b3c.clones.test"
REWRITER = Rewriter(Mapping.of([SOURCE], TARGET))

Build = Callable[[str], bytes | str]


def bare(url: str) -> str:
    return url.split("//")[1]


def js(value: object, *, slashes: str = "\\/") -> str:
    """`json_encode()`: slashes escaped unless told otherwise."""
    return json.dumps(value, separators=(",", ":")).replace("/", slashes)


def hexed(text: str) -> bytes:
    r"""An `S:` string with its slashes and first letter as `\hh`."""
    return b'S:%d:"%s";' % (len(text), text.replace("/", "\\2f").encode())


MOVED: list[tuple[str, Build]] = [
    ("plain", lambda u: f'<a href="{u}/about/">{u}</a> {u}?p=1 {u}#top'),
    ("the URL alone", lambda u: u),
    ("a trailing slash", lambda u: f"{u}/"),
    ("protocol-relative", lambda u: f'<img src="//{bare(u)}/a.png">'),
    ("JSON", lambda u: js({"url": f"{u}/x", "n": 12345678901234567890, "f": 1.0})),
    ("JSON with its white space and big numbers", lambda u: f'{{ "a" : 1e400,\n\t"u" : "{u}" , "z": 0.10000000000000000001}}'),
    ("JSON in JSON", lambda u: js({"inner": js({"url": f"{u}/x"})})),
    ("JSON in JSON in JSON", lambda u: js([js([js([f"{u}/x"])])])),
    ("JSON with unicode slashes", lambda u: js({"url": f"{u}/x"}, slashes="\\u002f")),
    ("JSON with unicode slashes, twice", lambda u: js([js({"url": f"{u}/x"}, slashes="\\u002f")])),
    ("URL-encoded", lambda u: f"https://other.test/?to={quote(u + '/x', safe='')}&v=1"),
    ("URL-encoded in lower case", lambda u: f"to={u.replace(':', '%3a').replace('/', '%2f')}%2fx"),
    ("URL-encoded twice", lambda u: f"https://other.test/?to={quote(quote(u + '/x', safe=''), safe='')}"),
    ("serialized", lambda u: php({"home": f"{u}/x", "n": 5, "deep": [[f"{u}/y"], None, True]})),
    ("serialized in serialized", lambda u: php({"session": php({"url": f"{u}/x"}), "next": f"{u}"})),
    ("serialized twice", lambda u: php(php({"url": f"{u}/x"}))),
    ("serialized ten times", lambda u: nested(10, {"url": f"{u}/x"})),
    ("serialized in JSON", lambda u: js({"opt": php({"url": f"{u}/x"}).decode(), "u": u})),
    ("serialized in JSON, slashes plain", lambda u: js({"opt": php({"url": f"{u}/x"}).decode()}, slashes="/")),
    ("serialized in JSON, not ASCII", lambda u: js({"ü": [php({"é": f"{u}/ü😀"}).decode()]})),
    ("serialized in JSON in JSON", lambda u: js([js([php([f"{u}/x"]).decode()])])),
    ("JSON in serialized", lambda u: php({"json": js({"url": f"{u}/x"})})),
    ("serialized in JSON in serialized in JSON", lambda u: js([php([js([php([f"{u}/é"]).decode()])]).decode(), u])),
    ("serialized in a block's attributes", lambda u: f"<!-- wp:x/y {block(php({'u': u}).decode())} /-->\n<p>{u}</p>"),
    ("serialized in an HTML attribute", lambda u: f'<i data-x="{entities(php({"u": u + "/&"}).decode())}">{u}</i>'),
    ("serialized in a query", lambda u: f"?a={quote(php({'u': u}).decode(), safe='')}&b={quote(u, safe='')}"),
    ("serialized in an SQL literal", lambda u: "('" + php({"u": u}).decode().replace('"', '\\"') + "',7)"),
    ("keys of JSON", lambda u: js({f"{u}/a": 1, "b": {f"{u}/a": f"{u}/d"}, "c": [{f"{u}/a": 1}, {f"{u}/a": 2}]})),
    ("a key that JSON has twice", lambda u: f'{{"{u}/a": 1, "{u}/a": 2}}'),
    ("an array key", lambda u: php({f"{u}/a": 1, "b": {f"{u}/c": f"{u}/d"}})),
    ("text before serialized (enclosure)", lambda u: f"{u}/a.mp3\n1234\naudio/mpeg\n".encode() + php({"duration": u})),
    ("text after serialized", lambda u: php({"duration": u}) + f" {u}".encode()),
    ("white space around serialized", lambda u: b" \n" + php({"u": u}) + b"\n "),
    ("stdClass", lambda u: php_object("stdClass", {"url": f"{u}/x"})),
    ("an unknown class", lambda u: php_object("WooFoo", {"url": f"{u}/x"})),
    ("a class in a namespace", lambda u: php_object("Woo\\Foo\\Bär", {"url": f"{u}/x"})),
    ("private and protected properties", lambda u: php_object("WooFoo", {b"\0WooFoo\0url": u, b"\0*\0b": [u]})),
    ("a custom payload that is itself serialized", lambda u: b"a:1:{i:7;" + php_custom("WooBar", php({"u": u})) + b"}"),
    ("a known enum", lambda u: b'a:2:{i:0;E:11:"Suit:Hearts";i:1;' + php(f"{u}/x") + b"}"),
    ("an unknown enum", lambda u: b'a:2:{i:0;E:13:"WooFoo\\A:Case";i:1;' + php(f"{u}/x") + b"}"),
    ("a reference", lambda u: b"a:2:{i:0;" + php(f"{u}/x") + b"i:1;R:2;}"),
    ("a shared object", lambda u: b"a:2:{i:0;" + php_object("stdClass", {"u": u}) + b"i:1;r:2;}"),
    ("floats", lambda u: b"a:5:{i:0;d:0.10000000000000000001;i:1;d:-INF;i:2;d:1.0E+25;i:3;d:NAN;i:4;" + php(u) + b"}"),
    ("an escaped string", lambda u: b"a:1:{i:0;" + hexed(f"{u}/x") + b"}"),
    ("multibyte text", lambda u: php({"größe 😀": f"日本 {u}/ü 語"})),
    ("bytes that are no UTF-8", lambda u: php({b"\xff\xfe": b"\xe9 " + u.encode() + b"/\x80"})),
    ("look-alikes in a string", lambda u: php({"doc": f's:5:"{u}"; is no string, nor a:9:{{ or s:1:"', "u": u})),
    ("a look-alike of a string as text", lambda u: f's:5:"{u}"; and more'),
    ("entities", lambda u: f"{u.replace('/', '&#47;')}&#47;x?a=1&amp;b=2 {u.replace('/', '&#x2F;')}"),
    ("the colon as an entity", lambda u: u.replace(":", "&#58;").replace("/", "&#047;")),
    ("CSS", lambda u: f"a{{background:url({u}/a.png)}} b{{background:url('{u}/b.png')}} @import \"{u}/c.css\";"),
    ("srcset", lambda u: f'<img srcset="{u}/a.png 1x,{u}/b.png 2x, {u}/c.png 3x">'),
    ("block attributes", lambda u: f'<!-- wp:image {{"url":"{u}/a.png","alt":"a \\u0026 b \\u002d\\u002d c"}} -->'),
    ("data attributes", lambda u: f'<div data-s="{entities(js({"bg": u + "/a.png"}))}"></div>'),
    ("shortcodes", lambda u: f'[vc_btn link="url:{quote(u + "/x", safe="")}|title:T"] [et url=&#8220;{u}/y&#8221;]'),
    ("text around, not ASCII", lambda u: f"見る{u}を見る。{u}。„{u}“ «{u}»"),
    ("punctuation around", lambda u: f"({u}) [{u}] <{u}> '{u}' `{u}` {u}. {u}, {u}; {u}: {u}! |{u}| {u}\\n{u}"),
    ("user info", lambda u: f"https://bob:secret@{bare(u)}/x"),
    ("a neighbour beside the site", lambda u: f"https://example.com.au {u} https://notexample.com"),
    ("an address beside an e-mail", lambda u: f"mailto:bob@example.com {u} <bob@example.com>"),
    ("web sockets", lambda u: f"wss://{bare(u)}/socket"),
    ("a feed", lambda u: f"webcal://{bare(u)}/events.ics feed:{u}/feed/"),
    ("a script's comment", lambda u: f"//{bare(u)} is\n\t//{bare(u)}"),
    ("an archived address", lambda u: f"https://web.archive.org/web/2020/{u}/"),
    ("an escaped line break before", lambda u: f'{{"a":"x\\n//{bare(u)}\\n{u}"}}'),
]

SAME_AS: list[tuple[str, str, str]] = [
    ("the other scheme", "http://example.com/x", f"{TARGET}/x"),
    ("www", "https://www.example.com/x //www.example.com", f"{TARGET}/x //clone-1a2b3c.clones.test"),
    ("upper case", "HTTPS://EXAMPLE.COM/Path Http://Example.Com", f"{TARGET}/Path {TARGET}"),
    ("the default port", "https://example.com:443/x http://example.com:80/", f"{TARGET}/x {TARGET}/"),
    ("the other scheme, serialized", 's:19:"http://example.com/";', 's:33:"https://clone-1a2b3c.clones.test/";'),
    ("an insecure web socket", "ws://example.com", "wss://clone-1a2b3c.clones.test"),
    ("a name with its final dot", "https://example.com./x", f"{TARGET}/x"),
]

KEPT: list[tuple[str, bytes | str, Reason | None]] = [
    ("base64", base64.b64encode(b'<a href="https://example.com/x">'), Reason.BASE64),
    ("base64, one byte later", base64.b64encode(b' <a href="https://example.com/x">'), Reason.BASE64),
    ("base64, two bytes later", base64.b64encode(b'  <a href="https://example.com/x">'), Reason.BASE64),
    (
        "vc_raw_html",
        f"[vc_raw_html]{base64.b64encode(quote('<a href=https://example.com>').encode()).decode()}[/vc_raw_html]",
        Reason.BASE64,
    ),
    ("base64 in serialized", php({"b": base64.b64encode(b"see https://example.com/")}), Reason.BASE64),
    ("serialized in base64", base64.b64encode(php({"u": "https://example.com"})), Reason.BASE64),
    ("a custom payload", php_custom("WooBar", b"x:https://example.com"), Reason.CUSTOM_SERIALIZED),
    (
        "a custom payload in an array",
        b"a:1:{i:0;" + php_custom("WooBar", b"x:https://example.com;y") + b"}",
        Reason.CUSTOM_SERIALIZED,
    ),
    ("a custom payload in text", b"x " + php_custom("WooBar", b"x:https://example.com;y"), Reason.CUSTOM_SERIALIZED),
    ("a wrong length", b'a:1:{s:1:"u";s:9:"https://example.com";}', Reason.BROKEN_SERIALIZED),
    ("a wrong length alone", b's:9:"https://example.com";', Reason.BROKEN_SERIALIZED),
    ("a wrong count", b'a:2:{s:1:"u";s:19:"https://example.com";}', Reason.BROKEN_SERIALIZED),
    ("a missing key", b'a:1:{s:19:"https://example.com";}', Reason.BROKEN_SERIALIZED),
    ("a truncated value", b'a:2:{s:1:"u";s:19:"https://example.com";i:1;s:90:"cut', Reason.BROKEN_SERIALIZED),
    ("a wrong length inside", php({"inner": b'a:1:{i:0;s:3:"https://example.com";}'}), Reason.BROKEN_SERIALIZED),
    ("a wrong length in JSON", js({"o": 'a:1:{i:0;s:3:"https://example.com";}'}), Reason.BROKEN_SERIALIZED),
    ("a wrong class name length", b'O:7:"WooFoo":1:{s:1:"u";s:19:"https://example.com";}', Reason.BROKEN_SERIALIZED),
    ("an e-mail address", "bob@example.com, mailto:bob@example.com, bob@EXAMPLE.com", None),
    ("a longer name", "https://example.com.au/ https://example.com.au", None),
    ("a name ending in it", "https://notexample.com https://not-example.com https://my_example.com", None),
    (
        "a name going on",
        "https://example.com-x.test https://example.community https://example.com_x https://example.commerce",
        None,
    ),
    ("another sub-domain", "https://shop.example.com/ //cdn.example.com", None),
    ("another port", "https://example.com:8443/ http://example.com:8080", None),
    ("another scheme", "ftp://example.com s3://example.com git://example.com/x.git", None),
    ("the host alone", "Welcome to example.com", Reason.BARE_HOST),
    ("a value that is only the host", php({"domain": "example.com"}), Reason.BARE_HOST),
    ("Subscriptions' own obfuscated address", "https://exam_[wc_subscriptions_siteurl]_ple.com", None),
    ("the target already", f"{TARGET}/x", None),
    ("nothing", b"", None),
    ("two keys that would become one", php({"http://example.com/a": 1, "https://example.com/a": 2}), Reason.KEY_COLLISION),
    ("two keys of JSON that would become one", js({"http://example.com/a": 1, "https://example.com/a": 2}), Reason.KEY_COLLISION),
    ("a key of JSON that would be one there is", js([{f"{TARGET}/a": 1, f"{SOURCE}/a": {"b": 2}}]), Reason.KEY_COLLISION),
    ("the same key of JSON, spelled twice", f'{{"{TARGET}\\/a": 1, "b": [], "{SOURCE}/a": 2}}', Reason.KEY_COLLISION),
]


def nested(times: int, value: object) -> bytes:
    raw = php(value)
    for _ in range(times):
        raw = php(raw)
    return raw


def entities(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&#039;").replace("<", "&lt;").replace(">", "&gt;")


def block(text: str) -> str:
    """`serialize_block_attributes()`."""
    return js({"o": text}, slashes="/").replace("--", "\\u002d\\u002d").replace('\\"', "\\u0022").replace("&", "\\u0026")


def octets(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@pytest.mark.parametrize("build", [row[1] for row in MOVED], ids=[row[0] for row in MOVED])
def test_the_sites_address_moves_and_nothing_else(build: Build) -> None:
    result = REWRITER.value(octets(build(SOURCE)))
    assert result.value == octets(build(TARGET))
    assert result.left == ()
    assert result.rewritten > 0


@pytest.mark.parametrize("build", [row[1] for row in MOVED], ids=[row[0] for row in MOVED])
def test_a_second_run_finds_nothing(build: Build) -> None:
    moved = REWRITER.value(octets(build(SOURCE))).value
    again = REWRITER.value(moved)
    assert again.value is moved
    assert again.rewritten == 0


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in SAME_AS], ids=[row[0] for row in SAME_AS])
def test_variants_of_the_address_move_too(before: str, after: str) -> None:
    assert REWRITER.value(before.encode()).value == after.encode()


@pytest.mark.parametrize(("value", "reason"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_what_must_stay_stays_and_is_remarked(value: bytes | str, reason: Reason | None) -> None:
    raw = octets(value)
    result = REWRITER.value(raw)
    assert result.value is raw
    assert result.rewritten == 0
    assert {left.reason for left in result.left} == (set() if reason is None else {reason})


def test_a_remark_points_into_the_original_bytes() -> None:
    raw = b'{"a":"\\u00e4\\u00e4","o":"a:1:{i:0;s:3:\\"https:\\/\\/example.com\\";}","b":"https://example.com"}'
    result = REWRITER.value(raw)
    (left,) = result.left
    assert left.reason == Reason.BROKEN_SERIALIZED
    assert raw[left.excerpt_offset :].startswith(b"https:\\/\\/example.com")
    assert result.value.endswith(b'"b":"https://clone-1a2b3c.clones.test"}')
