"""When to prefer a simple rule to the default: the figures of "Which preference" in docs/research/fitting.md.

usage: python benches/quality/selection.py [FOLDER] [--seeds 4] [--folds 4]

Every candidate is fitted to the training rows of each fold and judged on the others. A preference then chooses one by
what cross-validation within the training rows said (`policy.report`). Printed for each kind of trace: the geometric
mean over cells of the chosen objective over that of the best simple rule, which is picked after seeing the rows that
judge, and the share of cells in which it is worse than that rule by more than one and two paired standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from recorded import parser_of, traces_of

import ttamer_fast as tt
from ttamer_fast._core import estimate
from ttamer_fast.fitting.learners import learner_of
from ttamer_fast.traces import outcome

TRADEOFFS = (0.50, 0.70, 0.80, 0.87, 0.95, 0.985)
SIMPLE = ("static", "threshold", "stage_thresholds", "patience")
DEFAULT, NO_RECALL = "pathwise", "pathwise, no recall"
ROWS = 12_000

Floats = NDArray[np.float64]
Report = Mapping[str, tuple[float, float]]
"""By candidate: its mean objective less that of the default, and the standard error of that."""


def unless_clearly_better(report: Report, errors: float) -> str:
    """The default, unless another candidate is better by so many standard errors."""
    better = [name for name, (difference, error) in report.items() if difference < -errors * error]
    return min(better, key=lambda name: report[name][0], default=DEFAULT)


def if_clearly_better(report: Report, errors: float) -> str:
    """The best simple rule, unless the default is better by so many standard errors."""
    best = min(SIMPLE, key=lambda name: report[name][0])
    difference, error = report[best]
    return DEFAULT if difference > errors * error else best


PREFERENCES: dict[str, Callable[[Report], str]] = {
    "the default always": lambda report: DEFAULT,
    "the default, unless another is better by 2 SE": lambda report: unless_clearly_better(report, 2.0),
    "the default, unless another is better by 1 SE": lambda report: unless_clearly_better(report, 1.0),
    "the best of all": lambda report: unless_clearly_better(report, 0.0),
    "a simple rule, unless the default is better": lambda report: if_clearly_better(report, 0.0),
    "a simple rule, unless the default is better by 1 SE": lambda report: if_clearly_better(report, 1.0),
}


def chosen_by_fold(trace: tt.Trace, seed: int, folds: int) -> Iterator[tuple[dict[str, Floats], dict[str, Floats]]]:
    """For each trade-off, the (n,) objectives of every simple rule and of what every preference chooses."""
    part = np.random.default_rng(seed).permutation(trace.n) % folds
    pieces = [(trace.rows(part != fold), trace.rows(part == fold)) for fold in range(folds)]
    learners = [learner_of(train) for train, _ in pieces]
    for tradeoff in TRADEOFFS:
        rules: dict[str, list[Floats]] = {name: [] for name in SIMPLE}
        chosen: dict[str, list[Floats]] = {name: [] for name in PREFERENCES}
        for (train, test), learner in zip(pieces, learners, strict=True):
            policies = {DEFAULT: learner.policy(tradeoff, True), NO_RECALL: learner.policy(tradeoff, False)}
            policies |= {name: tt.baselines.ALL[name](train, tradeoff) for name in SIMPLE}
            found = {
                name: outcome.objective(outcome.of_policy(policy, test), tradeoff, test)
                for name, policy in policies.items()
            }
            report = {
                row["name"]: (row["difference"], row["standard_error"]) for row in learner.policy(tradeoff).report
            }
            for name in SIMPLE:
                rules[name].append(found[name])
            for name, prefer in PREFERENCES.items():
                chosen[name].append(found[prefer(report)])
        yield _joined(rules), _joined(chosen)


def _joined(pieces: dict[str, list[Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--folds", type=int, default=4)
    given = parser.parse_args()
    traces = [trace.rows(slice(ROWS)) for trace in traces_of(parser, given.folder).values()]
    print("| kind | preference | chosen / best simple rule | worse by 1 SE | by 2 SE | cells |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in ("exits", "models"):
        cells: dict[str, list[tuple[float, bool, bool]]] = {name: [] for name in PREFERENCES}
        for trace in (trace for trace in traces if trace.kind == kind):
            for seed in range(given.seeds):
                for rules, chosen in chosen_by_fold(trace, seed, given.folds):
                    best = min(rules.values(), key=lambda values: float(values.mean()))
                    for name, values in chosen.items():
                        paired = estimate(values - best)
                        ratio = float(np.log(values.mean() / best.mean()))
                        cells[name].append(
                            (ratio, paired.mean > paired.standard_error, paired.mean > 2.0 * paired.standard_error)
                        )
        for name, found in cells.items():
            if found:
                ratio, one, two = np.mean(found, axis=0)
                print(f"| {kind} | {name} | {np.exp(ratio):.4f} | {one:.1%} | {two:.1%} | {len(found)} |")


if __name__ == "__main__":
    main()
