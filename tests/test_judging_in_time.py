"""Judging under a deadline: what is said is what a loop with a clock finds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._utils.rule_names import CLAIRVOYANT, FIT, FIT_CUT_OFF, FIT_MEAN_FITS, FIT_NO_RECALL, LAST
from ttamer_fast.cli import main
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.traces import outcome

DEADLINES = (0.0, 0.02, 0.05, 0.2)


def timed_trace(n: int = 1500, kind: str = "models", seed: int = 0) -> tt.Trace:
    """Log-normal seconds in proportion to the costs; a slow request is slow at every stage."""
    trace = make_trace(n=n, k=3, kind=kind, seed=seed)
    rng = np.random.default_rng(seed)
    pace = np.exp(0.5 * rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, trace.k)))
    return with_latency(trace, 0.1 * np.broadcast_to(trace.cost, trace.loss.shape) / trace.full_cost * pace)


def with_latency(trace: tt.Trace, seconds: np.ndarray) -> tt.Trace:
    content = trace.signal, trace.loss, trace.cost, trace.prediction, trace.kind, trace.stages
    return tt.Trace(*content, latency=seconds)


def by_hand(
    policy: tt.Policy, trace: tt.Trace, deadline: float, mean: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Answers, -1 for none, stages begun, costs, and whether requests were cut off; `mean`: begin only what fits."""
    assert trace.latency is not None
    assert trace.prediction is not None
    cost = np.broadcast_to(trace.cost, trace.loss.shape)
    answer, begun = np.full(trace.n, -1), np.zeros(trace.loss.shape, bool)
    paid, late = np.zeros(trace.n), np.zeros(trace.n, bool)
    for row in range(trace.n):
        run, left, last, in_hand = policy.start(), deadline, -1, False
        while (stage := run.next) is not None:
            jump = slice(last + 1 if trace.kind == "exits" else stage, stage + 1)
            if in_hand and mean is not None and mean[jump].sum() > left:
                break
            begun[row, stage] = True
            paid[row] += cost[row, jump].sum()
            needed, last = trace.latency[row, jump].sum(), stage
            if needed > left:
                late[row] = True
                break
            left -= needed
            run.observe(trace.signal[row, stage], int(trace.prediction[row, stage]))
            in_hand = True
        if in_hand:
            assert run.answer is not None
            answer[row] = run.answer
    return answer, begun, paid, late


@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("name", ["pathwise", "static", "threshold", "patience", "markov"])
def test_policies_that_know_no_time_are_cut_off(kind: str, name: str) -> None:
    trace = timed_trace(400, kind)
    policy = tt.fit(trace, tradeoff=0.9) if name == "pathwise" else tt.baselines.ALL[name](trace, 0.9, math.inf)
    largest = trace.loss.max()
    for deadline in DEADLINES:
        found = tt.evaluate(policy, trace, deadline=deadline)
        answer, begun, paid, late = by_hand(policy, trace, deadline)
        loss = np.where(answer < 0, largest, trace.loss[np.arange(trace.n), answer])
        assert found.loss == pytest.approx(loss.mean())
        assert found.cost == pytest.approx(paid.mean())
        assert found.objective == pytest.approx((0.9 * loss + 0.1 * paid / trace.full_cost).mean())
        assert found.deadline == deadline
        assert found.late_share == pytest.approx(late.mean())
        assert found.coverage == pytest.approx((answer >= 0).mean()) == pytest.approx(found.answer_share.sum())
        assert found.consulted_share.tolist() == pytest.approx(begun.mean(axis=0))
        for low, share, high in (
            (found.late_share_ci[0], found.late_share, found.late_share_ci[1]),
            (found.coverage_ci[0], found.coverage, found.coverage_ci[1]),
        ):
            assert 0.0 <= low <= share <= high <= 1.0
    assert tt.evaluate(policy, trace, deadline=0.0).late_share == 1.0


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_a_loop_that_begins_what_fits_in_the_mean(kind: str) -> None:
    train, test = timed_trace(900, kind).split(0.4)
    policy = tt.fit(train, tradeoff=0.9)
    assert train.latency is not None
    for deadline in DEADLINES:
        found = outcome.careful(policy, test, train, outcome.Terms(0.75, deadline))
        answer, begun, paid, late = by_hand(policy, test, deadline, train.latency.mean(axis=0))
        assert (found.answer == answer).all()
        assert (found.consulted == begun).all()
        assert (found.late == late).all()
        assert found.cost == pytest.approx(paid)
        assert found.loss.tolist() == np.where(answer < 0, 0.75, test.loss[np.arange(test.n), answer]).tolist()


