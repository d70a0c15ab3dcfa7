"""What the constants of learning do: one varied at a time, beside the defaults; writes docs/research/variants.md.

usage: python benches/quality/variants.py [FOLDER] [--sizes 300 1000 3000] [--draws 8] [--seed 1] [--output FILE]

Each draw takes some rows of a trace at random to fit on, and up to 4,000 others to judge on: the same ones for every
variant. A cell is one trace and trade-off; its change is the logarithm of a variant's objective over that of the
defaults. Printed are means over cells, in per cent, ± one standard error over draws. Fits have recall and no check
against simple rules, which would hide part of a difference.
"""

from __future__ import annotations

import argparse
import itertools
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recorded import parser_of, traces_of
from small import totals

import ttamer_fast as tt
from ttamer_fast import _core

TRADEOFFS = (0.50, 0.70, 0.87, 0.95, 0.985)
JUDGES = 1_000, 4_000
"""Fewest and most rows to judge on."""
PAGE = "docs/research/variants.md"


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "weights: half the pull": {"ridge_models": 2.5, "ridge_exits": 10.0},
    "weights: twice the pull": {"ridge_models": 10.0, "ridge_exits": 40.0},
    "weights: eight times the pull": {"ridge_models": 40.0, "ridge_exits": 160.0},
    "exits: the last 4 answers are weighed": {"line_members": 4},
    "exits: the last 8 answers are weighed": {"line_members": 8},
    "best stage: no bonus": {"margin_models": 0.0, "margin_exits": 0.0},
    "best stage: twice the bonus": {"margin_models": 1.0, "margin_exits": 0.6},
    "curve: a quarter of the smoothness": {"curve_smoothness": 5.0},
    "curve: four times the smoothness": {"curve_smoothness": 80.0},
    "curve: may rise freely": {"curve_rise": 0.0},
    "curve: never rises": {"curve_rise": 1e9},
    "curve: no value has a level of its own": {"curve_tie": 2.0},
    "classes: no curves of their own": {"classes": 0},
    "classes: curves and pairs without standard errors": {"class_errors": 0.0},
    "classes: a pull of 2 rows": {"class_ridges": [2.0] * 3},
    "pairs of classes: none": {"pair_classes": 0},
    "pairs of classes: a pull of 1.5 rows": {"pair_ridges": [1.5] * 3},
    "stopping costs the realised loss": {"belief_share": 0.0},
    "stopping costs the believed loss": {"belief_share": 1.0},
    "gains: 2 rounds of smoothing": {"smoothing_rounds": 2.0, "smoothing_rows": 1.0},
    "gains: 8 rounds": {"smoothing_rounds": 8.0, "smoothing_rows": 1.0},
    "gains: 32 rounds": {"smoothing_rounds": 32.0, "smoothing_rows": 1.0},
    "gains: 128 rounds": {"smoothing_rounds": 128.0, "smoothing_rows": 1.0},
    "never one limit": {"one_limit_rows": 0.0},
}


@dataclass(frozen=True)
class Draw:
    """The changes of one draw from one trace."""

    kind: str
    size: int
    number: int
    changes: Mapping[str, float]
    """By variant, the mean over trade-offs of log objective less that of the defaults."""


def log_objectives(train: tt.Trace, test: tt.Trace, tuning: Mapping[str, Any]) -> float:
    """Mean over the trade-offs of the log of the mean objective on the test rows."""
    learner = _core.Learner(train.core, tuning=dict(tuning))
    found = [totals(learner.policy(tradeoff, True), test, tradeoff).mean() for tradeoff in TRADEOFFS]
    return float(np.log(found).mean())


def draws(trace: tt.Trace, sizes: list[int], count: int, seed: int) -> Iterator[Draw]:
    fewest, most = JUDGES
    for size, number in itertools.product(sizes, range(count)):
        if trace.n >= size + fewest:
            order = np.random.default_rng([seed, number, size]).permutation(trace.n)
            train, test = trace.rows(order[:size]), trace.rows(order[size : size + most])
            default = log_objectives(train, test, {})
            changes = {name: log_objectives(train, test, given) - default for name, given in VARIANTS.items()}
            yield Draw(trace.kind, size, number, changes)


def change(found: list[Draw], variant: str) -> str:
    """Mean change in per cent, and its standard error over draws."""
    numbers = sorted({draw.number for draw in found})
    means = [np.mean([draw.changes[variant] for draw in found if draw.number == number]) for number in numbers]
    error = np.std(means, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    return f"{100.0 * np.mean(means):+.2f} ± {100.0 * error:.2f}"


def table(found: list[Draw]) -> Iterator[str]:
    columns = sorted({(draw.kind, draw.size) for draw in found})
    yield f"| variant | {' | '.join(f'{kind}, {size:,} rows' for kind, size in columns)} |"
    yield "| --- |" + " --- |" * len(columns)
    for variant in VARIANTS:
        cells = [change([draw for draw in found if (draw.kind, draw.size) == column], variant) for column in columns]
        yield f"| {variant} | {' | '.join(cells)} |"


def shown(value: float | list[float]) -> str:
    """A constant, or several that are equal as one."""
    return f"{value[0] if isinstance(value, list) else value:g}"


def wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False) + "\n"


def page(found: list[Draw], names: list[str], folder: Path | None, given: argparse.Namespace) -> Iterator[str]:
    """The document: how it was made, what it says, the table."""
    sizes = " ".join(map(str, given.sizes))
    where = "" if folder is None else "FOLDER "
    yield "# What the constants of learning do\n\nWritten by\n"
    yield f"    python benches/quality/variants.py {where}--sizes {sizes} --draws {given.draws} --seed {given.seed} \\"
    yield f"        --output {PAGE}\n"
    yield wrapped(
        f"""on {", ".join(names)}. One constant of `rust/core/src/learn/tuning.rs` is varied at a time. Each draw takes
        some rows of a trace at random to fit on, and up to {JUDGES[1]:,} others to judge on; all variants get the
        same ones. Fits have recall and no check against simple rules. Numbers are changes of the objective in per
        cent, means over traces and {len(TRADEOFFS)} trade-offs from {TRADEOFFS[0]:g} to {TRADEOFFS[-1]:g}, ± one
        standard error over draws: above 0 is worse than the defaults. A trace that is too short for a column is
        left out of it."""
    )
    yield wrapped("The defaults were chosen on the same public traces, on other draws.")
    yield from table(found)
    yield "\n## The variants\n"
    yield "| variant | constants |"
    yield "| --- | --- |"
    for name, changed in VARIANTS.items():
        yield f"| {name} | {', '.join(f'`{constant}` {shown(value)}' for constant, value in changed.items())} |"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1_000, 3_000])
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    given = parser.parse_args()
    traces = traces_of(parser, given.folder)
    started = time.perf_counter()
    found = [draw for trace in traces.values() for draw in draws(trace, given.sizes, given.draws, given.seed)]
    lines = "\n".join(page(found, list(traces), given.folder, given)) + "\n"
    print(lines, f"{time.perf_counter() - started:.0f} s", sep="\n")
    if given.output is not None:
        given.output.write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
