from __future__ import annotations

import copy
import json
import math
import pickle
import threading
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace

STAGES = ["stage 0", "stage 1", "stage 2", "stage 3"]


def gathered(trace: tt.Trace, capacity: int | None, source: str, batch: int = 700, seed: int = 0) -> tt.TraceBuilder:
    builder = tt.TraceBuilder(trace.stages, trace.kind, capacity=capacity, source=source, seed=seed)
    for start in range(0, trace.n, batch):
        part = trace[start : start + batch]
        builder.append(part.signal, part.loss, part.cost, part.prediction)
    return builder


def varying_cost(trace: tt.Trace, seed: int = 0) -> tt.Trace:
    cost = trace.cost * np.random.default_rng(seed).exponential(size=(trace.n, trace.k))
    return tt.Trace(trace.signal, trace.loss, cost, trace.prediction, kind=trace.kind, stages=trace.stages)


@pytest.mark.parametrize("capacity", [None, 2000, 5000])
@pytest.mark.parametrize("predictions", [True, False])
def test_within_the_capacity_it_is_the_plain_trace(capacity: int | None, predictions: bool) -> None:
    trace = make_trace(predictions=predictions)
    assert gathered(trace, capacity, "a").build().digest == trace.digest
    costly = varying_cost(trace)
    assert gathered(costly, capacity, "a").build().digest == costly.digest


def test_merged_builders_are_the_traces_one_after_the_other() -> None:
    trace = make_trace()
    one, two = gathered(trace[:900], None, "a"), gathered(trace[900:], None, "b")
    assert one.merge(two).build().digest == two.merge(one).build().digest == trace.digest


def test_any_order_and_grouping_of_merges_gives_the_same() -> None:
    trace = varying_cost(make_trace(n=4000))
    parts = [gathered(trace[i::4], 300, f"machine {i}", batch=50 + 37 * i) for i in range(4)]
    results = set()
    means = set()
    for order in permutations(parts):
        for merged in (order[0].merge(*order[1:]), order[0].merge(order[1]).merge(order[2].merge(order[3]))):
            built = merged.build()
            assert built.n == 300
            results.add(built.digest)
            means.add((tuple(merged.mean_loss), tuple(merged.mean_cost)))
    assert len(results) == len(means) == 1
    assert parts[0].n == 1000
    assert merged.sources == {f"machine {i}": 1000 for i in range(4)}


def test_batches_do_not_matter_and_seeds_do() -> None:
    trace = make_trace(n=5000)
    assert gathered(trace, 400, "a", 10).build().digest == gathered(trace, 400, "a", 5000).build().digest
    assert gathered(trace, 400, "a").build().digest != gathered(trace, 400, "a", seed=1).build().digest
    assert gathered(trace, 400, "a").build().digest != gathered(trace, 400, "b").build().digest


def test_the_sample_is_uniform() -> None:
    n, capacity, draws = 60, 15, 3000
    number = np.arange(n, dtype=np.float64)[:, None]
    count, pairs = np.zeros(n), 0
    for seed in range(draws):
        builders = [tt.TraceBuilder(["only"], capacity=capacity, source=source, seed=seed) for source in "ab"]
        builders[0].append(number[:40], number[:40], [1.0])
        builders[1].append(number[40:], number[40:], [1.0])
        kept = builders[0].merge(builders[1]).build().signal.astype(int).ravel()
        count[kept] += 1
        pairs += 7 in kept and 50 in kept
    share = capacity / n
    scale = math.sqrt(draws * share * (1.0 - share))
    z = (count - draws * share) / scale
    assert np.abs(z).max() < 4.5
    assert 0.6 < z.std() < 1.4
    both = share * (capacity - 1) / (n - 1)
    assert abs(pairs - draws * both) < 4.5 * math.sqrt(draws * both)


