"""Bytes that a call leaves in memory, on every path that a server may take for ever.

usage: python benches/leaks.py [--calls N] [PATH ...]
Exits 1 where a path keeps 8 bytes a call or more. A million calls of each take minutes.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

from leak_paths import PATHS, growth

MOST = 8.0


def main() -> int:
    """Calls, prints a row for each path."""
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*", default=list(PATHS))
    parser.add_argument("--calls", type=int, default=1_000_000)
    options = parser.parse_args()
    worst = 0.0
    for name in options.paths:
        kept = growth(name, options.calls)
        worst = max(worst, kept)
        print(f"{name:24} {kept:9.3f} bytes a call, {options.calls} calls", flush=True)
    return int(worst >= MOST)


if __name__ == "__main__":
    sys.exit(main())
