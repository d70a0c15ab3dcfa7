"""Files of every kind of object: what the system refuses, what is damaged, and what a save leaves behind."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.plotting.policy import plot_policy

TRACE = make_trace(n=40, k=2, kind="models")
POLICY = tt.fit(make_trace(n=400, k=2, kind="models"), tradeoff=0.9)
MONITOR = tt.DriftMonitor.fit(POLICY, TRACE)


def builder() -> tt.TraceBuilder:
    gathered = tt.TraceBuilder(TRACE.stages, TRACE.kind)
    gathered.append(TRACE.signal, TRACE.loss, TRACE.cost)
    return gathered


SAVES: dict[str, Callable[[Any], object]] = {
    "trace.npz": TRACE.save,
    "trace.csv": TRACE.save,
    "trace.parquet": TRACE.save,
    "policy": POLICY.save,
    "monitor": MONITOR.save,
    "builder.npz": lambda path: builder().save(path),
    "picture.svg": lambda path: plot_policy(POLICY, path),
}
LOADS: dict[str, Callable[[Any], object]] = {
    "trace.npz": tt.read_trace,
    "trace.csv": tt.read_trace,
    "trace.parquet": tt.read_trace,
    "policy": tt.load,
    "monitor": tt.DriftMonitor.load,
    "builder.npz": tt.TraceBuilder.load,
}


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("name", SAVES)
def test_modes_and_links(name: str, tmp_path: Path, umask: Callable[[int], int]) -> None:
    path, save = tmp_path / name, SAVES[name]
    for mask, expected in ((0o077, 0o600), (0o002, 0o664)):
        umask(mask)
        save(path)
        assert mode(path) == expected
        path.unlink()
    save(path)
    path.chmod(0o640)
    save(path)
    assert mode(path) == 0o640
    folder = tmp_path / "current"
    folder.mkdir()
    link, dangling = folder / f"link-{name}", folder / f"new-{name}"
    path.write_bytes(b"old")
    link.symlink_to(path)
    dangling.symlink_to(Path("..", f"made-{name}"))
    save(link)
    save(dangling)
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert path.stat().st_size > 3
    assert (tmp_path / f"made-{name}").stat().st_size > 3
    assert {file.name for file in tmp_path.iterdir()} == {name, f"made-{name}", "current"}


@pytest.mark.parametrize("name", SAVES)
def test_what_the_system_refuses_to_write(name: str, tmp_path: Path) -> None:
    save = SAVES[name]
    (tmp_path / name).mkdir()
    for path, kind, code in (
        (tmp_path / "absent" / name, FileNotFoundError, errno.ENOENT),
        (tmp_path / name, IsADirectoryError, errno.EISDIR),
        (tmp_path / ("x" * 300 + name), OSError, errno.ENAMETOOLONG),
    ):
        with pytest.raises(kind) as raised:
            save(path)
        assert (raised.value.errno, raised.value.filename) == (code, str(path))
    for nothing in (None, 3, f"x\0{name}"):
        with pytest.raises(tt.ValidationError, match="`path` must be a path, got "):
            save(nothing)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_that_may_not_be_written_is_not_replaced() -> None:
    program = (
        "import os, pathlib, tempfile, ttamer_fast as tt\n"
        "policy = tt.solve(tt.Model.line([[0.5]], [1.0], [[[1.0]]]))\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    os.chmod(folder, 0o777)\n"
        "    path = pathlib.Path(folder, 'policy')\n"
        "    path.write_bytes(b'old')\n"
        "    path.chmod(0o444)\n"
        "    before = os.geteuid()\n"
        "    if before == 0: os.seteuid(65534)\n"
        "    try: policy.save(path)\n"
        "    except PermissionError as error: print(error.errno, path.read_bytes(), len(os.listdir(folder)))\n"
        "    os.seteuid(before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(errno.EACCES), "b'old'", "1"]


@pytest.mark.parametrize("name", LOADS)
def test_what_the_system_refuses_to_read(name: str, tmp_path: Path) -> None:
    path, load = tmp_path / name, LOADS[name]
    with pytest.raises(FileNotFoundError) as missing:
        load(path)
    assert (missing.value.errno, missing.value.filename) == (errno.ENOENT, str(path))
    for nothing in (None, 3, f"x\0{name}"):
        with pytest.raises(tt.ValidationError, match="`path` must be a path, got "):
            load(nothing)
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links") as loop:
        load(path)
    assert loop.value.errno == errno.ELOOP
    path.unlink()
    path.mkdir()
    expected = tt.ValidationError if name == "trace.parquet" else IsADirectoryError
    with pytest.raises(expected, match="folder" if name == "trace.parquet" else "Is a directory"):
        load(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(tt.ValidationError, match="`path` must be a file, got a pipe or a device"):
        load(path)


@pytest.mark.parametrize("name", LOADS)
def test_what_is_damaged(name: str, tmp_path: Path) -> None:
    path, load = tmp_path / name, LOADS[name]
    SAVES[name](path)
    content = path.read_bytes()
    for damaged in (b"", b"x", content[: len(content) // 2], content[::-1]):
        path.write_bytes(damaged)
        with pytest.raises(tt.ValidationError if name.endswith(".csv") else tt.FormatError) as raised:
            load(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_classes_of_errors() -> None:
    assert issubclass(tt.FormatError, tt.TTamerError)
    assert issubclass(tt.FormatError, ValueError)
    assert not issubclass(tt.FormatError, OSError)
    assert issubclass(tt.PolicyFormatError, tt.FormatError)
    assert issubclass(tt.TraceFormatError, tt.FormatError)
    assert issubclass(tt.TraceFormatError, tt.ValidationError)


@pytest.mark.parametrize("name", SAVES)
def test_pipes_are_written_to(name: str, tmp_path: Path) -> None:
    path, save = tmp_path / name, SAVES[name]
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device") as nobody:
        save(path)
    assert nobody.value.errno == errno.ENXIO
    reader, received = os.open(path, os.O_RDONLY | os.O_NONBLOCK), b""
    save(path)
    while part := os.read(reader, 2**16):
        received += part
    os.close(reader)
    assert stat.S_ISFIFO(path.lstat().st_mode)
    save(tmp_path / f"file-{name}")
    assert len(received) == (tmp_path / f"file-{name}").stat().st_size
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pipe_that_nobody_empties_can_be_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    program = (
        "import signal, sys, numpy as np, ttamer_fast as tt\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "trace = tt.Trace(np.random.random((20_000, 2)), np.zeros((20_000, 2)), [1.0, 2.0])\n"
        "print('ready', flush=True)\n"
        "try: trace.save(sys.argv[1])\n"
        "except KeyboardInterrupt: sys.exit(7)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    while not os.read(reader, 1):
        pass
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 7
    os.close(reader)
    child.stdout.close()


def test_devices_stay_what_they_are() -> None:
    before = Path("/dev/null").stat()
    POLICY.save("/dev/null")
    after = Path("/dev/null").stat()
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)


def test_standard_output_is_written_to(tmp_path: Path) -> None:
    POLICY.save(tmp_path / "policy")
    program = "import sys, ttamer_fast as tt; tt.load(sys.argv[1]).save('/dev/stdout')"
    command = [sys.executable, "-c", program, str(tmp_path / "policy")]
    assert subprocess.run(command, capture_output=True, check=True).stdout == POLICY.to_bytes()
    with (tmp_path / "copy").open("wb") as stream:
        inode = os.fstat(stream.fileno()).st_ino
        subprocess.run(command, stdout=stream, check=True)
    assert (tmp_path / "copy").stat().st_ino == inode
    assert tt.load(tmp_path / "copy") == POLICY


@pytest.mark.parametrize("name", ["trace.npz", "policy"])
def test_a_full_disk_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    SAVES[name](path)
    before = path.read_bytes()
    program = (
        "import resource, sys, numpy as np, ttamer_fast as tt\n"
        "signal = np.random.default_rng(0).random((4_000, 2))\n"
        "trace = tt.Trace(signal, signal < 0.5, [1.0, 2.0])\n"
        "thing = trace if sys.argv[1].endswith('.npz') else tt.fit(trace, tradeoff=0.9)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: thing.save(sys.argv[1])\n"
        "except OSError as error: print(error.errno, error.filename == sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(errno.EFBIG), "True"]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_readers_never_see_half_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    POLICY.save(path)
    over, wrong = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            if tt.load(path) != POLICY:
                wrong.append("another policy")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(30):
        POLICY.save(path)
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_of_a_large_file_that_is_no_policy_little_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(tt.PolicyFormatError, match="not a policy file"):
        tt.load(path)


def test_names_of_paths_may_be_bytes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "trace.npz")
    TRACE.save(path)  # type: ignore[arg-type]
    np.testing.assert_array_equal(tt.read_trace(path).signal, TRACE.signal)  # type: ignore[arg-type]
