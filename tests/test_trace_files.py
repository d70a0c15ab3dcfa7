from __future__ import annotations

import errno
import io
import math
import sys
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
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
def test_latencies(tmp_path: Path, ending: str) -> None:
    path, rng = tmp_path / f"trace{ending}", np.random.default_rng(0)
    seconds = np.where(rng.random((50, 3)) < 0.2, math.nan, rng.random((50, 3)) * 10.0 ** rng.integers(-30, 30, 3))
    trace = awkward_trace(costs_by_row=False)
    latest = tt.Trace(trace.signal, trace.loss, trace.cost, kind="models", stages=trace.stages, latency=seconds)
    latest.save(path)
    read = tt.read_trace(path)
    np.testing.assert_array_equal(read.latency, seconds, strict=True)
    assert read.digest == latest.digest
    trace.save(path)
    assert tt.read_trace(path).latency is None


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
    with pytest.raises(FileNotFoundError) as missing:
        tt.read_trace(path)
    assert (missing.value.errno, missing.value.filename) == (errno.ENOENT, str(path))
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
    with pytest.raises(FileNotFoundError, match=r"trace\.npz"):
        trace.save(tmp_path / "absent" / "trace.npz")
    with pytest.raises(tt.ValidationError, match="`loss`"):
        tt.read_trace(tmp_path / "trace.npz", loss="both")


def test_correct_comes_before_loss(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    correct = np.array([[True, False], [False, True]])
    loss = np.full((2, 2), 0.25)
    np.savez(path, signal=np.ones((2, 2)), cost=np.ones(2), correct=correct, loss=loss, kind="exits")
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
        ("a,b\n1,2\n", "column `signal:NAME` is missing, got a, b"),
        ("signal:a,cost:a\n", "there are no rows"),
        ("signal:a,loss:a,cost:a,weight\n1,0,1,2\n1,0,1,\n", "`weight` entry 1 must be finite and at least 0, got nan"),
        ("signal:a,loss:a,cost:a,weight\n1,0,1,x\n", "column `weight` row 0 must be a number, got 'x'"),
        ("signal:a,signal:b,loss:a,cost:a,cost:b\n1,2,0,1,1\n", "column `loss:b` is missing"),
        ("signal:a,loss:a\n1,0\n", "`cost` is missing"),
        ("signal:a,loss:a,cost:a\nx,0,1\n", "column `signal:a` row 0 must be a number, got 'x'"),
        (
            "signal:a,loss:a,cost:a,latency:a\n1,0,1,-2\n",
            "`latency[0, 0]` must be finite and at least 0, or NaN, got -2.0",
        ),
        (
            "signal:a,signal:b,loss:a,loss:b,cost:a,cost:b,latency:b\n1,1,0,0,1,1,2\n",
            "column `latency:a` is missing",
        ),
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
    with pytest.raises(tt.TraceFormatError, match=r"`signal` holds Python objects, .* \(allow_pickle=False\)"):
        tt.read_trace(path)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.csv"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tt.MissingExtraError, match=r'pip install "ttamer_fast\[parquet\]"'):
        make_trace(n=10).save(tmp_path / f"trace{ending}")
    assert list(tmp_path.iterdir()) == []


def read_table(path: Path, **columns: object) -> tt.Trace:
    """What is read of a .parquet with these columns, named FIELD_STAGE for FIELD:STAGE."""
    pq.write_table(pa.table({name.replace("_", ":"): values for name, values in columns.items()}), path)
    return tt.read_trace(path)


def test_types_of_a_csv_do_not_depend_on_its_first_rows(tmp_path: Path) -> None:
    n, path = 60_000, tmp_path / "trace.csv"
    rng = np.random.default_rng(0)
    signal, loss, said = rng.random((n, 2)), np.zeros((n, 2)), np.ones((n, 2), np.int64)
    signal[:-5, 1], loss[-1], said[-1] = math.nan, 0.5, 2**62 + 1
    tt.Trace(signal, loss, [1.0, 2.0], said).save(path)
    read = tt.read_trace(path)
    np.testing.assert_array_equal(read.signal, signal)
    np.testing.assert_array_equal(read.loss, loss)
    np.testing.assert_array_equal(read.prediction, said)


def test_a_csv_as_others_write_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    frame = pd.DataFrame(
        {
            "signal:s": [0.1, None, 0.3],
            "signal:l": [0.4, 0.5, np.inf],
            "correct:s": [True, False, True],
            "correct:l": [" TRUE", "1", "+0.5"],
            "cost:s": [1] * 3,
            "cost:l": [9] * 3,
            "kind": ["models"] * 3,
            "prompt": ['a\nlong "one"', "b", None],
            "prediction:s": [2**63 + 5, 1, 2],
            "prediction:l": [-7.0, 1.0, 2.0],
        }
    )
    frame.to_csv(path, encoding="utf-8-sig", lineterminator="\r\n")
    read = tt.read_trace(path)
    np.testing.assert_array_equal(read.signal, [[0.1, 0.4], [np.nan, 0.5], [0.3, np.inf]])
    assert read.loss.tolist() == [[0.0, 0.0], [1.0, 0.0], [0.0, 0.5]]
    assert read.cost.tolist() == [1.0, 9.0]
    assert read.kind == "models"
    assert read.prediction is not None
    assert read.prediction.tolist() == [[5 - 2**63, -7], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("signal:größe,loss:größe,cost:größe\n1,0,1\n".encode("latin-1"), "byte 9 (line 1) must be UTF-8, got 0xf6: "),
        (b"signal:a,loss:a,cost:a,x\n1,0,1,y\n1,0,1,\xe4\n", "byte 39 (line 3) must be UTF-8, got 0xe4: "),
        ("signal:a,loss:a,cost:a\n".encode("utf-16"), "byte 0 (line 1) must be UTF-8, got 0xff: "),
        (b"signal:a;loss:a;cost:a\n1;0;1\n", "columns must be separated by commas, got 'signal:a;loss:a;cost:a'"),
        (b"", "column `signal:NAME` is missing"),
        (b"signal:a,loss:a,loss:b,cost:a\n1,0,0,1\n", "column `signal:b` is missing beside `loss:b`"),
        (b"kind,kind,signal:a,loss:a,cost:a\nexits,exits,1,0,1\n", "column `kind` is there twice"),
    ],
)
def test_a_csv_that_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(tt.ValidationError) as raised:
        tt.read_trace(path)
    assert type(raised.value) is tt.ValidationError
    assert str(raised.value).startswith(f"{path}: {message}")


