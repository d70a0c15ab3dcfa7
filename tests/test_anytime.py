from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._core import BoundedMean

TRADEOFFS = (0.5, 0.8, 0.9, 0.97)


def family_of(trace: tt.Trace) -> tt.PolicyFamily:
    return tt.fit_family(trace, TRADEOFFS)


def losses(policy: tt.Policy, trace: tt.Trace) -> np.ndarray:
    answer = policy.replay(trace.signal, trace.prediction).answer
    return trace.loss[np.arange(trace.n), answer]


@pytest.fixture(scope="module")
def rows() -> tt.Trace:
    return make_trace(n=9000, seed=4)


@pytest.fixture(scope="module")
def family(rows: tt.Trace) -> tt.PolicyFamily:
    return family_of(rows[:1000])


@pytest.mark.parametrize("max_loss", [0.045, "stage 3+0.0"])
def test_capitals_are_those_of_bets_on_every_request(
    rows: tt.Trace, family: tt.PolicyFamily, max_loss: float | str
) -> None:
    trace = rows[1000:3000]
    found = tt.certify(family, trace, max_loss=max_loss)
    assert [policy.digest for policy in found.policies] == [policy.digest for policy in reversed(family.policies)]
    low, most = (0.0, 0.045) if max_loss == 0.045 else (-1.0, 0.0)
    for policy, capital, loss, cost in zip(found.policies, found.capitals, found.losses, found.costs, strict=True):
        values = losses(policy, trace)
        assert loss == pytest.approx(values.mean())
        assert cost == pytest.approx(tt.evaluate(policy, trace).cost)
        if low < 0.0:
            values = values - trace.loss[:, 3]
        assert capital == pytest.approx(math.exp(BoundedMean(values, low, 1.0).log_capital(most)))
    assert found.requests == 2000
    assert found.stage_loss == (None if low == 0.0 else pytest.approx(trace.loss[:, 3].mean()))
    assert found.certified == next(i for i, capital in enumerate((*found.capitals, 0.0)) if capital < 20.0)
    assert found.policy is (found.policies[found.certified - 1] if found.certified else None)


def test_going_on_is_the_same_as_all_at_once(rows: tt.Trace, family: tt.PolicyFamily) -> None:
    few = tt.certify(family, rows[1000:1200], max_loss=0.045)
    assert (few.certified, few.policy) == (0, None)
    assert few.rows_needed is not None
    assert few.rows_needed > 200
    more = few.continued(rows[1200:4000]).continued(rows[4000:9000])
    whole = tt.certify(family, rows[1000:9000], max_loss=0.045)
    assert more.certified == whole.certified == 3
    assert more.rows_needed is whole.rows_needed is None
    for name in ("capitals", "losses", "costs", "requests"):
        assert getattr(more, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    relative = tt.certify(family, rows[1000:2000], max_loss="last+0.01").continued(rows[2000:4500])
    assert relative.stage_loss == pytest.approx(rows.loss[1000:4500, 3].mean())
    assert len(more.traces) == 3
    assert few.requests == 200


def test_what_was_certified_stays_so() -> None:
    rng = np.random.default_rng(0)
    policy = tt.baselines.static(tt.Trace([[0.5]], [[0.0]], [1.0]), 0.9)

    def trace(loss: float, n: int) -> tt.Trace:
        return tt.Trace(rng.random((n, 1)), np.full((n, 1), loss), [1.0])

    good = tt.certify(policy, trace(0.0, 200), max_loss=0.1)
    assert good.policy is policy
    bad = good.continued(trace(1.0, 400))
    assert bad.capitals[0] < 1.0
    assert bad.certified == 1
    assert bad.losses[0] == pytest.approx(2.0 / 3.0)


def test_a_policy_counts_only_after_those_before_it(rows: tt.Trace, family: tt.PolicyFamily) -> None:
    trace = rows[1000:9000]
    order = [family.at(0.5), family.at(0.97)]
    limit = float(np.mean([losses(policy, trace).mean() for policy in order]))
    found = tt.certify(order, trace, max_loss=limit)
    assert found.capitals[0] < 1.0
    assert found.capitals[1] > 20.0
    assert (found.certified, found.policy, found.rows_needed) == (0, None, None)
    assert tt.certify(reversed(order), trace, max_loss=limit).policy is order[1]


def test_what_it_says(rows: tt.Trace, family: tt.PolicyFamily) -> None:
    found = tt.certify(family, rows[1000:5000], max_loss=0.045, delta=0.1)
    text = str(found)
    assert text.startswith(
        f"{found.certified} of 4 policies are certified to lose at most 0.045, but for a chance of 0.1"
    )
    assert "of 10" in text
    assert text.count("certified\n") == found.certified > 0
    told = found.to_dict()
    assert found.policy is not None
    assert (told["policy"], told["requests"], told["delta"]) == (found.policy.digest, 4000, 0.1)
    assert not any(name.startswith("_") for name in told)
    again = pickle.loads(pickle.dumps(found))
    assert again.continued(rows[5000:]).capitals == found.continued(rows[5000:]).capitals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": 3}, "`policies` must be a Policy, a PolicyFamily or several policies, got 3"),
        ({"policies": []}, "`policies` must have at least one policy, got none"),
        ({"policies": ["a"]}, "`policies[0]` must be a Policy, got str"),
        ({"trace": 1}, "`trace` must be a Trace, got int"),
        ({"max_loss": "big+0.1"}, "`max_loss` must be relative to one of stage 0, stage 1, stage 2, stage 3, last, "),
        ({"max_loss": 1.5}, "`max_loss` must be above 0 and below 1, got 1.5"),
        ({"delta": 1.0}, "`delta` must be above 0 and below 1, got 1.0"),
        ({"largest_loss": 0.5}, "`trace` loss row "),
    ],
)
def test_refusals(rows: tt.Trace, family: tt.PolicyFamily, arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"policies": family, "trace": rows[1000:1500], "max_loss": 0.3} | arguments
    with pytest.raises(tt.ValidationError) as raised:
        tt.certify(given.pop("policies"), given.pop("trace"), **given)
    assert str(raised.value).startswith(message)


