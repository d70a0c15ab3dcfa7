"""Every method on recorded traces, out of sample: prints a markdown table and may write it to a file.

usage: python benches/quality/table.py [--traces FOLDER] [--folds 5] [--output FILE]

Objective: 1000 · (λ · loss + (1 − λ) · cost / cost of running every stage), the mean over cross-validation. In
brackets: the paired difference to the tuned single threshold ± its standard error. Traces are cut to 20,000 rows.
The last lines hold the default fit against the best simple rule of each cell, chosen in hindsight: geometric mean of
the ratio of objectives, and how many cells are above that rule.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

from recorded import files_of, parser_of, read

import ttamer_fast as tt
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.evaluation.comparison import compared

TRADEOFFS = (0.50, 0.70, 0.80, 0.87, 0.92, 0.95, 0.97, 0.985)
ROWS = 20_000
REFERENCE = "threshold"


def lines(files: list[Path], folds: int) -> Iterator[str]:
    heads = " | ".join(f"λ = {tradeoff:g}" for tradeoff in TRADEOFFS)
    yield f"| trace | method | {heads} |"
    yield "| --- | --- |" + " --- |" * len(TRADEOFFS)
    best: dict[str, list[tt.Comparison]] = {"models": [], "exits": []}
    for file in files:
        trace = read(file).rows(slice(ROWS))
        judged = list(zip(TRADEOFFS, cv.cross_validate(trace, cv.rules(trace), TRADEOFFS, folds, seed=0), strict=True))
        results = [compared(trace, tradeoff, folds, outcomes, REFERENCE) for tradeoff, outcomes in judged]
        best[trace.kind] += [compared(trace, tradeoff, folds, outcomes) for tradeoff, outcomes in judged]
        for i, row in enumerate(results[0].rows):
            cells = [cell(result[row.name], row.name) for result in results]
            named = f"{file.stem} (n {trace.n}, k {trace.k})" if i == 0 else ""
            yield f"| {named} | {row.name.replace('_', ' ')} | {' | '.join(cells)} |"
    yield ""
    for kind, found in best.items():
        if found:
            yield summary(kind, found)


def summary(kind: str, found: list[tt.Comparison]) -> str:
    """The default fit against the best simple rule of each comparison."""
    fits = [result["fit"] for result in found]
    ratios = [fit.objective / result[result.reference].objective for fit, result in zip(fits, found, strict=True)]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    above = sum(fit.difference > 0.0 for fit in fits)
    clearly = sum(fit.difference > fit.difference_se for fit in fits)
    return (
        f"{kind}: geometric mean {mean:.3f}, worst cell {max(ratios):.3f}; of {len(fits)} cells {above} are above the "
        f"best simple rule, {clearly} by more than one standard error  "
    )


def cell(row: tt.Compared, name: str) -> str:
    objective = f"{1000 * row.objective:.1f}"
    if name in (REFERENCE, "clairvoyant"):
        return objective
    return f"{objective} ({1000 * row.difference:+.1f} ± {1000 * row.difference_se:.1f})"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    started = time.perf_counter()
    table = []
    for line in lines(files_of(parser, given.traces), given.folds):
        print(line, flush=True)
        table.append(line)
    print(f"\n{time.perf_counter() - started:.0f} s")
    if given.output is not None:
        given.output.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