def test_equal_rows_are_sampled_like_others() -> None:
    """Priorities are not hashes of the content: half the rows are all the same."""
    signal = np.concatenate([np.zeros(5000), np.random.default_rng(0).random(5000)])[:, None]
    builder = tt.TraceBuilder(["only"], capacity=1000)
    builder.append(signal, signal, [1.0])
    assert abs((builder.build().signal == 0.0).sum() - 500) < 100


@given(st.lists(st.floats(0.0, 1e300, allow_subnormal=True), min_size=1, max_size=40), st.integers(1, 7))
def test_means_are_exact(values: list[float], batch: int) -> None:
    column = np.array(values)[:, None]
    builder = tt.TraceBuilder(["only"], capacity=2)
    for start in range(0, len(values), batch):
        part = column[start : start + batch]
        builder.append(part, part, part)
    exact = float(sum(map(Fraction, values), Fraction(0)) / len(values))
    assert builder.mean_loss.tolist() == builder.mean_cost.tolist() == [exact]
    constant = tt.TraceBuilder(["only"])
    constant.append(column, column, [values[0]])
    assert constant.mean_cost.tolist() == [values[0]]


def test_written_and_read_it_goes_on_where_it_was(tmp_path: Path) -> None:
    trace = varying_cost(make_trace(n=3000))
    half = gathered(trace[:1500], 200, "a")
    half.save(tmp_path / "half.npz")
    again = tt.TraceBuilder.load(tmp_path / "half.npz")
    rest = trace[1500:]
    again.append(rest.signal, rest.loss, rest.cost, rest.prediction)
    whole = gathered(trace, 200, "a")
    assert again.build().digest == whole.build().digest
    assert again.mean_loss.tolist() == whole.mean_loss.tolist()
    assert again.mean_cost.tolist() == whole.mean_cost.tolist()
    other = gathered(trace, 200, "b")
    other.save(tmp_path / "other.npz")
    merged = again.merge(tt.TraceBuilder.load(tmp_path / "other.npz"))
    assert merged.build().digest == other.merge(whole).build().digest
    merged.save(tmp_path / "merged.npz")
    assert tt.TraceBuilder.load(tmp_path / "merged.npz").build().digest == merged.build().digest


def test_nothing_yet(tmp_path: Path) -> None:
    empty = tt.TraceBuilder(STAGES, "models")
    assert len(empty) == 0
    assert np.isnan(empty.mean_loss).all()
    with pytest.raises(tt.ValidationError, match="nothing has been appended"):
        empty.build()
    empty.save(tmp_path / "empty.npz")
    trace = make_trace()
    full = gathered(trace, None, "a")
    for merged in (empty.merge(full), full.merge(tt.TraceBuilder.load(tmp_path / "empty.npz"))):
        assert merged.build().digest == trace.digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": []}, "`stages` must be a sequence of at least one name, got []"),
        ({"stages": "small"}, "`stages` must be a sequence of at least one name, got 'small'"),
        ({"stages": ["a", "a"]}, "`stages` entry 1 must differ from the others, got 'a' again"),
        ({"kind": "line"}, "`kind` must be 'exits' or 'models', got 'line'"),
        ({"capacity": 0}, "`capacity` must be an integer of at least 1, got 0"),
        ({"source": 3}, "`source` must be a string, got int"),
        ({"seed": -1}, "`seed` must be an integer in [0, 2**64), got -1"),
    ],
)
def test_builders_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.TraceBuilder(**({"stages": STAGES} | arguments))
    assert str(raised.value) == message


def test_batches_that_are_refused_leave_no_trace() -> None:
    trace = make_trace()
    builder = gathered(trace, None, "a")
    with pytest.raises(tt.ValidationError, match="`loss` row 0 column 0 must be finite and at least 0, got -1"):
        builder.append(trace.signal, trace.loss - 1.0, trace.cost, trace.prediction)
    with pytest.raises(tt.ValidationError, match="`prediction` must be in all batches or in none"):
        builder.append(trace.signal, trace.loss, trace.cost)
    with pytest.raises(tt.ValidationError, match=r"`signal` must have shape \(m, 4\), got \(2000, 3\)"):
        builder.append(trace.signal[:, :3], trace.loss[:, :3], trace.cost[:3])
    assert builder.build().digest == trace.digest