def test_no_deadline_is_as_before() -> None:
    trace = timed_trace()
    policy = tt.fit(trace, tradeoff=0.9)
    free, endless = tt.evaluate(policy, trace), tt.evaluate(policy, trace, deadline=math.inf)
    assert free.to_dict() == endless.to_dict()
    assert (free.deadline, free.late_share, free.coverage) == (None, 0.0, 1.0)
    assert "cut off" not in str(free)
    long = tt.evaluate(policy, trace, deadline=1e6)
    assert long.to_dict() | {"deadline": None} == free.to_dict()
    assert "cut off by the deadline of 1e+06 s: 0.0%" in str(long)
    plain = make_trace(n=600)
    assert tt.compare(plain, 0.9, folds=2).to_dict() == tt.compare(plain, 0.9, folds=2, deadline=math.inf).to_dict()


def test_seconds_that_are_not_known_are_those_expected() -> None:
    trace = timed_trace(300)
    assert trace.latency is not None
    unknown = np.random.default_rng(1).random(trace.latency.shape) < 0.2
    holes = with_latency(trace, np.where(unknown, math.nan, trace.latency))
    assert holes.expected_latency is not None
    filled = with_latency(trace, np.where(unknown, holes.expected_latency, trace.latency))
    policy = tt.fit(trace, tradeoff=0.9)
    for deadline in DEADLINES:
        assert (
            tt.evaluate(policy, holes, deadline=deadline).to_dict()
            == tt.evaluate(policy, filled, deadline=deadline).to_dict()
        )
    nobody = with_latency(trace, np.where(np.arange(3) == 1, math.nan, trace.latency))
    assert outcome.always(nobody, 1, outcome.Terms(deadline=1e9)).late.all()


def test_no_answer_loses_the_largest_loss_of_the_whole_trace() -> None:
    trace = timed_trace(200)
    loss = trace.loss.copy()
    loss[7, 2] = 5.0
    trace = tt.Trace(trace.signal, loss, trace.cost, kind="models", latency=trace.latency)
    outcomes = cv.cross_validate(trace, {LAST: cv.rules(trace)[LAST]}, [0.9], 4, 0, None, outcome.Terms(deadline=0.0))
    assert outcomes[0][LAST].loss.tolist() == [5.0] * 200
    with_default = outcome.Terms(default_loss=2.0, deadline=0.0)
    outcomes = cv.cross_validate(trace, {LAST: cv.rules(trace)[LAST]}, [0.9], 4, 0, None, with_default)
    assert outcomes[0][LAST].loss.tolist() == [2.0] * 200


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_comparison_under_a_deadline(kind: str) -> None:
    trace = timed_trace(kind=kind)
    result = tt.compare(trace, 0.9, folds=2, deadline=0.05)
    names = [row.name for row in result.rows]
    assert names == [LAST, *tt.baselines.ALL, FIT_CUT_OFF, FIT_MEAN_FITS, FIT_NO_RECALL, FIT, CLAIRVOYANT]
    assert result.deadline == 0.05
    assert result.reference not in (FIT_CUT_OFF, FIT_MEAN_FITS, FIT_NO_RECALL, FIT, CLAIRVOYANT)
    for row in result.rows:
        assert result[CLAIRVOYANT].objective <= row.objective
        assert 0.0 <= 1.0 - row.coverage <= row.late_share or row.name == CLAIRVOYANT
    assert result[FIT_MEAN_FITS].late_share < result[FIT_CUT_OFF].late_share
    first, *lines = str(result).splitlines()
    assert "tradeoff 0.9, deadline 0.05 s, 2-fold" in first
    assert lines[0].split() == ["rule", "loss", "cost", "answered", "cut", "off", "objective", "difference"]
    assert lines[-1].startswith("knowing the time ")
    assert len(result.verdict) == 3


