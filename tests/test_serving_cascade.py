from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from serving_policies import make_exits, policy_of, vectorised, walk, walked

Answer = tuple[int, float]
"""What a model says, and how sure it is."""


def lookups(trace: tt.Trace, calls: list[int]) -> list[Callable[[int], Answer]]:
    """Models that look up what the trace recorded for a request, and write down that they ran."""
    said = trace.prediction
    assert said is not None

    def model(stage: int) -> Callable[[int], Answer]:
        def answer(row: int) -> Answer:
            calls.append(stage)
            return int(said[row, stage]), float(trace.signal[row, stage])

        return answer

    return [model(stage) for stage in range(trace.k)]


def magnitude(x: float) -> float:
    """A model whose output is its signal."""
    return abs(x)


def signal_of(answer: Answer) -> float:
    return answer[1]


def prediction_of(answer: Answer) -> int:
    return answer[0]


def facts(served: tt.Served[Any]) -> tuple[Any, ...]:
    """All but the name of the request."""
    return walked(served.record), served.output, served.outcome, served.prediction, served.signal.tobytes()


def columns(table: tt.ServedBatch[Any]) -> list[list[Any]]:
    return [one.tolist() for one in (table.stage, table.cost, table.consulted, table.outcome)]


def test_one_by_one_and_in_batches_as_replayed(trace: tt.Trace, policy: tt.Policy) -> None:
    calls: list[int] = []
    cascade = tt.Cascade(policy, lookups(trace, calls), signal=signal_of, prediction=prediction_of)
    replay = policy.replay(trace.signal, trace.prediction)
    rows = range(200)
    singly = [cascade(row) for row in rows]
    assert len(calls) == sum(len(served.consulted) for served in singly)
    assert {served.outcome for served in singly} == {"stopped", "recalled"}
    for row, served in zip(rows, singly, strict=True):
        assert served.stage is not None
        assert served.stage == replay.answer[row]
        assert served.stage_name == policy.stages[served.stage]
        assert sorted(served.consulted) == np.flatnonzero(replay.consulted[row]).tolist()
        assert served.cost == replay.cost[row]
        assert served.output == lookups(trace, [])[served.stage](row)
        assert served.recalled == (served.consulted[-1] != served.stage)
        assert (served.digest, served.request_id) == (policy.digest, served.record.request_id)
    for xs in (list(rows), rows, np.arange(200), tuple(rows), deque(rows)):
        assert [facts(served) for served in cascade.batch(xs)] == [facts(served) for served in singly]
    empty = cascade.batch([])
    assert (len(empty), list(empty), empty.outputs, empty.consulted.shape) == (0, [], [], (0, trace.k))


