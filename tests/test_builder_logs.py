"""Logs of running cascades, gathered batch by batch."""

from __future__ import annotations

import copy
import json
import math
import pickle
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ttamer_fast as tt

NAN = math.nan
COLUMNS = ("signal", "loss", "cost", "prediction", "weight", "latency", "group", "propensity")
OPTIONAL = COLUMNS[3:]
Columns = dict[str, NDArray[Any]]


def log_columns(n: int, k: int, seed: int, optional: tuple[str, ...] = OPTIONAL, run_share: float = 0.5) -> Columns:
    """Requests that ran some stages each, of which some losses are known; row 0 ran all, and row i is group i."""
    rng = np.random.default_rng(seed)
    run = rng.random((n, k)) < run_share
    known = run & (rng.random((n, k)) < 0.7)
    run[0] = known[0] = True
    every: Columns = {
        "signal": np.where(run, rng.random((n, k)), NAN),
        "loss": np.where(known, rng.random((n, k)), NAN),
        "cost": np.where(run, rng.exponential(size=(n, k)), NAN),
        "prediction": rng.integers(0, 5, (n, k)),
        "weight": rng.integers(1, 4, n).astype(float),
        "latency": np.where(run, rng.random((n, k)), NAN),
        "group": np.arange(n),
        "propensity": np.where(known, rng.uniform(0.1, 1.0, (n, k)), NAN),
    }
    return {name: column for name, column in every.items() if name in COLUMNS[:3] or name in optional}


def part(columns: Columns, rows: Any) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def names(columns: Columns) -> list[str]:
    return [f"s{stage}" for stage in range(columns["signal"].shape[1])]


def trace_of(columns: Columns, teacher: str | None = None) -> tt.Trace:
    return tt.Trace(**columns, kind="models", stages=names(columns), teacher=teacher)


def gathered(
    columns: Columns, source: str = "", batch: int = 7, capacity: int | None = None, teacher: str | None = None
) -> tt.TraceBuilder:
    builder = tt.TraceBuilder(names(columns), "models", capacity=capacity, source=source, teacher=teacher)
    for start in range(0, len(columns["signal"]), batch):
        builder.append(**part(columns, slice(start, start + batch)))
    return builder


def exact_means(column: NDArray[Any], weight: NDArray[Any] | None) -> list[float]:
    """Correctly rounded, of what is known; weights are small whole numbers, so that products are rounded once each."""
    found = []
    for stage in range(column.shape[1]):
        known = np.flatnonzero(~np.isnan(column[:, stage]))
        of_row = [1.0 if weight is None else float(weight[row]) for row in known]
        total = sum(
            (Fraction(float(column[row, stage]) * w) for row, w in zip(known, of_row, strict=True)), Fraction(0)
        )
        mass = sum(map(Fraction, of_row), Fraction(0))
        found.append(float(total / mass) if mass else NAN)
    return found


