"""Stored policies with their numbers changed at random, still valid; and the signals that a policy names."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from reference.crafted import Fields, Rng, picked, singles


def varied(fields: Fields, rng: Rng) -> Fields:
    """The same stages, situations and order of decisions; other limits, weights, prices, and coins."""
    fields = copy.deepcopy(fields)
    for price in fields["price"].values():
        factor = 2.0 ** int(rng.integers(-2, 3))
        costs = price if isinstance(price, list) else price["jump"]
        costs[:] = [factor * cost for cost in costs]
    for kind, rule in components(fields["rule"]):
        CHANGES[kind](rule, rng)
    mixture = fields["rule"].get("mixture")
    if mixture:
        mixture["share"], mixture["seed"] = float(rng.random()), int(rng.integers(2**63))
    return fields


def components(rule: Fields) -> Iterator[tuple[str, Fields]]:
    """Every rule with its kind; those that a mixture has in its place."""
    ((kind, inner),) = rule.items()
    if kind == "component":
        yield from inner.items()
    elif kind == "mixture":
        for component in inner["components"]:
            yield from component.items()
    else:
        yield kind, inner


def moved(rng: Rng, value: float, width: float) -> float:
    """Most numbers a little, some to infinity."""
    chance = rng.random()
    if chance < 0.05:
        return math.inf if rng.random() < 0.5 else -math.inf
    return value + width * float(rng.normal()) if chance < 0.7 and math.isfinite(value) else value


def moved_time(rng: Rng, seconds: float) -> float:
    return seconds * float(np.exp(0.3 * rng.normal()))


def move_limits(stored: Fields, rng: Rng, width: float) -> None:
    stored["stop"] = [moved(rng, value, width) for value in stored["stop"]]
    before = 0
    for count in stored["steps"]:
        row = slice(before, before + count)
        stored["limit"][row] = sorted(moved(rng, value, width) for value in stored["limit"][row])
        before += count


def change_threshold(rule: Fields, rng: Rng) -> None:
    rule["threshold"] = [moved(rng, value, 0.2) for value in rule["threshold"]]


def change_patience(rule: Fields, rng: Rng) -> None:
    rule["patience"] = int(rng.integers(0, 4))


def change_chain(rule: Fields, rng: Rng) -> None:
    move_limits(rule["decisions"], rng, 0.1)
    rule["loss"] = [value if math.isinf(value) else float(rng.random()) for value in rule["loss"]]
    rule["recall"] = bool(rng.random() < 0.6)
    rule["default_loss"] = picked(rng, [math.inf, 0.3, 0.6])
    rule["unit"] = picked(rng, [1.0, rule["unit"]])


def change_belief(rule: Fields, rng: Rng) -> None:
    move_limits(rule["decisions"], rng, 1.0)
    if "time" in rule:
        move_limits(rule["time"]["decisions"], rng, 1.0)
        rule["time"]["until"] = sorted(max(0.0, moved_time(rng, end)) for end in rule["time"]["until"])
    rule["recall"] = bool(rng.random() < 0.7)
    beliefs = rule["beliefs"]
    beliefs["margin"] = float(rng.random())
    for calibration in beliefs["calibration"]:
        calibration["missing_logit"] += float(rng.normal())
        logit = np.array(calibration["logit"])
        curves = [rng.normal() + rng.normal(1.0, 0.5) * logit for _ in range(int(rng.integers(4)))]
        calibration["curves"] = [singles(curve) for curve in curves]
        calibration["class"] = rng.integers(len(curves) + 1, size=int(rng.integers(5))).tolist()
    for weighed in beliefs["sets"]:
        weighed["favoured"] = picked(rng, weighed["members"])
        weighed["evidence"] = [
            [[x + 0.2 * float(rng.normal()) for x in line] for line in lines] for lines in weighed["evidence"]
        ]


CHANGES = {
    "threshold": change_threshold,
    "patience": change_patience,
    "chain": change_chain,
    "belief": change_belief,
}


def signals(fields: Fields) -> set[float]:
    """Thresholds, edges of bins, points of curves, and the first numbers of states."""
    found: set[float] = set()
    for kind, rule in components(fields["rule"]):
        lists: dict[str, Any] = {
            "threshold": lambda rule: [rule["threshold"]],
            "patience": lambda rule: [[0.5]],
            "chain": lambda rule: rule["bins"] or [[0.0, 1.0, 2.0]],
            "belief": lambda rule: [one["signal"] for one in rule["beliefs"]["calibration"]],
        }
        found |= {x for values in lists[kind](rule) for x in values if math.isfinite(x)}
    return found
