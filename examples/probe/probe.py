"""Does a look at a text before the first model pay? Probes before two modes of one language detector.

usage: python examples/probe/probe.py [--texts N] [--trace FILE.npz] [--plot FILE.png]
       python examples/probe/probe.py --recorded FILE.npz [--plot FILE.png]

The small and the large mode of lingua say which language a message of Django is in. Before them stand probes, which
never answer: the length of the text, how hard it looks, a rough guess at its language. They learn from some messages;
policies with and without them are fitted to others, and judged on messages that neither has seen. README.md beside
this file says what comes out. Exit code 69: a package is not installed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from bag import Guess, Router
from worth import MODELS, chosen, draw, full_cost, policy_for, served, table

import ttamer_fast as tt

sys.path.append(str(Path(__file__).parents[1] / "language_id"))

import texts

UNAVAILABLE = 69
"""Exit code: a package is not installed (EX_UNAVAILABLE of sysexits.h)."""
PACKAGES = {"django": "Django", "lingua": "lingua-language-detector", "sklearn": "scikit-learn"}
"""Modules, and the packages that install them."""

TRADEOFFS = (0.8, 0.9, 0.95, 0.98)
"""An error is as bad as running both models 4, 9, 19 and 49 times."""
DRAWN = ("no probe", "router", "guess")
DRAWN_AT = (0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)
SERVED_AT = 0.95
SERVED_PROBE = "router"
PASSES = 3

Report = tuple[str | None, float]
"""What a stage says of a text, if it says anything, and how sure it is."""
Stages = dict[str, Callable[[str], Report]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn, record, compare, draw, serve; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20000, help="about how many texts (20000: all)")
    parser.add_argument("--trace", help="where to write the calibration trace (.npz)")
    parser.add_argument("--recorded", help="a trace that was written before: nothing is learned, recorded or served")
    parser.add_argument("--plot", help="where to draw the frontiers (.png, .svg, .pdf)")
    parser.add_argument("--at", type=float, nargs="+", default=TRADEOFFS, metavar="λ", help="trade-offs to compare at")
    options = parser.parse_args(arguments)
    if options.recorded:
        trace = tt.read_trace(options.recorded, loss="loss")
    else:
        if missing := [package for module, package in PACKAGES.items() if find_spec(module) is None]:
            print(f"not installed: pip install {' '.join(missing)}", file=sys.stderr)
            return UNAVAILABLE
        learn, judge = split(texts.read_texts(), options.texts)
        stages = stages_from(learn)
        trace = record(stages, judge)
        if options.trace:
            trace.save(options.trace)
    assert trace.group is not None
    print(f"{trace.n} texts of {len(np.unique(trace.group))} messages to fit and judge")
    prices = zip(trace.stages, np.asarray(trace.cost).tolist(), strict=True)
    print(f"µs of CPU a text: {', '.join(f'{name} {cost:.3g}' for name, cost in prices)}")
    for tradeoff in options.at:
        print(f"\nλ = {tradeoff:g}\n{table(trace, tradeoff)}", flush=True)
    if options.plot:
        draw(trace, {way: [served(trace, way, at) for at in DRAWN_AT] for way in DRAWN}, options.plot)
    if not options.recorded:
        serve(stages, trace, judge)
    return 0


def split(every: list[texts.Text], count: int) -> tuple[list[texts.Text], list[texts.Text]]:
    """About `count` of the texts: those of two fifths of the messages teach the probes, the others are judged."""
    rng = np.random.default_rng(0)
    messages = rng.permutation(sorted({text.message for text in every}))
    teaching = set(messages[: 2 * len(messages) // 5].tolist())
    share = min(1.0, count / len(every))
    some = [text for text in every if rng.random() < share]
    return [text for text in some if text.message in teaching], [text for text in some if text.message not in teaching]


def stages_from(learn: Sequence[texts.Text]) -> Stages:
    """The probes, taught by some texts, and both models, from cheap to dear."""
    small, large = detector(small=True), detector(small=False)
    words = [one.text for one in learn]
    right = np.array([small(one.text)[0] == one.language for one in learn])
    router, guess = Router(words, right), Guess(words, [one.language for one in learn])
    print(f"the probes learned from {len(learn)} texts of {len({one.message for one in learn})} messages", flush=True)
    return {
        "length": lambda text: (None, len(text)),
        "router": lambda text: (None, router(text)),
        "guess": guess,
        "small": small,
        "large": large,
    }


def detector(small: bool) -> Callable[[str], Report]:
    """Lingua: groups of one to five letters of every language; its low accuracy mode has groups of three alone."""
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, language.upper()) for language in texts.LANGUAGES]
    builder = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_preloaded_language_models()
    detect = (builder.with_low_accuracy_mode() if small else builder).build().compute_language_confidence_values

    def lingua(text: str) -> Report:
        first = detect(text)[0]
        return first.language.iso_code_639_1.name.lower(), first.value

    return lingua


def record(stages: Stages, sample: Sequence[texts.Text]) -> tt.Trace:
    """What every stage says about every text; costs are µs of CPU a text, of the fastest of some passes.

    What says nothing cannot answer, so its loss is infinite. The guess has the loss of what it says; `worth.chosen`
    makes a probe of it.
    """
    said: list[list[Report]] = []
    cost: list[float] = []
    for stage in stages.values():
        passes = []
        for _ in range(PASSES):
            begun = process_time()
            reports = [stage(one.text) for one in sample]
            passes.append(process_time() - begun)
        said.append(reports)
        cost.append(float(f"{1e6 * min(passes) / len(sample):.3g}"))
    prediction = np.array([[language for language, _ in reports] for reports in said], dtype=object).T
    wrong = prediction != np.array([[one.language] for one in sample], dtype=object)
    return tt.Trace(
        signal=np.array([[signal for _, signal in reports] for reports in said]).T,
        loss=np.where([reports[0][0] is None for reports in said], math.inf, wrong),
        cost=cost,
        prediction=prediction,
        kind="models",
        stages=list(stages),
        group=[one.message for one in sample],
    )


def serve(stages: Stages, trace: tt.Trace, judge: Sequence[texts.Text]) -> None:
    """Serve texts through a cascade that has a probe, and hold that against the replay of the trace."""
    part = chosen(trace, (SERVED_PROBE, *MODELS))
    policy = policy_for(part, SERVED_AT, full_cost(trace))
    kept: list[tt.Stage[str, Any]] = [
        tt.Stage(stages[name], signal=lambda report: report[1], prediction=lambda report: report[0], name=name)
        for name in part.stages
    ]
    cascade = tt.Cascade(policy, kept)
    replay = policy.replay(part.signal, part.prediction)
    answers = [cascade(one.text) for one in judge]
    same = sum(
        one.stage == stage and set(one.consulted) == set(np.flatnonzero(consulted))
        for one, stage, consulted in zip(answers, replay.answer.tolist(), replay.consulted, strict=True)
    )
    straight = sum(part.stages.index("small") not in one.consulted for one in answers)
    print(f"\nserved at λ = {SERVED_AT:g}: {same} of {len(judge)} with the same stages and answer as in the replay")
    print(f"{straight} of them went from the router straight to the large model")


if __name__ == "__main__":
    sys.exit(main())
