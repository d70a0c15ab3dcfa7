from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

ENDINGS = [".npz", ".parquet", ".csv"]


def awkward_trace(costs_by_row: bool) -> tt.Trace:
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(50, 3)) * 10.0 ** rng.integers(-300, 300, size=(50, 3))
    signal[3, 1], signal[4, 0], signal[5, 2], signal[6, 0] = math.nan, math.inf, -math.inf, 5e-324
    return tt.Trace(
        signal,
        rng.random((50, 3)),
        rng.random((50, 3) if costs_by_row else 3),
        prediction=rng.integers(-(2**63), 2**63 - 1, size=(50, 3)),
        kind="models",
        stages=["a, with a comma", 'a "quoted" one', "déjà : vu"],
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("costs_by_row", [False, True])
def test_round_trip_is_exact(tmp_path: Path, ending: str, costs_by_row: bool) -> None:
    trace = awkward_trace(costs_by_row)
    path = tmp_path / f"trace{ending}"
    trace.save(path)
    read = tt.read_trace(path)
    for field in ("signal", "loss", "cost", "prediction"):
        np.testing.assert_array_equal(getattr(read, field), getattr(trace, field), strict=True)
    assert (read.kind, read.stages) == (trace.kind, trace.stages)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_predictions(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"trace{ending}"
    make_trace(n=10, predictions=False).save(path)
    read = tt.read_trace(path, kind="exits")
    assert read.prediction is None
    assert read.kind == "exits"


@pytest.mark.parametrize("ending", ENDINGS)
def test_weights(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"trace{ending}"
    weight = np.random.default_rng(0).random(50) * 10.0 ** np.arange(-25, 25)
    trace = awkward_trace(costs_by_row=False).weighted(weight)
    trace.save(path)
    read = tt.read_trace(path)
    np.testing.assert_array_equal(read.weight, trace.weight, strict=True)
    assert read.digest == trace.digest
    trace.weighted(None).save(path)
    assert tt.read_trace(path).weight is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_and_missing_files_are_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"trace{ending}"
    with pytest.raises(tt.ValidationError, match="no such file") as raised:
        tt.read_trace(path)
    assert str(path) in str(raised.value)
    make_trace(n=200).save(path)
    content = path.read_bytes()
    for size in (0, 1, len(content) // 3, len(content) * 2 // 3, len(content) - 4):
        path.write_bytes(content[:size])
        with pytest.raises(tt.ValidationError) as raised:
            tt.read_trace(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_unknown_ending_and_folder(tmp_path: Path) -> None:
    trace = make_trace(n=10)
    with pytest.raises(tt.ValidationError, match=r"must end in \.npz, \.parquet or \.csv"):
        trace.save(tmp_path / "trace.txt")
    with pytest.raises(tt.ValidationError, match=r"must end in \.npz, \.parquet or \.csv"):
        tt.read_trace(tmp_path / "trace.txt")
    with pytest.raises(tt.ValidationError, match="cannot write"):
        trace.save(tmp_path / "absent" / "trace.npz")
    with pytest.raises(tt.ValidationError, match="`loss`"):
        tt.read_trace(tmp_path / "trace.npz", loss="both")


def test_correct_comes_before_loss(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    correct = np.array([[True, False], [False, True]])
    np.savez(path, signal=np.ones((2, 2)), cost=np.ones(2), correct=correct, loss=np.full((2, 2), 0.25), kind="exits")
    assert tt.read_trace(path).loss.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert tt.read_trace(path, loss="loss").loss.tolist() == [[0.25, 0.25]] * 2
    table = tmp_path / "trace.csv"
    table.write_text("signal:a,correct:a,loss:a,cost:a,unused\n0.5,true,0.25,1,x\n0.75,false,0.5,1,y\n")
    assert tt.read_trace(table).loss.tolist() == [[0.0], [1.0]]
    assert tt.read_trace(table, loss="loss").loss.tolist() == [[0.25], [0.5]]
    assert tt.read_trace(table).cost.tolist() == [1.0]


@pytest.mark.parametrize("missing", ["signal", "cost", "loss"])
def test_missing_array(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "trace.npz"
    content = {"signal": np.ones((2, 2)), "cost": np.ones(2), "loss": np.ones((2, 2))}
    del content[missing]
    np.savez(path, **content)  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match=f"`{missing}` is missing") as raised:
        tt.read_trace(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "column `signal:NAME` is missing"),
        ("signal:a,cost:a\n", "there are no rows"),
        ("signal:a,loss:a,cost:a,weight\n1,0,1,2\n1,0,1,\n", "`weight` entry 1 must be finite and at least 0, got nan"),
        ("signal:a,loss:a,cost:a,weight\n1,0,1,x\n", "column `weight` must be numbers, got string"),
        ("signal:a,signal:b,loss:a,cost:a,cost:b\n1,2,0,1,1\n", "column `loss:b` is missing"),
        ("signal:a,loss:a\n1,0\n", "`cost` is missing"),
        ("signal:a,loss:a,cost:a\nx,0,1\n", "column `signal:a` must be numbers, got string"),
        ("signal:a,loss:a,cost:a\n1,-1,1\n", "`loss` row 0 column 0 must be finite and at least 0, got -1.0"),
        ("signal:a,signal:a,loss:a,cost:a\n1,1,1,1\n", "column `signal:a` is there twice"),
        ("signal:a,loss:a,cost:a,kind\n1,1,1,exits\n1,1,1,models\n", "column `kind` must be the same in every row"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(content)
    with pytest.raises(tt.ValidationError) as raised:
        tt.read_trace(path)
    assert str(raised.value) == f"{path}: {message}"


def test_never_unpickles(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    np.savez(path, signal=np.array([[{}]], dtype=object), cost=np.ones(1), loss=np.ones((1, 1)))
    with pytest.raises(tt.ValidationError, match="cannot read"):
        tt.read_trace(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.npz"
    make_trace(n=10).save(path)
    before = path.read_bytes()

    def full_disk(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(tt.ValidationError, match="No space left"):
        make_trace(n=20).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.csv"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tt.MissingExtraError, match=r'pip install "ttamer_fast\[parquet\]"'):
        make_trace(n=10).save(tmp_path / f"trace{ending}")
    assert list(tmp_path.iterdir()) == []
