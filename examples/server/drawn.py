"""The day in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from feeling import NAMES
from operating import Day, Event

__all__ = ["draw"]

COLOURS = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")
"""Of the stages, from the cheapest to the dearest."""

WIDTH = 120
"""Answers of which a share is drawn."""


def draw(day: Day, path: Path) -> None:
    """Whether answers are right, who gives them, how long it takes and which policy serves, over the day."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    right, stages, times, state = figure.subplots(4, 1, sharex=True, height_ratios=[3, 3, 2, 1.4])
    answers = sorted((answer for answer in day.answers if answer.status == 200), key=lambda answer: answer.ended)
    ended = np.array([answer.ended for answer in answers]) - day.began

    right.plot(ended, smooth(np.array([answer.is_right for answer in answers], float)), color="#238b45")
    right.set_ylabel(f"share right,\nlast {WIDTH}")
    right.set_ylim(0.4, 1.0)
    right.grid(alpha=0.3)

    shares = [smooth(np.array([answer.stage == name for answer in answers], float)) for name in NAMES]
    stages.stackplot(ended, shares, labels=NAMES, colors=COLOURS)
    stages.set_ylabel(f"answered by,\nlast {WIDTH}")
    stages.set_ylim(0.0, 1.0)
    stages.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

    times.semilogy(ended, [1e3 * answer.seconds for answer in answers], ".", markersize=2, color="#636363", alpha=0.4)
    times.set_ylabel("ms a request")
    times.grid(alpha=0.3)

    draw_state(day, state)
    marks = [event for event in day.events if event.mark]
    for event, level in zip(marks, levels(marks), strict=True):
        for axes in (right, stages, times, state):
            axes.axvline(event.time, color="black", linewidth=0.7, alpha=0.5)
        place = (event.time, 1.02 + 0.09 * level)
        right.annotate(event.mark, place, xycoords=("data", "axes fraction"), fontsize=8, ha="center")
    right.set_title(f"A day of the server: {day.asked} requests, {day.lost} lost" + "\n" * 4, fontsize=11)
    state.set_xlabel("seconds")
    figure.savefig(path, dpi=110)


def levels(marks: Sequence[Event]) -> list[int]:
    """How high each mark stands, so that none lies on another one."""
    letter = 0.007 * marks[-1].time
    ends: list[float] = []
    found = []
    for event in marks:
        half = 0.5 * letter * (len(event.mark) + 2)
        level = next((at for at, end in enumerate(ends) if end <= event.time - half), len(ends))
        ends[level : level + 1] = [event.time + half]
        found.append(level)
    return found


def draw_state(day: Day, axes: Any) -> None:
    """Bars of what the metrics say: alarm, circuits that are not closed, and policies."""
    samples = day.samples
    digests = list(dict.fromkeys(sample.digest for sample in samples))
    for before, after in pairwise(samples):
        span = (before.time, after.time - before.time)
        if before.alarm:
            axes.broken_barh([span], (2.1, 0.8), color="#cb181d")
        if before.barred:
            axes.broken_barh([span], (1.1, 0.8), color="#fd8d3c")
        shade = ("#bcbddc", "#756bb1", "#3f007d", "#dadaeb")[digests.index(before.digest) % 4]
        axes.broken_barh([span], (0.1, 0.8), color=shade)
    for number, digest in enumerate(digests):
        first = next(sample.time for sample in samples if sample.digest == digest)
        colour = "white" if number in (1, 2) else "black"
        axes.text(max(first, 0.0), 0.5, f" {digest[:6]}", va="center", fontsize=7, color=colour)
    axes.set_yticks([0.5, 1.5, 2.5], ["policy", "circuits open", "drift alarm"])
    axes.set_ylim(0.0, 3.0)
    axes.set_xlim(left=0.0)


def smooth(values: Any) -> Any:
    """Means of the last values."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - WIDTH, 0)
    return (total[end] - total[begin]) / (end - begin)
