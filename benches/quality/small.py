"""The default fit on few rows, judged on all the others: the figures of "Few rows" in docs/research/fitting.md.

usage: python benches/quality/small.py [FOLDER] [--sizes 300 1000 3000] [--draws 8] [--seed 0]

Each draw takes some rows of a trace at random, the same ones for every rule, and leaves at least 1,000 to judge on. A
cell is one trace, size, draw and trade-off. Printed are geometric means over cells of the default fit's objective over
that of a simple rule tuned on the same rows; the best rule of a cell is chosen after seeing the rows that judge. ±: one
standard error over draws, in the last digits. "Worse": share of cells in which the default is above the best rule by
more than two paired standard errors. The best single stage stands for the best prefix of models too: it has the same
answers for less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from recorded import parser_of, traces_of

import ttamer_fast as tt

TRADEOFFS = (0.50, 0.70, 0.87, 0.95, 0.985)
RULES = ("static", "threshold", "stage_thresholds", "patience")
JUDGES = 1_000


@dataclass(frozen=True)
class Cell:
    """What one fit came to."""

    name: str
    kind: str
    size: int
    draw: int
    tradeoff: float
    best: float
    """Log of the default's objective over that of the best rule."""
    rules: tuple[float, ...]
    """The same over each of `RULES`."""
    is_worse: bool


def totals(policy: tt.Policy, trace: tt.Trace, tradeoff: float) -> NDArray[np.float64]:
    """(n,) objective of each request."""
    replay = policy.replay(trace.signal, trace.prediction)
    loss = trace.loss[np.arange(trace.n), replay.answer]
    return tradeoff * loss + (1.0 - tradeoff) * replay.cost / trace.full_cost


def judged(name: str, size: int, draw: int, train: tt.Trace, test: tt.Trace, tradeoff: float) -> Cell:
    fitted = totals(tt.fit(train, tradeoff=tradeoff), test, tradeoff)
    simple = [totals(tt.baselines.ALL[rule](train, tradeoff), test, tradeoff) for rule in RULES]
    ratios = tuple(float(np.log(fitted.mean() / total.mean())) for total in simple)
    best = int(np.argmax(ratios))
    paired = fitted - simple[best]
    is_worse = bool(paired.mean() > 2.0 * paired.std() / np.sqrt(test.n))
    return Cell(name, train.kind, size, draw, tradeoff, ratios[best], ratios, is_worse)


def cells(name: str, trace: tt.Trace, sizes: list[int], draws: int, seed: int) -> Iterator[Cell]:
    for size in sizes:
        for draw in range(draws if trace.n >= size + JUDGES else 0):
            order = np.random.default_rng([seed, draw, size]).permutation(trace.n)
            train, test = trace.rows(order[:size]), trace.rows(order[size:])
            for tradeoff in TRADEOFFS:
                yield judged(name, size, draw, train, test, tradeoff)


def mean(values: list[float], draws: list[int]) -> str:
    """Geometric mean and its standard error from the spread of the draws."""
    logs = np.array(values)
    parts = np.array([logs[np.array(draws) == draw].mean() for draw in sorted(set(draws))])
    centre = float(np.exp(logs.mean()))
    error = parts.std(ddof=1) / np.sqrt(len(parts)) if len(parts) > 1 else np.nan
    return f"{centre:.4f} ± {1e4 * centre * error:.0f}"


def summary(found: list[Cell]) -> Iterator[str]:
    heads = " | ".join(rule.replace("_", " ") for rule in RULES)
    yield f"| kind | rows | best rule | {heads} | worse |"
    yield "| --- | --- |" + " --- |" * (2 + len(RULES))
    for kind, size in sorted({(cell.kind, cell.size) for cell in found}):
        these = [cell for cell in found if (cell.kind, cell.size) == (kind, size)]
        draws = [cell.draw for cell in these]
        means = [mean([cell.rules[at] for cell in these], draws) for at in range(len(RULES))]
        best = mean([cell.best for cell in these], draws)
        worse = sum(cell.is_worse for cell in these)
        yield f"| {kind} | {size} | {best} | {' | '.join(means)} | {worse} of {len(these)} |"


def details(found: list[Cell]) -> Iterator[str]:
    yield f"| trace | rows | {' | '.join(f'λ = {tradeoff:g}' for tradeoff in TRADEOFFS)} |"
    yield "| --- | --- |" + " --- |" * len(TRADEOFFS)
    for name, size in sorted({(cell.name, cell.size) for cell in found}):
        these = [cell for cell in found if (cell.name, cell.size) == (name, size)]
        means = [np.exp(np.mean([cell.best for cell in these if cell.tradeoff == value])) for value in TRADEOFFS]
        yield f"| {name} | {size} | {' | '.join(f'{value:.3f}' for value in means)} |"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1_000, 3_000])
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    traces = traces_of(parser, given.folder)
    found = [cell for named in traces.items() for cell in cells(*named, given.sizes, given.draws, given.seed)]
    for table in (summary, details):
        print(*table(found), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
