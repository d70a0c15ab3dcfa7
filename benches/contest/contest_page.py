"""The tables of the contest, in markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from contestants import OURS, Contestant
from standings import Cell

GOAL = 0.97


def lines(
    cells: list[Cell], methods: Mapping[str, Contestant], traces: Mapping[str, str], command: str
) -> Iterator[str]:
    """The page: how it was made, the verdict, the objectives, ratios, and who the methods are."""
    yield "# A contest with other methods"
    yield ""
    yield f"Made by `{command}`."
    yield ""
    yield (
        "Every method learns and is tuned on the training rows of each fold alone, and is judged on the others by the "
        "same objective, λ · loss + (1 − λ) · cost / cost of all stages. Exits pay for all that lies before them, "
        "separate models each for itself."
    )
    yield ""
    yield from verdict(cells)
    yield ""
    yield from objectives(cells, list(methods), traces)
    yield ""
    yield from ratios(cells, list(methods))
    yield ""
    yield from sources(methods)


def verdict(cells: list[Cell]) -> Iterator[str]:
    yield "## Verdict"
    yield ""
    yield (
        f"Our objective over that of the best other method of each cell, chosen in hindsight: geometric mean over "
        f"{len(cells)} cells {geometric_mean([cell.ratio for cell in cells]):.3f} (goal {GOAL} or less), worst "
        f"{max(cell.ratio for cell in cells):.3f}. Cells in which another method is better by two paired standard "
        f"errors (goal: none):"
    )
    yield ""
    losses = [(cell, method) for cell in cells for method in cell.better]
    if not losses:
        yield "none."
        return
    yield "| trace | λ | method | its objective less ours, × 1000 | ours / its |"
    yield "| --- | --- | --- | --- | --- |"
    for cell, method in losses:
        ratio = cell.mean(OURS) / cell.mean(method)
        yield f"| {cell.trace} | {cell.tradeoff:g} | {method} | {signed(*cell.difference(method))} | {ratio:.3f} |"


def objectives(cells: list[Cell], methods: list[str], traces: Mapping[str, str]) -> Iterator[str]:
    yield "## Objectives"
    yield ""
    yield "× 1000; in brackets the paired difference to `tt.fit` ± its standard error. Bold: the least of a cell."
    tradeoffs = sorted({cell.tradeoff for cell in cells})
    for name, about in traces.items():
        here = {cell.tradeoff: cell for cell in cells if cell.trace == name}
        yield ""
        yield f"### {name} ({about})"
        yield ""
        yield f"| method | {' | '.join(f'λ = {tradeoff:g}' for tradeoff in tradeoffs)} |"
        yield "| --- |" + " --- |" * len(tradeoffs)
        for method in methods:
            if method in here[tradeoffs[0]].objectives:
                yield f"| {method} | {' | '.join(entry(here[tradeoff], method) for tradeoff in tradeoffs)} |"


def entry(cell: Cell, method: str) -> str:
    shown = f"{1000.0 * cell.mean(method):.1f}"
    if cell.mean(method) <= min(cell.mean(OURS), cell.mean(cell.best)):
        shown = f"**{shown}**"
    return shown if method == OURS else f"{shown} ({signed(*cell.difference(method))})"


def signed(mean: float, error: float) -> str:
    return f"{1000.0 * mean:+.1f} ± {1000.0 * error:.1f}"


def ratios(cells: list[Cell], methods: list[str]) -> Iterator[str]:
    names = list(dict.fromkeys(cell.trace for cell in cells))
    yield "## Ratios"
    yield ""
    yield "Objective over that of `tt.fit`, geometric mean over the trade-offs. Best: of each cell, in hindsight."
    yield ""
    yield f"| method | {' | '.join(names)} | all |"
    yield "| --- |" + " --- |" * (len(names) + 1)
    for method in methods:
        if method != OURS:
            shown = [
                over([cell.mean(method) / cell.mean(OURS) for cell in these if method in cell.objectives])
                for these in [[cell for cell in cells if cell.trace == name] for name in names] + [cells]
            ]
            yield f"| {method} | {' | '.join(shown)} |"
    best = [over([1.0 / cell.ratio for cell in cells if cell.trace == name]) for name in names]
    yield f"| best of all others | {' | '.join(best)} | {over([1.0 / cell.ratio for cell in cells])} |"


def over(found: list[float]) -> str:
    return f"{geometric_mean(found):.3f}" if found else "–"


def geometric_mean(found: list[float]) -> float:
    return math.exp(sum(map(math.log, found)) / len(found))


def sources(methods: Mapping[str, Contestant]) -> Iterator[str]:
    yield "## Methods"
    yield ""
    for name, one in methods.items():
        yield f"* **{name}**: {one.source}."
