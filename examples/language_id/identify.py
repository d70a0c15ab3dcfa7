"""Which language is a text in? Four engines from packages, the dearest a hundred times as dear as the cheapest.

usage: python examples/language_id/identify.py [--texts N] [--trace FILE.npz]

Reads some of the messages of Django in 41 languages, asks every engine about every one of them and measures what that
costs, fits policies to one half of the messages, serves the other half, and compares: with every engine alone, and with
tuned thresholds. README.md beside this file says what comes out. Exit code 69: a package is not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from time import process_time

import engines
import numpy as np
import overhead
import texts
from engines import Engine, Guess
from texts import Text

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Floats, Ints

UNAVAILABLE = 69
"""Exit code: a package is not installed (EX_UNAVAILABLE of sysexits.h)."""

TRADEOFFS = (0.9, 0.95, 0.98, 0.99)
"""An error is as bad as running all engines 9, 19, 49 and 99 times."""

SERVED_AT = 0.98
PASSES = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, fit, serve, compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=8000, help="about how many texts (8000)")
    parser.add_argument("--trace", help="where to write the calibration trace (.npz)")
    options = parser.parse_args(arguments)
    if missing := engines.missing():
        print(f"not installed: pip install {' '.join(missing)}", file=sys.stderr)
        return UNAVAILABLE

    learn, judge = texts.split(texts.read_texts(), options.texts)
    print(f"{len(learn)} texts to learn from, {len(judge)} to judge by, {len(texts.LANGUAGES)} languages", flush=True)
    models = engines.load(texts.LANGUAGES)
    train, held_out = record(models, learn), record(models, judge)
    if options.trace:
        train.save(options.trace)

    for tradeoff in TRADEOFFS:
        print(f"\nλ = {tradeoff:g}\n{compared(train, held_out, tradeoff)}")
    serve(tt.fit(train, tradeoff=SERVED_AT), models, judge, held_out)
    return 0


def record(models: dict[str, Engine], sample: Sequence[Text]) -> tt.Trace:
    """What every engine says about every text; costs are µs of CPU a text, of the fastest of some passes."""
    said: list[list[Guess]] = []
    cost: list[float] = []
    for engine in models.values():
        passes = []
        for _ in range(PASSES):
            begun = process_time()
            guesses = [engine(one.text) for one in sample]
            passes.append(process_time() - begun)
        said.append(guesses)
        cost.append(1e6 * min(passes) / len(sample))
    prediction = np.array([[language for language, _ in guesses] for guesses in said]).T
    return tt.Trace(
        signal=np.array([[confidence for _, confidence in guesses] for guesses in said]).T,
        loss=prediction != np.array([[one.language] for one in sample]),
        cost=cost,
        prediction=prediction,
        kind="models",
        stages=list(models),
        group=[one.message for one in sample],
    )


def compared(train: tt.Trace, held_out: tt.Trace, tradeoff: float) -> str:
    """A table: what the default fit, tuned thresholds and every engine alone are worth on held-out texts."""
    rules = {
        "policy": tt.fit(train, tradeoff=tradeoff),
        "no recall": tt.fit(train, tradeoff=tradeoff, recall=False),
        "one threshold": tt.baselines.threshold(train, tradeoff),
        "a threshold each": tt.baselines.stage_thresholds(train, tradeoff),
    }
    paid = {name: served_by(rule, held_out) for name, rule in rules.items()}
    loss, cost = held_out.loss, np.asarray(held_out.cost)
    for j, name in enumerate(held_out.stages):
        paid[f"{name} alone"] = loss[:, j], np.full(held_out.n, cost[j])
    objective = {name: tradeoff * loss + (1 - tradeoff) * cost_ / cost.sum() for name, (loss, cost_) in paid.items()}
    lines = [f"{'':<18}{'objective × 1000':>17}{'minus the policy':>22}{'accuracy':>10}{'µs a text':>11}"]
    for name, (lost, spent) in paid.items():
        mean, _ = mean_and_error(objective[name], held_out.group)
        gap, error = mean_and_error(objective[name] - objective["policy"], held_out.group)
        shown = "" if name == "policy" else f"{1000 * gap:+.1f} ± {1000 * error:.1f}"
        lines.append(f"{name:<18}{1000 * mean:>17.1f}{shown:>22}{1 - lost.mean():>10.3f}{spent.mean():>11.1f}")
    return "\n".join(lines)


def served_by(policy: tt.Policy, trace: tt.Trace) -> tuple[Floats, Floats]:
    """Loss and cost of every text."""
    replay = policy.replay(trace.signal, trace.prediction)
    return trace.loss[np.arange(trace.n), replay.answer], replay.cost


def mean_and_error(values: Floats, group: Ints | None) -> tuple[float, float]:
    """Mean of the texts and its standard error; the translations of one message count as one draw."""
    assert group is not None
    _, number = np.unique(group, return_inverse=True)
    mean = values.mean()
    sums = np.bincount(number, weights=values - mean)
    return float(mean), float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(values))


def serve(policy: tt.Policy, models: dict[str, Engine], judge: Sequence[Text], held_out: tt.Trace) -> None:
    """Serve texts through a cascade, hold that against the replay of the trace, and tell where the time goes."""
    stages = [
        tt.Stage(engine, signal=lambda guess: guess[1], prediction=lambda guess: guess[0], name=name)
        for name, engine in models.items()
    ]
    cascade = tt.Cascade(policy, stages)
    replay = policy.replay(held_out.signal, held_out.prediction)
    begun = process_time()
    served = [cascade(one.text) for one in judge]
    seconds = process_time() - begun
    guesses = [one.output or ("", 0.0) for one in served]
    right = np.array([language for language, _ in guesses]) == np.array([one.language for one in judge])
    same = sum(one.stage == answer for one, answer in zip(served, replay.answer.tolist(), strict=True))
    print(f"\nserved at λ = {SERVED_AT:g}: accuracy {right.mean():.3f}, {1e6 * seconds / len(judge):.1f} µs a text")
    print(f"same answering stage as the replay: {same} of {len(judge)}")
    print(f"asked: {', '.join(f'{n} {s:.1%}' for n, s in zip(models, replay.consulted.mean(axis=0), strict=True))}")
    print(overhead.table(policy, held_out))


if __name__ == "__main__":
    sys.exit(main())
