"""What a cascade takes as a batch and from its stages, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from serving_policies import make_exits, policy_of, vectorised, walk, walked

pyarrow: Any = pytest.importorskip("pyarrow")


class Labelled:
    """A labelled column: its rows are looked up by label, and it iterates over something else."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, label: int) -> Any:
        return self.values[-1 - label]

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.asarray(self.values)


class Tensor:
    """A tensor on a device that numpy cannot read."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __dlpack__(self) -> None:
        raise BufferError

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("on another device")

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return (Tensor(value) for value in self.values)

    def __float__(self) -> float:
        return float(self.values)

    def item(self) -> Any:
        return self.values.item()


MASKED: Any = np.ma.array([0.5, 0.9], mask=[True, True])


@pytest.mark.parametrize(
    ("outputs", "signal", "prediction", "message"),
    [
        ([1], None, None, "`batch` of {} must return 2 outputs, got 1"),
        (np.ones((3, 2)), None, None, "`batch` of {} must return 2 outputs, got 3"),
        (np.array(1.0), None, None, "`batch` of {} must return a list or an array of 2 outputs, got ndarray"),
        (None, None, None, "`batch` of {} must return a list or an array of 2 outputs, got NoneType"),
        ("no", None, None, "`batch` of {} must return a list or an array of 2 outputs, got str"),
        ({"a": 1, "b": 2}, None, None, "`batch` of {} must return a list or an array of 2 outputs, got dict"),
        ({1, 2}, None, None, "`batch` of {} must return a list or an array of 2 outputs, got set"),
        ([1, 2], [0.5], None, "`signal` of {} must return 2 numbers, got 1"),
        ([1, 2], 0.5, None, "`signal` of {} must return a list or an array of 2 numbers, got float"),
        ([1, 2], [[0.5], [0.5]], None, "`signal` of {} must return 2 numbers, got an array of shape (2, 1)"),
        ([1, 2], None, None, "`signal` of {} must return a list or an array of 2 numbers, got NoneType"),
        ([1, 2], ["0.5", 0.5], None, "`signal` of {} must return numbers, got '0.5' at row 0"),
        ([1, 2], [None, "high"], None, "`signal` of {} must return numbers, got 'high' at row 1"),
        ([1, 2], [[0.5], [0.5, 1]], None, "`signal` of {} must return numbers, got [0.5] at row 0"),
        ([1, 2], [0.5, 1j], None, "`signal` of {} must return numbers, got 1j at row 1"),
        ([1, 2], [0.5, 0.5], ["cat"], "`prediction` of {} must return 2 predictions, got 1"),
        ([1, 2], [0.5, 0.5], 3, "`prediction` of {} must return a list or an array of 2 predictions, got int"),
        ([1, 2], [0.5, 0.5], np.eye(2), "`prediction` of {} must return 2 predictions, got an array of shape (2, 2)"),
        (Labelled([7, 8]), None, None, "`batch` of {} must return a list or an array of 2 outputs, got Labelled"),
        ([1, 2], {0.5, 0.6}, None, "`signal` of {} must return a list or an array of 2 numbers, got set"),
        ([1, 2], {0: 1, 1: 2}, None, "`signal` of {} must return a list or an array of 2 numbers, got dict"),
        ([1, 2], Labelled([1, 2]), None, "`signal` of {} must return a list or an array of 2 numbers, got Labelled"),
        (
            [1, 2],
            np.array([1j, 1]),
            None,
            "`signal` of {} must return a list or an array of 2 numbers, got an array of complex128",
        ),
        (
            [1, 2],
            np.zeros(2, "M8[D]"),
            None,
            "`signal` of {} must return a list or an array of 2 numbers, got an array of datetime64[D]",
        ),
        ([1, 2], [0.5, np.timedelta64(1)], None, "`signal` of {} must return numbers, got {span} at row 1"),
        ([1, 2], [0.5, 0.5], {1, 2}, "`prediction` of {} must return a list or an array of 2 predictions, got set"),
        (
            [1, 2],
            [0.5, 0.5],
            np.zeros(2, "V8"),
            "`prediction` of {} must return a list or an array of 2 predictions, got an array of |V8",
        ),
        ([1, 2], [0.5, 0.5], [0, [1]], "`prediction` of {} row 1 must be hashable, got list"),
    ],
)
def test_a_batch_of_the_wrong_size_or_kind(outputs: Any, signal: Any, prediction: Any, message: str) -> None:
    trace = tt.Trace(np.eye(2), np.eye(2), [1.0, 2.0], stages=["small", "large"])
    policy = tt.baselines.static(trace, tradeoff=0.0)
    asked = policy.start().next
    assert asked is not None
    say = (lambda y: prediction) if prediction is not None else None
    stage: tt.Stage[Any, Any] = tt.Stage(abs, batch=lambda xs: outputs, signal=lambda y: signal, prediction=say)
    with pytest.raises(tt.ValidationError) as caught:
        tt.Cascade(policy, [stage, stage]).batch([1, 2])
    assert str(caught.value) == message.format(
        f"stage {asked} ({policy.stages[asked]!r})", span=repr(np.timedelta64(1))
    )


@pytest.mark.parametrize(
    "nothing",
    [[None, None], np.full(2, np.nan), [10**400, None], np.array([None, None]), MASKED, [None, np.ma.masked]],
)
def test_signals_that_say_nothing(nothing: Any) -> None:
    policy = policy_of("exits")
    stage: tt.Stage[Any, Any] = tt.Stage(abs, batch=lambda xs: [1, 2], signal=lambda y: nothing)
    table = tt.Cascade(policy, [stage] * 4).batch([1, 2])
    assert [walked(one.record) for one in table] == [walk(policy, [None] * 4, [None] * 4)] * 2
    assert np.isnan(table[0].signal).all()


@pytest.mark.parametrize(
    ("xs", "message"),
    [
        ("text", "`xs` must be a list, an array or a dict of arrays, got str"),
        ({1, 2}, "`xs` must be a list, an array or a dict of arrays, got set"),
        (iter([1]), "`xs` must be a list, an array or a dict of arrays, got list_iterator"),
        (np.array(1.0), "`xs` must be a list, an array or a dict of arrays, got ndarray"),
        ({}, "`xs` must have columns, all of one length, got {}"),
        ({"a": [1], "b": [1, 2]}, "`xs` must have columns, all of one length, got {'a': 1, 'b': 2}"),
        (Labelled([1, 2]), "`xs` must be a list, an array or a dict of arrays, got Labelled"),
        (pyarrow.table({"a": [1, 2]}), "`xs` must be a list, an array or a dict of arrays, got Table"),
        ({"a": Labelled([1, 2])}, "`xs` column 'a' must be an array or a list, got Labelled"),
        ({"a": {"b": [1]}}, "`xs` column 'a' must be an array or a list, got dict"),
    ],
)
def test_inputs_without_rows(xs: Any, message: str) -> None:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy_of("static"), [abs] * 4, signal=float)
    with pytest.raises(tt.ValidationError) as caught:
        cascade.batch(xs)
    assert str(caught.value) == message


def test_tensors_are_read_value_by_value() -> None:
    trace, policy = make_exits(), policy_of("exits")
    plain = tt.Cascade(policy, vectorised(trace, []))

    def on_a_device(stage: tt.Stage[int, Any]) -> tt.Stage[Any, Any]:
        say = stage.prediction
        assert stage.batch is not None
        assert say is not None
        batch = stage.batch
        return tt.Stage(
            lambda x: None,
            batch=lambda xs: Tensor(batch(np.array([x.item() for x in xs]))),
            signal=lambda y: Tensor(stage.signal(y.values)),
            prediction=lambda y: Tensor(say(y.values)),
        )

    table = tt.Cascade(policy, [on_a_device(stage) for stage in plain.stages]).batch(Tensor(np.arange(100)))
    wanted = plain.batch(np.arange(100))
    assert [one.record.steps for one in table] == [one.record.steps for one in wanted]
    assert [one.item() for one in table.outputs if one is not None] == wanted.outputs


def test_masked_predictions_are_none() -> None:
    policy = policy_of("coin")
    said = np.ma.array([3, 3], mask=[False, True])
    stage: tt.Stage[Any, Any] = tt.Stage(
        abs, batch=lambda xs: xs, signal=lambda y: np.full(len(y), 0.5), prediction=lambda y: said[y]
    )
    table = tt.Cascade(policy, [stage] * 4).batch(np.arange(2))
    assert [walked(one.record) for one in table] == [walk(policy, [0.5] * 4, [one] * 4) for one in (3, None)]


@pytest.mark.parametrize(
    ("signal", "prediction", "message"),
    [
        ("0.5", 1, "`signal` of {} must return a number, got '0.5'"),
        (np.complex128(1j), 1, "`signal` of {} must return a number, got {complex}"),
        ([0.5], 1, "`signal` of {} must return a number, got [0.5]"),
        (np.ones((2, 1)), 1, "`signal` of {} must return a number, got array([[1.], [1.]])"),
        (0.5, [1], "`prediction` of {} must return a hashable, got [1]"),
        (0.5, {"a": 1}, "`prediction` of {} must return a hashable, got {{'a': 1}}"),
    ],
)
def test_one_answer_of_the_wrong_kind(signal: Any, prediction: Any, message: str) -> None:
    policy = policy_of("exits")
    cascade: tt.Cascade[Any, Any] = tt.Cascade(
        policy, [abs] * 4, signal=lambda y: signal, prediction=lambda y: prediction
    )
    with pytest.raises(tt.ValidationError) as caught:
        cascade(1.0)
    assert str(caught.value) == message.format(f"stage 0 ({policy.stages[0]!r})", complex=repr(np.complex128(1j)))


def test_what_signal_and_prediction_raise_fails_the_stage() -> None:
    def broken(_y: float) -> float:
        raise TypeError("not that one")

    for readers in ({"signal": broken}, {"signal": float, "prediction": broken}):
        cascade: tt.Cascade[Any, Any] = tt.Cascade(policy_of("exits"), [abs] * 4, **readers)
        with pytest.raises(tt.NoAnswerError, match="TypeError: not that one"):
            cascade(1.0)
