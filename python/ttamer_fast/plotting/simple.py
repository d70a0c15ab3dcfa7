"""Pictures of rules of one row a stage: thresholds, patience, tables of states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .._utils.extras import require
from .colours import GO_ON_COLOUR, STOP_COLOUR, action_colour, action_text, explain, short

__all__ = ["draw_patience", "draw_table", "draw_threshold", "walk_of"]


def walk_of(rule: dict[str, Any]) -> list[int]:
    """The stages that a rule walks along, in this order."""
    walk = [int(rule["entry"])]
    while (following := int(rule["successor"][walk[-1]])) >= 0:
        walk.append(following)
    return walk


def draw_threshold(figure: Any, rule: dict[str, Any], stages: Sequence[str], headline: str) -> None:
    """The stages that are run, from the first one down: from which signal on to stop, and what is run else."""
    axes = figure.add_subplot()
    walk = walk_of(rule)
    limit = {stage: float(rule["threshold"][stage]) for stage in walk}
    limit[walk[-1]] = -math.inf
    finite = [t for t in limit.values() if math.isfinite(t)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.35 * (high - low) or 0.35 * abs(high) or 0.35
    low, high = low - margin, high + margin
    for place, stage in enumerate(walk):
        cut = min(max(limit[stage], low), high)
        axes.barh(place, cut - low, left=low, height=0.66, color=GO_ON_COLOUR)
        axes.barh(place, high - cut, left=cut, height=0.66, color=STOP_COLOUR)
        axes.text(
            0.5 * (low + high), place, _threshold_text(limit[stage], walk, place, stages), ha="center", va="center"
        )
    _name_rows(axes, walk, stages)
    axes.set_xlim(low, high)
    axes.set_xlabel("signal of the stage (green: stop)")
    axes.set_title(headline, loc="left", fontsize=10)


def _threshold_text(limit: float, walk: Sequence[int], place: int, stages: Sequence[str]) -> str:
    if limit == -math.inf:
        return "stop"
    onward = action_text(walk[place + 1], stages)
    return onward if limit == math.inf else f"stop from {limit:.4g}, else {onward}"


def draw_patience(figure: Any, rule: dict[str, Any], stages: Sequence[str], headline: str) -> None:
    """The stages that are run, from the first one down, and where they may stop."""
    axes = figure.add_subplot()
    walk = walk_of(rule)
    for place in range(len(walk)):
        may_stop = place >= rule["patience"] or place == len(walk) - 1
        axes.barh(place, 1.0, height=0.66, color=STOP_COLOUR if may_stop else GO_ON_COLOUR)
    _name_rows(axes, walk, stages)
    axes.set_xticks([])
    axes.set_xlabel(f"green: stops after {rule['patience']} equal predictions in a row, or at the end")
    axes.set_title(headline, loc="left", fontsize=10)


def draw_table(figure: Any, rule: dict[str, Any], stages: Sequence[str], headline: str) -> None:
    """What follows each state of a stage whose own answer is in hand."""
    axes = figure.add_subplot()
    shown: set[int] = set()
    for row in rule["decisions"]:
        if row["state"] is not None:
            following = _next_stage(row, float(row["loss"]))
            axes.barh(row["stage"], 1.0, left=row["state"] - 0.5, height=0.66, color=action_colour(following))
            shown.add(following)
    _name_rows(axes, range(len(stages)), stages)
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "plot").MaxNLocator(integer=True))
    axes.set_xlabel("state of the stage that just ran, its own answer in hand")
    start = int(rule["start"])
    first = "Nothing is run" if start < 0 else f"First {short(stages[start])}"
    axes.set_title(f"{headline}\n{first}", loc="left", fontsize=10)
    explain(figure, shown, stages)


def _next_stage(row: dict[str, Any], loss: float) -> int:
    """The stage to run in one row of decisions with `loss` in hand, or -1."""
    if loss <= float(row["stop"]) or not row["next"]:
        return -1
    return next((int(stage) for limit, stage in row["next"] if loss <= float(limit)), -1)


def _name_rows(axes: Any, rows: Sequence[int], stages: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), [short(stages[stage]) for stage in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
