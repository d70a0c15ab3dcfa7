"""Pictures of loss against cost of all rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

from .._utils.extras import require
from .._utils.rule_names import CLAIRVOYANT, FIT, FIT_NO_RECALL
from .canvas import new_figure, write_figure

__all__ = ["plot_frontier"]

Means: TypeAlias = tuple[float, float]
"""Mean loss and mean cost per request."""

RULE_STYLES: dict[str, dict[str, Any]] = {
    FIT: {"color": "#c1272d", "linewidth": 2.6, "marker": "o", "markersize": 5, "zorder": 5},
    FIT_NO_RECALL: {"color": "#e9909a", "linewidth": 1.6, "linestyle": "--", "zorder": 4},
    "threshold": {"color": "#4477aa", "linewidth": 1.4, "marker": "s", "markersize": 3.5},
    "stage_thresholds": {"color": "#228833", "linewidth": 1.4, "marker": "^", "markersize": 4},
    "patience": {"color": "#ccbb44", "linewidth": 1.4, "marker": "D", "markersize": 3.5},
    "markov": {"color": "#aa3377", "linewidth": 1.4, "marker": "v", "markersize": 4},
    CLAIRVOYANT: {"color": "#888888", "linewidth": 1.2, "linestyle": ":", "marker": "*", "markersize": 5},
}


def plot_frontier(
    rules: Mapping[str, Sequence[Means]], stages: Mapping[str, Means], title: str, path: str | PathLike[str]
) -> None:
    """Draw mean loss against mean cost of every rule, and each stage alone.

    Parameters
    ----------
    rules : mapping of rule name to sequence of (loss, cost)
        In the units of the trace, one point for each trade-off.
    stages : mapping of stage name to (loss, cost)
        Of always answering with that stage, in order.
    title : str
        Above the picture.
    path : path-like
        A .png, .svg or .pdf file, written atomically.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ValidationError
        If the file cannot be written.
    """
    figure = new_figure(8.4, 5.4)
    axes = figure.add_subplot()
    for name, points in rules.items():
        losses, costs = zip(*sorted(points, key=lambda point: point[::-1]), strict=True)
        axes.plot(costs, losses, label=name.replace("_", " "), **RULE_STYLES[name])
    for i, (loss, cost) in enumerate(stages.values()):
        axes.plot(cost, loss, "k+", markersize=9, label="one stage alone:" if i == 0 else None)
        axes.annotate(str(i), (cost, loss), xytext=(4, 4), textcoords="offset points", fontsize=9, color="#333333")
    positive = [cost for points in rules.values() for _, cost in points if cost > 0.0]
    if positive and max(positive) > 20.0 * min(positive):
        axes.set_xscale("log")
    axes.set_xlabel("mean cost per request")
    axes.set_ylabel("mean loss")
    axes.set_title(title, loc="left")
    handles, labels = axes.get_legend_handles_labels()
    for i, name in enumerate(stages):
        handles.append(require("matplotlib.lines", "plot").Line2D([], [], linestyle="none"))
        labels.append(f"{i}  {name}")
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    write_figure(figure, path)
