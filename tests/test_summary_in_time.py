"""What a policy is worth on rows held back, under a deadline and with nothing as an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from test_judging_in_time import timed_trace
from ttamer_fast.cli import main
from ttamer_fast.traces import outcome

DEADLINE = 0.06


@pytest.fixture(scope="module")
def trace() -> tt.Trace:
    return timed_trace(900)


FITS: dict[str, Callable[[tt.Trace], tt.Policy]] = {
    "timed": lambda trace: tt.fit(trace, tradeoff=0.95, deadline=True),
    "timed, in order": lambda trace: tt.fit(trace, tradeoff=0.95, deadline=True, order="given", recall=False),
    "timed, or nothing": lambda trace: tt.fit(trace, tradeoff=0.95, deadline=True, default_loss=0.2),
    "untimed": lambda trace: tt.fit(trace, tradeoff=0.95, recall=True),
    "untimed, or nothing": lambda trace: tt.fit(trace, tradeoff=0.95, recall=True, default_loss=0.2),
    "markov": lambda trace: tt.fit(trace, tradeoff=0.95, estimator="markov"),
    "threshold": lambda trace: tt.baselines.threshold(trace, 0.95),
}


def written_out(
    fitted: Callable[[tt.Trace], tt.Policy], trace: tt.Trace, default_loss: float, deadline: float
) -> dict[str, float]:
    """Means of a cross-validation written out."""
    part = np.random.default_rng(0).permutation(trace.n) % 5
    means = dict.fromkeys(("loss", "cost", "coverage", "late_share"), 0.0)
    for fold in range(5):
        held = trace.rows(part == fold)
        found = tt.evaluate(fitted(trace.rows(part != fold)), held, default_loss=default_loss, deadline=deadline)
        for name in means:
            means[name] += getattr(found, name) * held.n / trace.n
    return means


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("deadline", [DEADLINE, math.inf])
@pytest.mark.parametrize("default_loss", [math.inf, 0.3])
def test_the_fit_is_repeated_on_folds_as_it_was(
    trace: tt.Trace, name: str, deadline: float, default_loss: float
) -> None:
    policy = FITS[name](trace)
    found = tt.summarize(policy, trace, default_loss=default_loss, deadline=deadline)
    # No answer loses what was asked for, or what the policy was made with, or the most that any row of all loses.
    own = float(policy.provenance.get("default_loss", "inf"))
    loses = min(default_loss, own if default_loss == math.inf else math.inf)
    if deadline < math.inf and loses == math.inf:
        loses = outcome.largest_loss(trace)
    for mean, expected in written_out(FITS[name], trace, loses, deadline).items():
        assert getattr(found, mean) == pytest.approx(expected, rel=1e-9), mean
        low, high = (found.coverage_ci, found.late_share_ci)[mean == "late_share"]
        assert 0.0 <= low <= high <= 1.0
    assert found.deadline == (None if deadline == math.inf else deadline)
    assert (found.late_share > 0.0) == (deadline < math.inf)
    last = outcome.always(trace, 2, outcome.Terms(None if loses == math.inf else loses, found.deadline))
    assert found.last.loss == pytest.approx(float(last.loss.mean()), rel=1e-9)
    assert found.last.stage == "stage 2"


def test_a_certificate_is_judged_on_its_own_rows(trace: tt.Trace) -> None:
    policy = tt.fit_certified(trace, max_loss=0.45)
    _, held = trace.split(float(policy.provenance["held_out"]), int(policy.provenance["seed"]))
    found = tt.summarize(policy, trace, deadline=DEADLINE)
    by_hand = tt.evaluate(policy, held, default_loss=outcome.largest_loss(trace), deadline=DEADLINE)
    assert (found.n, found.folds) == (held.n, 1)
    for name in ("loss", "cost", "coverage", "late_share", "objective"):
        assert getattr(found, name) == pytest.approx(getattr(by_hand, name), rel=1e-9)
    assert found.late_share > 0.0


def test_the_sentence_says_how_many_are_cut_off(trace: tt.Trace) -> None:
    policy = FITS["untimed"](trace)
    found = tt.summarize(policy, trace, deadline=DEADLINE)
    low, high = found.late_share_ci
    said = f"{found.late_share:.1%} ({low:.1%} to {high:.1%}) are cut off after 0.06 s"
    assert said in str(found)
    assert "cut off" not in str(tt.summarize(policy, trace))
    assert found.to_dict()["deadline"] == DEADLINE
    assert FITS["timed"](trace).provenance["deadline"] == "true"
    assert "deadline" not in policy.provenance


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"deadline": -1.0}, "`deadline` must be 0 or more seconds, got -1.0"),
        ({"deadline": math.nan}, "`deadline` must be 0 or more seconds, got nan"),
        ({"default_loss": -0.5}, "`default_loss` must be .*, got -0.5"),
    ],
)
def test_what_is_refused(trace: tt.Trace, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError, match=message):
        tt.summarize(FITS["untimed"](trace), trace, **terms)


def test_a_trace_without_seconds_is_refused(trace: tt.Trace) -> None:
    plain = tt.Trace(trace.signal, trace.loss, trace.cost, trace.prediction, trace.kind, trace.stages)
    with pytest.raises(tt.ValidationError, match="`trace` must say how long stages took, `latency`"):
        tt.summarize(tt.fit(plain, tradeoff=0.9), plain, deadline=1.0)


def test_the_command_says_it(trace: tt.Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = str(tmp_path / "trace.npz"), str(tmp_path / "policy")
    trace.save(path)
    fit = ["fit", path, "--tradeoff", "0.95", "-o", output]
    expected = tt.summarize(FITS["timed"](trace), trace, deadline=DEADLINE)
    assert main([*fit, "--deadline", "--summary-deadline", "0.06"]) == 0
    assert capsys.readouterr().out.endswith(f"{expected}\n")
    assert main([*fit, "--deadline", "--summary-deadline", "0.06", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["held_out"] == json.loads(json.dumps(expected.to_dict()))
    assert content["provenance"]["deadline"] == "true"
    assert main([*fit, "--no-summary", "--summary-deadline", "0.06"]) == 2
    assert "`--summary-deadline` must come without `--no-summary`" in capsys.readouterr().err
