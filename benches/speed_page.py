"""Measures the page of speed, keeps its figures in `benches/speed.json`, and writes `benches/README.md` from them.

usage: python benches/speed_page.py [--only PART...] [--seconds 10] [--show]
       python benches/speed_page.py --check

Parts: calls, batches, replays, solves, fits; those that are left out keep their figures. Everything in a row is done in
turns, until the least times of both halves of the rounds agree within 1 % or the seconds have passed. Takes a few
minutes. `--show` prints rows and keeps nothing. `--check` measures nothing and fails unless the page is the one that
the kept figures give.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ttamer_fast as tt
from readme import machine, wrapped
from speed_figures import PARTS
from ttamer_fast.evaluation.timing import STEADY

PAGE = Path(__file__).resolve().parent / "README.md"
KEPT = PAGE.with_name("speed.json")

Figures = dict[str, Any]

WHAT = {
    "calls": "One request after the other, from a Python loop",
    "batches": "Many requests in step",
    "replays": "Recorded requests, on all cores",
    "solves": "Exact models",
    "fits": "From traces to policies",
}


def page(figures: Figures) -> str:
    """The page."""
    if missing := [name for name in PARTS if name not in figures]:
        raise SystemExit(f"not measured yet: {', '.join(missing)}")
    lines = ["# Speed", ""]
    lines += wrapped(
        f"""Written by `python benches/speed_page.py`. The *limit* is what the interpreter, the memory or the arithmetic
        takes in any case; *beside it* is what else does the same or part of it. All of a row was done in turns, in one
        process; each figure is the least of its rounds. Seconds are not portable, ratios nearly are. *Apart* is how far
        the least times of the two halves of the rounds lie from each other at most: where it is more than
        {100 * STEADY:g} %, the machine was too busy for the row to say anything, and a **?** says so. `ttamer bench
        POLICY` prints the like for a policy and a machine of your own."""
    )
    for name, title in WHAT.items():
        where = figures[name]["machine"]
        lines += ["", f"## {title}", "", f"{where['cores']} cores, {where['model']}.", ""]
        lines += ["| what | takes | limit | × limit | beside it | ratio | apart | command |", "| --- " * 8 + "|"]
        for figure in figures[name]["figures"]:
            lines += rows(figure)
    lines += ["", "## What could not be compared", ""]
    lines += wrapped(
        """UCCI ([arXiv 2605.18796](https://arxiv.org/abs/2605.18796)) is a method without a package: the index knows
        none of that name. It compares a signal calibrated by isotonic regression with a threshold: to decide, that is
        the calibrated chain above. Cascade routing is measured
        in its own formulation, [`contest/cascade_routing.py`](contest/cascade_routing.py), vectorised over requests.
        What these methods are worth is in the [contest](contest/contest.md). No other package that we know of solves
        these models at this size: [solve.md](solve.md) has what general solvers take on small ones."""
    )
    return "\n".join(lines) + "\n"


def rows(figure: Figures) -> Iterator[str]:
    """A row for the figure and its first peer, and one for each other peer."""
    value, unit, limit = figure["value"], figure["unit"], figure["limit"]
    sure = "" if figure["noise"] <= STEADY else " **?**"
    first = [f"{figure['what']}{sure}", f"{digits(value)} {unit}"]
    first += (
        [f"{digits(limit['value'])} {unit}, {limit['what']}", digits(value / limit["value"])] if limit else ["", ""]
    )
    last = [f"{100 * figure['noise']:.1f} %", f"`{figure['command']}`"]
    peers = [[f"{digits(p['value'])} {unit}, {p['what']}", digits(value / p["value"])] for p in figure["peers"]]
    for at, peer in enumerate(peers or [["", ""]]):
        yield f"| {' | '.join([*first, *peer, *last] if at == 0 else [*[''] * 4, *peer, *[''] * 2])} |"


def digits(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}" if value < 1000.0 else f"{value:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=10.0, help="of the rounds of each row, about")
    parser.add_argument("--show", action="store_true", help="print the rows and keep nothing")
    parser.add_argument("--check", action="store_true", help="fail unless the page holds the kept figures")
    given = parser.parse_args()
    figures: Figures = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if given.check:
        if PAGE.read_text(encoding="utf-8") != page(figures):
            raise SystemExit("benches/README.md is not what benches/speed_page.py writes from benches/speed.json")
        return
    warnings.simplefilter("ignore", tt.TTamerWarning)
    for name in given.only:
        found = [asdict(one) for one in PARTS[name](given.seconds)]
        for one in found:
            print("\n".join(rows(one)), flush=True)
        figures[name] = {"machine": machine(), "figures": found}
        if not given.show:
            KEPT.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not given.show:
        PAGE.write_text(page(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