optional_columns = st.lists(st.sampled_from(OPTIONAL), unique=True).map(tuple)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    k=st.integers(1, 4),
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 70),
    optional=optional_columns,
    run_share=st.sampled_from([0.05, 0.5, 1.0]),
)
def test_it_is_the_trace_of_the_same_rows(
    n: int, k: int, seed: int, batch: int, optional: tuple[str, ...], run_share: float
) -> None:
    columns = log_columns(n, k, seed, optional, run_share)
    trace, builder = trace_of(columns, "judge"), gathered(columns, batch=batch, teacher="judge")
    assert builder.build().digest == trace.digest
    weight = columns.get("weight")
    assert builder.mean_loss.tolist() == exact_means(columns["loss"], weight)
    assert builder.mean_cost.tolist() == exact_means(columns["cost"], weight)
    np.testing.assert_allclose(builder.mean_loss, trace.mean_loss, rtol=1e-12)
    np.testing.assert_allclose(builder.mean_cost, trace.mean_cost, rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    capacity=st.sampled_from([None, 5, 40, 1000]),
    cuts=st.lists(st.integers(1, 119), min_size=2, max_size=2, unique=True).map(sorted),
    optional=optional_columns.map(lambda some: tuple({*some, "group"})),
)
def test_any_order_and_grouping_of_merges_gives_the_same(
    seed: int, capacity: int | None, cuts: list[int], optional: tuple[str, ...]
) -> None:
    columns = log_columns(120, 3, seed, optional)
    # Whatever is kept tells a loss.
    for name in ("signal", "loss", "cost", "propensity"):
        if name in columns:
            columns[name][:, 1] = np.nan_to_num(columns[name][:, 1], nan=0.5)
    rows = np.split(np.arange(120), cuts)
    parts = [gathered(part(columns, some), f"host {i}", 11, capacity) for i, some in enumerate(rows)]
    found = set()
    for one, two, three in permutations(parts):
        for merged in (one.merge(two, three), one.merge(two).merge(three), one.merge(two.merge(three))):
            merged = pickle.loads(pickle.dumps(merged))
            built = merged.build()
            found.add((built.digest, tuple(merged.mean_loss), tuple(merged.mean_cost)))
    assert len(found) == 1
    assert merged.mean_loss.tolist() == exact_means(columns["loss"], columns.get("weight"))
    assert merged.mean_cost.tolist() == exact_means(columns["cost"], columns.get("weight"))
    kept = built.group
    assert kept is not None
    assert len(kept) == min(120, capacity or 120)
    assert (np.diff(kept) > 0).all()
    assert built.digest == trace_of(part(columns, kept)).digest


def test_files_go_on_where_they_were(tmp_path: Path) -> None:
    columns = log_columns(3000, 3, 1)
    half = gathered(part(columns, slice(0, 1500)), capacity=400, teacher="large")
    half.save(tmp_path / "half.npz")
    for again in (tt.TraceBuilder.load(tmp_path / "half.npz"), copy.copy(half)):
        assert again.teacher == "large"
        assert again.mean_loss.tolist() == half.mean_loss.tolist()
        again.append(**part(columns, slice(1500, None)))
        whole = gathered(columns, capacity=400, teacher="large")
        built = again.build()
        assert built.teacher == "large"
        assert built.is_censored
        assert built.digest == whole.build().digest
        assert again.mean_loss.tolist() == whole.mean_loss.tolist() == exact_means(columns["loss"], columns["weight"])
        assert again.mean_cost.tolist() == whole.mean_cost.tolist() == exact_means(columns["cost"], columns["weight"])


def test_what_is_known_of_no_request_has_no_mean() -> None:
    builder = tt.TraceBuilder(["small", "large"], "models")
    for _ in range(3):
        builder.append([[0.5, NAN]], [[1.0, NAN]], [[2.0, NAN]])
    np.testing.assert_array_equal(builder.mean_loss, [1.0, NAN])
    np.testing.assert_array_equal(builder.mean_cost, [2.0, NAN])
    # Costs that all requests share are known of stages that were not run, too.
    builder.append([[0.5, NAN]], [[0.0, NAN]], [2.0, 8.0])
    np.testing.assert_array_equal(builder.mean_loss, [0.75, NAN])
    np.testing.assert_array_equal(builder.mean_cost, [2.0, 8.0])
    unknown = tt.TraceBuilder(["small", "large"], "models")
    unknown.append([[0.5, 0.5]], [[NAN, NAN]], [1.0, 2.0])
    with pytest.raises(tt.ValidationError, match="`loss` must be known and finite for at least one stage"):
        unknown.build()
    # A request that does not count says nothing.
    weightless = tt.TraceBuilder(["small"], "models")
    weightless.append([[0.5], [0.5]], [[1.0], [NAN]], [1.0], weight=[0.0, 2.0])
    assert np.isnan(weightless.mean_loss).all()


