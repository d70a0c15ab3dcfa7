"""Steps, drift, waves, alternation and bursts on real requests: budgets are held, and little is given away for it."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

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
def replay(traffic: ModuleType) -> Any:
    return traffic.replayed(tt.read_trace(TRACE))


@pytest.mark.parametrize(
    ("kind", "off", "worst", "given"),
    [
        # Shares of the budget; and loss beyond the frontier known afterwards, where the first stage alone loses 0.31
        # and the last 0.11. To hold windows while traffic changes, easy requests get what hard ones would need.
        ("constant", 0.035, 0.12, 0.004),
        ("step", 0.06, 0.25, 0.020),
        ("drift", 0.035, 0.14, 0.020),
        ("alternating", 0.025, 0.10, 0.003),
        ("waves", 0.20, 0.30, 0.030),
    ],
)
def test_a_budget_a_request_is_held(
    traffic: ModuleType, replay: Any, kind: str, off: float, worst: float, given: float
) -> None:
    made: list[tuple[float, ...]] = []
    for rng in traffic.seeds(SEEDS):
        usual = float(replay.cost.mean(axis=0)[len(replay.expected) // 2])
        rows = traffic.TRAFFIC[kind](replay, WINDOW, rng)
        governor = tt.BudgetGovernor(replay.family, max_cost=usual, window=WINDOW)
        served = traffic.governed(replay, governor, rows, None, traffic.Clock())
        late = traffic.sliding(served.cost, WINDOW)[2 * WINDOW :] / usual - 1.0
        away = float(served.loss.mean()) - traffic.on_frontier(replay, rows, float(served.cost.mean()))
        made.append((float(np.sqrt(np.mean(late**2))), float(late.max()), away, float(served.cost.mean()) / usual))
    found = np.array(made)
    assert found[:, 0].mean() < off
    assert found[:, 1].max() < worst
    assert found[:, 2].mean() < given
    assert found[:, 3].mean() == pytest.approx(1.0, abs=0.03)


def test_a_step_is_met_within_three_windows(traffic: ModuleType, replay: Any) -> None:
    usual = float(replay.cost.mean(axis=0)[len(replay.expected) // 2])
    after = []
    for rng in traffic.seeds(SEEDS):
        rows = traffic.step(replay, WINDOW, rng)
        governor = tt.BudgetGovernor(replay.family, max_cost=usual, window=WINDOW)
        served = traffic.governed(replay, governor, rows, None, traffic.Clock())
        after.append(float(served.cost[13 * WINDOW :].mean() / usual))
    fixed = replay.cost[replay.hard].mean(axis=0)[len(replay.expected) // 2] / usual
    assert fixed > 1.2
    assert np.mean(after) == pytest.approx(1.0, abs=0.03)
    assert max(after) < 1.1


@pytest.mark.parametrize("share", [1.3, 3.0])
def test_a_budget_a_second_is_held_through_a_burst(traffic: ModuleType, replay: Any, share: float) -> None:
    rate, window = 20.0, 30.0
    # So much more than the cheapest policy costs in the burst.
    budget = share * 5.0 * rate * float(replay.cost.mean(axis=0)[0])
    found = []
    for rng in traffic.seeds(5):
        clock = traffic.Clock()
        at = traffic.arrivals(window, rate, rng)
        rows = traffic.mixed(replay, np.full(len(at), 0.5), rng)
        governor = tt.BudgetGovernor(replay.family, max_rate=budget, window=window, clock=clock)
        served = traffic.governed(replay, governor, rows, at, clock)
        means = traffic.per_second(served, window) / budget
        found.append((means[40:90].mean(), means[105:120].mean(), means[160:].mean(), means.max()))
    before, during, after, worst = np.mean(found, axis=0)
    assert before == pytest.approx(1.0, abs=0.05)
    assert after == pytest.approx(1.0, abs=0.05)
    assert during < 1.1
    assert worst < 1.5


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
