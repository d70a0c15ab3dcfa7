"""Pictures of where a policy stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from .._core import Policy, ValidationError
from .._utils.extras import require
from .canvas import new_figure, write_figure

__all__ = ["plot_policy"]

STOP_COLOUR = "#2a9d5c"
STAGE_COLOURS = ("#4477aa", "#ee8866", "#aa3377", "#ccbb44", "#66ccee", "#997700", "#bb5566", "#44aa99", "#777777")
MOST_ROWS = 24
"""Situations that one picture shows."""
MOST_TREE_STAGES = 64
"""Stages of a tree that one picture shows."""
LEAST_LOSS = 1e-4
"""Where logarithmic axes of expected losses begin at the latest, over the largest loss."""


def plot_policy(policy: Policy, path: str | PathLike[str]) -> None:
    """Draw where a policy stops, by stage and by the expected loss, the state or the signal in hand.

    Of a tree or forest: which stage opens up which, and above which loss in hand to run each (its index, from the least
    to the largest over the states of its parent).

    Parameters
    ----------
    policy : Policy
        Fitted, solved or a baseline; general graphs are not drawn, and trees of up to 64 stages.
    path : path-like
        A .png, .svg or .pdf file, written atomically.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ValidationError
        If the policy is of a general graph or a large tree, or the file cannot be written.
    """
    facts = policy.describe()
    rule = facts["rule"]
    stages = [f"{i}  {name}" for i, name in enumerate(facts["stages"])]
    parts = rule["components"] if rule["type"] == "mixture" else [rule]
    drawings = [_drawing(part, stages) for part in parts]
    figure = new_figure(max(one.width for one in drawings), sum(one.height for one in drawings))
    if len(drawings) == 1:
        drawings[0].draw(figure, rule, stages, _headline(facts))
    else:
        shares = (rule["share"], 1.0 - rule["share"])
        panels = figure.subfigures(len(drawings), 1, height_ratios=[one.height for one in drawings])
        for panel, one, part, share in zip(panels, drawings, parts, shares, strict=True):
            one.draw(panel, part, stages, f"{_headline(facts)}: {share:.1%} of requests")
    write_figure(figure, path)


@dataclass(frozen=True)
class _Drawing:
    """How to draw one kind of rule, and how many inches it takes."""

    draw: Callable[[Any, dict[str, Any], list[str], str], None]
    width: float
    height: float


def _drawing(rule: dict[str, Any], stages: list[str]) -> _Drawing:
    per_stage = 0.5 * len(stages)
    match rule["type"]:
        case "belief":
            rows = min(len(rule["decisions"]), MOST_ROWS)
            return _Drawing(_draw_belief, 12.5, max(3.8, 1.6 + 0.62 * min(rows, 8) + 0.3 * max(rows - 8, 0)))
        case "threshold":
            return _Drawing(_draw_threshold, 8.4, max(3.0, 1.4 + per_stage))
        case "patience":
            return _Drawing(_draw_patience, 8.4, max(3.0, 1.4 + per_stage))
        case "chain":
            return _Drawing(_draw_table, 8.4, max(3.0, 1.6 + per_stage))
        case "tree" if len(stages) <= MOST_TREE_STAGES:
            tree = _Tree(rule["parent"])
            return _Drawing(_draw_tree, max(6.4, 1.6 + 2.8 * tree.levels), max(2.8, 1.4 + 0.85 * tree.leaves))
        case "tree":
            raise ValidationError(f"`policy` must have at most {MOST_TREE_STAGES} stages for a picture of its tree")
        case other:
            raise ValidationError(f"`policy` of type {other} has no picture")


def _draw_belief(figure: Any, rule: dict[str, Any], stages: list[str], headline: str) -> None:
    rows = rule["decisions"][:MOST_ROWS]
    decisions, curves = figure.subplots(1, 2, width_ratios=(1.45, 1.0))
    _bars(decisions, rows, stages, largest=rule["scale"])
    if len(rows) < len(rule["decisions"]):
        decisions.set_ylabel(f"the first {len(rows)} of {len(rule['decisions'])} situations")
    decisions.set_xlabel("expected loss of the answer in hand")
    decisions.set_title(headline, loc="left")
    for i, calibration in enumerate(rule["calibrations"]):
        x, y = zip(*calibration["curve"], strict=True)
        curves.plot(x, y, color=_colour(i), linewidth=1.8, label=stages[i])
    curves.set_yscale("log")
    curves.set_ylim(bottom=max(curves.get_ylim()[0], LEAST_LOSS * rule["scale"]))
    curves.set_xlabel("signal")
    curves.set_ylabel("expected loss of that stage alone")
    curves.set_title("How signals are read", loc="left")
    curves.grid(alpha=0.25)
    curves.legend(frameon=False, fontsize=8.5, loc="lower left")


def _bars(axes: Any, decisions: list[dict[str, Any]], stages: list[str], largest: float) -> None:
    """One bar for each situation: where to stop, and which stage is next elsewhere."""
    stops = [float(row["stop"]) for row in decisions if 0.0 < float(row["stop"]) < largest]
    low, high = max(0.1 * min(stops, default=largest), LEAST_LOSS * largest), largest
    shown: set[int] = set()
    for place, row in enumerate(decisions):
        left = low
        for limit, following in [(row["stop"], -1), *row["next"]]:
            right = min(max(float(limit), low), high)
            if right > left:
                axes.barh(
                    place, right - left, left=left, height=0.66, color=_action_colour(following), edgecolor="white"
                )
                if math.log(right / left) > 0.09 * math.log(high / low):
                    text = "stop" if following < 0 else f"run {following}"
                    axes.text(math.sqrt(left * right), place, text, ha="center", va="center", color="white", fontsize=9)
                shown.add(following)
                left = right
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(decisions)), _situations(decisions, stages))
    axes.set_ylim(len(decisions) - 0.5, -0.5)
    _explain(axes, shown)


def _situations(decisions: list[dict[str, Any]], stages: list[str]) -> list[str]:
    """The stages that have run: by the name of the last where that says it all, else by their numbers."""
    if all(row["after"] == list(range(row["stage"] + 1)) for row in decisions):
        return [stages[row["stage"]] for row in decisions]
    return ["after " + ", ".join(map(str, row["after"])) for row in decisions]


def _draw_threshold(figure: Any, rule: dict[str, Any], stages: list[str], headline: str) -> None:
    axes = figure.add_subplot()
    reached = [float(threshold) for threshold in rule["threshold"]]
    thresholds = [t for t in reached if math.isfinite(t)]
    low, high = (min(thresholds), max(thresholds)) if thresholds else (0.0, 1.0)
    margin = 0.35 * (high - low) or 0.35 * abs(high) or 0.35
    low, high = low - margin, high + margin
    for i, threshold in enumerate(reached):
        cut = min(max(threshold, low), high)
        axes.barh(i, cut - low, left=low, height=0.66, color="#c8d3e0")
        axes.barh(i, high - cut, left=cut, height=0.66, color=STOP_COLOUR)
        said = f"stop from {threshold:.4g}" if math.isfinite(threshold) else ("stop" if threshold < 0 else "go on")
        axes.text(0.5 * (low + high), i, said, ha="center", va="center", fontsize=9)
    axes.set_yticks(range(len(stages)), stages)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xlim(low, high)
    axes.set_xlabel("signal (green: stop)")
    axes.set_title(headline, loc="left")


def _draw_patience(figure: Any, rule: dict[str, Any], stages: list[str], headline: str) -> None:
    axes = figure.add_subplot()
    for i in range(len(stages)):
        may_stop = i >= rule["patience"] or i == len(stages) - 1
        axes.barh(i, 1.0, height=0.66, color=STOP_COLOUR if may_stop else "#c8d3e0")
    axes.set_yticks(range(len(stages)), stages)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_xlabel(f"green: stops after {rule['patience']} equal predictions in a row, or at the end")
    axes.set_title(headline, loc="left")


def _draw_table(figure: Any, rule: dict[str, Any], stages: list[str], headline: str) -> None:
    axes = figure.add_subplot()
    shown: set[int] = set()
    for row in rule["decisions"]:
        if row["state"] is not None:
            following = _next_stage(row, float(row["loss"]))
            axes.barh(row["stage"], 1.0, left=row["state"] - 0.5, height=0.66, color=_action_colour(following))
            shown.add(following)
    axes.set_yticks(range(len(stages)), stages)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "plot").MaxNLocator(integer=True))
    axes.set_xlabel("state of the stage that just ran, its own answer in hand")
    axes.set_title(headline, loc="left")
    _explain(axes, shown)


class _Tree:
    """Where the stages of a tree go: depth from left to right, height from top to bottom."""

    def __init__(self, parent: list[int]) -> None:
        self.depth: list[int] = []
        self.children: dict[int, list[int]] = {v: [] for v in range(-1, len(parent))}
        for v, p in enumerate(parent):
            self.depth.append(0 if p < 0 else self.depth[p] + 1)
            self.children[p].append(v)
        self.levels = max(self.depth) + 1
        self.leaves = sum(not self.children[v] for v in range(len(parent)))

    def heights(self) -> dict[int, float]:
        """Leaves one below the other in depth-first order, each parent halfway between its first and last child."""
        order: list[int] = []
        waiting = self.children[-1][::-1]
        while waiting:
            order.append(waiting.pop())
            waiting += self.children[order[-1]][::-1]
        height = {v: float(place) for place, v in enumerate(v for v in order if not self.children[v])}
        for v in reversed(order):
            if self.children[v]:
                height[v] = 0.5 * (height[self.children[v][0]] + height[self.children[v][-1]])
        return height


def _draw_tree(figure: Any, rule: dict[str, Any], stages: list[str], _headline: str) -> None:
    """Stages from left to right by depth, a line from each parent, and the range of indices in each box."""
    tree = _Tree(rule["parent"])
    depth, height = tree.depth, tree.heights()
    axes = figure.add_subplot()
    for v, p in enumerate(rule["parent"]):
        if p >= 0:
            axes.plot([depth[p], depth[v]], [height[p], height[v]], color="#999999", linewidth=1.2, zorder=1)
        text = f"{stages[v]}\n{_index_range(rule['index'][v][:-1])}"
        box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": _colour(v), "linewidth": 1.8}
        axes.text(depth[v], height[v], text, ha="center", va="center", fontsize=9, bbox=box, zorder=2)
    axes.set_xlim(-0.55, tree.levels - 0.45)
    axes.set_ylim(tree.leaves - 0.4, -0.6)
    axes.axis("off")
    axes.set_title("The open stage with the least index is next, while the loss in hand is above it", loc="left")


def _index_range(index: list[float | str]) -> str:
    values = sorted({float(x) for x in index})
    if len(values) == 1:
        return f"run above {values[0]:.3g}"
    return f"run above {values[0]:.3g} to {values[-1]:.3g}"


def _next_stage(row: dict[str, Any], loss: float) -> int:
    """The stage to run in one row of decisions with `loss` in hand, or -1."""
    if loss <= float(row["stop"]) or not row["next"]:
        return -1
    return next((int(stage) for limit, stage in row["next"] if loss <= float(limit)), -1)


def _explain(axes: Any, actions: set[int]) -> None:
    """A legend of the colours of actions, below the axes."""
    patch = require("matplotlib.patches", "plot").Patch
    handles = [patch(color=_action_colour(j), label="stop" if j < 0 else f"run {j}") for j in sorted(actions)]
    axes.figure.legend(handles=handles, frameon=False, ncols=10, fontsize=8.5, loc="outside lower left")


def _action_colour(following: int) -> str:
    return STOP_COLOUR if following < 0 else _colour(following)


def _headline(facts: dict[str, Any]) -> str:
    goal = dict(facts["provenance"]).get("goal")
    recall = "recall" if facts["recall"] else "no recall"
    return f"Where the policy stops ({facts['method']}, {recall}{', ' + goal if goal else ''})"


def _colour(stage: int) -> str:
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]
