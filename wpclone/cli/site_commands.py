"""`wpclone agent zip`, `wpclone source consent`, `wpclone rewrite`: what a site's owner does by hand, with the workers' code."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wpclone.cli.complaint import ending
from wpclone.cli.options import Format, Output, span

agent = typer.Typer(no_args_is_help=True, help="The PHP file that reads a site for us.")


@agent.callback()
def _group() -> None:
    """The PHP file that reads a site for us."""


@agent.command("zip")
def agent_zip(
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the plugin.")] = Path("wpclone-agent.zip"),
    site: Annotated[str, typer.Option(help="The site's URL, to show what to give as --source.")] = "https://YOUR-SITE",
    ttl: Annotated[str, typer.Option(help="How long the agent answers to its key.")] = "2d",
    keyless: Annotated[bool, typer.Option("--keyless", help="Make one without a key, for application passwords.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Write a plugin to install by hand, where signing in is not possible; print its address and its key.

    With --keyless it answers nobody until somebody with an application password of an administrator comes.
    """
    from wpclone.cli import site_tools

    with ending():
        if keyless:
            site_tools.keyless_agent_zip(to, site=site, output=output)
        else:
            site_tools.agent_zip(to, site=site, life=span(ttl), output=output)


source = typer.Typer(no_args_is_help=True, help="Sites to clone.")


@source.callback()
def _sources() -> None:
    """Sites to clone."""


@source.command()
def consent(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="The site's address.")], output: Output = Format.TABLE
) -> None:
    """Print the page of a site where its administrator makes a password for wpclone, to be withdrawn at any time."""
    from wpclone.cli import source_consent

    with ending():
        source_consent.consent(url, output=output)


def rewrite(
    old: Annotated[list[str], typer.Option("--from", metavar="URL", help="An address of the site; may be given several times.")],
    new: Annotated[str, typer.Option("--to", metavar="URL", help="The address to write.")],
) -> None:
    """Rewrite a site's addresses from stdin (an SQL dump, JSON lines, text) to stdout, in constant memory."""
    from wpclone.cli import site_tools

    with ending():
        site_tools.rewrite(old, new)
