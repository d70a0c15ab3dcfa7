"""What a probe is worth: the same fit with and without it, each judged on texts that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Floats
from ttamer_fast.plotting.canvas import new_figure, write_figure
from ttamer_fast.plotting.colours import stage_colour

__all__ = ["MODELS", "WAYS", "Served", "difference", "draw", "served", "table"]

MODELS = ("small", "large")
"""The stages that answer. What else a trace has are probes."""
WAYS: dict[str, tuple[str, ...]] = {
    "no probe": (),
    "length": ("length",),
    "router": ("router",),
    "guess": ("guess",),
}
"""The probes that stand before the models."""
MAY_ANSWER = "guess may answer"
"""The guess is a model as the others."""
FOLDS = 5
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Served:
    """What became of every text (n,), by a policy that was not fitted to it."""

    loss: Floats
    cost: Floats
    asked: dict[str, NDArray[np.bool_]]

    def objective(self, tradeoff: float, full: float) -> Floats:
        """Weighted loss and cost of every text (n,), the cost as a share of `full`."""
        return tradeoff * self.loss + (1.0 - tradeoff) * self.cost / full


def full_cost(trace: tt.Trace) -> float:
    """µs a text of both models."""
    return float(sum(np.asarray(trace.cost)[trace.stages.index(name)] for name in MODELS))


def chosen(trace: tt.Trace, stages: Sequence[str], answering: Sequence[str] = MODELS) -> tt.Trace:
    """Some stages of a trace. Those that must not answer have an infinite loss: this makes them probes."""
    columns = [trace.stages.index(name) for name in stages]
    assert trace.prediction is not None
    return tt.Trace(
        trace.signal[:, columns],
        np.where([name in answering for name in stages], trace.loss[:, columns], math.inf),
        np.asarray(trace.cost)[columns],
        trace.prediction[:, columns],
        kind="models",
        stages=stages,
        group=trace.group,
    )


def policy_for(trace: tt.Trace, tradeoff: float, full: float) -> tt.Policy:
    """The default fit; an error is as bad with a probe as without. `tt.fit` takes shares of what all stages cost."""
    return tt.fit(trace, tradeoff=tradeoff / (tradeoff + (1.0 - tradeoff) * trace.full_cost / full))


def folds_of(trace: tt.Trace) -> NDArray[np.int64]:
    """The fold of every text (n,); translations of one message are in one fold."""
    assert trace.group is not None
    groups, number = np.unique(trace.group, return_inverse=True)
    fold: NDArray[np.int64] = (np.random.default_rng(0).permutation(len(groups)) % FOLDS)[number]
    return fold


def served(trace: tt.Trace, way: str, tradeoff: float) -> Served:
    """Every text as decided by a policy that was fitted to the other folds."""
    probes = WAYS["guess" if way == MAY_ANSWER else way]
    answering = (*MODELS, "guess") if way == MAY_ANSWER else MODELS
    part, full, fold = chosen(trace, (*probes, *MODELS), answering), full_cost(trace), folds_of(trace)
    loss, cost = np.empty(trace.n), np.empty(trace.n)
    asked = np.empty((trace.n, part.k), dtype=bool)
    for i in range(FOLDS):
        policy, judged = policy_for(part[fold != i], tradeoff, full), part[fold == i]
        replay = policy.replay(judged.signal, judged.prediction)
        loss[fold == i] = judged.loss[np.arange(judged.n), replay.answer]
        cost[fold == i] = replay.cost
        asked[fold == i] = replay.consulted
    return Served(loss, cost, dict(zip(part.stages, asked.T, strict=True)))


def difference(trace: tt.Trace, gap: Floats) -> tuple[float, float]:
    """Mean of the texts, and half the length of its 95 % interval.

    The translations of a message count as one draw. Policies of different folds were fitted to mostly the same texts:
    the standard error is that of single draws times √(1 + 5/4) (Nadeau and Bengio 2003), as in `tt.compare`.
    """
    assert trace.group is not None
    _, number = np.unique(trace.group, return_inverse=True)
    mean = float(gap.mean())
    sums = np.bincount(number, weights=gap - mean)
    error = math.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(gap)
    return mean, NORMAL_95 * error * math.sqrt(1.0 + FOLDS / (FOLDS - 1))


def table(trace: tt.Trace, tradeoff: float, ways: Iterable[str] = (*WAYS, MAY_ANSWER)) -> str:
    """Objective, its paired difference to that without a probe, accuracy, cost, and how often each stage is asked."""
    full = full_cost(trace)
    head = f"{'':<18}{'objective × 1000':>17}{'minus no probe':>22}{'accuracy':>10}{'µs a text':>11}  asked"
    lines = [head]
    base = served(trace, "no probe", tradeoff)
    for way in ways:
        found = base if way == "no probe" else served(trace, way, tradeoff)
        objective = 1000.0 * found.objective(tradeoff, full)
        mean, half = difference(trace, objective - 1000.0 * base.objective(tradeoff, full))
        shown = "" if way == "no probe" else f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
        asked = ", ".join(f"{name} {of.mean():.0%}" for name, of in found.asked.items())
        lines.append(
            f"{way:<18}{objective.mean():>17.1f}{shown:>22}{1.0 - found.loss.mean():>10.3f}{found.cost.mean():>11.1f}"
            f"  {asked}"
        )
    return "\n".join(lines)


def draw(trace: tt.Trace, ways: Mapping[str, Sequence[Served]], path: str | PathLike[str]) -> None:
    """The frontiers: share of errors against µs a text, with a line for every way and a cross for each model alone."""
    figure = new_figure(8.4, 5.2)
    axes = figure.add_subplot()
    for i, (way, points) in enumerate(ways.items()):
        at = sorted((point.cost.mean(), point.loss.mean()) for point in points)
        style: dict[str, Any] = {"color": "#777777" if way == "no probe" else stage_colour(i), "marker": "o"}
        axes.plot(*zip(*at, strict=True), label=way, linewidth=1.8, markersize=4, **style)
    for name in MODELS:
        j = trace.stages.index(name)
        place = (float(np.asarray(trace.cost)[j]), float(trace.loss[:, j].mean()))
        axes.plot(*place, "k+", markersize=10)
        axes.annotate(f"{name} alone", place, xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9)
    axes.margins(0.08)
    axes.set_xlabel("mean cost of a text (µs of CPU, with the probe)")
    axes.set_ylabel("share of texts that get the wrong language")
    title = f"With and without a probe before the models\n{trace.n} texts, 5-fold cross-validation, a point for each λ"
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    write_figure(figure, path)
