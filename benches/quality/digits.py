"""Records our own trace, `benches/data/digits.npz`: four models of scikit-learn's handwritten digits.

usage: python benches/quality/digits.py [--output FILE]

All 1,797 images; answers and signals of five folds, each by models fitted to the other four; costs are median
milliseconds of a single image. The costs of another machine are others, so that figures of quality are of this file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recorded import DIGITS

from ttamer_fast.demo.digits import load_images, record_trace, train

FOLDS = 5
TREES = 100
LATENCY_CALLS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DIGITS)
    given = parser.parse_args()
    images = load_images()
    trace = record_trace(images, train(images, TREES), FOLDS, TREES, LATENCY_CALLS)
    trace.save(given.output)
    print(trace)


if __name__ == "__main__":
    main()
