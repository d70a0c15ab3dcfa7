"""Pictures of what answers lose, by how many are given."""

from __future__ import annotations

from os import PathLike

from .._utils.arrays import Floats
from .canvas import new_figure, write_figure

__all__ = ["plot_risk_coverage"]


def plot_risk_coverage(
    coverage: Floats, risk: Floats, title: str, path: str | PathLike[str], *, loss_unit: str
) -> None:
    """Draw the mean loss of the answers that are kept against the share of the requests that get one.

    Parameters
    ----------
    coverage : (m,) float64
        Shares in (0, 1], ascending.
    risk : (m,) float64
        Mean loss of these requests, in the unit of the trace.
    title : str
        Above the picture.
    path : path-like
        A .png, .svg or .pdf file, written atomically.
    loss_unit : str
        Of the axis.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ValidationError
        If the file cannot be written.
    """
    figure = new_figure(7.2, 4.6)
    axes = figure.add_subplot()
    axes.fill_between(coverage, risk, color="#c1272d", alpha=0.12, linewidth=0.0)
    axes.plot(coverage, risk, color="#c1272d", linewidth=2.0, label="least expected loss first")
    if len(coverage):
        style = {"color": "#888888", "linewidth": 1.2, "linestyle": ":"}
        axes.plot([0.0, coverage[-1]], [risk[-1], risk[-1]], label="in any order", **style)
        axes.plot(coverage[-1], risk[-1], "o", color="#c1272d", markersize=6, label="all that the policy answers")
    axes.set_xlim(0.0, 1.02)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("share of the requests that are answered")
    axes.set_ylabel(f"mean loss of an answer ({loss_unit})")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    write_figure(figure, path)
