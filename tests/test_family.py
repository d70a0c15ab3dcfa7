"""One calibration, policies for many trade-offs, in one file."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from children import told_by_child
from conftest import make_trace

TEXT: Any = "0.9"
NUMBER: Any = 0.5
TRADEOFFS = [0.5, 0.8, 0.9, 0.95, 0.99]
TRACE = make_trace(n=1500)
FAMILY = tt.fit_family(TRACE, TRADEOFFS)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"recall": False},
        {"recall": True, "graph": "line"},
        {"estimator": "markov"},
        {"default_loss": 0.3},
        {"order": [0, 3]},
        {"weight": np.linspace(0.5, 2.0, 1500)},
        {"seed": 7},
    ],
)
def test_each_policy_has_the_bytes_of_its_own_fit(more: dict[str, Any]) -> None:
    family = tt.fit_family(TRACE, [0.95, 0.7], **more)
    assert family.tradeoffs.tolist() == [0.7, 0.95]
    for tradeoff in (0.7, 0.95):
        fitted = tt.fit(TRACE, tradeoff=tradeoff, **more)
        assert family.at(tradeoff).to_bytes() == fitted.to_bytes()
        assert tt.PolicyFamily.from_bytes(family.to_bytes()).at(tradeoff).to_bytes() == fitted.to_bytes()


def test_models_and_deadlines_too() -> None:
    trace = make_trace(n=800, kind="models")
    rng = np.random.default_rng(0)
    timed = tt.Trace(
        trace.signal, trace.loss, trace.cost, trace.prediction, "models", latency=rng.lognormal(size=trace.signal.shape)
    )
    cases: list[tuple[tt.Trace, dict[str, Any]]] = [(trace, {}), (timed, {"deadline": True})]
    for known, more in cases:
        family = tt.fit_family(known, [0.8, 0.95], **more)
        back = tt.PolicyFamily.from_bytes(family.to_bytes())
        for policy in (family.at(0.95), back.at(0.95)):
            assert policy.to_bytes() == tt.fit(known, tradeoff=0.95, **more).to_bytes()


def test_what_a_family_says_of_itself() -> None:
    assert len(FAMILY) == 5
    assert FAMILY.tradeoffs.tolist() == TRADEOFFS
    assert FAMILY.stages == TRACE.stages
    assert FAMILY.estimate == "held-out"
    assert list(FAMILY) == list(FAMILY.policies) == [FAMILY.at(tradeoff) for tradeoff in TRADEOFFS]
    for policy, cost, loss in zip(FAMILY, FAMILY.costs, FAMILY.losses, strict=True):
        chosen = next(found for found in policy.report if found["chosen"])
        assert (cost, loss) == (chosen["cost"], chosen["loss"])
    assert FAMILY.costs[0] < FAMILY.costs[-1]
    assert FAMILY.losses[0] > FAMILY.losses[-1]
    assert repr(FAMILY).startswith("PolicyFamily(n=5, stages=[")
    FAMILY.costs[0] = 5.0
    assert FAMILY.costs[0] < 5.0


def test_means_without_rows_held_back_are_those_of_the_trace() -> None:
    family = tt.fit_family(TRACE, [0.9], estimator="markov")
    assert family.estimate == "in-sample"
    found = tt.evaluate(family.at(0.9), TRACE)
    assert family.costs[0] == pytest.approx(found.cost, rel=1e-12)
    assert family.losses[0] == pytest.approx(found.loss, rel=1e-12)


def test_means_with_recall_given_are_held_out() -> None:
    family = tt.fit_family(TRACE, [0.9], recall=True)
    assert family.estimate == "held-out"
    # The same rows are held back where recall is chosen.
    with_recall = next(found for found in tt.fit(TRACE, tradeoff=0.9).report if found["name"] == "pathwise")
    assert family.costs[0] == pytest.approx(with_recall["cost"], rel=1e-12)


def test_the_usual_trade_offs_follow_the_unit_of_the_losses() -> None:
    family = tt.fit_family(TRACE)
    assert len(family) == 13
    assert (np.diff(family.tradeoffs) > 0.0).all()
    dollars = tt.fit_family(tt.Trace(TRACE.signal, 1000.0 * TRACE.loss, TRACE.cost, TRACE.prediction))
    assert dollars.costs == pytest.approx(family.costs, rel=0.2)


def test_equal_families_are_alike() -> None:
    again = tt.fit_family(TRACE, TRADEOFFS[::-1])
    assert again == FAMILY
    assert hash(again) == hash(FAMILY)
    assert again.digest == FAMILY.digest
    assert again.to_bytes() == FAMILY.to_bytes()
    other = tt.fit_family(TRACE, TRADEOFFS[:-1])
    assert other != FAMILY
    assert FAMILY != "a family"
    assert pickle.loads(pickle.dumps(FAMILY)) == FAMILY == copy.copy(FAMILY) == copy.deepcopy(FAMILY)
    assert told_by_child(lambda: FAMILY.digest) == FAMILY.digest


def test_a_policy_of_a_family_can_be_repriced_in_this_process() -> None:
    prices = [2.0, 2.0, 4.0, 9.0]
    assert FAMILY.at(0.9).repriced(prices) == tt.fit(TRACE, tradeoff=0.9).repriced(prices)
    with pytest.raises(tt.ValidationError, match="`repriced` needs the rows"):
        pickle.loads(pickle.dumps(FAMILY)).at(0.9).repriced(prices)


def test_one_file_with_what_is_shared_once(tmp_path: Path) -> None:
    path = tmp_path / "family.policies"
    FAMILY.save(path)
    assert path.read_bytes() == FAMILY.to_bytes()
    assert tt.PolicyFamily.load(path) == FAMILY
    assert len(FAMILY.to_bytes()) < 0.6 * sum(len(policy.to_bytes()) for policy in FAMILY)


def test_files_of_the_other_kind_say_what_they_are(tmp_path: Path) -> None:
    family, policy = tmp_path / "family", tmp_path / "policy"
    FAMILY.save(family)
    FAMILY.at(0.9).save(policy)
    with pytest.raises(tt.PolicyFormatError, match="family: not a policy file: it holds a family of policies, which"):
        tt.load(family)
    with pytest.raises(tt.PolicyFormatError, match="policy: not a family file: it holds one policy, which"):
        tt.PolicyFamily.load(policy)
    with pytest.raises(FileNotFoundError):
        tt.PolicyFamily.load(tmp_path / "nothing")


def test_damage_is_found_wherever_it_is() -> None:
    data = FAMILY.to_bytes()
    for at in [*range(0, 60), *range(60, len(data), 997)]:
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(tt.PolicyFormatError):
            tt.PolicyFamily.from_bytes(damaged)
    for length in (0, 7, 8, 40, len(data) - 1):
        with pytest.raises(tt.PolicyFormatError):
            tt.PolicyFamily.from_bytes(data[:length])
    with pytest.raises(tt.PolicyFormatError):
        tt.PolicyFamily.from_bytes(data + b"\0")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FAMILY.at(0.7), r"`tradeoff` must be one of 0.5, 0.8, 0.9, 0.95, 0.99, got 0.7"),
        (lambda: FAMILY.at(float("nan")), "got nan"),
        (lambda: FAMILY.at(TEXT), "`tradeoff` must be a number"),
        (lambda: tt.fit_family(TRACE, []), "`tradeoffs` must have at least one entry, got none"),
        (lambda: tt.fit_family(TRACE, [0.5, 1.5]), r"`tradeoffs\[1\]` must be between 0 and 1, got 1.5"),
        (lambda: tt.fit_family(TRACE, [0.5, float("nan")]), r"`tradeoffs\[1\]` must be between 0 and 1, got nan"),
        (lambda: tt.fit_family(TRACE, [0.5, 0.5]), r"`tradeoffs\[1\]` must be another one than those before"),
        (lambda: tt.fit_family(TRACE, [0.0, -0.0]), r"`tradeoffs\[1\]` must be another one"),
        (lambda: tt.fit_family(TRACE, [0.5, TEXT]), r"`tradeoffs\[1\]` must be a number"),
        (lambda: tt.fit_family(TRACE, NUMBER), "`tradeoffs` must be a sequence of numbers, got float"),
        (lambda: tt.fit_family(TRACE, TEXT), "`tradeoffs` must be a sequence of numbers, got str"),
        (lambda: tt.fit_family(TRACE, np.linspace(0.0, 1.0, 65)), "`tradeoffs` must have at most 64 entries, got 65"),
        (lambda: tt.fit_family(TEXT, [0.5]), "`trace` must be a Trace, got str"),
        (lambda: tt.fit_family(TRACE, [0.5], graph="tree"), "`graph` must be one of"),
        (lambda: tt.fit_family(TRACE, [0.5], graph="skip", estimator="markov"), "`graph` 'skip'"),
        (lambda: tt.fit_family(TRACE, [0.5], deadline=True), "`deadline` needs a trace with `latency`"),
        (lambda: tt.fit_family(TRACE, [0.5], default_loss=-1.0), "`default_loss` must be at least 0"),
        (lambda: tt.fit_family(TRACE, [0.5], seed=-1), "`seed` must be an integer in"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(tt.ValidationError, match=message):
        call()


def test_a_family_that_never_answers_is_warned_of() -> None:
    with pytest.warns(tt.CalibrationWarning, match="runs nothing and never answers"):
        tt.fit_family(TRACE, [0.0, 0.9], default_loss=0.4)