def test_a_probe_is_one_by_its_first_known_loss(tmp_path: Path) -> None:
    n, capacity = 400, 20
    signal, loss = np.random.default_rng(0).random((n, 2)), np.full((n, 2), NAN)
    loss[:, 1] = 0.5
    kept = tt.TraceBuilder(["probe", "model"], capacity=capacity)
    kept.append(signal, loss, [1.0, 2.0], group=np.arange(n))
    group = kept.build().group
    assert group is not None
    dropped = next(row for row in range(n) if row not in group)
    loss[dropped, 0] = math.inf
    builder = tt.TraceBuilder(["probe", "model"], capacity=capacity)
    for start in range(0, n, 90):
        rows = slice(start, start + 90)
        builder.append(signal[rows], loss[rows], [1.0, 2.0], group=np.arange(n)[rows])
    assert np.isnan(builder.build().loss[:, 0]).all()
    builder.save(tmp_path / "probe.npz")
    other = tt.TraceBuilder(["probe", "model"], capacity=capacity, source="other")
    other.append([[0.1, 0.2]], [[NAN, 0.5]], [1.0, 2.0], group=[-1])
    np.testing.assert_array_equal(other.mean_loss, [NAN, 0.5])
    for one in (builder, tt.TraceBuilder.load(tmp_path / "probe.npz"), builder.merge(other), other.merge(builder)):
        np.testing.assert_array_equal(one.mean_loss, [math.inf, 0.5])
        with pytest.raises(tt.ValidationError) as raised:
            one.append([[0.1, 0.2]] * 2, [[NAN, 0.0], [0.25, 0.0]], [1.0, 2.0], group=[0, 0])
        assert str(raised.value) == (
            "`loss` row 1 column 0 must be finite as in the batches before, or infinite in every row, of a stage that "
            "never answers: got 0.25 after infinite ones"
        )
    other.append([[0.1, 0.2]], [[0.25, 0.5]], [1.0, 2.0], group=[-1])
    for one, two, had, has in ((builder, other, "infinite", "finite"), (other, builder, "finite", "infinite")):
        with pytest.raises(tt.ValidationError) as raised:
            one.merge(two)
        assert str(raised.value) == (
            f"`others` entry 0 must have {had} losses in column 0, as the builders before it have, got {has} ones"
        )
    with pytest.raises(tt.ValidationError, match="got inf after finite ones"):
        other.append([[0.1, 0.2]], [[0.25, math.inf]], [1.0, 2.0], group=[-1])


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": [[0.0, -1.0], [0.0, NAN]]},
        {"loss": [[0.0, NAN], [math.inf, NAN]]},
        {"loss": [[NAN, math.inf], [math.inf, 0.5]]},
        {"cost": [[1.0, NAN], [1.0, NAN]]},
        {"cost": [[1.0, 2.0], [NAN, NAN]]},
        {"cost": [1.0, NAN]},
        {"cost": [[1.0, 2.0], [1.0, -1.0]]},
        {"cost": [[1.0, 2.0], [1.0, math.inf]]},
        {"signal": [[0.1, 0.2], [0.3, 0.4]], "cost": [[1.0, 2.0], [1.0, NAN]]},
        {"loss": [[0.0, 1.0], [0.0, 1.0]], "cost": [[1.0, 2.0], [1.0, NAN]]},
        {"propensity": [[1.0, 0.0], [1.0, NAN]]},
        {"propensity": [[1.0, 1.5], [1.0, NAN]]},
        {"propensity": [[1.0, 0.5], [1.0, -0.5]]},
        {"propensity": [[1.0, 0.5], [NAN, NAN]]},
        {"propensity": [[1.0, NAN], [NAN, NAN]]},
        {"propensity": [1.0, 0.5]},
    ],
)
def test_a_builder_refuses_what_a_trace_refuses_in_the_same_words(changes: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "signal": [[0.1, 0.2], [0.3, NAN]],
        "loss": [[0.0, 1.0], [0.0, NAN]],
        "cost": [1.0, 2.0],
        **changes,
    }
    builder = tt.TraceBuilder(["a", "b"])
    messages = []
    for call in (tt.Trace, builder.append):
        with pytest.raises(tt.ValidationError) as raised:
            call(**given)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert next(iter(changes)) in ("signal", "loss") or f"`{next(iter(changes))}" in messages[1]
    assert builder.n == 0


