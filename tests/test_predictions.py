"""Codes of predictions: equal where ``==`` says so, in arrays as alone."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import ttamer_fast as tt
from prediction_values import EQUAL, MISSING, NOTHING, VALUES, Colour
from ttamer_fast._core import prediction_codes

pd: Any = pytest.importorskip("pandas")
pa: Any = pytest.importorskip("pyarrow")


def test_codes_are_equal_exactly_where_predictions_are() -> None:
    every = [(number, value) for number, values in enumerate(EQUAL) for value in values]
    codes = prediction_codes([value for _, value in every], 1).tolist()
    assert NOTHING not in codes
    for (one, value), code in zip(every, codes, strict=True):
        for (other, another), other_code in zip(every, codes, strict=True):
            assert (code == other_code) == (one == other), (value, another)


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_is_no_prediction(value: Any) -> None:
    assert prediction_codes([value], 1).tolist() == [NOTHING]
    assert prediction_codes([[value, 1]]).tolist() == [[NOTHING, 1]]


def test_objects_are_told_apart_within_their_row_alone() -> None:
    red, blue = Colour.RED, Colour.BLUE
    codes = prediction_codes([[red, blue, red], [blue, red, blue], [1, blue, blue]])
    assert codes[0, 0] == codes[0, 2] == codes[1, 0] == codes[2, 1] == codes[2, 2]
    assert codes[0, 1] == codes[1, 1] != codes[0, 0]


@given(VALUES, VALUES)
def test_any_two_values_have_equal_codes_where_they_are_equal(one: Hashable, other: Hashable) -> None:
    first, second, again = prediction_codes([one, other, one], 1).tolist()
    assert first == again
    if NOTHING in (first, second):
        return
    try:
        same: Any = one == other
    except (TypeError, ValueError):  # numpy's numbers do not compare with all others
        return
    if isinstance(same, bool | np.bool_):
        assert (first == second) == same


WORDS = [["yes", "no", "yes"], ["", "α", "\U0001f600"], ["no", "no", "longer than that"]]
NUMBERS = [[1, 0, 2], [3, 3, 1], [0, 7, 7]]
BIG = [[2**63 + 5, 7, 2**64 - 1], [1, 2**63, 2**63 + 5]]
MIXED: list[list[Any]] = [["a", 1, None], [0.5, ("a", 1), "a"]]

ARRAYS: dict[str, tuple[Any, list[list[Any]]]] = {
    "lists": (MIXED, MIXED),
    "tuples": (tuple(map(tuple, MIXED)), MIXED),
    "int64": (np.array(NUMBERS), NUMBERS),
    "int16": (np.array(NUMBERS, np.int16), NUMBERS),
    "big endian": (np.array(NUMBERS, ">i8"), NUMBERS),
    "columns first": (np.asfortranarray(NUMBERS), NUMBERS),
    "every other column": (np.repeat(NUMBERS, 2, axis=1)[:, ::2], NUMBERS),
    "misaligned": (
        np.frombuffer(b"x" + np.array(NUMBERS, np.int64).tobytes(), np.uint8)[1:].view(np.int64).reshape(3, 3),
        NUMBERS,
    ),
    "bool": (np.array([[True, False, True]]), [[True, False, True]]),
    "uint64": (np.array(BIG, np.uint64), BIG),
    "float64": (np.array([[1.0, 0.5, math.nan]]), [[1, 0.5, None]]),
    "float16": (np.array([[1.0, 0.5, math.nan]], np.float16), [[1, 0.5, None]]),
    "longdouble": (np.array([[1.0, 0.5, math.nan]], np.longdouble), [[1, 0.5, None]]),
    "complex": (np.array([[1.0, 1j, 0.5]]), [[1, 1j, 0.5]]),
    "text": (np.array(WORDS), WORDS),
    "text, big endian": (np.array(WORDS).astype(">U20"), WORDS),
    "bytes": (np.array([[b"a", b"", b"bc"]]), [[b"a", b"", b"bc"]]),
    "objects": (np.array(MIXED, object), MIXED),
    "times": (np.array([["2020-01-01", "NaT", "2020-01-01"]], "M8[D]"), [["x", None, "x"]]),
    "masked": (np.ma.array(NUMBERS, mask=np.eye(3, dtype=bool)), [[None, 0, 2], [3, None, 1], [0, 7, None]]),
    "masked text": (np.ma.array(np.array(WORDS[:1]), mask=np.array([[False, True, False]])), [["yes", None, "yes"]]),
    "frame": (pd.DataFrame(WORDS), WORDS),
    "frame of several types": (
        pd.DataFrame({"a": [2**62 + 1, 2], "b": [1.5, math.nan]}),
        [[2**62 + 1, 1.5], [2, None]],
    ),
    "frame of categories": (pd.DataFrame(WORDS).astype("category"), WORDS),
    "frame with gaps": (pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [3, 4]}), [[1, 3], [None, 4]]),
    "frame of text with gaps": (pd.DataFrame({"a": pd.array(["x", None], "string")}), [["x"], [None]]),
    "frame of Arrow's types": (
        pd.DataFrame({"a": pd.array([2**62 + 1, None], pd.ArrowDtype(pa.int64()))}),
        [[2**62 + 1], [None]],
    ),
    "Arrow table": (pa.table({"a": ["x", None], "b": pa.array([2**62 + 1, None])}), [["x", 2**62 + 1], [None, None]]),
    "rows of arrays": ([np.array([1, 2]), pd.Series(["a", "b"])], [[1, 2], ["a", "b"]]),
    "nothing": (np.zeros((0, 3)), []),
}
if hasattr(np.dtypes, "StringDType"):
    ARRAYS["text of any length"] = (np.array(WORDS, np.dtypes.StringDType()), WORDS)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_as_their_entries(name: str) -> None:
    given, rows = ARRAYS[name]
    codes = prediction_codes(given)
    assert codes.dtype == np.int64
    if name == "times":
        codes = np.where(codes == NOTHING, NOTHING, prediction_codes(["x"], 1)[0])
    assert codes.tolist() == [prediction_codes(row, 1).tolist() for row in rows]
    assert codes.tolist() == [[prediction_codes([value], 1)[0] for value in row] for row in rows]


COLUMNS: dict[str, Any] = {
    "list": ["a", "b", "a"],
    "array": np.array(["a", "b", "a"]),
    "series": pd.Series(["a", "b", "a"]),
    "categories": pd.Categorical(["a", "b", "a"]),
    "index": pd.Index(["a", "b", "a"]),
    "Arrow array": pa.array(["a", "b", "a"]),
    "Arrow dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    "Arrow chunks": pa.chunked_array([["a"], ["b", "a"]]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_as_their_entries(name: str) -> None:
    assert prediction_codes(COLUMNS[name], 1).tolist() == [prediction_codes([word], 1)[0] for word in "aba"]


def test_integers_of_arrow_with_gaps_are_not_rounded() -> None:
    assert prediction_codes(pa.array([2**62 + 1, None]), 1).tolist() == [2**62 + 1, NOTHING]


def test_codes_are_their_own_codes() -> None:
    codes = prediction_codes([value for group in EQUAL for value in group], 1)
    assert np.array_equal(prediction_codes(codes, 1), codes)
    assert np.array_equal(prediction_codes(codes.tolist(), 1), codes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("yes", "`prediction` must be an array or a sequence of predictions, got str"),
        ({1: 2}, "`prediction` must be an array or a sequence of predictions, got dict"),
        ({1, 2}, "`prediction` must be an array or a sequence of predictions, got set"),
        (7, "`prediction` must be an array or a sequence of predictions, got int"),
        ([[1, 2], [3]], "`prediction` row 1 must have 2 entries, as row 0 has, got 1"),
        ([[1, [2]]], "`prediction` row 0 column 1 must be hashable, got list"),
        ([[1, ("a", {})]], "`prediction` row 0 column 1 must be hashable, got dict"),
        (np.array([[1, {}]], object), "`prediction` row 0 column 1 must be hashable, got dict"),
        ([[np.zeros(2)]], "`prediction` row 0 column 0 must be one hashable value, got an array of shape (2,)"),
        ([1, 2], "`prediction` must be an array or a sequence of predictions, got int"),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        prediction_codes(given)
    assert str(raised.value) == message
