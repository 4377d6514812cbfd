"""How fast content is rewritten: MB/s at 0, 10 and 100 % of rows hit, value by value and as a dump, beside `sed` on that dump.

    python -m bench.rewrite [megabytes] [--peer COMMAND]

`sed` replaces one spelling and breaks every serialized length; it is the yardstick of what reading and writing the bytes costs.
The peer's command, such as `search-replace "$BENCH_FROM" "$BENCH_TO"`, reads the dump from its stdin and writes it to its
stdout. Lanes take turns; the best of three rounds counts: processor time, ours and of children, because no neighbour disturbs
it, and beside it the clock's, which is fair to a peer of several threads. Prints a table and, last, one JSON object.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wpclone.wordpress.rewrite import Mapping, Rewriter, rewrite_stream

SOURCE, TARGET, ELSEWHERE = "https://example.com", "http://clone-1a2b3c.localhost:8080", "https://other.site"
MAPPING = Mapping.of([SOURCE], TARGET, [("/var/www/example", "/srv/clones/1a2b3c")])
ROUNDS = 3
LOREM = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna"


def rows(megabytes: int, share: float) -> list[bytes]:
    """About so many MB of rows like a WordPress site's, `share` of which hold the source's address."""
    made: list[bytes] = []
    size, maker = 0, random.Random(1)
    while size < megabytes * 1_000_000:
        url = SOURCE if maker.random() < share else ELSEWHERE
        row = maker.choices([_post, _meta, _option, _elementor], [50, 30, 10, 10])[0](maker, url)
        made.append(row)
        size += len(row)
    return made


def _text(maker: random.Random, words: int) -> str:
    return " ".join(maker.choices(LOREM.split(), k=words))


def _post(maker: random.Random, url: str) -> bytes:
    paragraphs = [f"<!-- wp:paragraph -->\n<p>{_text(maker, 60)}</p>\n<!-- /wp:paragraph -->" for _ in range(6)]
    image = f'<!-- wp:image {{"id":{maker.randrange(9999)}}} -->\n<img src="{url}/wp-content/uploads/2024/02/a.png" alt="it\'s"/>'
    link = f'<a href="{url}/{_text(maker, 1)}/">{_text(maker, 2)}</a>'
    return "\n\n".join([*paragraphs, image, link]).encode()


def _php(value: object) -> str:
    match value:
        case dict():
            return f"a:{len(value)}:{{{''.join(_php(key) + _php(item) for key, item in value.items())}}}"
        case int():
            return f"i:{value};"
    return f's:{len(str(value).encode())}:"{value}";'


def _meta(maker: random.Random, url: str) -> bytes:
    sizes = {
        name: {"file": f"a-{name}.jpg", "width": 300, "height": 200, "mime-type": "image/jpeg"} for name in ("medium", "large")
    }
    return _php({"width": 2560, "height": 1707, "file": "2024/02/a.jpg", "sizes": sizes, "source": f"{url}/a.jpg"}).encode()


def _option(maker: random.Random, url: str) -> bytes:
    widgets = {n: {"title": _text(maker, 3), "text": _text(maker, 30), "url": f"{url}/x/{n}", "on": n % 2} for n in range(8)}
    return _php({"widgets": widgets, "cached": _php({"home": url, "html": _text(maker, 40)})}).encode()


def _elementor(maker: random.Random, url: str) -> bytes:
    widget = {"elType": "widget", "settings": {"image": {"url": f"{url}/wp-content/a.png", "id": 5}, "text": _text(maker, 40)}}
    return json.dumps([widget] * 5).replace("/", "\\/").encode()


def dump(values: list[bytes]) -> bytes:
    """The values as mysqldump writes them."""
    lines = [b"-- MariaDB dump\nCREATE TABLE `t` (`id` int, `v` longtext);\n"]
    for number, value in enumerate(values):
        lines.append(b"INSERT INTO `t` VALUES (%d,'%s');\n" % (number, _escaped(value)))
    return b"".join(lines)


def _escaped(value: bytes) -> bytes:
    for plain, escape in ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b'"', b'\\"'), (b"'", b"\\'")):
        value = value.replace(plain, escape)
    return value


def spent(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of processor time and of the clock that it takes."""
    began, started = time.perf_counter(), _processor()
    work()
    return _processor() - started, time.perf_counter() - began


def _processor() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(megabytes: int, share: float, peer: str) -> dict[str, tuple[float, float]]:
    """MB/s of each lane over the same rows, by processor time and by the clock."""
    values, rewriter = rows(megabytes, share), Rewriter(MAPPING)

    def by_value() -> None:
        for value in values:
            rewriter.value(value)

    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "dump.sql")
        path.write_bytes(dump(values))

        def by_stream() -> None:
            with path.open("rb") as file, Path(place, "ours").open("wb") as out:
                out.writelines(rewrite_stream(_pieces(file.read), MAPPING))

        def by_command(command: str) -> None:
            told = {**os.environ, "LC_ALL": "C", "BENCH_FROM": SOURCE, "BENCH_TO": TARGET}
            with path.open("rb") as file, Path(place, "theirs").open("wb") as out:
                subprocess.run(command, shell=True, stdin=file, stdout=out, check=True, timeout=1800, env=told)

        dumped = path.stat().st_size / 1e6
        lanes: dict[str, tuple[Callable[[], None], float]] = {
            "values": (by_value, sum(map(len, values)) / 1e6),
            "dump": (by_stream, dumped),
            "sed": (lambda: by_command(f"sed 's#{SOURCE}#{TARGET}#g'"), dumped),
        }
        if peer:
            lanes["peer"] = (lambda: by_command(peer), dumped)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in lanes}
        for _ in range(ROUNDS):
            for name, (work, _size) in lanes.items():
                times[name].append(spent(work))
    return {name: (size / min(cpu for cpu, _ in times[name]), size / min(clock for _, clock in times[name]))
            for name, (_, size) in lanes.items()}  # fmt: skip


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(1 << 18):
        yield piece


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.rewrite")
    parser.add_argument("megabytes", type=int, nargs="?", default=40)
    parser.add_argument("--peer", default="", metavar="COMMAND", help="what our lane of the dump is compared with, by a shell")
    asked = parser.parse_args()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print("rows hit  lane      MB/s of processor time   by the clock   dump's ratio to it")
    for share in (0.0, 0.1, 1.0):
        lanes = measured(asked.megabytes, share, asked.peer)
        ours = lanes["dump"]
        for name, (cpu, clock) in lanes.items():
            ratios = f"{ours[0] / cpu:8.2f}, {ours[1] / clock:.2f}" if name in {"sed", "peer"} else ""
            print(f"{share:8.0%}  {name:8} {cpu:23.1f} {clock:14.1f}   {ratios}")
        figures[f"{share:.0%}"] = {name: {"cpu": round(cpu, 1), "clock": round(clock, 1)} for name, (cpu, clock) in lanes.items()}
    print(json.dumps({"bench": "rewrite", "megabytes": asked.megabytes, "mb_per_s": figures}))


if __name__ == "__main__":
    main()
