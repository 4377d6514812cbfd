"""`python -m bench [--jobs N] [--rounds N] [--peer COMMAND]`: measures, prints a table, then the same as JSON on one line.

`--peer` runs a shell command between our rounds, on the same machine; what it prints is shown beside our figures.
"""

import argparse
import asyncio
import json
import statistics
import subprocess

from bench import jobs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs a round")
    parser.add_argument("--rounds", type=int, default=1, help="rounds; the median is shown")
    parser.add_argument("--peer", default="", help="a command that measures something else, run after each of our rounds")
    asked = parser.parse_args()
    rounds, peer = [], []
    for _ in range(asked.rounds):
        rounds.append(asyncio.run(jobs.measure(asked.jobs)))
        if asked.peer:
            done = subprocess.run(asked.peer, shell=True, capture_output=True, text=True, timeout=900, check=True)
            peer.append(done.stdout.strip())
    figures = {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}
    for name, figure in figures.items():
        print(f"{name:28} {figure:10.1f}")
    for said in peer:
        print(f"peer: {said}")
    print(json.dumps({"jobs": asked.jobs, "rounds": asked.rounds, "ours": figures, "peer": peer}))


if __name__ == "__main__":
    main()