def test_merges_that_are_refused() -> None:
    trace = make_trace()
    builder = gathered(trace, 50, "a")
    for other, message in [
        (gathered(trace, 50, "a"), "entry 0 must have sources of its own, got 'a' again"),
        (gathered(trace, 60, "b"), "entry 0 must have the capacity 50, got 60"),
        (gathered(trace, 50, "b", seed=1), "entry 0 must have the seed 0, got 1"),
        (gathered(make_trace(k=3), 50, "b"), "entry 0 must have the stages"),
        (gathered(make_trace(kind="exits"), 50, "b"), "entry 0 must have the kind 'models', got 'exits'"),
        (gathered(make_trace(predictions=False), 50, "b"), "entry 0 must have predictions exactly if"),
        (trace, "entry 0 must be a TraceBuilder, got Trace"),
    ]:
        with pytest.raises(tt.ValidationError, match=message):
            builder.merge(other)  # type: ignore[arg-type]


def test_merges_that_are_refused_say_in_one_line_what_does_not_fit() -> None:
    def holding(source: str, **given: Any) -> tt.TraceBuilder:
        return gathered(make_trace(n=20, **given), None, source)

    first, like, plain = holding("a", k=2), holding("b", k=2), holding("c", k=2, predictions=False)
    renamed = tt.TraceBuilder(["small", "large"], "models", source="d")
    for builder, others, message in [
        (first, [like, renamed], "entry 1 must have the stages ('stage 0', 'stage 1'), got ('small', 'large')"),
        (
            first,
            [holding("d", k=3)],
            "entry 0 must have the stages ('stage 0', 'stage 1'), got ('stage 0', 'stage 1', ",
        ),
        (first, [holding("d", k=2, kind="exits")], "entry 0 must have the kind 'models', got 'exits'"),
        (first, [plain], "entry 0 must have predictions exactly if the builders before it have, got one without"),
        (plain, [like], "entry 0 must have predictions exactly if the builders before it have, got one with"),
        (tt.TraceBuilder(first.stages, "models"), [like, plain], "entry 1 must have predictions exactly if "),
        (
            first,
            [like, like],
            "entry 1 must have sources of its own, got 'b' again: give ",
        ),
        (first, [first], "entry 0 must have sources of its own, got 'a' again: give "),
    ]:
        with pytest.raises(tt.ValidationError) as raised:
            builder.merge(*others)
        assert str(raised.value).startswith(f"`others` {message}")
        assert "\n" not in str(raised.value)
    assert (first.n, like.n, plain.n) == (20, 20, 20)
    assert first.merge(like).n == 40


def test_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    with pytest.raises(FileNotFoundError, match=r"trace\.npz"):
        tt.TraceBuilder.load(path)
    make_trace().save(path)
    with pytest.raises(tt.TraceFormatError, match=r"cannot read .* as a trace builder"):
        tt.TraceBuilder.load(path)
    builder = gathered(make_trace(), 50, "a")
    with pytest.raises(tt.ValidationError, match=r"`path` must end in \.npz"):
        builder.save(tmp_path / "builder.csv")
    with pytest.raises(FileNotFoundError, match=r"builder\.npz"):
        builder.save(tmp_path / "absent" / "builder.npz")
    builder.save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(tt.TraceFormatError, match="cannot read"):
        tt.TraceBuilder.load(path)


def parts_of(trace: tt.Trace) -> tuple[Any, ...]:
    return trace.signal, trace.loss, trace.cost, trace.prediction, trace.weight, trace.latency, trace.group


