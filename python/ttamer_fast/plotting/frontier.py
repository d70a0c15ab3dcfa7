"""Pictures of loss against cost of all rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Protocol

from .._utils.extras import require
from .._utils.rule_names import CLAIRVOYANT, FIT, FIT_CUT_OFF, FIT_MEAN_FITS, FIT_NO_RECALL
from .canvas import new_figure, write_figure
from .colours import short

__all__ = ["Point", "plot_frontier"]


class Point(Protocol):
    """Means of one rule, with their intervals."""

    @property
    def tradeoff(self) -> float | None:
        """What the rule was tuned for; None for a stage alone."""

    @property
    def loss(self) -> float:
        """Mean a request."""

    @property
    def cost(self) -> float:
        """Mean a request."""

    @property
    def loss_ci(self) -> tuple[float, float]:
        """Interval of the mean loss."""

    @property
    def cost_ci(self) -> tuple[float, float]:
        """Interval of the mean cost."""


RULE_STYLES: dict[str, dict[str, Any]] = {
    FIT: {"color": "#c1272d", "linewidth": 2.6, "marker": "o", "markersize": 5, "zorder": 5},
    FIT_NO_RECALL: {"color": "#e9909a", "linewidth": 1.6, "linestyle": "--", "zorder": 4},
    FIT_CUT_OFF: {"color": "#e07b39", "linewidth": 1.6, "linestyle": "--", "marker": "P", "markersize": 4.5},
    FIT_MEAN_FITS: {"color": "#7a4e2d", "linewidth": 1.6, "linestyle": "-.", "marker": "X", "markersize": 4.5},
    "threshold": {"color": "#4477aa", "linewidth": 1.4, "marker": "s", "markersize": 3.5},
    "stage_thresholds": {"color": "#228833", "linewidth": 1.4, "marker": "^", "markersize": 4},
    "patience": {"color": "#ccbb44", "linewidth": 1.4, "marker": "D", "markersize": 3.5},
    "markov": {"color": "#aa3377", "linewidth": 1.4, "marker": "v", "markersize": 4},
    CLAIRVOYANT: {"color": "#888888", "linewidth": 1.2, "linestyle": ":", "marker": "*", "markersize": 5},
}

ROOM = 28.0
"""Pixels between two trade-offs that are written down."""


def plot_frontier(
    rules: Mapping[str, Sequence[Point]],
    stages: Mapping[str, Point],
    title: str,
    path: str | PathLike[str],
    *,
    chosen: float | None,
    loss_unit: str,
    cost_unit: str,
) -> None:
    """Draw mean loss against mean cost of every rule, and each stage alone.

    Parameters
    ----------
    rules : mapping of rule name to sequence of points
        In the units of the trace, one point for each trade-off.
    stages : mapping of stage name to point
        Of always answering with that stage, in order.
    title : str
        Above the picture.
    path : path-like
        A .png, .svg or .pdf file, written atomically.
    chosen : float or None
        The trade-off of the fit that is ringed.
    loss_unit, cost_unit : str
        Of the axes.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ValidationError
        If the file cannot be written.
    """
    figure = new_figure(9.6, 5.8)
    axes = figure.add_subplot()
    for name, points in rules.items():
        ordered = sorted(points, key=lambda point: (point.cost, point.loss))
        axes.plot(
            [point.cost for point in ordered],
            [point.loss for point in ordered],
            label=name.replace("_", " "),
            **RULE_STYLES[name],
        )
    _mark(axes, rules[FIT], chosen)
    for i, point in enumerate(stages.values()):
        _bar(axes, point, "#999999")
        axes.plot(point.cost, point.loss, "k+", markersize=9, label="one stage for all:" if i == 0 else None)
        axes.annotate(str(i), (point.cost, point.loss), xytext=(4, 4), textcoords="offset points", fontsize=9)
    positive = [point.cost for points in rules.values() for point in points if point.cost > 0.0]
    if positive and max(positive) > 20.0 * min(positive):
        axes.set_xscale("log")
    _number(axes, rules[FIT], chosen)
    axes.set_xlabel(f"mean cost per request ({cost_unit})")
    axes.set_ylabel(f"mean loss ({loss_unit})")
    axes.set_title(
        f"{title}\nbars: 95 % intervals of the fit and of each stage; small numbers: trade-offs",
        loc="left",
        fontsize=10,
    )
    handles, labels = axes.get_legend_handles_labels()
    for i, name in enumerate(stages):
        handles.append(require("matplotlib.lines", "plot").Line2D([], [], linestyle="none"))
        labels.append(f"{i}  {short(name)}")
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    write_figure(figure, path)


def _mark(axes: Any, points: Sequence[Point], chosen: float | None) -> None:
    """Intervals and trade-offs of the fit, and a ring round the chosen one."""
    colour = RULE_STYLES[FIT]["color"]
    for point in points:
        _bar(axes, point, colour)
        if point.tradeoff == chosen:
            ring = {"markersize": 15, "fillstyle": "none", "markeredgewidth": 1.8, "color": "black"}
            axes.plot(point.cost, point.loss, "o", label=f"chosen: trade-off {chosen:g}", **ring)


def _number(axes: Any, points: Sequence[Point], chosen: float | None) -> None:
    """Trade-offs of the fit beside its points, where there is room for them; the chosen one in any case."""
    taken: list[Any] = []
    for point in sorted(points, key=lambda point: point.tradeoff != chosen):
        place = axes.transData.transform((point.cost, point.loss))
        if all(abs(place - other).max() > ROOM for other in taken):
            taken.append(place)
            style = {"fontsize": 8, "color": RULE_STYLES[FIT]["color"], "textcoords": "offset points"}
            axes.annotate(f"{point.tradeoff:g}", (point.cost, point.loss), xytext=(6, 7), **style)


def _bar(axes: Any, point: Point, colour: str) -> None:
    for mean, (low, high), line in (
        (point.cost, point.loss_ci, axes.vlines),
        (point.loss, point.cost_ci, axes.hlines),
    ):
        line(mean, low, high, color=colour, linewidth=0.9, alpha=0.7)
