"""A contest of `tt.fit` with other methods on recorded traces, out of sample: prints a page, and may write it.

usage: python benches/contest/run.py [FOLDER] [--folds 4] [--rows 6000] [--lams 0.7 0.87 0.95 0.985]
                                     [--methods NAME ...] [--output FILE] [--kept FOLDER]

Every method learns from the training rows of the same folds and is judged on the others by the same objective. Results
are kept in a folder, so that after a change of the core only the library's own rules are run again.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "quality"))

from contest_page import lines
from contestants import CONTESTANTS, OURS
from kept import FOLDER, Kept
from recorded import parser_of, traces_of
from standings import Contest

import ttamer_fast as tt


def some_rows(trace: tt.Trace, rows: int) -> tt.Trace:
    """At most so many rows, drawn at random: those of a trace may be in order of their class."""
    return trace.rows(np.sort(np.random.default_rng(0).permutation(trace.n)[:rows]))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=6_000, help="at most so many of each trace")
    parser.add_argument("--lams", type=float, nargs="+", default=[0.7, 0.87, 0.95, 0.985], help="trade-offs")
    parser.add_argument("--methods", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    parser.add_argument("--kept", type=Path, default=FOLDER, help="results of runs before: %(default)s")
    given = parser.parse_args()
    warnings.simplefilter("ignore", tt.CalibrationWarning)
    methods = {name: one for name, one in CONTESTANTS.items() if name == OURS or name in given.methods}
    contest = Contest(methods, tuple(given.lams), given.folds, Kept(given.kept), {})
    cells, about = [], {}
    for name, whole in traces_of(parser, given.folder).items():
        trace = some_rows(whole, given.rows)
        cells += contest.cells(name, trace)
        about[name] = f"{trace.kind}, n {trace.n}, k {trace.k}"
        print(f"{name}: {', '.join(f'{cell.ratio:.3f}' for cell in cells if cell.trace == name)}", file=sys.stderr)
    page = "\n".join(lines(cells, methods, about, command(given.folder)))
    print(page)
    for method, seconds in contest.seconds.items():
        print(f"{method}: {seconds:.0f} s of processor time", file=sys.stderr)
    if given.output is not None:
        given.output.write_text(page + "\n", encoding="utf-8")


def command(folder: Path | None) -> str:
    """How this program was called, without where the traces were."""
    said = [("FOLDER" if folder is not None and word == str(folder) else word) for word in sys.argv[1:]]
    return shlex.join(["python", "benches/contest/run.py", *said])


if __name__ == "__main__":
    main()
