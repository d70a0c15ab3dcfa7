"""What is said, once, of traces that a policy can learn little from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import main
from ttamer_fast.fitting.doubts import effective_rows

FEW = "which say as much as"
SAME = "does not say which requests"
NONE_BETTER = "no rule is better than one stage for all requests"


def said(work: Callable[[], object]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        work()
    return list(found)


def test_categories() -> None:
    for one in (tt.CalibrationWarning, tt.CensoredTraceWarning, tt.EvaluationWarning, tt.ServingWarning):
        assert issubclass(one, tt.TTamerWarning)
        assert one.__name__ in tt.__all__
    assert issubclass(tt.TTamerWarning, UserWarning)
    assert not issubclass(tt.ServingWarning, tt.CalibrationWarning)


def test_rows_count_by_weight_and_by_group() -> None:
    trace = make_trace(n=90)
    assert effective_rows(trace) == pytest.approx(90.0)
    assert effective_rows(trace.weighted([1.0] * 30 + [0.0] * 60)) == pytest.approx(30.0)
    assert effective_rows(trace.weighted([1e300] * 90)) == pytest.approx(90.0)
    columns = (trace.signal, trace.loss, trace.cost)
    grouped = tt.Trace(*columns, group=np.repeat(np.arange(9), 10))
    assert effective_rows(grouped) == pytest.approx(9.0)
    uneven = tt.Trace(*columns, group=[0] * 60 + [1] * 30)
    assert effective_rows(uneven) == pytest.approx(9.0 / 5.0)


@pytest.mark.parametrize(
    "work",
    [
        lambda trace: tt.fit(trace, tradeoff=0.9),
        lambda trace: tt.fit(trace, max_cost=trace.full_cost),
        lambda trace: tt.compare(trace, 0.9, folds=3),
        lambda trace: tt.frontier(trace, folds=3, tradeoffs=[0.5, 0.9]),
        lambda trace: tt.fit_certified(trace, max_loss=0.95),
    ],
)
def test_few_rows_are_said_once(work: Callable[[tt.Trace], object]) -> None:
    found = [one for one in said(lambda: work(make_trace(n=60))) if FEW in str(one.message)]
    assert len(found) == 1
    assert found[0].category is tt.CalibrationWarning
    assert found[0].filename == __file__
    assert str(found[0].message) == (
        "`trace` has 60 rows, which say as much as 60 independent requests: a share of errors may be off by 0.13, and "
        "a simple rule may be as good; a few hundred are needed, a few thousand are better"
    )
    assert not [one for one in said(lambda: work(make_trace(n=400))) if FEW in str(one.message)]


def test_many_rows_of_few_groups_are_few() -> None:
    trace = make_trace(n=2000)
    grouped = tt.Trace(trace.signal, trace.loss, trace.cost, kind="models", group=np.arange(2000) // 50)
    found = said(lambda: tt.fit(grouped, tradeoff=0.9, recall=True))
    assert [str(one.message).partition(":")[0] for one in found] == [
        "`trace` has 2000 rows of 40 groups, which say as much as 40 independent requests"
    ]
    # Fits within a comparison say nothing of their own.
    assert len(said(lambda: tt.compare(grouped, 0.9, folds=2))) == 1


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_signals_that_never_change(value: float) -> None:
    trace = make_trace(n=500)
    signal = np.array(trace.signal)
    signal[:, [1, 3]] = value
    flat = tt.Trace(signal, trace.loss, trace.cost, kind="models", stages=["a", "b", "c", "d"])
    found = [str(one.message) for one in said(lambda: tt.fit(flat, tradeoff=0.95)) if SAME in str(one.message)]
    assert found == [
        "`signal` of stage 'b' is the same in every row: it does not say which requests the stage gets wrong"
    ]
    signal[400, 1] = 0.25
    changed = tt.Trace(signal, trace.loss, trace.cost, kind="models")
    assert not [one for one in said(lambda: tt.fit(changed, tradeoff=0.95)) if SAME in str(one.message)]


def test_predictions_that_never_change() -> None:
    trace = make_trace(n=500)
    columns = (trace.signal, trace.loss, trace.cost)
    with pytest.warns(tt.CalibrationWarning, match="`prediction` is the same in every row and stage"):
        tt.fit(tt.Trace(*columns, np.full((500, 4), 7), kind="models"), tradeoff=0.95, recall=True)


def test_no_difference_between_rules() -> None:
    rng = np.random.default_rng(0)
    noise = tt.Trace(rng.random((2000, 3)), rng.random((2000, 3)) < [0.4, 0.3, 0.1], [1.0, 2.0, 4.0], kind="models")
    with pytest.warns(tt.CalibrationWarning, match=NONE_BETTER) as found:
        policy = tt.fit(noise, tradeoff=0.95)
    assert len(found) == 1
    assert all(-one["standard_error"] <= one["difference"] for one in policy.report)
    always = tt.Trace(rng.random((500, 2)), np.tile([1.0, 0.0], (500, 1)), [1.0, 2.0], kind="models")
    with pytest.warns(tt.CalibrationWarning, match=NONE_BETTER):
        tt.fit(always, tradeoff=0.95)
    assert said(lambda: tt.fit(make_trace(n=2000), tradeoff=0.95)) == []
    one_stage = make_trace(n=500, k=1)
    assert said(lambda: tt.fit(one_stage, tradeoff=0.95)) == []


def test_the_command_line_says_it_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = str(tmp_path / "trace.npz"), str(tmp_path / "policy")
    make_trace(n=60).save(path)
    assert main(["fit", path, "--tradeoff", "0.9", "-o", output]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("warning: `trace` has 60 rows, which")]) == 1
    assert all(line.startswith("warning: ") for line in lines)
