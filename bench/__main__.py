"""`python -m bench [--jobs N] [--rounds N] [--peer COMMAND]`: measures, prints a table, then the same as JSON on one line.

`--peer` is a shell command that measures something else; it takes turns with ours, round by round, and its figures stand beside
ours with their ratio (above 1: ours is better). See `bench.jobs` for what it is told and what it prints.
"""

import argparse
import json

from bench import jobs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs a round")
    parser.add_argument("--rounds", type=int, default=1, help="rounds; the median is shown")
    parser.add_argument("--peer", default="", help="a command that measures something else, run after each of our rounds")
    asked = parser.parse_args()
    ours, theirs = jobs.measure(asked.jobs, asked.rounds, asked.peer)
    ratios = {name: jobs.ratio(name, ours[name], theirs[name]) for name in ours if name in theirs}
    print(f"{'':28} {'ours':>10} {'peer':>10} {'ratio':>10}" if theirs else f"{'':28} {'ours':>10}")
    for name, figure in ours.items():
        beside = f" {theirs[name]:10.1f} {ratios[name]:10.1f}" if name in theirs else ""
        print(f"{name:28} {figure:10.1f}{beside}")
    print(json.dumps({"jobs": asked.jobs, "rounds": asked.rounds, "ours": ours, "peer": theirs, "ratios": ratios}))


if __name__ == "__main__":
    main()
