"""Steps, drift, waves, alternation and bursts on real requests: budgets are held, and little is given away for it."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import REPOSITORY

BENCHES = REPOSITORY / "benches"
TRACE = REPOSITORY / "examples" / "llm_cascade" / "recorded.npz"
WINDOW = 400
SEEDS = 10

pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.TTamerWarning")


@pytest.fixture(scope="module")
def traffic() -> ModuleType:
    """The module that makes traffic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHES))
        return importlib.import_module("governed_traffic")


@pytest.fixture(scope="module")
def replay(traffic: ModuleType) -> object:
    return traffic.replayed(tt.read_trace(TRACE))


@pytest.mark.parametrize(
    ("kind", "off", "worst", "given"),
    [
        # Shares of the budget; the loss given away, where 0.3 is that of the first stage alone and 0.11 that of the last.
        ("constant", 0.05, 0.25, 0.004),
        ("step", 0.10, 0.60, 0.010),
        ("drift", 0.06, 0.30, 0.010),
        ("alternating", 0.05, 0.25, 0.004),
        ("waves", 0.25, 0.60, 0.020),
    ],
)
def test_a_budget_a_request_is_held(
    traffic: ModuleType, replay: tt.PolicyFamily, kind: str, off: float, worst: float, given: float
) -> None:
    made: list[tuple[float, ...]] = []
    for rng in traffic.seeds(SEEDS):
        usual = float(replay.cost.mean(axis=0)[len(replay.expected) // 2])  # type: ignore[attr-defined]
        rows = traffic.TRAFFIC[kind](replay, WINDOW, rng)
        governor = tt.BudgetGovernor(replay.family, max_cost=usual, window=WINDOW)  # type: ignore[attr-defined]
        served = traffic.governed(replay, governor, rows, None, traffic.Clock())
        late = traffic.sliding(served.cost, WINDOW)[2 * WINDOW :] / usual - 1.0
        away = float(served.loss.mean()) - traffic.on_frontier(replay, rows, float(served.cost.mean()))
        made.append((float(np.sqrt(np.mean(late**2))), float(late.max()), away, float(served.cost.mean()) / usual))
    found = np.array(made)
    assert found[:, 0].mean() < off
    assert found[:, 1].max() < worst
    assert found[:, 2].mean() < given
    assert found[:, 3].mean() == pytest.approx(1.0, abs=0.03)


def test_a_step_is_met_within_three_windows(traffic: ModuleType, replay: tt.PolicyFamily) -> None:
    usual = float(replay.cost.mean(axis=0)[len(replay.expected) // 2])  # type: ignore[attr-defined]
    after = []
    for rng in traffic.seeds(SEEDS):
        rows = traffic.step(replay, WINDOW, rng)
        governor = tt.BudgetGovernor(replay.family, max_cost=usual, window=WINDOW)  # type: ignore[attr-defined]
        served = traffic.governed(replay, governor, rows, None, traffic.Clock())
        # The twentieth that is left of the traffic's own noise is a policy that is too dear by the step, unless it moves.
        after.append(float(served.cost[13 * WINDOW :].mean() / usual))
    fixed = replay.cost[replay.hard].mean(axis=0)[len(replay.expected) // 2] / usual  # type: ignore[attr-defined]
    assert fixed > 1.2
    assert np.mean(after) == pytest.approx(1.0, abs=0.03)
    assert max(after) < 1.1


def test_a_budget_a_second_is_held_through_a_burst(traffic: ModuleType, replay: tt.PolicyFamily) -> None:
    rate, window = 20.0, 30.0
    cost = replay.cost.mean(axis=0)  # type: ignore[attr-defined]
    budget = 1.3 * 5.0 * rate * float(cost[0])
    for rng in traffic.seeds(3):
        clock = traffic.Clock()
        at = traffic.arrivals(window, rate, rng)
        rows = traffic.mixed(replay, np.full(len(at), 0.5), rng)
        governor = tt.BudgetGovernor(replay.family, max_rate=budget, window=window, clock=clock)  # type: ignore[attr-defined]
        served = traffic.governed(replay, governor, rows, at, clock)
        means = traffic.per_second(served, window) / budget
        usual = rate * replay.cost[rows].mean(axis=0) / budget  # type: ignore[attr-defined]
        # Without a burst the budget is held, or all of what the dearest policy takes is less.
        assert means[40:90].mean() == pytest.approx(min(1.0, usual[-1]), abs=0.08)
        # A window within the burst, once it is known.
        assert means[105:120].mean() < 1.15
        assert means.max() < 1.6


def test_the_bench_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCHES))
    picture = tmp_path / "governor.png"
    monkeypatch.setattr(sys, "argv", ["governor.py", "--seeds", "1", "--window", "100", "--picture", str(picture)])
    runpy.run_path(str(BENCHES / "governor.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert shown.count("| llm_cascade |") == 5
    assert "a call: " in shown
    assert picture.stat().st_size > 10_000
