from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.fitting.certification import p_value


def mean_loss(policy: tt.Policy, trace: tt.Trace) -> float:
    answer = policy.replay(trace.signal, trace.prediction).answer
    return float(trace.loss[np.arange(trace.n), answer].mean())


def test_p_value_is_that_of_the_paper() -> None:
    for n, count, limit in [(100, 3, 0.1), (1000, 80, 0.1), (50, 0, 0.05), (7, 6, 0.99), (100_000, 9_700, 0.1)]:
        a = count / n
        inside = (a * np.log(a / limit) if a else 0.0) + (1 - a) * np.log((1 - a) / (1 - limit))
        expected = min(np.exp(-n * inside), np.e * binom.cdf(count, n, limit), 1.0)
        assert p_value(a, limit, n) == pytest.approx(expected, rel=1e-6)
    assert p_value(0.1, 0.1, 1000) == 1.0


def test_binary_p_value_is_the_binomial_tail() -> None:
    for n, limit in [(1, 0.5), (7, 0.99), (50, 0.05), (400, 0.1), (400, 0.7), (3000, 1e-4), (100_000, 0.1)]:
        for count in sorted({0, 1, n // 20, n // 10, n // 2, n - 1, n}):
            p = p_value(count / n, limit, n, binary=True)
            assert p == pytest.approx(binom.cdf(count, n, limit), rel=1e-7)
            assert p <= p_value(count / n, limit, n) * (1.0 + 1e-7)


@pytest.mark.parametrize(("teacher", "binary"), [(False, False), (True, False), (False, True)])
def test_p_values_hold_at_the_limit(teacher: bool, binary: bool) -> None:
    """The hardest case: a mean exactly at the limit is accepted with probability at most δ."""
    rng = np.random.default_rng(0)
    n, limit, delta, draws = 200, 0.2, 0.1, 4000
    values = rng.beta(1.0, 4.0, (draws, n)) if teacher else rng.random((draws, n)) < limit
    accepted = sum(p_value(float(mean), limit, n, binary) <= delta for mean in values.mean(axis=1))
    assert accepted <= binom.ppf(0.9999, draws, delta)
    if binary:
        # δ is used up but for the steps of a count.
        most = binom.ppf(delta, n, limit) - 1
        assert accepted >= binom.ppf(0.0001, draws, binom.cdf(most, n, limit))


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


def test_binary_losses_certify_cheaper_policies_or_the_same() -> None:
    trace = make_trace(n=3000)
    plain, binary = (tt.fit_certified(trace, max_loss=0.3, binary=known) for known in (False, True))
    assert plain.provenance["p_value_of"] == "Hoeffding-Bentkus"
    assert binary.provenance["p_value_of"] == "binomial tail"
    assert float(binary.provenance["held_out_cost"]) <= float(plain.provenance["held_out_cost"])
    assert int(binary.provenance["tested"]) >= int(plain.provenance["tested"])
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
        ({"max_loss": "low"}, "`max_loss` must be a number, got 'low'"),
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
