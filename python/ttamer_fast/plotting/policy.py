"""Pictures of what a policy does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

from .._core import Policy, ValidationError
from .._utils.cost_ranges import cost_ranges
from ..traces.completion import completed
from ..traces.trace import Trace
from .belief import belief_height, draw_belief
from .canvas import new_figure, write_figure
from .simple import draw_patience, draw_table, draw_threshold, walk_of
from .situations import Reached, reached
from .tree import MOST_TREE_STAGES, Tree, draw_tree

__all__ = ["plot_policy"]


def plot_policy(policy: Policy, path: str | PathLike[str], trace: Trace | None = None) -> None:
    """Draw what a policy does: which stage runs first, where it stops, and which stage is next elsewhere.

    Of a tree or forest: which stage opens up which, and above which loss in hand to run each (its index, from the least
    to the largest over the states of its parent).

    Parameters
    ----------
    policy : Policy
        Fitted, solved or a baseline; general graphs are not drawn, and trees of up to 64 stages.
    path : path-like
        A .png, .svg or .pdf file, written atomically.
    trace : Trace, optional
        Requests, matched with the policy by names: the situations of a fitted policy are then in the order of how many
        of its first 2,000 rows get there, and say it.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ValidationError
        If the policy is of a general graph or a large tree, or the trace has other stages.
    """
    facts = policy.describe()
    rule, stages = facts["rule"], facts["stages"]
    found = None if trace is None else reached(policy, completed(trace.matching(policy)))
    parts, titles = _parts(rule, _headline(facts))
    drawings = [_drawing(part, stages, found) for part in parts]
    figure = new_figure(max(one.width for one in drawings), sum(one.height for one in drawings))
    if len(drawings) == 1:
        drawings[0].draw(figure, parts[0], stages, titles[0])
    else:
        panels = figure.subfigures(len(drawings), 1, height_ratios=[one.height for one in drawings])
        for panel, one, part, title in zip(panels, drawings, parts, titles, strict=True):
            one.draw(panel, part, stages, title)
    write_figure(figure, path)


def _parts(rule: dict[str, Any], headline: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rules to draw, and their titles: of ranges of costs the cheapest, the average, the dearest."""
    if rule["type"] == "mixture":
        shares = (rule["share"], 1.0 - rule["share"])
        return rule["components"], [f"{headline}: {share:.1%} of requests, by a coin" for share in shares]
    if rule["type"] != "priced":
        return [rule], [headline]
    ranges = cost_ranges(rule)
    average = next(at for at, (_, high) in enumerate(ranges) if high > 1.0)
    shown = sorted({0, average, len(ranges) - 1})
    until = ["" if ranges[at][1] == math.inf else f" to {ranges[at][1]:.3g}" for at in shown]
    titles = [
        f"{headline}: from {ranges[at][0]:.3g}{end} times the average cost"
        for at, end in zip(shown, until, strict=True)
    ]
    return [rule["components"][at] for at in shown], titles


@dataclass(frozen=True)
class _Drawing:
    """How to draw one kind of rule, and how many inches it takes."""

    draw: Callable[[Any, dict[str, Any], Sequence[str], str], None]
    width: float
    height: float


def _drawing(rule: dict[str, Any], stages: Sequence[str], found: Reached | None) -> _Drawing:
    match rule["type"]:
        case "belief":
            return _Drawing(partial(draw_belief, found=found), 12.5, belief_height(rule))
        case "threshold":
            return _Drawing(draw_threshold, 8.4, max(3.0, 1.4 + 0.5 * len(walk_of(rule))))
        case "patience":
            return _Drawing(draw_patience, 8.4, max(3.0, 1.4 + 0.5 * len(walk_of(rule))))
        case "chain":
            return _Drawing(draw_table, 8.4, max(3.0, 1.8 + 0.5 * len(stages)))
        case "tree" if len(stages) <= MOST_TREE_STAGES:
            tree = Tree(rule["parent"])
            return _Drawing(draw_tree, max(6.4, 1.6 + 2.8 * tree.levels), max(2.8, 1.6 + 0.85 * tree.leaves))
        case "tree":
            raise ValidationError(f"`policy` must have at most {MOST_TREE_STAGES} stages for a picture of its tree")
        case other:
            raise ValidationError(f"`policy` of type {other} has no picture")


def _headline(facts: dict[str, Any]) -> str:
    goal = dict(facts["provenance"]).get("goal")
    recall = "best answer in hand" if facts["recall"] else "answers with the last stage"
    return f"What the policy does ({facts['method']}, {recall}{', ' + goal if goal else ''})"
