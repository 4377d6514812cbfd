"""`python -m bench`: every lane with its defaults, one after the other. Each is also a module of its own with arguments."""

import subprocess
import sys

LANES = ("jobs", "rewrite", "copy", "clone_of_clone", "memory")


def main() -> int:
    """Run all; the number of lanes that failed."""
    failed = 0
    for lane in LANES:
        print(f"\n{lane} (python -m bench.{lane})", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{lane}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
