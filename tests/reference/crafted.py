"""Random policies, valid in every part, that no fit would make; and requests for them.

Numbers are eighths, and differences that are divided by are powers of two, so that all arithmetic is exact: a signal on
a limit is on it in every order of summation, and decisions can be compared without leaving out what is close.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reference.mixture import Mixture
from reference.policy import OBSERVE, TURNS
from reference.rule import NO_PREDICTION, Report
from reference.stored import Single

Fields: TypeAlias = dict[str, Any]
Rng: TypeAlias = np.random.Generator

SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300, 0.5, 1.0, 2.0, 3.0, -1.0, 1.5)
"""Signals that deserve a thought."""

MEMBERS = 8
"""Answers that are weighed against each other at most."""


def eighths(rng: Rng, low: float, high: float) -> float:
    return int(rng.integers(round(8 * low), round(8 * high) + 1)) / 8


def limit(rng: Rng, low: float, high: float) -> float:
    """A number, or now and then an infinite one."""
    infinite = rng.random()
    return -math.inf if infinite < 0.07 else math.inf if infinite > 0.95 else eighths(rng, low, high)


def picked(rng: Rng, choices: list[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def later(rng: Rng, stage: int, k: int) -> int:
    """The following stage, any later one, or -1."""
    following = stage + 1 if rng.random() < 0.7 else int(rng.integers(stage + 1, k + 1))
    return following if following < k else -1


def walk(rng: Rng, k: int, entry: int | None = None) -> Fields:
    made = {
        "entry": int(rng.integers(0, 2)) % k if entry is None else entry,
        "successor": [later(rng, stage, k) for stage in range(k)],
        "mean_loss": [eighths(rng, 0, 1) for _ in range(k)],
    }
    if rng.random() < 0.4:
        made["default_loss"] = eighths(rng, 0, 1)
        if entry is None and rng.random() < 0.1:
            made["entry"] = -1
    return made


def threshold(rng: Rng, k: int, entry: int | None = None) -> Fields:
    made: Fields = {"walk": walk(rng, k, entry), "threshold": [limit(rng, -1, 3) for _ in range(k)]}
    return {"threshold": made | ({"reject": eighths(rng, -1, 3)} if "default_loss" in made["walk"] else {})}


def patience(rng: Rng, k: int, entry: int | None = None) -> Fields:
    made: Fields = {"walk": walk(rng, k, entry), "patience": int(rng.integers(0, 4))}
    return {"patience": made | ({"rejects": True} if "default_loss" in made["walk"] and rng.random() < 0.7 else {})}


def decisions(rng: Rng, targets: list[list[int]], low: float, high: float) -> Fields:
    """One row for each list of what it may lead to (-1: stop)."""
    stored: Fields = {"stop": [], "last": [], "steps": [], "limit": [], "next": []}
    for choices in targets:
        steps = int(rng.integers(0, 4))
        stored["stop"].append(limit(rng, low, high))
        stored["last"].append(picked(rng, choices))
        stored["steps"].append(steps)
        stored["limit"] += sorted(limit(rng, low, high) for _ in range(steps))
        stored["next"] += [picked(rng, [*choices, -1]) for _ in range(steps)]
    return stored


def chain(rng: Rng, k: int, entry: int | None = None) -> Fields:
    states = [int(rng.integers(1, 5)) for _ in range(k)]
    offset = [0, *np.cumsum([count + 1 for count in states]).tolist()]
    loss = [[eighths(rng, 0, 2) for _ in range(count)] + [math.inf] for count in states]
    after = [list(range(v + 1, k)) or [-1] for v in range(k) for _ in range(states[v] + 1)]
    bins = [sorted({eighths(rng, -1, 3) for _ in range(9)})[: count - 1] for count in states]
    start = picked(rng, [0, 0, min(1, k - 1), -1]) if entry is None else entry
    return {
        "chain": {
            "bins": bins
            if rng.random() < 0.5 and all(len(b) == c - 1 for b, c in zip(bins, states, strict=True))
            else None,
            "recall": bool(rng.random() < 0.6),
            "default_loss": picked(rng, [math.inf, math.inf, 0.25, 1.0, 1.5]),
            "unit": picked(rng, [1.0, 0.5, 4.0]),
            "loss": [r for losses in loss for r in losses],
            "mean_loss": [eighths(rng, 0, 2) for _ in range(k)],
            "start": start,
            "offset": offset,
            "decisions": decisions(rng, after, 0, 2),
        }
    }


def tree(rng: Rng, k: int) -> Fields:
    states = [int(rng.integers(1, 4)) for _ in range(k)]
    parent = [int(rng.integers(-1, v)) for v in range(k)]
    rows = [2 if p == -1 else states[p] + 1 for p in parent]
    return {
        "tree": {
            "default_loss": picked(rng, [math.inf, math.inf, 0.5, 1.0]),
            "loss": [[eighths(rng, 0, 2) for _ in range(count)] for count in states],
            "mean_loss": [eighths(rng, 0, 2) for _ in range(k)],
            "parent": parent,
            "index": [[limit(rng, -0.25, 2) + 0.0 for _ in range(count)] for count in rows],
        }
    }


def dag(rng: Rng, k: int) -> Fields:
    k = min(k, 4)
    states = [int(rng.integers(1, 4)) for _ in range(k)]
    stride = [int(np.prod([count + 2 for count in states[:v]], dtype=int)) for v in range(k)]
    situations = stride[-1] * (states[-1] + 2)

    def action(situation: int) -> int:
        is_open = [v for v in range(k) if situation // stride[v] % (states[v] + 2) == 0]
        chosen: int = picked(rng, [*is_open, *is_open, -1])
        return chosen

    return {
        "dag": {
            "default_loss": picked(rng, [math.inf, math.inf, 0.5]),
            "loss": [[eighths(rng, 0, 2) for _ in range(count)] for count in states],
            "mean_loss": [eighths(rng, 0, 2) for _ in range(k)],
            "stride": stride,
            "action": [action(situation) for situation in range(situations)],
        }
    }


def singles(values: NDArray[np.float64]) -> list[Single]:
    """As numbers of four bytes."""
    return [Single(value) for value in values.astype(np.float32).tolist()]


def calibration(rng: Rng) -> Fields:
    steps = [2.0 ** int(rng.integers(-2, 2)) for _ in range(int(rng.integers(0, 16)))]
    rises = [picked(rng, [-32.0, -16.0, -8.0, -4.0, -2.0, -1.0, -1.0, 0.0, 1.0, 2.0]) for _ in steps]
    logit = np.clip(np.cumsum([eighths(rng, 0, 16), *rises]), -40.0, 24.0)
    curves = [
        singles(eighths(rng, -2, 2) + picked(rng, [1.0, 1.0, 2.0, 0.5, 0.0, -1.0]) * logit)
        for _ in range(int(rng.integers(4)))
    ]
    return {
        "signal": np.cumsum([eighths(rng, -2, 0), *steps]).tolist(),
        "logit": singles(logit),
        "class": rng.integers(len(curves) + 1, size=int(rng.integers(5))).tolist() if rng.random() < 0.6 else [],
        "curves": curves,
        "mean_loss": eighths(rng, 0, 1),
        "missing_logit": eighths(rng, -3, 3),
    }


def evidence(rng: Rng, count: int, is_plain: bool) -> list[list[list[float]]]:
    """What each of so many members says about each; plain: itself alone, so that limited beliefs are often equal."""
    if is_plain:
        return [[[0.0, float(i == j)]] * 3 for j in range(count) for i in range(count)]
    factors = [0.0, 0.25, 0.5, 1.0, -0.25]
    return [[[eighths(rng, -1, 1), picked(rng, factors)] for _ in range(3)] for _ in range(count**2)]


def classes_of_pair(rng: Rng, stages: tuple[int, int]) -> Fields:
    """A small table of two stages: not every class is in it, and some share a place."""
    places = [rng.integers(0, 4, size=int(rng.integers(0, 5))).tolist() for _ in stages]
    rows, columns = (max(one, default=0) for one in places)
    return {
        "stages": list(stages),
        "class": places,
        "offset": rng.choice([-128, -24, -8, 0, 4, 16, 127], size=(rows * columns, 2)).tolist(),
    }


def situations(rng: Rng, k: int, entry: int, line: bool) -> Iterator[tuple[tuple[int, ...], int, list[int]]]:
    """(members, stage that enters, numbers of what may follow), each after what leads to it."""
    if line:
        order = [entry, *[v for v in rng.permutation(k).tolist() if v != entry]]
        order = sorted(order) if entry == 0 and rng.random() < 0.7 else order
        for at, stage in enumerate(order):
            yield tuple(sorted(order[max(0, at + 1 - MEMBERS) : at + 1])), stage, [at + 1] if at + 1 < k else [-1]
        return
    found = [((entry,), entry)]
    at = 0
    while at < len(found):
        members, stage = found[at]
        others = [v for v in rng.permutation(k).tolist() if v not in members]
        room = 24 - len(found)
        following = [(tuple(sorted((*members, v))), v) for v in others[: min(3, room)]]
        found += [one for one in following if one not in found]
        yield members, stage, [found.index(one) for one in following] or [-1]
        at += 1


def belief(rng: Rng, k: int, entry: int | None = None) -> Fields:
    was_given = entry
    entry = int(rng.integers(k)) if entry is None else entry
    line = bool(rng.random() < 0.4) or k > MEMBERS
    is_plain = bool(rng.random() < 0.3)
    nodes = list(situations(rng, k, entry, line))
    # Where each stage's report is kept: on a line longer than there is room for, in the place of the one let go.
    order = (
        [nodes[at][1] for at in range(k)] if line else [entry, *rng.permutation([v for v in range(k) if v != entry])]
    )
    slot = {int(stage): at % MEMBERS for at, stage in enumerate(order)}
    has_pairs = bool(rng.random() < 0.4)
    two = [(one, other) for other in range(k) for one in range(other)]
    pairs = [classes_of_pair(rng, stages) for stages in sorted(two) if has_pairs and rng.random() < 0.6]
    sets: list[Fields] = []
    numbers: dict[tuple[Any, ...], int] = {}
    stored = []
    for members, stage, _ in nodes:
        favoured = int(picked(rng, list(members)))
        if (members, favoured) not in numbers:
            numbers[members, favoured] = len(sets)
            weights = evidence(rng, len(members), is_plain)
            shares = [eighths(rng, 0, 2) for _ in members] if has_pairs and rng.random() < 0.8 else []
            sets.append(
                {"members": list(members), "favoured": favoured, "evidence": weights}
                | ({"shares": shares} if shares else {})
            )
        places = [slot[member] for member in members]
        places = [] if places == list(range(len(places))) else places
        stored.append({"set": numbers[members, favoured], "stage": stage, "slot": slot[stage], "places": places})
    rows = decisions(rng, [after for _, _, after in nodes], *picked(rng, [(-4, 4), (-9, 9), (-9, -5)]))
    # Every situation has to be led to: the last way out of a row is one that no earlier row has.
    led = set()
    for at, (_, _, after) in enumerate(nodes):
        missing = [target for target in after if target not in led and target != -1]
        for number, target in enumerate(missing):
            if number == 0:
                rows["last"][at] = target
            else:
                before = sum(rows["steps"][:at])
                rows["limit"].insert(before, -math.inf)
                rows["next"].insert(before, target)
                rows["steps"][at] += 1
            led.add(target)
    scale = picked(rng, [1.0, 5.0])
    nothing: Fields = {}
    if rng.random() < 0.4:
        # The limit of beliefs is 0, or there is none.
        loss = picked(rng, [0.5 * scale, 0.5 * scale, 0.0, 2.0 * scale])
        nothing = {"nothing": {"loss": loss, "at_once": was_given is None and bool(rng.random() < 0.05)}}
    known = [calibration(rng)] * k if is_plain else [calibration(rng) for _ in range(k)]
    # Where nothing may be said, requests may end before any stage can answer.
    others = [v for v in range(k) if nothing or v != entry]
    recall = bool(rng.random() < 0.7)
    # Without recall there is one answer that is the last, whatever the way to a situation.
    probes = rng.permutation(others)[:2].tolist() if k > 2 and (recall or line) and rng.random() < 0.4 else []
    return {
        "belief": {
            "recall": recall,
            "beliefs": {
                "margin": picked(rng, [0.0, eighths(rng, 0, 1), eighths(rng, 0, 1)]),
                "scale": scale,
                # Plain evidence and equal calibrations: stages that say the same are tied.
                "calibration": [one | {"mean_loss": math.inf} if v in probes else one for v, one in enumerate(known)],
                "sets": sets,
            }
            | ({"pairs": pairs} if pairs else {}),
            "situations": stored,
            "decisions": rows,
        }
        | nothing
    }


COMPONENTS: dict[str, Callable[[Rng, int, int | None], Fields]] = {
    "threshold": threshold,
    "patience": patience,
    "chain": chain,
    "belief": belief,
}
KINDS = (*COMPONENTS, "tree", "dag", "mixture")


def policy(kind: str, rng: Rng) -> Fields:
    """The stored fields of a random policy of this kind."""
    k = int(rng.integers(1, 11)) if kind == "belief" and rng.random() < 0.3 else int(rng.integers(1, 6))
    is_line = False
    if kind == "tree":
        rule = tree(rng, k)
    elif kind == "dag":
        rule = dag(rng, k)
        k = len(rule["dag"]["loss"])
    elif kind == "mixture":
        entry = int(rng.integers(k))
        components = [picked(rng, list(COMPONENTS.values()))(rng, k, entry) for _ in range(2)]
        seed = int(rng.integers(2**63))
        # Sometimes just the share that a usual report falls on.
        on_edge = Mixture.toss(seed, Report(entry, 0.5, 1))
        share = picked(rng, [0.0, 0.25, 0.5, 0.75, 1.0, on_edge, on_edge])
        rule = {"mixture": {"seed": seed, "share": share, "components": components}}
    else:
        component = COMPONENTS[kind](rng, k, None)
        rule = {"component": component}
        ran = [situation["stage"] for situation in component["belief"]["situations"]] if kind == "belief" else []
        is_line = ran == list(range(k))
    jumps = kind in ("threshold", "patience", "chain") or is_line
    return {
        "stages": [f"stage {v}" for v in range(k)],
        "price": jump_prices(rng, k) if jumps and rng.random() < 0.5 else stage_prices(rng, k),
        "rule": rule,
        "facts": facts(rng, k),
    }


def facts(rng: Rng, k: int) -> Fields:
    """What is known about a policy besides its decisions, which nothing depends on."""
    numbers = ("loss", "cost", "objective", "difference", "error")
    candidates = [
        {"name": f"rule {at}", **{name: eighths(rng, -1, 1) for name in numbers}, "is_chosen": at == 1}
        for at in range(int(rng.integers(3)))
    ]
    return {
        "method": "crafted",
        "graph": picked(rng, ["line", "any"]),
        "value": eighths(rng, 0, 1),
        "index": [[eighths(rng, 0, 1)] * at for at in range(k)],
        "index_error": eighths(rng, 0, 1),
        "provenance": [["from", "nothing"]],
        "candidates": candidates,
    }


def stage_prices(rng: Rng, k: int) -> Fields:
    return {"stage": [eighths(rng, 0, 4) for _ in range(k)]}


def jump_prices(rng: Rng, k: int) -> Fields:
    return {"jump": {"stages": k, "jump": [eighths(rng, 0, 4) for _ in range((k + 1) * k)][: k * k]}}


def requests(rng: Rng, k: int, rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, k) signals on and beside every limit, and predictions that often agree or are missing."""
    fine = rng.integers(-24, 40, size=(rows, k)) / 8
    whole = rng.integers(-1, 5, size=(rows, k)).astype(float)
    special = np.array(SPECIAL)[rng.integers(len(SPECIAL), size=(rows, k))]
    kind = rng.random((rows, k))
    signal = np.where(kind < 0.5, fine, np.where(kind < 0.85, whole, special))
    prediction = rng.integers(-1, 4, size=(rows, k))
    prediction[rng.random((rows, k)) < 0.12] = NO_PREDICTION
    prediction[rng.random(rows) < 0.15] = NO_PREDICTION
    prediction[rng.random((rows, k)) < 0.03] = 2**63 - 1
    # Most requests are complete, and some say hardly anything.
    fate = rng.random(rows)
    whole_row, dark_row = fate < 0.5, fate > 0.85
    prediction[whole_row] = np.where(prediction[whole_row] == NO_PREDICTION, 1, prediction[whole_row])
    signal[whole_row] = np.where(np.isnan(signal[whole_row]), 0.5, signal[whole_row])
    # All stages say the same: with a prediction, and with none.
    signal[:2], prediction[0], prediction[1] = 0.5, 1, NO_PREDICTION
    signal[dark_row] = np.where(rng.random((int(dark_row.sum()), k)) < 0.6, math.nan, signal[dark_row])
    return signal, prediction


def turns(rng: Rng, shape: tuple[int, int]) -> NDArray[np.int64]:
    """(n, k) what becomes of each stage that is next: in some requests most report, in others hardly any does."""
    reporting = rng.choice([0.1, 0.5, 0.8], size=(shape[0], 1))
    kind = rng.random(shape)
    others = rng.choice(TURNS[1:], p=[0.5, 0.42, 0.08], size=shape)
    return np.where(kind < reporting, OBSERVE, others)
