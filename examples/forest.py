"""Two families of models, each with a small and a large member: whom to ask next, and when to give up?

usage: python examples/forest.py

Handwritten digits (scikit-learn), seen by two cameras: one family of models reads two rows of the upper half of the
image, the other two rows of the lower half. The large member of a family can be asked once its small member has run,
because it works on what that one has fetched. A *checker* says after each answer whether it is right, as unit tests
do for a program. So the loss of an answer is observed (0 or 1), which is what the theorems assume; docs/theory.md,
section 4, says what to do where it is not. A wrong answer may be returned at a loss of 1: giving up is allowed.

The state of a model is (right or not, how confident). Confidence says something about the large member of the same
family: that is what the tree's transitions hold, counted on calibration images that no model was trained on. Two
things are assumed and only roughly true: the families are independent, and a large member depends on its small one
through that state alone. A digit that is badly written is hard from both sides, so the model promises more than held-
out images deliver. Both figures are printed.
"""

from __future__ import annotations

import itertools

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Bools, Floats, Ints

NAMES = ("upper small", "upper large", "lower small", "lower large")
PARENT = (-1, 0, -1, 2)
COST = np.array([0.1, 0.3, 0.1, 0.3])  # price of a call, where a wrong answer costs 1
BINS = 4


def answers() -> tuple[Bools, Floats]:
    """Whether each model is right (n, 4), and how confident it is, on 1197 images that it was not trained on."""
    pixels, digit = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digit))
    pixels, digit = pixels[order], digit[order]
    upper, lower = pixels[:, 8:24], pixels[:, 40:56]
    small = make_pipeline(StandardScaler(), LogisticRegression())
    large = ExtraTreesClassifier(300, random_state=0)
    chances = np.stack(
        [
            clone(model).fit(view[:600], digit[:600]).predict_proba(view[600:])
            for view in (upper, lower)
            for model in (small, large)
        ],
        axis=1,
    )
    return chances.argmax(axis=2) == digit[600:, None], chances.max(axis=2)


def states_of(right: Bools, confidence: Floats, cuts: Floats) -> Ints:
    """State (n, 4): 0 to 3 for a right answer by rising confidence, 4 to 7 for a wrong one."""
    bins = np.stack([np.searchsorted(cuts[:, v], confidence[:, v]) for v in range(len(NAMES))], axis=1)
    states: Ints = bins + np.where(right, 0, BINS)
    return states


def transitions(states: Ints) -> list[Floats]:
    """Counted on calibration images, half a count added everywhere."""
    counted = []
    for v, parent in enumerate(PARENT):
        before = np.zeros(len(states), dtype=int) if parent < 0 else states[:, parent]
        counts = np.full((1 if parent < 0 else 2 * BINS, 2 * BINS), 0.5 / BINS)
        np.add.at(counts, (before, states[:, v]), 1.0)
        counted.append(counts / counts.sum(axis=1, keepdims=True))
    return counted


def fixed_order(order: tuple[int, ...], right: Bools) -> Floats:
    """Total on each image (n,) when models are asked in this order until one is right."""
    total = np.zeros(len(right))
    solved = np.zeros(len(right), dtype=bool)
    for v in order:
        total += np.where(solved, 0.0, COST[v])
        solved |= right[:, v]
    totals: Floats = total + ~solved
    return totals


def main() -> None:
    """Build the model from calibration images, solve it, serve held-out images."""
    right, confidence = answers()
    fitted, held_out = slice(0, 600), slice(600, None)
    cuts = np.quantile(confidence[fitted], np.arange(1, BINS) / BINS, axis=0)
    states = states_of(right, confidence, cuts)
    loss = [np.repeat([0.0, 1.0], BINS)] * len(NAMES)
    model = tt.Model.tree(PARENT, loss, COST, transitions(states[fitted]))
    policy = tt.solve(model)
    print(f"certificate: {tt.verify(model, policy)}")
    for v, (name, index) in enumerate(zip(NAMES, policy.index, strict=True)):
        where = "at once" if PARENT[v] < 0 else f"after {NAMES[PARENT[v]]!r}, wrong and by rising confidence,"
        shown = index if PARENT[v] < 0 else index[BINS:]
        print(f"ask {name!r} {where} while the loss in hand is above {', '.join(f'{x:.3f}' for x in shown)}")

    seen = states[held_out]
    replay = policy.replay(seen.astype(float))
    for image, row in enumerate(seen[:100]):  # one by one, as in serving
        run = policy.start()
        while run.next is not None:
            run.observe(int(row[run.next]))
        assert run.answer == replay.answer[image]
    total = replay.cost + ~right[held_out][np.arange(len(seen)), replay.answer]

    orders = [
        order
        for size in range(1, len(NAMES) + 1)
        for order in itertools.permutations(range(len(NAMES)), size)
        if all(PARENT[v] < 0 or PARENT[v] in order[:place] for place, v in enumerate(order))
    ]
    best = min(orders, key=lambda order: fixed_order(order, right[fitted]).mean())
    everything = min((o for o in orders if len(o) == 4), key=lambda order: fixed_order(order, right[fitted]).mean())
    print(f"\n{len(seen)} held-out images, loss + cost, mean")
    print(f"the model expects   {policy.value:.4f}")
    print(f"policy              {total.mean():.4f}   models asked {replay.consulted.sum(axis=1).mean():.2f}")
    for label, order in (("best fixed order", best), ("best order of all", everything)):
        fixed = fixed_order(order, right[held_out])
        gap = total - fixed
        error = gap.std() / np.sqrt(len(gap))
        names = " > ".join(NAMES[v] for v in order)
        print(f"{label:<20}{fixed.mean():.4f}   policy {gap.mean():+.4f} ± {error:.4f}   {names}")


if __name__ == "__main__":
    main()
