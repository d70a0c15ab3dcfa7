"""What `tt.signals` take: arrays, tensors and buffers without a copy, lists of tokens; and what they refuse."""

from __future__ import annotations

import array
import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ttamer_fast as tt
from ttamer_fast import signals
from ttamer_fast._utils.logits import logit_array

OF_LOGITS: dict[str, Callable[..., Any]] = {
    name: getattr(signals, name) for name in ("max_probability", "margin", "negative_entropy", "energy")
}
NAN, INF = math.nan, math.inf


class Tensor:
    """What speaks DLPack alone."""

    def __init__(self, values: Any, device: int = 1, dtype: str = "float32", requires_grad: bool = False) -> None:
        self.values, self.device, self.dtype = np.asarray(values), device, f"torch.{dtype}"
        self.requires_grad, self.given = requires_grad, 0

    def __dlpack__(self, **options: Any) -> Any:
        self.given += 1
        if self.requires_grad or self.dtype == "torch.bfloat16" or self.device not in (1, 3, 11, 13):
            raise BufferError("it should not be asked for")
        return self.values.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


class Movable(Tensor):
    def cpu(self) -> Tensor:
        return Tensor(self.values)


class Array:
    """What has ``__array__`` alone."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.asarray(self.values, dtype)


ROWS = [[0.5, 2.0, -1.0], [3.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        tuple(map(tuple, ROWS)),
        [np.array(row, np.float32) for row in ROWS],
        [array.array("d", row) for row in ROWS],
        np.array(ROWS).data,
        (ctypes.c_double * 3 * 2)(*[(ctypes.c_double * 3)(*row) for row in ROWS]),
        np.array(ROWS).view(np.recarray),
        np.array(ROWS, np.longdouble),
        np.array(ROWS, ">f4"),
        Array(ROWS),
        Tensor(ROWS),
        Tensor(np.array(ROWS, np.float32)),
        [Tensor(row) for row in ROWS],
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_can_be_read_as_an_array(value: Any) -> None:
    found, classes = signals.margin(value, argmax=True)
    assert classes.tolist() == [1, 0]
    np.testing.assert_allclose(found, signals.margin(np.array(ROWS)), rtol=1e-6)


def test_one_row_of_whatever() -> None:
    expected = signals.energy(np.array(ROWS[0]))
    for value in (ROWS[0], array.array("d", ROWS[0]), np.array(ROWS[0]).data, Tensor(ROWS[0]), Array(ROWS[0])):
        assert signals.energy(value) == expected
    assert signals.energy(array.array("f", ROWS[0])) == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", ">i4"])
def test_integers_are_scores(dtype: str) -> None:
    counts = np.array([[5, 1, 0], [2, 2, 7]], dtype)
    for function in OF_LOGITS.values():
        assert np.array_equal(function(counts), function(counts.astype(np.float64)))


def test_half_floats_are_read_as_single_ones() -> None:
    half = np.random.default_rng(2).normal(size=(5, 9)).astype(np.float16)
    for function in OF_LOGITS.values():
        assert np.array_equal(function(half), function(half.astype(np.float32)))


def test_no_copy_where_numpy_can_make_a_view() -> None:
    values = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    for view in (values, values.T, values[::-1, ::2], Tensor(values), Array(values), values.data):
        assert np.shares_memory(logit_array("logits", view), values)


@pytest.mark.parametrize("device", [1, 3, 11, 13])
def test_tensors_whose_memory_the_cpu_reads(device: int) -> None:
    assert signals.margin(Tensor(ROWS[0], device)) == signals.margin(ROWS[0])


REFUSED: dict[str, tuple[Any, str]] = {
    "bools": (np.ones((2, 2), bool), "must be real numbers, got dtype bool"),
    "complex": (np.ones((2, 2), complex), "must be real numbers, got dtype complex128"),
    "objects": (np.array([[1.0, None]], object), "row 0 column 1 must be a real number, got None"),
    "objects that are numbers": (np.array([[1.0, 2.0]], object), "got dtype object: convert it with astype(float)"),
    "text": (["a", "b"], "must be real numbers, got dtype <U1"),
    "bytes": (b"ab", "must be real numbers, got dtype |S2"),
    "dates": (np.array([1, 2], "M8[s]"), "must be real numbers, got dtype datetime64[s]"),
    "records": (np.zeros(2, [("x", "f4")]), "must be real numbers, got dtype [('x', '<f4')]"),
    "None": (None, "must be an array of real numbers, got NoneType"),
    "a number": (1.5, "must have 1 or 2 dimensions, got 0"),
    "three dimensions": (np.ones((2, 2, 2)), "must have 1 or 2 dimensions, got 3"),
    "no class": (np.ones((3, 0)), "must have at least 1 class, got an array of shape (3, 0)"),
    "no class of one": (np.ones(0, np.float32), "must have at least 1 class, got an array of shape (0,)"),
    "nothing": ([], "must have at least 1 class, got an array of shape (0,)"),
    "ragged": ([[1.0, 2.0], [3.0]], "row 1 must have 2 entries as row 0 has, got 1 entry"),
    "masked": (np.ma.masked_array([1.0, 2.0], [False, True]), "must not be masked, as masked may"),
    "masked rows": (
        [np.ma.masked_array([1.0, 2.0], [False, True])] * 2,
        "`logits[0]` must not be masked, as masked may",
    ),
    "CUDA": (Movable(ROWS, 2), "must be in the memory of the CPU, got a Movable on CUDA: call .cpu() first"),
    "ROCm": (Movable(ROWS, 10), "must be in the memory of the CPU, got a Movable on ROCm: call .cpu() first"),
    "elsewhere": (Tensor(ROWS, 99), "must be in the memory of the CPU, got a Tensor on device type 99: copy it there"),
    "gradient": (
        Tensor(ROWS, requires_grad=True),
        "must not require a gradient, got a Tensor that does: call .detach",
    ),
    "bfloat16": (Tensor(ROWS, dtype="bfloat16"), "got a Tensor of torch.bfloat16: call .float() first"),
    "rows on CUDA": ([Tensor(ROWS[0]), Movable(ROWS[1], 2)], "`logits[1]` must be in the memory of the CPU"),
}


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(name: str, case: str) -> None:
    value, message = REFUSED[case]
    with pytest.raises(tt.ValidationError) as caught:
        OF_LOGITS[name](value)
    text = str(caught.value)
    assert text.startswith("`logits"), text
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("flag", [1, 0, None, "yes"])
def test_argmax_is_a_flag(flag: Any) -> None:
    with pytest.raises(tt.ValidationError, match=r"^`argmax` must be True or False, got "):
        signals.margin([1.0, 2.0], argmax=flag)


def test_what_an_array_raises_is_told() -> None:
    class Broken:
        def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
            raise RuntimeError("two\nlines")

    with pytest.raises(tt.ValidationError, match=r"^`logits` cannot be read as an array: RuntimeError: two lines$"):
        signals.margin(Broken())


tokens = st.lists(st.floats(-50.0, 0.0) | st.none() | st.just(NAN), max_size=30)


def mean(row: Sequence[float | None]) -> float:
    known = [x for x in row if x is not None and not math.isnan(x)]
    return math.fsum(known) / len(known) if known else NAN


@given(st.lists(tokens, min_size=1, max_size=5))
def test_mean_logprob_beside_the_definition(rows: list[list[float | None]]) -> None:
    expected = [mean(row) for row in rows]
    as_floats = [np.array([NAN if x is None else x for x in row]) for row in rows]
    width = max(map(len, rows))
    padded = np.array([[*row, *[NAN] * (width - len(row))] for row in as_floats]).reshape(len(rows), width)
    forms: list[Any] = [
        rows,
        tuple(map(tuple, rows)),
        as_floats,
        padded,
        np.asfortranarray(padded),
        padded.astype(">f8"),
    ]
    for form in forms:
        found = signals.mean_logprob(form)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    for row, array_of_it, one in zip(rows, as_floats, expected, strict=True):
        for form in (row, array_of_it, array_of_it[::-1], np.array(row, object)):
            found = signals.mean_logprob(form)
            assert type(found) is float
            np.testing.assert_allclose(found, one, rtol=1e-14)


def test_mean_logprob_of_other_forms() -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.array([-1.0, -2.0]), [None, -4.0]]
    assert signals.mean_logprob(ragged).tolist() == [-1.5, -4.0]
    assert signals.mean_logprob([np.float32(-1.0), None, np.float32(-2.0)]) == -1.5
    assert signals.mean_logprob([np.array(-1.0), np.array(-2.0)]) == -1.5
    assert signals.mean_logprob([-1, -2]) == -1.5
    assert signals.mean_logprob([np.ma.masked, -1.5]) == -1.5
    assert signals.mean_logprob(array.array("f", [-1.0, -2.0])) == -1.5
    assert signals.mean_logprob([array.array("f", [-1.0, -2.0]), Tensor([-3.0])]).tolist() == [-1.5, -3.0]
    assert signals.mean_logprob(np.array([-1.0, -2.0], np.float16)) == -1.5
    masked = np.ma.masked_array([[-1.0, -2.0], [-3.0, 0.0]], [[False, False], [False, True]])
    assert signals.mean_logprob(masked).tolist() == [-1.5, -3.0]
    assert signals.mean_logprob(Tensor(np.array([[-1.0, -2.0]], np.float32))).tolist() == [-1.5]


def test_mean_logprob_of_nothing_and_of_infinities() -> None:
    for nothing in ([], (), np.empty(0), [None], [NAN, None]):
        assert math.isnan(signals.mean_logprob(nothing))
    assert signals.mean_logprob(np.empty((0, 3))).shape == (0,)
    assert np.isnan(signals.mean_logprob(np.empty((2, 0)))).tolist() == [True, True]
    assert np.isnan(signals.mean_logprob([[], None, [-1.0]])).tolist() == [True, True, False]
    assert signals.mean_logprob([-INF, -1.0]) == -INF
    assert math.isnan(signals.mean_logprob([INF, -1.0]))
    assert math.isnan(signals.mean_logprob([INF, -INF]))


def test_mean_logprob_of_many_rows() -> None:
    values = -np.random.default_rng(3).random((3000, 400)).astype(np.float32)
    values[:, 300:] = np.nan
    np.testing.assert_allclose(signals.mean_logprob(values), np.nanmean(values.astype(float), axis=1), rtol=1e-13)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 2, 2)), "`logprobs` must have 1 or 2 dimensions, got 3"),
        (-1.5, "`logprobs` must have 1 or 2 dimensions, got 0"),
        (None, "`logprobs` must be an array of real numbers, got NoneType"),
        ("text", "`logprobs` must be real numbers, got dtype <U4"),
        (np.ones(3, bool), "`logprobs` must be real numbers, got dtype bool"),
        ([-1.0, "a"], "`logprobs` must be real numbers, got dtype"),
        ([-1.0, 1j], "`logprobs` must be real numbers, got dtype complex128"),
        ([[-1.0], ["a"]], "`logprobs[1]` must be real numbers, got dtype <U1"),
        ([[-1.0], -1.0], "`logprobs[1]` must have 1 dimension, got 0"),
        ([[[-1.0]], [-1.0]], "`logprobs[0]` must have 1 dimension, got 2"),
        ([[-1.0], Movable([1.0], 2)], "`logprobs[1]` must be in the memory of the CPU, got a Movable on CUDA"),
        ({"token": -1.0}, "`logprobs` must be an array of real numbers, got dict"),
    ],
)
def test_mean_logprob_refuses(value: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as caught:
        signals.mean_logprob(value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