def test_knowing_the_time_is_worth_it_where_the_dear_stage_is_slow() -> None:
    """The large model is better, and never in time: whoever does not know that pays for it in vain."""
    rng = np.random.default_rng(2)
    n = 2000
    signal = np.stack([rng.random(n), np.full(n, 0.9)], axis=1)
    loss = np.stack([rng.random(n) > 0.5 + 0.3 * signal[:, 0], rng.random(n) > 0.98], axis=1)
    seconds = np.stack([np.full(n, 0.01), np.full(n, 0.2)], axis=1) * rng.uniform(0.9, 1.1, (n, 2))
    trace = tt.Trace(signal, loss, [1.0, 10.0], kind="models", latency=seconds)
    result = tt.compare(trace, 0.9, folds=3, deadline=0.1)
    assert result[FIT].late_share == 0.0
    assert result[FIT].objective < 0.9 * result[FIT_CUT_OFF].objective
    assert result.verdict[2].startswith("knowing the time ")


def test_frontier_under_a_deadline(tmp_path: Path) -> None:
    trace = timed_trace(600, "exits")
    result = tt.frontier(trace, folds=2, tradeoffs=[0.5, 0.9], deadline=0.05)
    assert result.deadline == 0.05
    assert {FIT, FIT_CUT_OFF, FIT_MEAN_FITS, FIT_NO_RECALL, CLAIRVOYANT} <= result.points.keys()
    assert trace.latency is not None
    reached = trace.latency.cumsum(axis=1)
    for stage, point in enumerate(result.stage_points):
        late = reached[:, stage] > 0.05
        assert point.late_share == pytest.approx(late.mean()) == pytest.approx(1.0 - point.coverage)
        assert point.loss == pytest.approx(np.where(late, trace.loss.max(), trace.loss[:, stage]).mean())
    assert "600 requests, deadline 0.05 s, 2-fold" in str(result)
    result.plot(tmp_path / "frontier.svg", chosen=0.9)
    assert "deadline 0.05 s" in (tmp_path / "frontier.svg").read_text()


@pytest.mark.parametrize(
    ("judge", "arguments"), [(tt.evaluate, {}), (tt.compare, {"folds": 2}), (tt.frontier, {"folds": 2})]
)
def test_what_cannot_be_judged_is_refused(judge: Any, arguments: dict[str, Any]) -> None:
    trace, plain = timed_trace(100), make_trace(n=100, k=3)
    policy = tt.baselines.static(trace, 0.9)
    first = [policy] if judge is tt.evaluate else []
    for deadline, message in (
        (-1.0, "`deadline` must be 0 or more seconds, got -1.0"),
        (math.nan, "`deadline` must be 0 or more seconds, got nan"),
        ("soon", "`deadline` must be a number, got 'soon'"),
    ):
        with pytest.raises(tt.ValidationError) as raised:
            judge(*first, trace, deadline=deadline, **arguments)
        assert str(raised.value) == message
    with pytest.raises(tt.ValidationError) as raised:
        judge(*first, plain, deadline=0.1, **arguments)
    assert str(raised.value) == "`trace` must say how long stages took, `latency`, to be judged under a deadline"


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, policy, picture = (str(tmp_path / name) for name in ("trace.npz", "my.policy", "frontier.svg"))
    timed_trace(500).save(trace)
    assert main(["fit", trace, "-o", policy, "--tradeoff", "0.9", "--deadline", "--no-summary"]) == 0
    known = tt.Policy.load(policy)
    capsys.readouterr()
    assert main(["evaluate", policy, trace, "--deadline", "0.05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["deadline"] == 0.05
    assert found["late_share"] == tt.evaluate(known, tt.read_trace(trace), deadline=0.05).late_share
    assert main(["evaluate", policy, trace]) == 0
    assert "cut off" not in capsys.readouterr().out
    assert main(["compare", trace, "--folds", "2", "--deadline", "0.05"]) == 0
    assert "knowing the time" in capsys.readouterr().out
    assert main(["frontier", trace, "--folds", "2", "--deadline", "0.05", "--picture", picture]) == 0
    assert "deadline 0.05 s" in capsys.readouterr().out
    assert Path(picture).exists()
    make_trace(n=100, k=3).save(trace)
    assert main(["compare", trace, "--folds", "2", "--deadline", "0.05"]) == 2
    assert "`trace` must say how long stages took" in capsys.readouterr().err
    assert main(["fit", trace, "-o", policy, "--certify", "0.5", "--deadline"]) == 2
    assert "without `--deadline`" in capsys.readouterr().err
