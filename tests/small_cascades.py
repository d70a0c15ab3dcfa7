"""A policy that is easy to follow, and stages for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ttamer_fast as tt

K = 3
"""Stages of the policy; each costs 1/16."""

GO_ON, STOP = 0, 1
"""What a stage may say."""


@cache
def line(default: float | None = None) -> tt.Policy:
    """Asks stage after stage until one says STOP, whose answer is then best; of those that say GO_ON all are alike."""
    loss, evenly = [0.9, 0.0], [0.5, 0.5]
    model = tt.Model.line([loss] * K, [1 / 16] * K, [[evenly], *[[evenly] * 2] * (K - 1)])
    return tt.solve(model) if default is None else tt.solve(model, default_loss=default)


Output = tuple[int, Any, int]
"""Of which stage, for which input, and what it says."""


def says(output: Output | list[Output]) -> Any:
    """The signal of an output, or of a batch of them."""
    return [one[2] for one in output] if isinstance(output, list) else output[2]


def stages(runs: Sequence[Callable[[Any], Any]], **given: Sequence[Any]) -> list[tt.Stage[Any, Any]]:
    """Stages that run these; other arguments stage by stage."""
    options = [dict(zip(given, one, strict=True)) for one in zip(*given.values(), strict=True)] if given else [{}] * K
    return [
        tt.Stage(run, signal=says, name=name, **more)
        for run, name, more in zip(runs, line().stages, options, strict=True)
    ]


def every(value: Any) -> list[Any]:
    """The same for every stage."""
    return [value] * K