def test_many_columns_make_no_long_message(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(",".join(f"column {i}" for i in range(200)) + "\n")
    with pytest.raises(tt.ValidationError, match=r"got column 0, .* column 7, \.\.\. \(200 in all\)$"):
        tt.read_trace(path)
    path.write_text(",".join(f"signal:{i},loss:{i},cost:{i}" for i in range(200)) + "\n" + ",".join(["1"] * 600))
    with pytest.warns(tt.CalibrationWarning):
        assert tt.read_trace(path).k == 200


def test_parquet_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    read = read_table(
        path,
        signal_a=pa.array([1, None], pa.int64()),
        correct_a=pa.array([True, False]),
        cost_a=pa.array([Decimal("1.5")] * 2),
        kind=pa.array(["models", "models"]).dictionary_encode(),
        prediction_a=pa.array([2**63 + 5, 2**53 + 1], pa.uint64()),
    )
    np.testing.assert_array_equal(read.signal, [[1.0], [np.nan]])
    assert (read.loss.tolist(), read.cost.tolist(), read.kind) == ([[0.0], [1.0]], [1.5], "models")
    mixed = read_table(
        path,
        **{f"{field}_{stage}": [1.0] for stage in "ab" for field in ("signal", "loss", "cost")},
        kind=["exits"],
        prediction_a=pa.array([2**63 + 5], pa.uint64()),
        prediction_b=pa.array([7], pa.int64()),
    )
    assert mixed.prediction is not None
    assert mixed.prediction.tolist() == [[5 - 2**63, 7]]


def test_parquet_from_pandas(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    frame = pd.DataFrame({"signal:gpt-3.5": [0.1, 0.2, 0.3], "correct:gpt-3.5": [True, False, True]})
    frame = frame.assign(**{"cost:gpt-3.5": 1, "kind": pd.Categorical(["models"] * 3)}).convert_dtypes()
    frame.loc[1, "signal:gpt-3.5"] = pd.NA
    frame[frame["cost:gpt-3.5"] > 0].set_index(pd.Index(["a", "b", "c"], name="id")).to_parquet(path)
    read = tt.read_trace(path)
    np.testing.assert_array_equal(read.signal, [[0.1], [np.nan], [0.3]])
    assert (read.kind, read.stages, read.loss.tolist()) == ("models", ("gpt-3.5",), [[0.0], [1.0], [0.0]])


def test_a_folder_of_parquet_is_one_trace(tmp_path: Path) -> None:
    folder = tmp_path / "trace.parquet"
    folder.mkdir()
    columns = {"signal:a": [0.1, 0.2], "correct:a": [1, 0], "cost:a": [1, 1], "kind": ["exits", "exits"]}
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    pq.write_table(pa.table(columns | {"cost:a": [1.0, 1.5]}), folder / "part-1.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".part-2.parquet.crc").touch()
    read = tt.read_trace(folder)
    assert read.signal.tolist() == [[0.1], [0.2], [0.1], [0.2]]
    assert read.cost.tolist() == [[1.0], [1.0], [1.0], [1.5]]
    (folder / "year=2024").mkdir()
    with pytest.raises(tt.ValidationError, match=r"a folder must hold its \.parquet files itself"):
        tt.read_trace(folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [([["exits"]], "column `kind` must be text, got list"), ([3], "column `kind` must be text, got int")],
)
def test_kinds_that_are_no_text(tmp_path: Path, kind: list[object], message: str) -> None:
    with pytest.raises(tt.ValidationError, match=message):
        read_table(tmp_path / "trace.parquet", signal_a=[0.1], loss_a=[0.0], cost_a=[1.0], kind=kind)


def test_a_file_that_says_no_kind(tmp_path: Path) -> None:
    columns = {f"{field}_{stage}": [1.0] for stage in "ab" for field in ("signal", "loss", "cost")}
    path = tmp_path / "trace.parquet"
    with pytest.warns(tt.CalibrationWarning, match=r"trace\.parquet does not say its kind and is taken as 'exits'"):
        assert read_table(path, **columns).kind == "exits"
    with pytest.warns(tt.CalibrationWarning):
        assert read_table(path, **columns, kind=pa.array([None], pa.string())).kind == "exits"
    assert tt.read_trace(path, kind="models").kind == "models"
    assert issubclass(tt.CalibrationWarning, tt.TTamerWarning)
    for ending in ENDINGS:
        saved = tmp_path / f"saved{ending}"
        make_trace(n=10, kind="models").save(saved)
        assert tt.read_trace(saved).kind == "models"
    one = {name: values for name, values in columns.items() if name.endswith("a")}
    assert read_table(path, **one).kind == "exits"


def test_names_kept_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    arrays = {"signal": [[0.1, 0.2]], "loss": [[0, 1]], "cost": [1, 5], "kind": np.array(b"models")}
    for names in (np.array([b"small", b"large"]), np.array([b"small\0\0", b"large"], "V7")):
        np.savez(path, **arrays, stages=names)  # type: ignore[arg-type]
        read = tt.read_trace(path)
        assert (read.stages, read.kind) == (("small", "large"), "models")
    np.savez(path, **arrays, stages=np.array([b"gr\xf6sse", b"large"]))  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match="`stages` must be UTF-8 text, got "):
        tt.read_trace(path)
    np.savez(path, **arrays | {"kind": np.array(["models", "exits"])})  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match=r"`kind` must be one word, got \['exits', 'models'\]"):
        tt.read_trace(path)
    with pytest.raises(tt.ValidationError, match=r"`stages\[1\]` must not end in NUL"):
        tt.Trace([[0.1, 0.2]], [[0, 1]], [1, 5], stages=["a", "a\0"]).save(path)


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    with path.open("wb") as stream:
        np.save(stream, np.zeros((3, 2)))
    with pytest.raises(tt.TraceFormatError, match=r"it is one array \(\.npy\), not an archive of several"):
        tt.read_trace(path)


@pytest.mark.parametrize("value", [-1, 2, np.inf])
def test_correct_is_a_share(tmp_path: Path, value: float) -> None:
    path = tmp_path / "trace.npz"
    np.savez(path, signal=[[0.1, 0.2]] * 2, correct=np.array([[1, 0], [1, value]]), cost=[1, 5], kind="exits")
    with pytest.raises(tt.ValidationError, match=rf"`correct` row 1 column 1 must be in \[0, 1\], got {float(value)}"):
        tt.read_trace(path)


def bomb(path: Path, bytes_of_zeros: int) -> None:
    """An archive whose arrays take so many bytes each, all of them 0."""
    shape = (bytes_of_zeros // 8, 1)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("signal", "loss", "cost"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(header.getvalue())
                for _ in range(bytes_of_zeros // 2**20):
                    member.write(bytes(2**20))


def test_an_archive_that_bursts_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    bomb(path, 2**28)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(tt.ValidationError, match=r"must take at most \d+ bytes, got 80530\d+ .* give `max_bytes`"):
        tt.read_trace(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    bomb(path, 2**20)
    assert tt.read_trace(path).n == 2**17
    with pytest.raises(tt.ValidationError, match="must take at most 1000 bytes"):
        tt.read_trace(path, max_bytes=1000)
    with pytest.raises(tt.ValidationError, match="`max_bytes` must be an integer of at least 0, got -1"):
        tt.read_trace(path, max_bytes=-1)


def test_an_archive_that_says_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    header = b"{'descr':'<f8','fortran_order':False,'shape':(1000000000000,3)}"
    header += b" " * ((64 - (10 + len(header) + 1) % 64) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("signal.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(tt.TraceFormatError, match=r"`signal` must have 24000000000000 bytes .* got 0"):
        tt.read_trace(path)
