"""Where WordPress's block comes in a target's .htaccess, and what of the file it leaves."""

import base64
import json
import subprocess
from importlib.resources import files

import pytest


def inserted(*asked: tuple[str, str]) -> list[str | None]:
    """What the agent makes of files (text, path of the site on its host); None for one it leaves alone."""
    source = files("wpclone.wordpress.agent").joinpath("permalinks.php").read_text()
    run = (
        "echo json_encode(array_map(function (array $one) { return Permalinks::inserted(...$one); },"
        f" json_decode(base64_decode('{_base64(asked)}'), true)));"
    )
    done = subprocess.run(["php", "-n"], input=(source + run).encode(), capture_output=True, timeout=60, check=True)
    made: list[str | None] = json.loads(done.stdout)
    return made


def _base64(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


BEGIN, END = "# BEGIN WordPress\n", "# END WordPress"


def test_a_site_in_a_directory_gets_rules_for_it() -> None:
    (made,) = inserted(("", "/blog"))
    assert made is not None
    assert made.startswith(BEGIN)
    assert made.endswith(END + "\n")
    assert {"RewriteBase /blog/", "RewriteRule . /blog/index.php [L]"} < set(made.splitlines())


@pytest.mark.parametrize(
    "own", ["Options -Indexes", "Options -Indexes\n", "a\r\nb\r\n", "# BEGIN WordPress SEO\nx\n# END WordPress SEO\n"]
)
def test_what_there_is_stays_in_front(own: str) -> None:
    block, made = inserted(("", ""), (own, ""))
    assert made == (own if own.endswith("\n") else own + "\n") + "\n" + str(block)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_what_is_between_the_markers_changes(end: str) -> None:
    front, behind = f"Options -Indexes{end}{end}", f"{end}# behind{end}RewriteRule ^x$ /y [L]"
    block, made = inserted(("", ""), (f"{front}# BEGIN WordPress{end}# old{end}# END WordPress{behind}", ""))
    assert made == front + str(block).rstrip("\n") + behind


def test_a_block_with_rules_stays_whatever_they_are() -> None:
    own = f"x\n{BEGIN}RewriteEngine On\nRewriteRule . /somewhere/index.php [L,QSA]\n{END}\n"
    assert inserted((own, ""), (own, "/blog")) == [own, own]


def test_a_block_without_an_end_is_left_alone() -> None:
    assert inserted((f"Options -Indexes\n{BEGIN}RewriteEngine On\n", "")) == [None]


def test_what_was_made_stays_what_it_is() -> None:
    (once,) = inserted(("Options -Indexes", "/blog"))
    assert inserted((str(once), "/blog")) == [once]
