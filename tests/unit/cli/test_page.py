"""docs/cli.md names every command and every option."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from wpclone.cli.app import app

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def commands(command: object, path: str = "wpclone") -> Iterator[tuple[str, list[str]]]:
    below = getattr(command, "commands", None)
    if below:
        for name, one in below.items():
            yield from commands(one, f"{path} {name}")
    else:
        options = [opt for parameter in command.params for opt in (*parameter.opts, *parameter.secondary_opts)]  # type: ignore[attr-defined]
        yield path, [opt for opt in options if opt.startswith("--") and opt != "--help"]


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_page_names_the_command_and_its_options(command: str) -> None:
    assert f"`{command}" in PAGE
    assert [option for option in COMMANDS[command] if not re.search(rf"{re.escape(option)}\b", PAGE)] == []


def test_each_command_says_what_it_does() -> None:
    tree = typer.main.get_command(app)
    for name in COMMANDS:
        command = tree
        for word in name.split()[1:]:
            command = command.commands[word]  # type: ignore[attr-defined]
        assert command.help
