"""What the reference decides on crafted policies, kept in a file for the tests of the core.

python tests/reference/vectors.py     # writes tests/data/reference.msgpack anew
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from reference import crafted
from reference.policy import OBSERVE, Policy, take_turn
from reference.rule import NO_PREDICTION
from reference.stored import read, sealed, written

FILE = Path(__file__).parent.parent / "data" / "reference.msgpack"
MOST_BYTES = 500_000
ROWS = 15


def steps(policy: Policy, signal: list[float], prediction: list[int], turns: list[int]) -> list[list[Any]]:
    """Before and after each turn: next stage, answer (-1: none), cost, expected loss."""
    request = policy.start()
    found = []
    while True:
        next_, answer = (-1 if stage is None else stage for stage in (request.next, request.answer))
        found.append([next_, answer, request.cost, request.expected_loss])
        if request.next is None:
            return found
        take_turn(request, turns[request.next], signal[request.next], prediction[request.next])


def case(kind: str, seed: int) -> dict[str, Any]:
    """One policy, requests for it, and what is decided: long ones that are complete, long ones that are not, any.

    The last third of them have stages that fail, are barred, or are under way when the request is stopped.
    """
    rng = np.random.default_rng(seed)
    fields = crafted.policy(kind, rng)
    policy = Policy(fields)
    signal, prediction = crafted.requests(rng, len(policy.stages), 60)
    signal[np.abs(signal) < 2.0**-1000] = 0.0
    turns = crafted.turns(np.random.default_rng(seed), signal.shape)
    turns[: 2 * len(turns) // 3] = OBSERVE
    rows = [
        {"signal": one, "prediction": said, "turns": turn, "steps": steps(policy, one, said, turn)}
        for one, said, turn in zip(signal.tolist(), prediction.tolist(), turns.tolist(), strict=True)
    ]

    def missing(row: int) -> bool:
        ran = [next_ for next_, *_ in rows[row]["steps"] if next_ >= 0]
        return any(np.isnan(signal[row, v]) or prediction[row, v] == NO_PREDICTION for v in ran)

    longest = sorted(range(len(rows)), key=lambda row: -len(rows[row]["steps"]))
    told = [row for row in longest if (turns[row] == OBSERVE).all()]
    some, whole = ([row for row in told if missing(row) == wanted][: ROWS // 3] for wanted in (True, False))
    cut = [row for row in longest if row not in told][: 2 * ROWS // 3]
    chosen = [*list(dict.fromkeys([0, 1, *some, *whole, *told]))[:ROWS], *cut]
    return {"kind": kind, "policy": sealed(fields), "rows": [rows[row] for row in chosen]}


def cases() -> Iterator[dict[str, Any]]:
    """As many of each kind in turn as there is room for."""
    size = 0
    for seed in range(1000, 2000):
        for kind in crafted.KINDS:
            made = case(kind, seed)
            length = len(written(made))
            if length < 20_000 or (kind == "belief" and seed < 1012):
                size += length
                if size > MOST_BYTES:
                    return
                yield made


def recorded() -> list[dict[str, Any]]:
    """The cases of the file."""
    found: list[dict[str, Any]] = read(FILE.read_bytes())
    return found


if __name__ == "__main__":
    assert NO_PREDICTION == -(2**63)
    FILE.write_bytes(written(list(cases())))