def full_trace(n: int = 400) -> tt.Trace:
    """With predictions, weights, latencies and groups."""
    rng = np.random.default_rng(5)
    trace = make_trace(n=n)
    return tt.Trace(
        *(trace.signal, trace.loss, trace.cost, trace.prediction, trace.kind, trace.stages),
        weight=rng.integers(1, 4, n),
        latency=np.where(rng.random(trace.signal.shape) < 0.1, math.nan, rng.random(trace.signal.shape)),
        group=rng.integers(0, 50, n),
    )


def test_weights_latencies_and_groups_are_carried_through(tmp_path: Path) -> None:
    trace = full_trace()
    builder = tt.TraceBuilder(trace.stages, trace.kind)
    for start in range(0, trace.n, 90):
        builder.append(*parts_of(trace[start : start + 90]))
    assert builder.build().digest == trace.digest
    assert builder.mean_loss == pytest.approx(trace.mean_loss)
    assert builder.mean_cost.tolist() == pytest.approx(trace.mean_cost)
    builder.save(tmp_path / "b.npz")
    for again in (tt.TraceBuilder.load(tmp_path / "b.npz"), pickle.loads(pickle.dumps(builder)), copy.copy(builder)):
        assert again.build().digest == trace.digest
        assert again.mean_loss.tolist() == builder.mean_loss.tolist()
        again.append(*parts_of(trace))
        assert (again.n, builder.n) == (800, 400)
    other = tt.TraceBuilder(trace.stages, trace.kind, source="other")
    *head, weight, latency, group = parts_of(trace)
    for parts, name, column in (
        ([*head, None, latency, group], "weight", "weights"),
        ([*head, weight, None, group], "latency", "latencies"),
        ([*head, weight, latency, None], "group", "groups"),
        (parts_of(make_trace()), "weight", "weights"),
    ):
        other = tt.TraceBuilder(trace.stages, trace.kind, source="other")
        other.append(*parts)
        with pytest.raises(tt.ValidationError, match=f"must have {column} exactly if the builders before it have"):
            builder.merge(other)
        message = f"`{name}` must be in all batches or in none: the batches before have {column}"
        with pytest.raises(tt.ValidationError, match=message):
            builder.append(*parts)


def test_records_give_latencies() -> None:
    builder = tt.TraceBuilder(["small", "large"], "models")
    for seconds in ([0.5, 2.0], [math.nan, 3.0]):
        record = tt.Record(
            request_id="", digest="", stages=builder.stages, consulted=[0, 1], signal=[0.4, 0.2], answer=0, cost=5.0,
            expected_loss=0.3, seconds=seconds,
        )  # fmt: skip
        assert record.seconds is not None
        builder.append([record.signal], [[0.0, 1.0]], [1.0, 4.0], latency=[record.seconds])
    trace = builder.build()
    np.testing.assert_array_equal(trace.latency, [[0.5, 2.0], [math.nan, 3.0]])
    assert trace.expected_latency is not None
    assert trace.expected_latency.tolist() == [0.5, 2.0]


def test_groups_of_texts_are_the_same_everywhere() -> None:
    builders = [tt.TraceBuilder(["only"], source=source) for source in "ab"]
    builders[0].append([[0.1], [0.2], [0.3]], [[0], [1], [0]], [1.0], group=["x", "y", "x"])
    builders[1].append(np.array([[0.4], [0.5]]), np.zeros((2, 1)), [1.0], group=np.array(["y", "z"]))
    group = builders[0].merge(builders[1]).build().group
    assert group is not None
    assert [group.tolist().index(number) for number in group.tolist()] == [0, 1, 0, 1, 4]
    for wrong, message in [
        ([None], "`group` row 0 must be an integer or a text, got None"),
        ([1.5], "`group` row 0 must be an integer or a text, got 1.5"),
        ([2**63], "`group` row 0 must fit in 64 bits, got 9223372036854775808"),
        ("x", "`group` must be an array or a sequence of m values, got str"),
        (["x", "y"], "`group` must have shape (1,), got (2,)"),
    ]:
        with pytest.raises(tt.ValidationError) as raised:
            builders[0].append([[0.1]], [[0]], [1.0], group=wrong)  # type: ignore[arg-type]
        assert str(raised.value) == message


