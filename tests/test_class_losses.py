"""Losses from labels, predictions and what each mistake loses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt

pd: Any = pytest.importorskip("pandas")

MATRIX = [[0.0, 1.0], [20.0, 0.5]]
NAN = float("nan")


def test_each_answer_loses_what_the_matrix_says() -> None:
    assert tt.class_losses([[0, 1], [1, 0]], [1, 0], MATRIX).tolist() == [[20.0, 0.5], [1.0, 0.0]]


@given(st.integers(1, 6), st.integers(0, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_classes_may_be_numbers_or_text_in_any_order(classes: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.random((classes, classes))
    label, said = rng.integers(0, classes, n), rng.integers(0, classes, (n, k))
    expected = np.array([[matrix[true, one] for one in row] for true, row in zip(label, said, strict=True)])
    found = tt.class_losses(said, label, matrix)
    assert found.shape == (n, k)
    assert found.dtype == np.float64
    assert (found == expected.reshape(n, k)).all()
    names = np.array([f"class {at}" for at in rng.permutation(classes)])
    assert (tt.class_losses(names[said], names[label], matrix, classes=names.tolist()) == found).all()


def test_what_is_equal_is_the_same_class() -> None:
    mixed: list[Any] = [[0.0, True]]
    assert tt.class_losses(mixed, [1.0], MATRIX).tolist() == [[20.0, 0.5]]
    tuples: list[Any] = [("a", 1), ("a", 2)]
    assert tt.class_losses([tuples], [("a", 2)], MATRIX, classes=tuples).tolist() == [[20.0, 0.5]]


def test_nobody_knows_what_an_answer_without_a_label_loses() -> None:
    found = tt.class_losses([[0, 1], [1, 0]], [None, 0], MATRIX)
    np.testing.assert_array_equal(found, [[NAN, NAN], [1.0, 0.0]])


@pytest.mark.parametrize(("loss", "expected"), [(7, 7.0), (0.0, 0.0), (NAN, NAN), (np.float32(2.5), 2.5)])
def test_no_prediction_loses_what_is_said(loss: float, expected: float) -> None:
    said: Any = [[0, None], [NAN, 1]]
    found = tt.class_losses(said, [1, 1], MATRIX, no_prediction=loss)
    np.testing.assert_array_equal(found, [[20.0, expected], [expected, 0.5]])


def test_columns_of_tables_are_matched_by_name() -> None:
    table = pd.DataFrame({"large": ["fraud"], "small": ["fine"]})
    truth, names = pd.Series(["fraud"]), ["fine", "fraud"]
    assert tt.class_losses(table, truth, MATRIX, classes=names).tolist() == [[0.5, 20.0]]
    assert tt.class_losses(table, truth, MATRIX, classes=names, stages=["small", "large"]).tolist() == [[20.0, 0.5]]


def test_losses_and_predictions_make_a_trace() -> None:
    said, truth = [[0, 1], [1, 0]], [1, 0]
    trace = tt.Trace([[0.9, 0.8], [0.3, 0.7]], tt.class_losses(said, truth, MATRIX), [1.0, 4.0], prediction=said)
    assert trace.mean_loss.tolist() == [10.5, 0.25]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"loss": [[0, 1]]}, "`loss` must be (C, C), a row and a column a class, got shape (1, 2)"),
        ({"loss": []}, "`loss` must be (C, C), a row and a column a class, got shape (0,)"),
        ({"loss": [[0, -1], [1, 0]]}, "`loss` row 0 column 1 must be finite and at least 0, got -1.0"),
        ({"loss": [[0, 1], [NAN, 0]]}, "`loss` row 1 column 0 must be finite and at least 0, got nan"),
        ({"classes": ["a"]}, "`classes` must be 2, as `loss` has rows, got 1"),
        ({"classes": ["a", "a"]}, "`classes` entry 1 must differ from entry 0, got 'a' twice"),
        ({"classes": [1, 1.0]}, "`classes` entry 1 must differ from entry 0, got 1.0 twice"),
        ({"classes": [0, None]}, "`classes` entry 1 must be a class, got None"),
        ({"classes": [0, []]}, "`classes` row 1 must be hashable, got list"),
        ({"prediction": [[0, 1], [1, 2]]}, "`prediction` row 1 column 1 must be one of the classes 0, 1, got 2"),
        (
            {"prediction": np.array([[0, 1], [5, 2]])},
            "`prediction` row 1 column 0 must be one of the classes 0, 1, got 5",
        ),
        ({"prediction": [[0, 1], [1]]}, "`prediction` row 1 must have 2 entries, as row 0 has, got 1"),
        ({"prediction": np.array([0, 1])}, "`prediction` must be (n, k), got shape (2,)"),
        (
            {"prediction": [[0, 1], [1, None]]},
            "`prediction` row 1 column 1 must be a class where `no_prediction` is not given, got none",
        ),
        ({"label": [0, "x"]}, "`label` row 1 must be one of the classes 0, 1, got 'x'"),
        ({"label": [0]}, "`label` must be 2, one for each row of `prediction`, got 1"),
        ({"label": "ab"}, "`label` must be an array or a sequence of classes, got str"),
        ({"label": np.zeros((2, 2), np.int64)}, "`label` must be one-dimensional, got shape (2, 2)"),
        ({"no_prediction": -1.0}, "`no_prediction` must be finite and at least 0, or NaN, got -1.0"),
        ({"no_prediction": float("inf")}, "`no_prediction` must be finite and at least 0, or NaN, got inf"),
        ({"no_prediction": "much"}, "`no_prediction` must be a number, got 'much'"),
    ],
)
def test_what_does_not_fit_is_refused(given_: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {"prediction": [[0, 1], [1, 0]], "label": [1, 0], "loss": MATRIX} | given_
    with pytest.raises(tt.ValidationError, match=f"^{re.escape(message)}$"):
        tt.class_losses(**whole)


def test_many_classes_are_named_in_part() -> None:
    with pytest.raises(tt.ValidationError, match=re.escape("one of the classes 0, 1, 2, 3, 4, 5, 6, 7, …, got 9")):
        tt.class_losses([[9]], [0], np.zeros((9, 9)))


def fraud(n: int, seed: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Signals, predictions and labels of two models that look for frauds, one request in ten."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.1).astype(np.int64)
    score = 2.2 * (2 * label[:, None] - 1) + np.array([1.8, 1.0]) * rng.normal(size=(n, 2))
    return np.abs(score), (score > 0.0).astype(np.int64), label


def test_a_fit_to_asymmetric_losses_misses_fewer_frauds() -> None:
    """Missing one loses 20, a false alarm 1: what the cheap model clears is looked at again."""
    signal, said, label = fraud(6000, 0)
    new_signal, new_said, truth = fraud(6000, 1)
    asymmetric = [[0.0, 1.0], [20.0, 0.0]]

    def policy(loss: Any, tradeoff: float) -> tt.Policy:
        return tt.fit(tt.Trace(signal, loss, [1.0, 9.0], prediction=said, kind="models"), tradeoff=tradeoff)

    costly, alike = tt.class_losses(said, label, asymmetric), tt.class_losses(said, label, 1.0 - np.eye(2))
    judge = tt.Trace(
        new_signal, tt.class_losses(new_said, truth, asymmetric), [1.0, 9.0], prediction=new_said, kind="models"
    )
    # A mistake is worth as much on average.
    weight = 0.8 * float(costly.mean() / alike.mean())
    by_class = tt.evaluate(policy(costly, 0.8), judge, tradeoff=0.8)
    by_number = tt.evaluate(policy(alike, weight / (weight + 0.2)), judge, tradeoff=0.8)
    assert by_class.objective < 0.8 * by_number.objective
