"""Every method on recorded traces, out of sample: prints a markdown table and may write it to a file.

usage: python benches/quality/table.py [FOLDER] [--folds 5] [--output FILE]

Objective: 1000 · (λ · loss + (1 − λ) · cost / cost of running every stage), the mean over cross-validation. In
brackets: the paired difference to the tuned single threshold ± its standard error. Traces are cut to 20,000 rows.
A second table and the last lines hold the default fit against the best simple rule of each cell, chosen in hindsight:
change of the objective, geometric mean of its ratio, and how many cells are above that rule.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recorded import parser_of, traces_of

import ttamer_fast as tt
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.evaluation.comparison import compared

TRADEOFFS = (0.50, 0.70, 0.80, 0.87, 0.92, 0.95, 0.97, 0.985)
ROWS = 20_000
REFERENCE = "threshold"
RELATIVE = "Change of the objective against the best simple rule of the cell, in per cent ± one standard error:"


@dataclass(frozen=True)
class Judged:
    """One trace, every rule, every trade-off."""

    name: str
    trace: tt.Trace
    to_threshold: tuple[tt.Comparison, ...]
    """By trade-off; differences are to the tuned single threshold."""
    to_best: tuple[tt.Comparison, ...]
    """By trade-off; differences are to the best simple rule."""


def judge(name: str, trace: tt.Trace, folds: int) -> Judged:
    """Cross-validates every rule on the first rows of a trace."""
    trace = trace.rows(slice(ROWS))
    part = cv.parts(trace, folds, seed=0)
    outcomes = cv.cross_validate(trace, cv.rules(trace), TRADEOFFS, folds, seed=0)
    by_reference = [
        tuple(
            compared(trace, part, tradeoff, found, reference)
            for tradeoff, found in zip(TRADEOFFS, outcomes, strict=True)
        )
        for reference in (REFERENCE, None)
    ]
    return Judged(name, trace, *by_reference)


def head(columns: str, tradeoffs: tuple[float, ...] = TRADEOFFS) -> Iterator[str]:
    """First lines of a table with a column a trade-off."""
    yield f"| {columns} | {' | '.join(f'λ = {tradeoff:g}' for tradeoff in tradeoffs)} |"
    yield "| --- |" + " --- |" * (columns.count("|") + len(tradeoffs))


def lines(traces: Mapping[str, tt.Trace], folds: int) -> Iterator[str]:
    """Every rule; then the default fit against the best simple rule of each cell."""
    yield from head("trace | method")
    judged = []
    for name, trace in traces.items():
        judged.append(judge(name, trace, folds))
        yield from rows(judged[-1])
    yield from ("", RELATIVE, "")
    yield from head("trace")
    for one in judged:
        yield f"| {one.name} | {' | '.join(relative(result) for result in one.to_best)} |"
    yield ""
    for kind in ("models", "exits"):
        if found := [result for one in judged if one.trace.kind == kind for result in one.to_best]:
            yield summary(kind, found)


def rows(judged: Judged) -> Iterator[str]:
    for i, row in enumerate(judged.to_threshold[0].rows):
        cells = [cell(result[row.name]) for result in judged.to_threshold]
        named = f"{judged.name} (n {judged.trace.n}, k {judged.trace.k})" if i == 0 else ""
        yield f"| {named} | {row.name.replace('_', ' ')} | {' | '.join(cells)} |"


def relative(result: tt.Comparison) -> str:
    fit, base = result["fit"], result[result.reference].objective
    return f"{100.0 * fit.difference / base:+.1f} ± {100.0 * fit.difference_se / base:.1f}"


def geometric_mean(found: list[tt.Comparison]) -> float:
    """Of the default fit's objective over that of the best simple rule."""
    ratios = [result["fit"].objective / result[result.reference].objective for result in found]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def worst(found: list[tt.Comparison]) -> float:
    """The largest such ratio."""
    return max(result["fit"].objective / result[result.reference].objective for result in found)


def summary(kind: str, found: list[tt.Comparison]) -> str:
    """The default fit against the best simple rule of each comparison."""
    fits = [result["fit"] for result in found]
    above = sum(fit.difference > 0.0 for fit in fits)
    clearly = sum(fit.difference > fit.difference_se for fit in fits)
    return (
        f"{kind}: geometric mean {geometric_mean(found):.3f}, worst cell {worst(found):.3f}; of {len(fits)} cells "
        f"{above} are above the best simple rule, {clearly} by more than one standard error  "
    )


def cell(row: tt.Compared) -> str:
    objective = f"{1000 * row.objective:.1f}"
    if row.name in (REFERENCE, "clairvoyant"):
        return objective
    return f"{objective} ({1000 * row.difference:+.1f} ± {1000 * row.difference_se:.1f})"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    started = time.perf_counter()
    table = []
    for line in lines(traces_of(parser, given.folder), given.folds):
        print(line, flush=True)
        table.append(line)
    print(f"\n{time.perf_counter() - started:.0f} s")
    if given.output is not None:
        given.output.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