def test_lists_and_arrays_of_all_kinds_are_the_same() -> None:
    trace = make_trace(n=50)
    assert trace.prediction is not None
    whole = gathered(trace, None, "a")
    lists, tuples, columns = (tt.TraceBuilder(trace.stages, trace.kind, source="a") for _ in range(3))
    cost = trace.cost.tolist()
    for signal, loss, said in zip(trace.signal.tolist(), trace.loss.tolist(), trace.prediction.tolist(), strict=True):
        lists.append([signal], [[bool(x) for x in loss]], cost, [said])
        tuples.append([tuple(signal)], [loss], tuple(cost), np.array([said], np.int16))
    columns.append(np.asfortranarray(trace.signal), trace.loss > 0.0, [cost] * 50, np.asfortranarray(trace.prediction))
    for builder in (lists, tuples, columns):
        assert builder.build().digest == whole.build().digest
        assert builder.mean_loss.tolist() == whole.mean_loss.tolist()


@pytest.mark.parametrize("empty", [np.empty((0, 4)), [], np.empty((0, 4), np.float32)])
def test_empty_batches_add_nothing(empty: Any) -> None:
    builder = tt.TraceBuilder(STAGES, "models")
    builder.append(empty, empty, [1.0, 2.0, 4.0, 8.0])
    trace = make_trace()
    builder.append(trace.signal, trace.loss, trace.cost, trace.prediction)
    # An empty batch has no columns that could differ.
    builder.append(empty, empty, [1.0, 2.0, 4.0, 8.0])
    assert builder.build().digest == trace.digest


def test_shapes_that_are_refused() -> None:
    builder = tt.TraceBuilder(["a", "b"])
    row: list[Any] = [[0.5, 0.6]]
    for arguments, message in [
        (([0.5, 0.6], row, [1, 2]), "`signal` must have shape (m, 2), got (2,)"),
        ((row, [[0, 1], [0, 1]], [1, 2]), "`loss` must have shape (1, 2), got (2, 2)"),
        ((row, row, [1, 2, 3]), "`cost` must have shape (2,) or (1, 2), got (3,)"),
        ((row, row, [1, 2], [[1]]), "`prediction` must have shape (1, 2), got (1, 1)"),
        ((row, row, [1, 2], None, [1.0, 2.0]), "`weight` must have shape (1,), got (2,)"),
        ((row, row, [1, math.nan]), "`cost` entry 1 must be finite and at least 0, got nan"),
        ((row * 2, row * 2, [[1, 2], [1, -2]]), "`cost` row 1 column 1 must be finite and at least 0, got -2.0"),
        ((row, row, [1, 2], None, [math.inf]), "`weight` entry 0 must be finite and at least 0, got inf"),
        ((row, row, [1, 2], None, None, [0.1]), "`latency` must have shape (1, 2), got (1,)"),
        (
            (row * 2, row * 2, [1, 2], None, None, [[0.1, math.nan], [math.inf, -1.0]]),
            "`latency[1, 0]` must be finite and at least 0, or NaN, got inf",
        ),
    ]:
        with pytest.raises(tt.ValidationError) as raised:
            builder.append(*arguments)  # type: ignore[arg-type]
        assert str(raised.value) == message
    assert builder.n == builder.kept == 0