def test_vectorised_stages_run_once_a_stage_on_a_line() -> None:
    policy = policy_of("exits")
    trace = make_exits()
    sizes: list[int] = []
    cascade = tt.Cascade(policy, vectorised(trace, sizes))
    table = cascade.batch(np.arange(100))
    assert len(sizes) <= trace.k
    assert sum(sizes) == table.consulted.sum()
    singly = [cascade(row) for row in range(100)]
    assert [facts(served) for served in table] == [facts(served) for served in singly]
    assert columns(table) == columns(cascade.batch(list(range(100))))
    assert [int(y) // trace.k for y in table.outputs if y is not None] == list(range(100))


def test_inputs_are_lists_arrays_or_columns() -> None:
    policy = policy_of("static")
    seen: list[Any] = []

    def batch(xs: Any) -> list[int]:
        seen.append(xs)
        return [0] * len(xs["ids"] if isinstance(xs, dict) else xs)

    def run(x: Any) -> int:
        seen.append(x)
        return 0

    def of(run: Any, batch: Any) -> tt.Cascade[Any, int]:
        def signal(y: Any) -> Any:
            return [1.0] * len(y) if isinstance(y, list) else 1.0

        return tt.Cascade(policy, [tt.Stage(run, batch=batch, signal=signal) for _ in policy.stages])

    table = {"ids": np.arange(6).reshape(3, 2), "mask": [True, False, True]}
    image = np.ones((2, 4, 4))
    vector = of(run, batch)
    vector.batch(image)
    assert seen.pop() is image
    vector.batch(table)
    assert set(seen[-1]) == {"ids", "mask"}
    assert seen[-1]["ids"] is table["ids"]
    assert seen.pop()["mask"] == [True, False, True]
    vector.batch(range(3))
    assert seen.pop() == [0, 1, 2]
    seen.clear()
    single = of(run, None)
    single.batch(table)
    assert [(x["ids"].tolist(), x["mask"]) for x in seen] == [([0, 1], True), ([2, 3], False), ([4, 5], True)]
    seen.clear()
    single.batch(image)
    assert [x.shape for x in seen] == [(4, 4), (4, 4)]


def test_rows_that_wait_are_taken_from_arrays_and_columns() -> None:
    trace, policy = make_exits(), policy_of("exits")
    plain = tt.Cascade(policy, lookups(trace, []), signal=signal_of, prediction=prediction_of)
    wanted = [facts(served) for served in plain.batch(range(100))]
    consulted = plain.batch(range(100)).consulted
    assert 0 < consulted[:, 1].sum() < 100
    seen: list[Any] = []

    def of(read: Callable[[Any], Any]) -> tt.Cascade[Any, Any]:
        def stage(v: int) -> tt.Stage[Any, Any]:
            def batch(xs: Any) -> list[Answer]:
                seen.append(xs)
                return [lookups(trace, [])[v](int(row)) for row in read(xs)]

            return tt.Stage(
                lambda x: None,
                batch=batch,
                signal=lambda ys: [y[1] for y in ys],
                prediction=lambda ys: [y[0] for y in ys],
            )

        return tt.Cascade(policy, [stage(v) for v in range(4)])

    rows = np.arange(100)
    for xs, read in (
        (rows, lambda xs: xs),
        (rows.tolist(), lambda xs: xs),
        ({"row": rows, "text": [""] * 100}, lambda xs: xs["row"]),
    ):
        assert [facts(served) for served in of(read).batch(xs)] == wanted
        assert type(seen[-1]) is type(xs)


@pytest.mark.parametrize(
    "words",
    [
        ["cat", "dog", None, ("a", 1), 2**80, -1, 3.5, True],
        [0, 2**61 - 1, None],
        [0.25, 0.5, 0.75],
        [(0, 1), (0, 2), (1, 1)],
        [np.uint64(2**64 - 1), np.uint64(7)],
        [np.int8(1), 1, True],
        [0, -1, -2],
    ],
    ids=str,
)
def test_predictions_are_any_hashable(words: list[Any]) -> None:
    policy = policy_of("coin")
    rng = np.random.default_rng(0)
    signal = rng.random((200, 4))
    said = [[words[i] for i in row] for row in rng.integers(0, len(words), (200, 4))]

    def model(v: int) -> Callable[[int], tuple[int, int]]:
        return lambda x: (x, v)

    cascade = tt.Cascade(
        policy, [model(v) for v in range(4)], signal=lambda y: signal[y], prediction=lambda y: said[y[0]][y[1]]
    )
    table = cascade.batch(range(200))
    assert [walked(served.record) for served in table] == [walk(policy, *one) for one in zip(signal, said, strict=True)]
    assert [facts(served) for served in table] == [facts(cascade(row)) for row in range(200)]
    assert [facts(cascade.batch([row])[0]) for row in range(20)] == [facts(table[row]) for row in range(20)]


@pytest.mark.parametrize("dtype", ["uint64", "uint8", "int16", "bool", "float32", "U2", "object"])
def test_predictions_are_arrays_of_any_kind(dtype: str) -> None:
    policy = policy_of("coin")
    rng = np.random.default_rng(0)
    signal, said = rng.random((200, 4)), rng.integers(0, 3, (200, 4)).astype(dtype)

    def stage(v: int) -> tt.Stage[int, Any]:
        return tt.Stage(
            lambda x: x, batch=lambda xs: xs, signal=lambda y: signal[y, v], prediction=lambda y: said[y, v]
        )

    table = tt.Cascade(policy, [stage(v) for v in range(4)]).batch(np.arange(200))
    wanted = [walk(policy, *one) for one in zip(signal, said.tolist(), strict=True)]
    assert [walked(served.record) for served in table] == wanted
    singly = [tt.Cascade(policy, [stage(v) for v in range(4)]).batch(np.array([row]))[0] for row in range(20)]
    assert [walked(served.record) for served in singly] == wanted[:20]
    assert [repr(served.prediction) for served in singly] == [repr(table[row].prediction) for row in range(20)]


def test_a_default_is_no_output() -> None:
    nothing = tt.Cascade(policy_of("nothing"), [magnitude, magnitude], signal=float)
    served = nothing(-1)
    assert (served.output, served.stage, served.stage_name, served.consulted) == (None, None, None, ())
    assert (served.outcome, served.recalled, served.cost, served.expected_loss) == ("abstained", False, 0.0, 0.001)
    table = nothing.batch([-1, 0])
    assert columns(table) == [[-1, -1], [0.0, 0.0], [[False, False]] * 2, ["abstained"] * 2]
    assert [facts(one) for one in table] == [facts(served)] * 2

    # A state of 1 is hopeless at this policy's first stage and its second: it abstains after having looked.
    looking = tt.Cascade(policy_of("default"), [magnitude, magnitude], signal=float)
    served = looking(1)
    assert (served.output, served.stage, served.outcome) == (None, None, "abstained")
    assert served.consulted
    assert served.cost > 0.0
    assert looking(0).output == 0
    assert looking.batch([1, 0, 1]).outputs == [None, 0, None]


def test_results_are_frozen() -> None:
    table = tt.Cascade(policy_of("static"), [magnitude] * 4, signal=float).batch([1.0, 2.0])
    for column in (table.stage, table.cost, table.consulted, table.outcome):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[0]
    for name in ("output", "stage", "cost"):
        with pytest.raises(AttributeError):
            setattr(table[0], name, 1)
    with pytest.raises(AttributeError):
        table.cost = None  # type: ignore[misc, assignment]
    again = pickle.loads(pickle.dumps(table))
    assert columns(again) == columns(table)
    assert [one.record for one in again] == [one.record for one in table]
    served = pickle.loads(pickle.dumps(table[1]))
    assert (served.output, served.record) == (2.0, table[1].record)
    first, second = pickle.loads(pickle.dumps(list(table)))
    assert (first.record, second.record, second.output) == (table[0].record, table[1].record, 2.0)
    assert repr(table) == f"ServedBatch(n=2, stages={policy_of('static').stages})"
    assert repr(served).startswith("Served(output=2.0, stage='stage ")
    with pytest.raises(IndexError, match="row must be from -2 to 1, got 2"):
        table[2]
    with pytest.raises(IndexError, match="got -3"):
        table[-3]
    with pytest.raises(TypeError):
        table["a"]  # type: ignore[index]


@pytest.mark.parametrize("listed", [False, True])
def test_buffers_that_a_stage_uses_again_are_copied(listed: bool) -> None:
    trace, policy = make_exits(), policy_of("exits")
    fresh = tt.Cascade(policy, vectorised(trace, []))
    signals, said, words = np.empty(100), np.empty(100, np.int64), list[Any]()

    def reusing(stage: tt.Stage[int, Any]) -> tt.Stage[int, Any]:
        def signal(y: Any) -> Any:
            signals[: len(y)] = stage.signal(y)
            return signals[: len(y)]

        def prediction(y: Any) -> Any:
            assert stage.prediction is not None
            said[: len(y)] = stage.prediction(y)
            words[:] = said[: len(y)].tolist()
            return words if listed else said[: len(y)]

        return tt.Stage(stage.run, batch=stage.batch, signal=signal, prediction=prediction)

    table = tt.Cascade(policy, [reusing(stage) for stage in fresh.stages]).batch(np.arange(100))
    assert [facts(one) for one in table] == [facts(one) for one in fresh.batch(np.arange(100))]


def refused(message: str) -> Any:
    return pytest.raises(tt.ValidationError, match=f"^{message}$")


def test_stages_that_are_not_the_policy_s() -> None:
    trace = tt.Trace(np.eye(2), np.eye(2), [1.0, 2.0], stages=["small", "large"])
    policy = tt.baselines.static(trace, tradeoff=0.9)
    small, large = (tt.Stage(magnitude, signal=float, name=name) for name in ("small", "large"))
    unnamed, huge = (tt.Stage(magnitude, signal=float, name=name) for name in (None, "huge"))
    mixed: list[tt.Stage[float, float] | Callable[[float], float]] = [small, magnitude]
    assert tt.Cascade(policy, [small, large]).stages == (small, large)
    assert tt.Cascade(policy, (unnamed, large)).stages[1] is large
    assert tt.Cascade(policy, mixed, signal=float).stages[1].run is magnitude
    wrong = r"`stages` must have the stages \['small', 'large'\], got "
    assert tt.Cascade(policy, [large, small]).stages == (small, large)
    with refused(wrong + r"\['\(no name\)', 'huge'\]"):
        tt.Cascade(policy, [unnamed, huge])
    with refused(wrong + r"\['small'\]"):
        tt.Cascade(policy, [small])
    with refused(wrong + r"\['\(no name\)', '\(no name\)', '\(no name\)'\]"):
        tt.Cascade(policy, [magnitude] * 3, signal=float)
    with refused("`policy` must be a Policy, a PolicySlot or a BudgetGovernor, got Trace"):
        tt.Cascade(trace, [small, large])  # type: ignore[arg-type]
    with refused("`stages` must be a sequence or mapping of Stage or callables, got Stage"):
        tt.Cascade(policy, small)  # type: ignore[arg-type]
    with refused("`stages` entry 1 must be a Stage or callable, got int"):
        tt.Cascade(policy, [small, 7])  # type: ignore[arg-type]
    with refused("`signal` must be given, since `stages` entry 1 is a plain callable"):
        tt.Cascade(policy, mixed)
    for argument in ("signal", "prediction"):
        with refused(f"`{argument}` must be left out where every entry of `stages` is a Stage"):
            tt.Cascade(policy, [small, large], **{argument: float})  # type: ignore[arg-type]


def test_a_stage_is_made_of_callables() -> None:
    with refused("`run` must be callable, got int"):
        tt.Stage(1, signal=float)  # type: ignore[call-overload]
    with refused("`signal` must be callable, got NoneType"):
        tt.Stage(abs, signal=None)  # type: ignore[call-overload]
    with refused("`prediction` must be callable or None, got str"):
        tt.Stage(abs, signal=float, prediction="argmax")  # type: ignore[call-overload]
    with refused("`batch` must be callable or None, got bool"):
        tt.Stage(abs, signal=float, batch=True)  # type: ignore[call-overload]
    with refused("`name` must be a string or None, got int"):
        tt.Stage(abs, signal=float, name=0)  # type: ignore[call-overload]
