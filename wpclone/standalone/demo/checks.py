"""What the demonstration found out: each check by name, whether it held, and the differences that are meant to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Findings:
    """The checks of one run, told as they are made. `say` takes a line."""

    say: Callable[[str], None]
    failed: list[str] = field(default_factory=list)
    unmade: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check so far held."""
        return not self.failed

    def check(self, name: str, held: bool, detail: str = "") -> bool:
        """Record one check; `detail` is shown when it did not hold."""
        self.say(f"  {'✓' if held else '✗'} {name}" + (f": {detail}" if detail and not held else ""))
        if not held:
            self.failed.append(name)
        return held

    def not_made(self, name: str, reason: str) -> None:
        """Record a check that means nothing here, and why."""
        self.say(f"  – not made: {name} ({reason})")
        self.unmade.append(name)

    def explain(self, difference: str, reason: str) -> None:
        """Show a difference that is meant to be, with its reason."""
        self.say(f"    · {difference}: {reason}")
