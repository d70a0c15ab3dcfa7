"""Decisions of their own for requests with a deadline, put into crafted policies; and the seconds that are left."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from reference.crafted import Fields, Rng, decisions, eighths, picked
from reference.rule import NO_STAGE

KINDS = ("belief", "chain", "dag")
"""Rules that may know time."""


def within(fields: Fields, rng: Rng) -> Fields:
    """The same policy, of one of :data:`KINDS`, with decisions for random remaining times."""
    fields = copy.deepcopy(fields)
    rule = fields["rule"].get("component", fields["rule"])
    ((kind, stored),) = rule.items()
    stored["time"] = MAKERS[kind](stored, rng) | {"latency": [eighths(rng, 0, 4) for _ in fields["stages"]]}
    return fields


def belief(stored: Fields, rng: Rng) -> Fields:
    count = int(rng.integers(1, 6))
    # Now and then blocks that hold for no time at all.
    until = sorted(eighths(rng, 0, 8) for _ in range(count))
    low, high = picked(rng, [(-4, 4), (-9, 9)])
    return {
        "until": until,
        "entries": [picked(rng, [0, 0, 0, NO_STAGE]) for _ in until],
        "decisions": decisions(rng, count * targets(stored["decisions"]), low, high),
    }


def chain(stored: Fields, rng: Rng) -> Fields:
    least = buckets(rng)
    return {
        "deadline": least[-1] + 1.0,
        "from": least,
        "start": [picked(rng, [stored["start"], 0, -1]) for _ in least],
        "decisions": decisions(rng, len(least) * targets(stored["decisions"]), 0, 2),
    }


def dag(stored: Fields, rng: Rng) -> Fields:
    least = buckets(rng)
    states = [len(losses) for losses in stored["loss"]]

    def action(situation: int) -> int:
        places = zip(stored["stride"], states, strict=True)
        is_open = [v for v, (stride, count) in enumerate(places) if situation // stride % (count + 2) == 0]
        return int(picked(rng, [*is_open, *is_open, -1]))

    actions = [action(situation) for _ in least for situation in range(len(stored["action"]))]
    return {"deadline": least[-1] + 1.0, "from": least, "action": actions}


MAKERS = {"belief": belief, "chain": chain, "dag": dag}


def buckets(rng: Rng) -> list[float]:
    """The least seconds of some buckets, now and then below 0, as rounding leaves them."""
    return sorted({eighths(rng, -0.125, 8) for _ in range(int(rng.integers(1, 6)))})


def targets(stored: Fields) -> list[list[int]]:
    """Of every row, what it may lead to."""
    found, before = [], 0
    for last, count in zip(stored["last"], stored["steps"], strict=True):
        found.append(sorted({last, *stored["next"][before : before + count]}))
        before += count
    return found


def edges(fields: Fields) -> list[float]:
    """Seconds at which decisions change, or would if they were compared otherwise."""
    rule = fields["rule"].get("component", fields["rule"])
    ((_, stored),) = rule.items()
    time: Fields = stored["time"]
    return [*time.get("until", []), *time.get("from", [])]


def remaining(fields: Fields, rng: Rng, rows: int, k: int) -> list[list[Any]]:
    """For each request what is left at the start, and once each stage has run: on and beside every edge, none at all,
    without end, and now and then not told (None)."""
    named = np.array(edges(fields))
    beside = np.concatenate([named, np.nextafter(named, -math.inf), np.nextafter(named, math.inf)])
    usual = [float(seconds) for seconds in beside if seconds >= 0.0] + [0.0, math.inf, 5e-324, 1e300]
    most = float(np.max(named, initial=0.0))

    def one(at: int) -> float | None:
        if at and rng.random() < 0.3:
            return None
        return picked(rng, usual) if rng.random() < 0.6 else float(rng.random() * (most + 1.0))

    return [[one(at) for at in range(k + 1)] for _ in range(rows)]
