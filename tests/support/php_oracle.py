"""PHP's own opinion on serialized values: one long-running `php` that builds and checks them."""

import base64
import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Node = list[object]
"""A description of a PHP value: its kind and what it is made of; see `build()` in php_oracle.php."""


class Oracle:
    """Asks the running PHP. Batches, because each question costs a round trip."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def built(self, nodes: Iterable[Node], *, ghosts: bool) -> list[tuple[bytes, bytes]]:
        """Each value serialized by PHP, with the source's and with the target's addresses; `ghosts` are of unknown classes."""
        answers = self._ask([{"do": "build", "of": node, "ghosts": ghosts} for node in nodes])
        return [(base64.b64decode(source), base64.b64decode(target)) for source, target in answers]

    def stable(self, values: Iterable[bytes]) -> list[bool]:
        """Whether each value is exactly what PHP writes after reading it."""
        return self._judged("stable", values)

    def readable(self, values: Iterable[bytes]) -> list[bool]:
        """Whether PHP can read each value."""
        return self._judged("readable", values)

    def _judged(self, question: str, values: Iterable[bytes]) -> list[bool]:
        return list(self._ask([{"do": question, "of": base64.b64encode(value).decode()} for value in values]))

    def _ask(self, questions: list[dict[str, object]]) -> list[Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(base64.b64encode(json.dumps(questions).encode()) + b"\n")
        self._process.stdin.flush()
        answers: list[Any] = json.loads(self._process.stdout.readline())
        assert len(answers) == len(questions)
        return answers


@contextmanager
def php_oracle(pairs: dict[str, tuple[str, str]]) -> Iterator[Oracle]:
    """A PHP that replaces each mark by the first of its pair for the source and by the second for the target."""
    script = Path(__file__).with_name("php_oracle.php").read_text()
    quoted = ", ".join(f"{_quoted(mark)} => [{_quoted(old)}, {_quoted(new)}]" for mark, (old, new) in pairs.items())
    code = script.removeprefix("<?php").replace("__PAIRS__", f"[{quoted}]")
    process = subprocess.Popen(["php", "-n", "-r", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Oracle(process)
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
