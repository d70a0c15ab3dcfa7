"""The picture of a policy of beliefs: what it does in every situation, and how it reads signals."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from .colours import action_colour, action_text, explain, short, stage_colour
from .situations import Reached, Situation, first_sentence, situations

__all__ = ["belief_height", "draw_belief"]

MOST_ROWS = 24
"""Situations that one picture shows."""
LEAST_LOSS = 1e-4
"""Where logarithmic axes of expected losses begin at the latest, over the largest loss."""
WIDE = 0.11
"""Share of an axis from which on a bar has room for words."""


def belief_height(rule: dict[str, Any]) -> float:
    """Inches that the picture takes."""
    rows = min(len(situations(rule)), MOST_ROWS)
    return max(3.8, 2.2 + 0.62 * min(rows, 8) + 0.3 * max(rows - 8, 0))


def draw_belief(figure: Any, rule: dict[str, Any], stages: Sequence[str], headline: str, found: Reached | None) -> None:
    """Left: a bar for each situation, by how many requests get there. Right: the calibration of every stage."""
    every = situations(rule)
    if found is not None:
        every.sort(key=lambda one: -one.share(found))
    rows = every[:MOST_ROWS]
    decisions, curves = figure.subplots(1, 2, width_ratios=(1.45, 1.0))
    shown = _bars(decisions, rows, stages, found, largest=rule["scale"])
    what = "have run" if found is None else "have run (share of requests)"
    first = f"the first {len(rows)} of {len(every)}: " if len(rows) < len(every) else ""
    decisions.set_ylabel(f"{first}stages that {what}")
    decisions.set_xlabel("expected loss of the best answer in hand")
    title = "\n".join([headline, *textwrap.wrap(first_sentence(rule, stages), 150)])
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    decisions.set_title("What follows", loc="left", fontsize=10)
    explain(figure, shown, stages)
    for i, calibration in enumerate(rule["calibrations"]):
        x, y = zip(*calibration["curve"], strict=True)
        curves.plot(x, y, color=stage_colour(i), linewidth=1.8, label=short(stages[i]))
    curves.set_yscale("log")
    curves.set_ylim(bottom=max(curves.get_ylim()[0], LEAST_LOSS * rule["scale"]))
    curves.set_xlabel("signal of the stage")
    curves.set_ylabel("expected loss of its answer alone")
    curves.set_title("How signals are read", loc="left", fontsize=10)
    curves.grid(alpha=0.25)
    curves.legend(frameon=False, fontsize=8.5, loc="lower left")


def _bars(axes: Any, rows: list[Situation], stages: Sequence[str], found: Reached | None, largest: float) -> set[int]:
    """The bars; returns the actions that they show."""
    limits = [limit for row in rows for limit, _ in row.actions if 0.0 < limit < largest]
    low, high = max(0.3 * min(limits, default=largest), LEAST_LOSS * largest), largest
    shown: set[int] = set()
    for place, row in enumerate(rows):
        left = low
        for limit, following in row.actions:
            right = min(max(limit, low), high)
            if right <= left:
                continue
            axes.barh(place, right - left, left=left, height=0.66, color=action_colour(following), edgecolor="white")
            if math.log(right / left) > WIDE * math.log(high / low):
                text = action_text(following, stages)
                axes.text(math.sqrt(left * right), place, text, ha="center", va="center", color="white", fontsize=8.5)
            shown.add(following)
            left = right
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    texts = [row.text(stages) for row in rows]
    if found is not None:
        texts = [f"{text} ({_percent(row.share(found))})" for text, row in zip(texts, rows, strict=True)]
    axes.set_yticks(range(len(rows)), texts)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    return shown


def _percent(share: float) -> str:
    return "<1%" if 0.0 < share < 0.01 else f"{share:.0%}"