@pytest.mark.parametrize("capacity", [None, 300])
def test_threads_lose_nothing_and_repeat_nothing(capacity: int | None) -> None:
    builder = tt.TraceBuilder(["a", "b"], capacity=capacity)
    rows, workers = 3000, 8

    def serve(worker: int) -> None:
        for row in range(rows):
            builder.append([[row, worker]], [[0.5, 1.0]], [1.0, 2.0], [[row, worker]])

    threads = [threading.Thread(target=serve, args=(worker,)) for worker in range(workers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert builder.n == rows * workers
    assert builder.mean_loss.tolist() == [0.5, 1.0]
    built = builder.build()
    assert built.n == builder.kept == (capacity or rows * workers)
    assert len(np.unique(built.signal, axis=0)) == built.n


def test_stored_builders_with_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    builder = gathered(make_trace(n=100), 50, "a")
    builder.save(tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as archive:
        whole = {name: archive[name] for name in archive.files}
    about = json.loads(str(whole["about"]))
    rows = whole["number"]
    for changed in [
        {"number": rows + 100},
        {"source": rows * 0 + 1},
        {"loss": whole["loss"] - 2.0},
        {"signal": whole["signal"][:-1]},
        {"prediction": whole["prediction"].astype(np.float64)},
        {name: array[:10] for name, array in whole.items() if name != "about"},
        {"about": np.array(json.dumps(about | {"total": ["0x1"]}))},
        {"about": np.array(json.dumps(about | {"total": [hex(2**3000)] * 9}))},
        {"about": np.array(json.dumps(about | {"sources": [["b", 100]]}))},
        {"about": np.array(json.dumps(about | {"sources": [["a", -1]]}))},
        {"about": np.array(json.dumps(about | {"format": "ttamer_fast trace builder 1"}))},
    ]:
        np.savez(tmp_path / "wrong.npz", **whole | changed)
        with pytest.raises(tt.ValidationError, match=r"cannot read .* as a trace builder"):
            tt.TraceBuilder.load(tmp_path / "wrong.npz")


def test_losses_that_are_not_known() -> None:
    nan = math.nan
    builder = tt.TraceBuilder(["a", "b"], "models", teacher="b")
    builder.append(
        [[0.5, nan], [0.25, 0.75]], [[1.0, nan], [0.0, 0.0]], [1.0, 2.0], propensity=[[1.0, nan], [1.0, 0.5]]
    )
    builder.append([[0.5, nan]], [[nan, nan]], [1.0, 2.0], propensity=[[nan, nan]])
    np.testing.assert_array_equal(builder.mean_loss, [0.5, 0.0])
    np.testing.assert_array_equal(builder.mean_cost, [1.0, 2.0])
    other = tt.TraceBuilder(["a", "b"], "models", source="other", teacher="b")
    other.append([[nan, 0.5]], [[nan, 1.0]], [1.0, 2.0], propensity=[[nan, 1.0]])
    merged = builder.merge(other)
    np.testing.assert_array_equal(merged.mean_loss, [0.5, 0.5])
    trace = merged.build()
    np.testing.assert_array_equal(trace.loss, [[1.0, nan], [0.0, 0.0], [nan, nan], [nan, 1.0]])
    np.testing.assert_array_equal(trace.propensity, [[1.0, nan], [1.0, 0.5], [nan, nan], [nan, 1.0]])
    assert (trace.is_censored, trace.teacher) == (True, "b")
    for chances, shown in (
        ([[0.0, nan]], r"\[0, 0\] .* got 0.0"),
        ([[1.0, 1.5]], r"\[0, 1\] .* got 1.5"),
        ([[nan, nan]], ".* got nan"),
    ):
        with pytest.raises(tt.ValidationError, match=f"`propensity{shown}"):
            builder.append([[0.5, nan]], [[1.0, nan]], [1.0, 2.0], propensity=chances)
    with pytest.raises(tt.ValidationError, match="`propensity` must be in all batches or in none"):
        builder.append([[0.5, nan]], [[1.0, nan]], [1.0, 2.0])
    with pytest.raises(tt.ValidationError, match="`others` entry 0 must have the teacher 'b', got None"):
        builder.merge(tt.TraceBuilder(["a", "b"], "models", source="other"))


def test_a_probe_of_which_little_is_known() -> None:
    builder = tt.TraceBuilder(["probe", "model"], "models")
    builder.append([[math.nan, 0.5], [0.25, 0.75]], [[math.nan, 0.0], [math.inf, 1.0]], [1.0, 2.0])
    np.testing.assert_array_equal(builder.mean_loss, [math.inf, 0.5])
