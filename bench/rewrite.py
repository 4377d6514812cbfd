"""How fast content is rewritten: MB/s at 0, 10 and 100 % of rows hit, value by value and as a dump, beside `sed` on that dump.

    python -m bench.rewrite [megabytes]

`sed` replaces one spelling and breaks every serialized length; it is the yardstick of what reading and writing the bytes costs.
Where `go-search-replace` is on PATH it gets a lane of its own: it keeps most lengths.
The best of three runs' processor time counts. Prints one line a figure and, last, all as one JSON object.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from wpclone.wordpress.rewrite import Mapping, Rewriter, rewrite_stream

SOURCE, TARGET, ELSEWHERE = "https://example.com", "http://clone-1a2b3c.localhost:8080", "https://other.site"
MAPPING = Mapping.of([SOURCE], TARGET, [("/var/www/example", "/srv/clones/1a2b3c")])
GO = "go-search-replace"
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


def seconds(work: Callable[[], None]) -> float:
    """Processor time, ours and of children: the best of three. All lanes are bound by it, and neighbours don't disturb it."""
    times = []
    for _ in range(3):
        started = sum(os.times()[:4])
        work()
        times.append(sum(os.times()[:4]) - started)
    return max(min(times), 0.01)


def measured(megabytes: int, share: float) -> dict[str, float]:
    """MB/s of each lane over the same rows."""
    values, rewriter = rows(megabytes, share), Rewriter(MAPPING)
    size = sum(map(len, values)) / 1e6

    def by_value() -> None:
        for value in values:
            rewriter.value(value)

    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "dump.sql")
        path.write_bytes(dump(values))
        dumped = path.stat().st_size / 1e6

        def by_stream() -> None:
            with path.open("rb") as file, Path(place, "ours").open("wb") as out:
                out.writelines(rewrite_stream(_pieces(file.read), MAPPING))

        def by_sed() -> None:
            with path.open("rb") as file, Path(place, "sed").open("wb") as out:
                subprocess.run(["sed", f"s#{SOURCE}#{TARGET}#g"], stdin=file, stdout=out, check=True, env={"LC_ALL": "C"})

        def by_go() -> None:
            with path.open("rb") as file, Path(place, "go").open("wb") as out:
                subprocess.run([GO, SOURCE, TARGET], stdin=file, stdout=out, check=True)

        lanes = {"values": size / seconds(by_value), "stream": dumped / seconds(by_stream), "sed": dumped / seconds(by_sed)}
        return lanes | ({GO: dumped / seconds(by_go)} if shutil.which(GO) else {})


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(1 << 18):
        yield piece


def main() -> None:
    """Measure and print."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    figures: dict[str, dict[str, float]] = {}
    for share in (0.0, 0.1, 1.0):
        lanes = measured(megabytes, share)
        figures[f"{share:.0%}"] = {name: round(figure, 1) for name, figure in lanes.items()}
        print(
            f"{share:4.0%} of rows hit: values {lanes['values']:6.0f} MB/s, dump {lanes['stream']:6.0f} MB/s,"
            f" sed {lanes['sed']:6.0f} MB/s, dump/sed {lanes['stream'] / lanes['sed']:.2f}"
            + (f", {GO} {lanes[GO]:6.0f} MB/s" if GO in lanes else "")
        )
    print(json.dumps({"bench": "rewrite", "megabytes": megabytes, "mb_per_s": figures}))


if __name__ == "__main__":
    main()
