"""Signals of logits: beside their definitions, on every layout, dtype and special value; theorems."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ttamer_fast as tt
from ttamer_fast import signals

OF_LOGITS: dict[str, Callable[..., Any]] = {
    name: getattr(signals, name) for name in ("max_probability", "margin", "negative_entropy", "energy")
}
NO_CLASS = -(2**63)
NAN, INF = math.nan, math.inf


def reference(name: str, row: Sequence[float]) -> tuple[float, int]:
    """From the definitions, with more digits than the smallest probability needs."""
    known = [x for x in row if x != -INF]
    if any(math.isnan(x) or x == INF for x in row) or not known:
        return NAN, NO_CLASS
    with localcontext() as context:
        context.prec = 60 + int(max(known) - min(known))
        powers = [Decimal(x).exp() for x in known]
        total = sum(powers, Decimal())
        p: list[Decimal] = sorted((power / total for power in powers), reverse=True)
        values = {
            "max_probability": p[0],
            "margin": p[0] - (p[1] if len(p) > 1 else 0),
            "negative_entropy": sum((one * one.ln() for one in p), Decimal()),
            "energy": total.ln(),
        }
        return float(values[name]), list(row).index(max(known))


def assert_close(name: str, found: float, expected: float) -> None:
    if math.isnan(expected):
        assert math.isnan(found)
        return
    # Logits lie up to 1200 apart: the rounding of such a difference is a relative error of a probability that is tiny.
    error = (2e-13 if name == "negative_entropy" else 4e-15) * abs(expected) + 1e-300
    # The energy of logits that cancel is as good as their sum, and the reference tells no closer probabilities apart.
    least = {"energy": 1e-15, "margin": 1e-55}.get(name, 0.0)
    assert abs(found - expected) <= max(error, least), (name, found, expected)


logits = st.floats(-60.0, 60.0) | st.sampled_from([0.0, -0.0, 1.0, 1.0, 2.0, -INF, -INF, 600.0, -600.0])
special = logits | st.sampled_from([NAN, INF])


@st.composite
def matrices(draw: st.DrawFn, entries: st.SearchStrategy[float] = special, most: int = 40) -> NDArray[Any]:
    """(n, c) of any layout and dtype."""
    n, c = draw(st.integers(1, 4)), draw(st.integers(1, most))
    dtype = draw(st.sampled_from(["<f4", "<f8", ">f4", ">f8", "<f2"]))
    values = np.array(draw(st.lists(entries, min_size=n * c, max_size=n * c))).reshape(n, c).astype(dtype)
    layout = draw(st.sampled_from(["plain", "transposed", "reversed", "sliced", "rows", "record", "broadcast"]))
    if layout == "transposed":
        return np.asfortranarray(values)
    if layout == "reversed":
        return values[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "sliced":
        wide = np.zeros((2 * n, 3 * c + 1), dtype)
        wide[::2, 1::3] = values
        return wide[::2, 1::3]
    if layout == "rows":
        wide = np.full((n, c + 3), np.nan, dtype)
        wide[:, 2 : 2 + c] = values
        return wide[:, 2 : 2 + c]
    if layout == "record":
        record = np.zeros((n, c), dtype=[("x", "i1"), ("y", dtype)])
        record["y"] = values
        return record["y"]
    if layout == "broadcast":
        return np.broadcast_to(values[0], (n, c))
    return values


@pytest.mark.parametrize("name", OF_LOGITS)
@given(matrices())
def test_every_layout_dtype_and_value_beside_the_definitions(name: str, values: NDArray[Any]) -> None:
    values.flags.writeable = False
    found, classes = OF_LOGITS[name](values, argmax=True)
    assert found.dtype == np.float64
    assert classes.dtype == np.int64
    assert found.shape == classes.shape == (len(values),)
    assert np.array_equal(OF_LOGITS[name](values), found, equal_nan=True)
    for i, row in enumerate(values):
        expected, at = reference(name, [float(x) for x in row])
        assert_close(name, found[i], expected)
        assert classes[i] == at
        one, place = OF_LOGITS[name](row, argmax=True)
        assert type(one) is float
        assert type(place) is int
        assert (one, place) == (found[i], at) or (math.isnan(one) and place == NO_CLASS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("c", [1, 2, 15, 16, 17, 31, 32, 33, 48, 100, 1000])
@pytest.mark.parametrize("name", OF_LOGITS)
def test_every_width(name: str, c: int, dtype: type) -> None:
    rng = np.random.default_rng(c)
    values: NDArray[Any] = (5.0 * rng.normal(size=(6, c))).astype(dtype)
    values[np.arange(6), rng.integers(0, c, 6)] = 25.0
    values[0], values[1, -1], values[2, : c - 1] = 3.0, 30.0, -INF
    found, classes = OF_LOGITS[name](values, argmax=True)
    assert classes.tolist() == values.argmax(axis=1).tolist()
    for i, row in enumerate(values):
        assert_close(name, found[i], reference(name, row.tolist())[0])


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("at", [0, 9, 15, 16, 17, 39])
@pytest.mark.parametrize("bad", [NAN, -NAN, INF])
@pytest.mark.parametrize("c", [10, 16, 20, 40])
def test_a_row_with_a_nan_or_plus_infinity_says_nothing(name: str, at: int, bad: float, c: int) -> None:
    values: NDArray[np.float64] = np.tile(np.arange(c) * 0.5, (3, 1))
    values[1, at % c] = bad
    found, classes = OF_LOGITS[name](values, argmax=True)
    assert np.isnan(found).tolist() == [False, True, False]
    assert classes.tolist() == [c - 1, NO_CLASS, c - 1]


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("c", [1, 10, 40])
def test_a_row_without_a_class_says_nothing(name: str, c: int) -> None:
    found, classes = OF_LOGITS[name](np.full((2, c), -INF), argmax=True)
    assert np.isnan(found).all()
    assert (classes == NO_CLASS).all()


@pytest.mark.filterwarnings("ignore:stage 0 .* reports no prediction:ttamer_fast.ServingWarning")
def test_what_says_nothing_is_no_information_and_no_prediction() -> None:
    rng = np.random.default_rng(0)
    signal = rng.random((500, 3))
    said = rng.integers(0, 2, (500, 3))
    policy = tt.fit(tt.Trace(signal, rng.random((500, 3)) > signal, [1.0, 2.0, 4.0], said), tradeoff=0.99)
    says_nothing = signals.margin([NAN, 1.0], argmax=True)
    told, silent = policy.start(), policy.start()
    while told.next is not None:
        assert told.next == silent.next
        told.observe(*says_nothing)
        silent.observe(None, None)
    assert silent.next is None
    assert told.answer == silent.answer
    with pytest.raises(IndexError):
        ["a", "b"][says_nothing[1]]


def test_values_that_are_known() -> None:
    assert signals.max_probability([0.0] * 4) == 0.25
    assert signals.margin([math.log(3.0), 0.0]) == pytest.approx(0.5, rel=1e-15)
    assert signals.negative_entropy([7.0] * 5) == pytest.approx(-math.log(5.0), rel=1e-15)
    assert signals.energy([0.0, 0.0]) == pytest.approx(math.log(2.0), rel=1e-15)
    assert signals.energy([3.5]) == 3.5
    assert [OF_LOGITS[name]([2.0]) for name in OF_LOGITS] == [1.0, 1.0, 0.0, 2.0]
    assert signals.negative_entropy([1.0, -INF, -INF]) == 0.0


def test_nothing_overflows() -> None:
    row = [1.7e308, -1.7e308, 1.0e308]
    assert [OF_LOGITS[name](row) for name in OF_LOGITS] == [1.0, 1.0, 0.0, 1.7e308]
    single = np.array([3e38, 3e38, -3e38], np.float32)
    assert [OF_LOGITS[name](single) for name in ("max_probability", "margin")] == [0.5, 0.0]


def test_sure_rows_and_close_classes_keep_their_digits() -> None:
    for gap in (40.0, 100.0, 600.0):
        expected = reference("negative_entropy", [gap, 0.0])[0]
        assert signals.negative_entropy([gap, 0.0]) == pytest.approx(expected, rel=1e-14, abs=0.0)
    assert signals.margin([1e-12, 0.0]) == pytest.approx(5e-13, rel=1e-9, abs=0.0)


finite = st.floats(-30.0, 30.0)


@given(matrices(finite), st.floats(-20.0, 20.0))
def test_a_constant_added_moves_the_energy_alone(values: NDArray[Any], constant: float) -> None:
    plain = values.astype(np.float64)
    moved = plain + constant
    for name, function in OF_LOGITS.items():
        expected = function(plain) + (constant if name == "energy" else 0.0)
        np.testing.assert_allclose(function(moved), expected, rtol=1e-12, atol=1e-13)


@given(matrices(finite), st.randoms(use_true_random=False))
def test_classes_in_another_order_change_the_class_alone(values: NDArray[Any], random: Any) -> None:
    order = list(range(values.shape[1]))
    random.shuffle(order)
    for function in OF_LOGITS.values():
        before, at = function(values, argmax=True)
        after, place = function(values[:, order], argmax=True)
        np.testing.assert_allclose(after, before, rtol=1e-13, atol=1e-14)
        rows = np.arange(len(values))
        assert np.array_equal(values[rows, at], values[rows, np.array(order)[place]])


@given(matrices(logits))
def test_bounds(values: NDArray[Any]) -> None:
    c = values.shape[1]
    some = (values > -INF).any(axis=1)
    largest, margin, entropy = (function(values)[some] for function in list(OF_LOGITS.values())[:3])
    assert ((largest >= (1.0 - 1e-15) / c) & (largest <= 1.0)).all()
    assert ((margin >= 0.0) & (margin <= largest * (1.0 + 1e-15))).all()
    assert ((entropy >= -math.log(c) * (1.0 + 1e-15)) & (entropy <= 0.0)).all()
    energy, most = signals.energy(values)[some], values[some].max(axis=1, initial=-INF).astype(np.float64)
    assert ((energy >= most) & (energy <= most + math.log(c) + 1e-12 * (1.0 + abs(most)))).all()


@given(matrices(finite))
def test_a_class_that_is_ruled_out_is_as_if_it_were_not_there(values: NDArray[Any]) -> None:
    wider = np.insert(values.astype(np.float64), 0, -INF, axis=1)
    for function in OF_LOGITS.values():
        before, at = function(values.astype(np.float64), argmax=True)
        after, place = function(wider, argmax=True)
        np.testing.assert_allclose(after, before, rtol=1e-14, atol=1e-15)
        assert (place == at + 1).all()


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_many_rows_are_read_as_few(name: str, dtype: type, order: Any) -> None:
    values: NDArray[Any] = np.asarray(np.random.default_rng(1).normal(size=(70_001, 17)), dtype, order)
    found, classes = OF_LOGITS[name](values, argmax=True)
    for some in (slice(0, 50), slice(35_000, 35_050), slice(69_980, None)):
        few, at = OF_LOGITS[name](np.ascontiguousarray(values[some]), argmax=True)
        assert np.array_equal(found[some], few)
        assert np.array_equal(classes[some], at)
    assert np.array_equal(classes, values.argmax(axis=1))


def test_no_rows() -> None:
    for function in OF_LOGITS.values():
        found, classes = function(np.empty((0, 5), np.float32), argmax=True)
        assert found.shape == classes.shape == (0,)
        assert found.dtype == np.float64
        assert classes.dtype == np.int64


def test_signals_serve_a_stage_alone_and_in_batches() -> None:
    rng = np.random.default_rng(4)
    signal = rng.random((500, 2))
    policy = tt.fit(tt.Trace(signal, rng.random((500, 2)) > signal, cost=[1.0, 2.0]), tradeoff=0.9)
    weights = rng.normal(size=(5, 3))

    def model(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x @ weights

    def said(scores: NDArray[np.float64]) -> Any:
        return scores.argmax(axis=-1)

    stages = [
        tt.Stage(model, batch=model, signal=function, prediction=said)
        for function in (signals.max_probability, signals.margin)
    ]
    cascade, inputs = tt.Cascade(policy, stages), rng.normal(size=(20, 5))
    table = cascade.batch(inputs)
    assert [cascade(x).stage for x in inputs] == table.stage.tolist()
