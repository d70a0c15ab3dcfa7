"""Colours of actions, short names of stages, and the legend of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._utils.extras import require

__all__ = ["GO_ON_COLOUR", "STOP_COLOUR", "action_colour", "action_text", "explain", "short", "stage_colour"]

STOP_COLOUR = "#2a9d5c"
GO_ON_COLOUR = "#c8d3e0"
STAGE_COLOURS = ("#4477aa", "#ee8866", "#aa3377", "#ccbb44", "#66ccee", "#997700", "#bb5566", "#44aa99", "#777777")
LONGEST_NAME = 18
"""Characters of a stage's name that are shown."""


def short(name: str) -> str:
    """A name that fits into a picture."""
    # A dollar sign would begin a formula.
    shown = name.replace("$", r"\$")
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


def stage_colour(stage: int) -> str:
    """One colour a stage; they repeat."""
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]


def action_colour(following: int) -> str:
    """Of running a stage, or of stopping (-1)."""
    return STOP_COLOUR if following < 0 else stage_colour(following)


def action_text(following: int, stages: Sequence[str]) -> str:
    """What an action is called."""
    return "stop" if following < 0 else f"run {short(stages[following])}"


def explain(figure: Any, actions: Iterable[int], stages: Sequence[str]) -> None:
    """A legend of the colours of actions, below everything."""
    patch = require("matplotlib.patches", "plot").Patch
    handles = [patch(color=action_colour(j), label=action_text(j, stages)) for j in sorted(actions)]
    figure.legend(handles=handles, frameon=False, ncols=5, fontsize=8.5, loc="outside lower left")
