"""Every kind of policy still decides as it was recorded to: `tests/golden.py` says how, and records anew."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import golden
import ttamer_fast as tt
from golden_policies import CERTIFIED, POLICIES
from golden_traces import ROW_COSTS, SYNTHETIC, Floats, Ints, row_cost_traces, synthetic_traces

# Some of the recorded traces say little: that is what they are there for.
pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")


@cache
def recorded(section: str) -> dict[str, golden.Group]:
    return golden.stored(golden.path_of(section))


def hold(lines: list[str]) -> None:
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("at", range(len(SYNTHETIC)), ids=[shape.name for shape in SYNTHETIC])
def test_synthetic_traces(at: int) -> None:
    trace = list(synthetic_traces())[at]
    group = golden.of_trace(trace, {**POLICIES, **CERTIFIED})
    hold(golden.differences(recorded("synthetic")[trace.name], group))


@pytest.mark.parametrize("at", range(len(ROW_COSTS)), ids=[shape.name for shape in ROW_COSTS])
def test_costs_that_vary_by_row(at: int) -> None:
    trace = list(row_cost_traces())[at]
    hold(golden.differences(recorded("row_costs")[trace.name], golden.of_trace(trace, POLICIES)))


@pytest.mark.parametrize("at", range(len(ROW_COSTS)), ids=[shape.name for shape in ROW_COSTS])
def test_at_their_mean_costs_they_are_decided_as_before_costs_by_row_were_learned_from(at: int) -> None:
    group = list(golden.mean_costs())[at]
    then = recorded("mean_costs")[group.name]
    kept = {name: one for name, one in then.decided.items() if not name.startswith("max_")}
    hold(golden.differences(replace(then, decided=kept), group))


def test_exact_models() -> None:
    groups = list(golden.exact())
    assert len(groups) == 265
    hold([line for group in groups for line in golden.differences(recorded("exact")[group.name], group)])


def test_stored_policies_decide_alike_or_are_refused_by_name() -> None:
    groups = list(golden.files())
    hold([line for group in groups for line in golden.differences(recorded("files")[group.name], group)])
    assert {group.name for group in groups} == recorded("files").keys(), "a file of this schema is not read"
    kept = {golden.file_of(name, schema).name for name in recorded("files") for schema in golden.schemas()}
    assert {path.name for path in golden.DATA.glob("*.ttamer")} == kept


def test_a_budget_makes_mixtures() -> None:
    """Else no golden decision would be one of a mixture."""
    shares = [
        golden.nudged_share(fit.policy(trace.train), trace)
        for trace in synthetic_traces()
        for name, fit in POLICIES.items()
        if name.startswith("max_cost") and fit.suits(trace.train)
    ]
    assert sum(share > 0.02 for share in shares) >= 7


def test_a_rule_without_a_coin_does_not_depend_on_the_last_bit() -> None:
    trace = next(synthetic_traces())
    assert golden.nudged_share(POLICIES["markov 0.95"].policy(trace.train), trace) < 0.01


def test_what_differs_is_named() -> None:
    trace = next(synthetic_traces())
    then = golden.of_trace(trace, {"a rule": POLICIES["baseline threshold 0.95"]})
    now = golden.of_trace(trace, {"a rule": POLICIES["baseline static 0.95"]})
    assert golden.differences(then, then) == []
    lines = golden.differences(then, now)
    assert any(f"trace {trace.name}, policy 'a rule': answer of " in line for line in lines)
    assert any("consulted of " in line and f" of {len(trace.signal)} rows differs" in line for line in lines)
    other = golden.of_trace(trace, {"another": POLICIES["baseline static 0.95"]})
    assert len(golden.differences(then, other)) == 2


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    group = golden.of_trace(next(synthetic_traces()), {"one": POLICIES["line 0.7"], "two": POLICIES["auto 0.3"]})
    golden.store(tmp_path / "some.npz", [group, group])
    hold(golden.differences(golden.stored(tmp_path / "some.npz")[group.name], group))


@pytest.mark.outside("traces")
def test_outside_traces(outside_traces: Path) -> None:
    then = json.loads(golden.path_of("outside").read_text(encoding="utf-8"))
    groups = list(golden.outside(outside_traces, then))
    if not groups:
        pytest.skip(f"{outside_traces} has none of the recorded traces {', '.join(then)}")
    hold([line for group in groups for line in golden.outside_differences(then, group)])


def test_three_ways_are_compared() -> None:
    """A disagreement between the ways of deciding is not passed over."""

    class Other:
        """A policy whose replay claims another answer."""

        def __init__(self, policy: tt.Policy) -> None:
            self.policy = policy
            self.start, self.start_batch = policy.start, policy.start_batch

        def replay(self, signal: Floats, prediction: Ints | None) -> tt.Replay:
            return self.policy.replay(1.0 - signal, prediction)

    trace = next(synthetic_traces())
    other = Other(POLICIES["auto 0.95"].policy(trace.train))
    with pytest.raises(AssertionError, match="replay"):
        golden.decide(other, np.nan_to_num(trace.signal), trace.prediction)  # type: ignore[arg-type]