def test_costs_of_one_request_may_be_missing() -> None:
    for empty in (NAN, np.float64(NAN)):
        builder = tt.TraceBuilder(["a", "b"])
        builder.append([[0.1, empty]], [[0.0, empty]], [[1.0, empty]])
        with pytest.raises(tt.ValidationError, match="`cost` entry 1 must be finite and at least 0, got nan"):
            builder.append([[0.1, empty]], [[0.0, empty]], [1.0, empty])
        np.testing.assert_array_equal(builder.build().cost, [[1.0, NAN]])


def test_propensities_are_in_all_batches_or_in_none() -> None:
    columns = log_columns(20, 2, 0)
    bare = {name: column for name, column in columns.items() if name != "propensity"}
    for first, second, have in ((columns, bare, "have"), (bare, columns, "have no")):
        builder = gathered(first)
        with pytest.raises(tt.ValidationError) as raised:
            builder.append(**second)
        assert str(raised.value) == (
            f"`propensity` must be in all batches or in none: the batches before {have} propensities"
        )
        with pytest.raises(tt.ValidationError, match="entry 0 must have propensities exactly if the builders before"):
            builder.merge(gathered(second, "other"))


def test_a_builder_has_one_teacher() -> None:
    columns = log_columns(20, 2, 0)
    builder, other = gathered(columns, "a", teacher="large"), gathered(columns, "b", teacher="large")
    assert builder.merge(other).build().teacher == "large"
    assert repr(builder).endswith("sources=1, teacher='large')")
    assert gathered(columns).teacher is None
    for teacher in (None, "nobody"):
        with pytest.raises(tt.ValidationError) as raised:
            builder.merge(gathered(columns, "b", teacher=teacher))
        assert str(raised.value) == f"`others` entry 0 must have the teacher 'large', got {teacher!r}"
    for wrong in ("", 3):
        with pytest.raises(tt.ValidationError, match="`teacher` must be text that is not empty"):
            tt.TraceBuilder(["a"], teacher=wrong)  # type: ignore[arg-type]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    gathered(log_columns(30, 2, 0), teacher="large").save(tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as archive:
        whole = {name: archive[name] for name in archive.files}
    about = json.loads(str(whole["about"]))
    for changed, reason in [
        ({"format": "ttamer_fast trace builder 2"}, "its format is 'ttamer_fast trace builder 2', not"),
        ({"teacher": ""}, "`teacher` must be text that is not empty"),
        ({"is_probe": [None, None]}, "totals do not fit the losses of the rows"),
        ({"is_probe": [False, True]}, "totals do not fit the losses of the rows"),
        ({"is_probe": [False]}, "sources or totals do not fit"),
        ({"total": [*about["total"], "0x0"]}, "there are 10 totals, not 9"),
        ({"total": about["total"][:5]}, "there are 5 totals, not 9"),
    ]:
        np.savez(tmp_path / "wrong.npz", **whole | {"about": np.array(json.dumps(about | changed))})
        with pytest.raises(tt.TraceFormatError, match=r"cannot read .* as a trace builder") as raised:
            tt.TraceBuilder.load(tmp_path / "wrong.npz")
        assert reason in str(raised.value)
    np.savez(tmp_path / "wrong.npz", **whole | {"propensity": whole["propensity"] * 100.0})
    with pytest.raises(tt.TraceFormatError, match="must be above 0 and at most 1"):
        tt.TraceBuilder.load(tmp_path / "wrong.npz")
    assert tt.TraceBuilder.load(tmp_path / "b.npz").teacher == "large"