def test_rows_that_may_not_judge(rows: tt.Trace, family: tt.PolicyFamily) -> None:
    with pytest.raises(tt.ValidationError, match=r"of other requests than those that `policies\[0\]` was made of"):
        tt.certify(family, rows[:1000], max_loss=0.3)
    certified = tt.fit_certified(rows[:2000], max_loss=0.4)
    with pytest.raises(tt.ValidationError, match="of other requests"):
        tt.certify(certified, rows[:2000].split(0.5, 0)[1], max_loss=0.4)
    first = tt.certify(family, rows[1000:1500], max_loss=0.3)
    with pytest.raises(tt.ValidationError, match="of further requests, got a trace that was given before"):
        first.continued(rows[1000:1500])
    with pytest.raises(tt.ValidationError, match="must have no weights"):
        tt.certify(family, rows[1000:1500].weighted(np.ones(500)), max_loss=0.3)
    with pytest.raises(tt.ValidationError, match="`trace` must be a Trace, got int"):
        first.continued(1)  # type: ignore[arg-type]
    other = tt.fit(make_trace(n=300, k=2), tradeoff=0.9)
    with pytest.raises(tt.ValidationError, match=r"`policies\[1\]` must have the stages of the first, stage 0, "):
        tt.certify([family.at(0.5), other], rows[1000:1500], max_loss=0.3)
    nothing = tt.fit(rows[:1000], tradeoff=0.9, default_loss=0.05)
    small = tt.Trace(rows.signal, 0.01 * rows.loss, rows.cost, rows.prediction, kind="models")
    with pytest.raises(tt.ValidationError, match="`largest_loss` must be at least what no answer loses"):
        tt.certify(nothing, small, max_loss=0.01, largest_loss=0.02)


@pytest.mark.rates
@pytest.mark.parametrize("relative", [False, True])
def test_who_looks_again_and_again_is_rarely_deceived(relative: bool) -> None:
    """Two policies that answer with one stage each; the second loses as much as the limit says, no less."""
    rng, tests, delta = np.random.default_rng(5), 300, 0.2
    signal = np.full((1, 2), 0.5)
    policies = [
        tt.baselines.static(tt.Trace(signal, [[v, 1.0 - v]], [1.0, 1.0], kind="models"), 0.9) for v in (0.0, 1.0)
    ]
    deceived = 0
    for _ in range(tests):
        loss = rng.random((400, 2)) < [0.2, 0.3]
        whole = tt.Trace(np.full((400, 2), 0.5), loss, [1.0, 1.0], kind="models")
        max_loss = "stage 0+0.1" if relative else 0.3
        found = tt.certify(policies, whole[:20], max_loss=max_loss, delta=delta)
        for start in range(20, 400, 20):
            if found.certified == 2:
                break
            found = found.continued(whole[start : start + 20])
        deceived += found.certified == 2
    assert 0 < deceived <= binom.ppf(0.9999, tests, delta)
