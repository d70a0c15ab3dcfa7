from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._core import PlannedMean
from ttamer_fast.fitting import binomial


def mean_loss(policy: tt.Policy, trace: tt.Trace) -> float:
    answer = policy.replay(trace.signal, trace.prediction).answer
    return float(trace.loss[np.arange(trace.n), answer].mean())


def test_the_exact_p_value_is_the_binomial_tail() -> None:
    for n, limit in [(1, 0.5), (7, 0.99), (50, 0.05), (400, 0.1), (400, 0.7), (3000, 1e-4), (100_000, 0.1)]:
        for count in sorted({0, 1, n // 20, n // 10, n // 2, n - 1, n}):
            assert binomial.tail(count, n, limit) == pytest.approx(binom.cdf(count, n, limit), rel=1e-7)
    least = binomial.least_chance(7, 200, 0.05)
    assert binom.cdf(7, 200, least) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.rates
@pytest.mark.parametrize("kind", ["0 or 1", "real", "paired"])
def test_p_values_hold_at_the_limit(kind: str) -> None:
    """The hardest case: a mean exactly at the limit is accepted with probability at most δ, and nearly as often."""
    rng = np.random.default_rng(0)
    n, delta, draws = 400, 0.1, 2000
    limit, low = (0.0, -1.0) if kind == "paired" else (0.2, 0.0)
    if kind == "real":
        values = rng.beta(1.0, 4.0, (draws, n))
    elif kind == "paired":
        values = rng.choice([-1.0, 0.0, 1.0], (draws, n), p=[0.1, 0.8, 0.1])
    else:
        values = (rng.random((draws, n)) < limit).astype(np.float64)
    known = values[rng.permutation(draws)]
    found = [PlannedMean(one, two, low, 1.0).p_value(limit, delta) for one, two in zip(values, known, strict=True)]
    accepted = sum(p <= delta for p in found)
    assert draws * delta / 2.0 <= accepted <= binom.ppf(0.9999, draws, delta)


@pytest.mark.rates
def test_the_promise_fails_no_more_often_than_stated() -> None:
    population = make_trace(n=60_000, k=3, seed=5)
    rng = np.random.default_rng(1)
    limit, delta, draws = 0.2, 0.2, 100
    certified = failed = 0
    for draw in range(draws):
        calibration = population.rows(rng.choice(population.n, 400, replace=False))
        try:
            policy = tt.fit_certified(calibration, max_loss=limit, delta=delta, seed=draw)
        except tt.ValidationError:
            continue
        certified += 1
        failed += mean_loss(policy, population) > limit
    assert certified > draws // 4
    assert failed <= binom.ppf(0.9999, draws, delta)


def test_what_is_returned() -> None:
    trace = make_trace(n=6000)
    policy = tt.fit_certified(trace, max_loss=0.3, delta=0.05, seed=3)
    known = policy.provenance
    testing = trace.split(0.5, 3)[1]
    assert float(known["held_out_loss"]) == pytest.approx(mean_loss(policy, testing))
    assert float(known["held_out_cost"]) == pytest.approx(tt.evaluate(policy, testing).cost)
    assert known["held_out_rows"] == "3000"
    assert known["goal"] == "max_loss=0.3, delta=0.05"
    assert float(known["p_value"]) <= 0.05
    assert policy.to_bytes() == tt.fit_certified(trace, max_loss=0.3, delta=0.05, seed=3).to_bytes()
    stricter = tt.fit_certified(trace, max_loss=0.25, delta=0.05, seed=3)
    assert float(stricter.provenance["held_out_cost"]) > float(known["held_out_cost"])


def test_binary_losses_are_tested_exactly() -> None:
    trace = make_trace(n=3000)
    plain, binary = (tt.fit_certified(trace, max_loss=0.3, binary=known) for known in (False, True))
    assert plain.provenance["p_value_of"] == "betting"
    assert binary.provenance["p_value_of"] == "binomial tail"
    assert float(binary.provenance["held_out_cost"]) == pytest.approx(float(plain.provenance["held_out_cost"]), rel=0.1)
    count = round(1500 * float(binary.provenance["held_out_loss"]))
    assert float(binary.provenance["p_value"]) == pytest.approx(binom.cdf(count, 1500, 0.3), rel=1e-9)


def test_losses_that_are_not_binary() -> None:
    trace = make_trace()
    loss = 2.0 * trace.loss
    scaled = tt.Trace(trace.signal, loss, trace.cost, trace.prediction, kind=trace.kind)
    assert tt.fit_certified(scaled, max_loss=0.6, largest_loss=2.0, binary=True).provenance["delta"] == "0.05"
    loss[5, 1] = 0.5
    odd = tt.Trace(trace.signal, loss, trace.cost, trace.prediction, kind=trace.kind)
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit_certified(odd, max_loss=0.6, largest_loss=2.0, binary=True)
    assert str(raised.value) == "`trace` loss row 5 column 1 must be 0 or 2 as `binary` is True, got 0.5"
    # What the sample looks like does not matter, what is said does.
    with pytest.raises(tt.ValidationError, match=r"must be 0 or 2\.5 as `binary` is True, got 2\.0"):
        tt.fit_certified(scaled, max_loss=0.6, largest_loss=2.5, binary=True)


def test_losses_of_any_scale() -> None:
    trace = make_trace()
    scaled = tt.Trace(trace.signal, 7.0 * trace.loss, trace.cost, trace.prediction, kind=trace.kind)
    ours = tt.fit_certified(scaled, max_loss=7.0 * 0.3, delta=0.05, largest_loss=7.0)
    plain = tt.fit_certified(trace, max_loss=0.3, delta=0.05)
    assert float(ours.provenance["p_value"]) == pytest.approx(float(plain.provenance["p_value"]), rel=1e-3)


@pytest.mark.parametrize("binary", [False, True])
def test_out_of_reach_says_what_is_not(binary: bool) -> None:
    trace = make_trace()
    with pytest.raises(tt.ValidationError, match="the least that can is ") as raised:
        tt.fit_certified(trace, max_loss=0.001, binary=binary)
    least = float(str(raised.value).rsplit(" ", 1)[1])
    assert tt.fit_certified(trace, max_loss=1.0001 * least, binary=binary).provenance["tested"] >= "1"
    with pytest.raises(tt.ValidationError, match="cannot be certified"):
        tt.fit_certified(trace, max_loss=0.999 * least, binary=binary)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_loss": 0.0}, "`max_loss` must be above 0 and below 1, got 0.0"),
        ({"max_loss": 1.0}, "`max_loss` must be above 0 and below 1, got 1.0"),
        ({"max_loss": "low"}, "`max_loss` must be a number or '<stage>+<number>', got 'low'"),
        ({"max_loss": None}, "`max_loss` must be a number, got None"),
        ({"max_loss": 0.3, "delta": 0.0}, "`delta` must be above 0 and below 1, got 0.0"),
        ({"max_loss": 0.3, "held_out": 1.0}, "`held_out` must be above 0 and below 1, got 1.0"),
        ({"max_loss": 0.3, "largest_loss": float("inf")}, "`largest_loss` must be above 0 and finite, got inf"),
        ({"max_loss": 0.3, "largest_loss": 0.5}, "`trace` loss row "),
        ({"max_loss": 0.3, "binary": "yes"}, "`binary` must be True or False, got 'yes'"),
        ({"max_loss": 0.3, "recall": "yes"}, "`recall` must be True, False or 'auto', got 'yes'"),
        ({"max_loss": 0.3, "seed": -1}, "`seed` must be an integer in [0, 2**64), got -1"),
    ],
)
def test_refusals(trace: tt.Trace, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit_certified(trace, **arguments)
    assert str(raised.value).startswith(message)


def test_only_traces() -> None:
    with pytest.raises(tt.ValidationError, match="`trace` must be a Trace, got list"):
        tt.fit_certified([], max_loss=0.1)  # type: ignore[arg-type]


def test_the_promise_is_about_unweighted_requests() -> None:
    trace = make_trace(n=500)
    with pytest.raises(tt.ValidationError, match="`trace` must have no weights"):
        tt.fit_certified(trace.weighted(np.ones(500)), max_loss=0.3)


def difference(policy: tt.Policy, trace: tt.Trace, stage: int) -> float:
    return mean_loss(policy, trace) - float(trace.loss[:, stage].mean())


def near_trace(n: int, seed: int = 0) -> tt.Trace:
    """A small stage that knows when it is wrong, and a large one that nobody is better than."""
    rng = np.random.default_rng(seed)
    signal = np.column_stack([rng.random(n) ** 0.3, rng.uniform(0.9, 1.0, n)])
    loss = rng.random((n, 2)) > np.column_stack([signal[:, 0], np.full(n, 0.95)])
    return tt.Trace(signal, loss, [1.0, 10.0], kind="models", stages=["small", "large"])


def test_relative_to_a_stage() -> None:
    trace = near_trace(4000)
    near = tt.fit_certified(trace, max_loss="large+0.03", seed=2)
    known = near.provenance
    assert (known["max_loss"], known["goal"]) == ("large+0.03", "max_loss=large+0.03, delta=0.05")
    assert known["p_value_of"] == "betting on paired differences"
    assert float(known["p_value"]) <= 0.05
    testing = trace.split(0.5, 2)[1]
    assert 0.0 < difference(near, testing, 1) < 0.03
    assert float(known["held_out_loss"]) == pytest.approx(mean_loss(near, testing))
    assert float(known["held_out_cost"]) < 0.7 * 10.0
    # "last" is a name for the last stage.
    last = tt.fit_certified(trace, max_loss="last+0.03", seed=2)
    answers = [policy.replay(trace.signal).answer.tolist() for policy in (near, last)]
    assert answers[0] == answers[1]
    cheap = tt.fit_certified(trace, max_loss="small+0", seed=2)
    assert difference(cheap, testing, 0) <= 0.0
    assert float(cheap.provenance["held_out_cost"]) == pytest.approx(1.0)


def test_pairs_certify_more_than_two_numbers_do() -> None:
    trace = near_trace(1500)
    paired = tt.fit_certified(trace, max_loss="large+0.03")
    number = tt.fit_certified(trace, max_loss=float(trace.loss[:, 1].mean()) + 0.03)
    assert float(paired.provenance["held_out_cost"]) < float(number.provenance["held_out_cost"])


def test_the_stage_itself_needs_no_test() -> None:
    trace = near_trace(300)
    told = "no policy that is cheaper than always answering with 'large' can be certified at `max_loss` large\\+0.0001 "
    with pytest.warns(tt.CalibrationWarning, match=told):
        policy = tt.fit_certified(trace, max_loss="large+0.0001")
    found = policy.replay(trace.signal)
    assert set(found.answer.tolist()) == {1}
    assert set(found.cost.tolist()) == {10.0}
    assert (policy.provenance["p_value"], policy.provenance["p_value_of"]) == ("0.0", "a difference of 0")
    assert policy.provenance["tested"] == "1"
    assert tt.summarize(policy, trace).last.cost_saved == 0.0


def test_a_stage_that_may_not_run_is_no_way_out() -> None:
    trace = near_trace(600)
    with pytest.raises(tt.ValidationError, match=r"of large\+0.0001 cannot be certified .* is large\+0\.") as raised:
        tt.fit_certified(trace, max_loss="large+0.0001", order=["small"])
    least = str(raised.value).rsplit(" is ", 1)[1]
    certified = tt.fit_certified(trace, max_loss=f"{least}1", order=["small"])
    assert 0.0 < float(certified.provenance["p_value"]) <= 0.05


def test_rows_that_would_do() -> None:
    with pytest.raises(tt.ValidationError, match=r"cannot be certified") as raised:
        tt.fit_certified(near_trace(300), max_loss="large+0.24", order=["small"])
    told = re.search(r"about (\d+) rows in all would do", str(raised.value))
    assert told is not None
    assert 300 < int(told.group(1)) < 40_000
    more = near_trace(int(told.group(1)))
    assert 0.0 < float(tt.fit_certified(more, max_loss="large+0.24", order=["small"]).provenance["p_value"]) <= 0.05


def test_names_with_a_plus() -> None:
    trace = make_trace(n=2000, k=2)
    named = tt.Trace(
        trace.signal, trace.loss, trace.cost, trace.prediction, kind="models", stages=["small", "large+tools"]
    )
    assert tt.fit_certified(named, max_loss="large+tools + 0.05").provenance["max_loss"] == "large+tools+0.05"


@pytest.mark.parametrize(
    ("max_loss", "message"),
    [
        ("large+0.1", "`max_loss` must be relative to one of stage 0, stage 1, stage 2, last, got 'large'"),
        ("router+0.1", "`max_loss` must be relative to a stage that answers, got the probe 'router'"),
        ("stage 1", "`max_loss` must be a number or '<stage>+<number>', got 'stage 1'"),
        ("stage 1+little", "`max_loss` must be a number after the last '+', got 'little'"),
        ("stage 1+-0.1", "`max_loss` must be from 0 to below 1 after the last '+', got -0.1"),
        ("stage 1+nan", "`max_loss` must be from 0 to below 1 after the last '+', got nan"),
        ("stage 1+1", "`max_loss` must be from 0 to below 1 after the last '+', got 1.0"),
    ],
)
def test_relative_limits_that_are_refused(max_loss: str, message: str) -> None:
    trace = make_trace(n=300, k=3)
    signal = np.column_stack([trace.signal, trace.signal[:, :1]])
    loss = np.column_stack([trace.loss, np.full(trace.n, np.inf)])
    stages = [*trace.stages, "router"]
    probed = tt.Trace(signal, loss, [1.0, 2.0, 4.0, 0.1], kind="models", stages=stages)
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit_certified(probed, max_loss=max_loss)
    assert str(raised.value) == message


@pytest.mark.rates
@pytest.mark.parametrize("graded", [False, True])
def test_relative_promises_fail_no_more_often_than_stated(graded: bool) -> None:
    population = near_trace(60_000, seed=5)
    if graded:
        severity = np.random.default_rng(3).random((population.n, 1))
        population = tt.Trace(population.signal, population.loss * severity, population.cost, kind="models")
    rng = np.random.default_rng(1)
    more, delta, draws = 0.01 if graded else 0.02, 0.2, 100
    cheaper = failed = 0
    for draw in range(draws):
        calibration = population.rows(rng.choice(population.n, 800, replace=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tt.CalibrationWarning)
            policy = tt.fit_certified(calibration, max_loss=f"last+{more}", delta=delta, seed=draw)
        cheaper += policy.provenance["p_value"] != "0.0"
        failed += difference(policy, population, 1) > more
    assert cheaper > draws // 2
    assert failed <= binom.ppf(0.9999, draws, delta)
