"""A cascade in which models may be jumped over, and every hand-over costs.

usage: python examples/skip.py

Four models of handwritten digits (scikit-learn), from cheap to dear, on different machines: going on to another one
costs its price and a hand-over. Running all in order pays three hand-overs, so after a doubtful answer it can be
better to jump straight to the large model, and where to jump depends on how doubtful the answer was and on what is in
hand.

Here losses are *not* observed: what a model shows is its confidence, sorted into six bins, and the loss of a bin is
the share of wrong answers in it on calibration images. That makes an exact model of something that is only roughly
true (the chain of bins forgets what earlier models said; docs/theory.md, section 4), so the expected total and the
one on held-out images differ, and both are printed. To fit a policy to such a trace directly use `tt.fit(trace,
graph="skip")`.
"""

from __future__ import annotations

import itertools

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Bools, Floats, Ints

NAMES = ("small tree", "linear", "300 trees", "SVM")
PRICE = np.array([0.005, 0.01, 0.03, 0.05])  # of a call, where a wrong answer costs 1
HAND_OVER = 0.02
BINS = 6


def answers() -> tuple[Bools, Floats]:
    """Whether each model is right (n, 4), and how confident it is, on 1197 images that it was not trained on."""
    pixels, digit = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(digit))
    pixels, digit = pixels[order], digit[order]
    models = (
        DecisionTreeClassifier(max_depth=7, min_samples_leaf=3, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        ExtraTreesClassifier(300, random_state=0),
        SVC(gamma=0.001, decision_function_shape="ovr"),
    )
    scores = []
    for model in models:
        model.fit(pixels[:600], digit[:600])
        score = model.decision_function if isinstance(model, SVC) else model.predict_proba
        scores.append(score(pixels[600:]))
    table = np.stack(scores, axis=1)
    ordered = np.sort(table, axis=2)
    return table.argmax(axis=2) == digit[600:, None], ordered[:, :, -1] - ordered[:, :, -2]


def build(right: Bools, states: Ints) -> tuple[list[Floats], Floats, list[Floats]]:
    """Loss of each bin, jump costs, and how bins follow each other."""
    k = len(NAMES)
    loss, transition = [], []
    for v in range(k):
        seen = np.bincount(states[:, v], minlength=BINS)
        wrong = np.bincount(states[:, v], weights=~right[:, v], minlength=BINS)
        loss.append((wrong + 0.5) / (seen + 1.0))
        counts = np.full((BINS if v else 1, BINS), 0.5 / BINS)
        np.add.at(counts, (states[:, v - 1] if v else np.zeros(len(states), dtype=int), states[:, v]), 1.0)
        transition.append(counts / counts.sum(axis=1, keepdims=True))
    cost = np.triu(np.tile(PRICE, (k, 1)))
    cost[1:] = np.triu(cost[1:] + HAND_OVER, 1)
    return loss, cost, transition


def states_of(confidence: Floats, cuts: Floats) -> Ints:
    """Bin of each confidence (n, 4)."""
    states: Ints = np.stack([np.searchsorted(cuts[:, v], confidence[:, v]) for v in range(len(NAMES))], axis=1)
    return states


def total_of(policy: tt.Policy, states: Ints, right: Bools) -> Floats:
    """Loss + cost of each image (n,)."""
    replay = policy.replay(states.astype(float))
    totals: Floats = replay.cost + ~right[np.arange(len(states)), replay.answer]
    return totals


def main() -> None:
    """Build the model from calibration images, solve it, serve held-out images."""
    right, confidence = answers()
    fitted, held_out = slice(0, 600), slice(600, None)
    cuts = np.quantile(confidence[fitted], np.arange(1, BINS) / BINS, axis=0)
    states = states_of(confidence, cuts)
    loss, cost, transition = build(right[fitted], states[fitted])
    skip = tt.Model.skip(loss, cost, transition)
    policy = tt.solve(skip)
    print(f"certificate: {tt.verify(skip, policy)}")
    print(f"first {NAMES[policy.describe()['rule']['start']]!r}")
    for row in policy.describe()["rule"]["decisions"]:
        if row["state"] is not None and row["next"]:
            jumps = ", then ".join(NAMES[stage] for _, stage in row["next"])
            print(
                f"after {NAMES[row['stage']]!r} in bin {row['state']}: stop up to {row['stop']:.3f}, above it {jumps}"
            )

    line = tt.solve(tt.Model.line(loss, np.diag(cost), transition))  # without jumps
    total = total_of(policy, states[held_out], right[held_out])
    print(f"\n{len(total)} held-out images, loss + cost, mean")
    print(f"the model expects   {policy.value:.4f}")
    print(f"policy              {total.mean():.4f}")
    others = {"no jumps": total_of(line, states[held_out], right[held_out])}
    for v, name in enumerate(NAMES):
        others[f"only {name}"] = ~right[held_out, v] + cost[0, v]
    for name, other in others.items():
        gap = total - other
        print(f"{name:<20}{other.mean():.4f}   policy {gap.mean():+.4f} ± {gap.std() / np.sqrt(len(gap)):.4f}")
    for image, row in itertools.islice(enumerate(states[held_out]), 100):  # one by one, as in serving
        run = policy.start()
        while run.next is not None:
            run.observe(int(row[run.next]))
        assert run.cost + (not right[held_out][image, run.answer]) == total[image]


if __name__ == "__main__":
    main()
