"""Rows of one group never stand on both sides of a split, of a fold, or of what is held back while fitting."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.traces import outcome
from ttamer_fast.traces.parts import parts_of_rows, rows_of_test

pyarrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")


def grouped(group: Any, n: int = 6) -> tt.Trace:
    return tt.Trace(np.arange(n, dtype=float)[:, None], np.zeros((n, 1)), [1.0], group=group)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([3, 3, -1, 7, -1, 3], [3, 3, -1, 7, -1, 3]),
        (np.array([3, 3, 0, 7, 0, 3], np.uint8), [3, 3, 0, 7, 0, 3]),
        (["b", "b", "a", "c", "a", "b"], [0, 0, 1, 2, 1, 0]),
        ([("u", 1), ("u", 1), ("u", 2), "x", ("u", 2), ("u", 1)], [0, 0, 1, 2, 1, 0]),
        ([(1, 1), (1, 1), (1, 2), (3, 3), (1, 2), (1, 1)], [0, 0, 1, 2, 1, 0]),
        (np.array([0.5, 0.5, 1.0, 2.0, 1.0, 0.5]), [0, 0, 1, 2, 1, 0]),
        ([2**70, 2**70, 5, 6, 5, 2**70], [0, 0, 1, 2, 1, 0]),
    ],
)
def test_values_that_are_no_integers_are_numbered(given: Any, expected: list[int]) -> None:
    trace = grouped(given)
    assert trace.group is not None
    assert trace.group.tolist() == expected
    assert not trace.group.flags.writeable
    assert repr(trace).endswith(", group=yes)")
    part = trace.rows([4, 0])
    assert part.group is not None
    assert part.group.tolist() == [expected[4], expected[0]]
    assert pickle.loads(pickle.dumps(trace)).digest == trace.digest != grouped(None).digest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], "`group` must have shape (6,), got (2,)"),
        (np.zeros((6, 2), int), "`group` must have shape (6,), got (6, 2)"),
        ([[1]] * 6, "`group` must have a hashable value for each row: unhashable type: 'list'"),
        ({1, 2, 3, 4, 5, 6}, "`group` must be an array or a sequence of n values, got set"),
        (dict.fromkeys(range(6)), "`group` must be an array or a sequence of n values, got dict"),
        ("abcdef", "`group` must be an array or a sequence of n values, got str"),
        (b"abcdef", "`group` must be an array or a sequence of n values, got bytes"),
        ([1, 2, 3, float("nan"), 5, 6], "`group` row 3 must be known, got nan"),
        (np.array(["a", "b", None, "d", "e", None], object), "`group` row 2 must be known, got None"),
        (np.full(6, "NaT", "M8[D]"), f"`group` row 0 must be known, got {np.datetime64('NaT', 'D')!r}"),
        (np.ma.masked_equal(np.arange(6), 1), "`group` row 1 must be known, got masked"),
        (5, "`group` must have a hashable value for each row: 'int' object is not iterable"),
    ],
)
def test_refusals(given: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        grouped(given)
    assert str(raised.value) == message


@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=30),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_keeps_groups_whole_and_comes_close(sizes: list[int], share: float, seed: int) -> None:
    group = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 11 - 40, sizes))
    in_test = rows_of_test(len(group), group, share, seed)
    assert not set(group[in_test]) & set(group[~in_test])
    assert 0 < in_test.sum() < len(group)
    assert abs(in_test.sum() - share * len(group)) <= max(sizes)


@given(count=st.integers(2, 40), folds=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_parts_keep_groups_whole_and_none_is_empty(count: int, folds: int, seed: int) -> None:
    group = np.random.default_rng(seed).permutation(np.repeat(np.arange(count), 3))
    if folds > count:
        with pytest.raises(tt.ValidationError, match=f"`folds` must be an integer from 2 to the {count} groups"):
            parts_of_rows(len(group), group, folds, seed)
        return
    part = parts_of_rows(len(group), group, folds, seed)
    assert set(part) == set(range(folds))
    assert len({*zip(group.tolist(), part.tolist(), strict=True)}) == count


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(tt.ValidationError, match="a trace of one group cannot be split"):
        grouped([1] * 6).split()


def test_every_row_by_itself_splits_as_without_groups() -> None:
    rows = np.arange(100)
    for share in (0.1, 0.5, 0.77):
        assert (rows_of_test(100, rows, share, 3) == rows_of_test(100, None, share, 3)).all()
    assert (parts_of_rows(100, rows, 4, 3) == parts_of_rows(100, None, 4, 3)).all()


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".csv"])
def test_files_keep_groups(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"trace{ending}"
    trace = grouped([3, 3, -1, 7, -1, 3])
    trace.save(path)
    assert tt.read_trace(path, kind="exits").digest == trace.digest


def test_files_may_name_groups(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = ["signal:a,cost:a,loss:a,group"] + [f"0.5,1,0,{name}" for name in ("s1", "s2", "s1")]
    path.write_text("\n".join(rows), encoding="utf-8")
    read = tt.read_trace(path, kind="exits")
    assert read.group is not None
    assert read.group.tolist() == [0, 1, 0]


def written(path: Path, header: str, groups: list[str]) -> Path:
    path.write_text("\n".join([header] + [f"0.5,1,0,{name}" for name in groups]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["7", "007", "7"], [0, 1, 0]),
        (["12345678901234567890123", "12345678901234567890124", "7"], [0, 1, 2]),
        (["9007199254740993.0", "9007199254740992.0", "1"], [0, 1, 2]),
        (["-7", "12", "0"], [-7, 12, 0]),
        (["1", "x", "1"], [0, 1, 0]),
    ],
)
def test_text_files_keep_groups_as_they_are_written(tmp_path: Path, groups: list[str], expected: list[int]) -> None:
    read = tt.read_trace(written(tmp_path / "trace.csv", "signal:a,cost:a,loss:a,group", groups), kind="exits")
    assert read.group is not None
    assert read.group.tolist() == expected


@pytest.mark.parametrize("groups", [["s1", "s2", "", "s2"], ["1", "2", "", "2"], ["1", "2", "NaN", ""]])
def test_empty_cells_are_no_groups(tmp_path: Path, groups: list[str]) -> None:
    path = written(tmp_path / "trace.csv", "signal:a,cost:a,loss:a,group", groups)
    with pytest.raises(tt.ValidationError) as raised:
        tt.read_trace(path, kind="exits")
    assert str(raised.value) == f"{path}: `group` row 2 must be known, got None"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("name", ["group", "kind"])
def test_columns_that_are_there_twice(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"trace{ending}"
    names = ["signal:a", "cost:a", "loss:a", name, name]
    if ending == ".csv":
        path.write_text(",".join(names) + "\n0.5,1,0,exits,exits\n", encoding="utf-8")
    else:
        numbers, words = pyarrow.array([1.0]), pyarrow.array(["exits"])
        parquet.write_table(pyarrow.table([numbers, numbers, numbers, words, words], names=names), path)
    with pytest.raises(tt.ValidationError) as raised:
        tt.read_trace(path)
    assert str(raised.value) == f"{path}: column `{name}` is there twice"


def repeated(seed: int, n: int = 60, times: int = 20) -> tuple[tt.Trace, tt.Trace]:
    """Few requests, each many times: with groups that say so, and without."""
    group = np.repeat(np.arange(n), times)
    rows = make_trace(n=n, seed=seed).rows(group)
    arrays = (rows.signal, rows.loss, rows.cost, rows.prediction)
    return tt.Trace(*arrays, kind="models", group=group), rows


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_what_is_held_back_is_new() -> None:
    """What a fit and a comparison say of rows held back is true of new rows too, with groups and without."""
    fresh = make_trace(n=20_000, seed=99)
    found = []
    for seed in range(6):
        with_groups, without = repeated(seed)
        claims = [tt.fit(trace, tradeoff=0.95).report[0]["objective"] for trace in (with_groups, without)]
        claims += [tt.compare(trace, folds=4)["fit"].objective for trace in (with_groups, without)]
        found.append((*claims, tt.evaluate(tt.fit(without, tradeoff=0.95), fresh).objective))
    *claimed, true = np.mean(found, axis=0)
    assert 0.85 * true < min(claimed)
    assert max(claimed) < 1.25 * true


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_repeated_rows_are_learned_from_once() -> None:
    """The same decisions as of each row once, and never on both sides of a split."""
    with_groups, without = repeated(3, n=80, times=7)
    once = make_trace(n=80, seed=3)
    fresh = make_trace(n=2000, seed=98)
    wanted = tt.fit(once, tradeoff=0.95, recall=True).replay(fresh.signal, fresh.prediction)
    for trace in (
        without,
        without.weighted(np.full(560, 3.0)),
        without.rows(np.random.default_rng(0).permutation(560)),
    ):
        train, test = trace.split(test=0.3, seed=5)
        assert not set(map(tuple, train.signal)) & set(map(tuple, test.signal))
    for trace in (with_groups, without):
        found = tt.fit(trace, tradeoff=0.95, recall=True).replay(fresh.signal, fresh.prediction)
        assert (found.answer == wanted.answer).all()
        assert (found.consulted == wanted.consulted).all()


def test_equal_rows_of_coarse_signals_are_different_requests() -> None:
    rng = np.random.default_rng(0)
    signal = rng.integers(0, 5, (4000, 2)) / 4.0
    trace = tt.Trace(signal, rng.random((4000, 2)) > signal, [1.0, 4.0])
    train, test = trace.split(seed=1)
    assert len(train) == len(test) == 2000
    assert np.abs(train.mean_loss - test.mean_loss).max() < 0.05


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_rows_of_one_request_count_once() -> None:
    with_groups, without = repeated(0)
    policy = tt.fit(with_groups, tradeoff=0.95)
    once = tt.evaluate(policy, make_trace(n=60, seed=0))
    for trace in (with_groups, without):
        often = tt.evaluate(policy, trace)
        assert often.n == 1200
        assert often.independent == pytest.approx(60.0)
        for name in ("loss_ci", "cost_ci", "objective_ci", "recalled_share_ci"):
            assert getattr(often, name) == pytest.approx(getattr(once, name), rel=0.05, abs=0.01)
        assert "1200 requests that say as much as 60" in str(often)
    by_group, by_content = (tt.compare(trace, 0.95, folds=3, reference="threshold") for trace in (with_groups, without))
    assert by_content["fit"].difference_se == pytest.approx(by_group["fit"].difference_se, rel=0.5)
    narrow = tt.compare(make_trace(n=1200, seed=1), 0.95, folds=3, reference="threshold")["fit"].difference_se
    assert min(by_group["fit"].difference_se, by_content["fit"].difference_se) > 2.0 * narrow


def test_signals_that_do_not_tell_requests_apart() -> None:
    """Rows that happen to be equal are no repetition where rows of the same signals differ in the rest as often."""
    rng = np.random.default_rng(0)
    coarse = tt.Trace(rng.integers(0, 3, (400, 2)), rng.random((400, 2)) < 0.3, [1.0, 1.0], kind="models")
    assert tt.evaluate(tt.baselines.static(coarse, 0.9), coarse).independent == 400.0
    fine = tt.Trace(np.repeat(rng.random((40, 2)), 10, axis=0), np.zeros((400, 2)), [1.0, 1.0], kind="models")
    assert tt.evaluate(tt.baselines.static(fine, 0.9), fine).independent == pytest.approx(40.0)


def test_folds_hold_whole_groups_back() -> None:
    with_groups, _ = repeated(0)
    seen: list[set[int]] = []

    def rule(fold: cv.Fold, _tradeoff: float) -> Any:
        train, test = fold.train.group, fold.test.group
        assert train is not None
        assert test is not None
        assert not set(train.tolist()) & set(test.tolist())
        seen.append(set(test.tolist()))
        return outcome.always(fold.test, 0)

    cv.cross_validate(with_groups, {"rule": rule}, [0.9], 4, 0)
    assert sorted(group for part in seen for group in part) == list(range(60))


def test_certificates_are_about_independent_requests() -> None:
    with pytest.raises(tt.ValidationError, match="`trace` must have no groups"):
        tt.fit_certified(repeated(0)[0], max_loss=0.5)
