"""The command as a process: exit codes, streams that are closed or know few signs, files that are in the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import commands, main

COMMAND = [sys.executable, "-m", "ttamer_fast.cli"]
FAULT = RuntimeError("a\nfault")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    plain = make_trace(n=300)
    names = ["größer", "±", "c", "d"]
    trace = tt.Trace(plain.signal, plain.loss, plain.cost, plain.prediction, kind=plain.kind, stages=names)
    trace.save(tmp_path / "trace.npz")
    tt.fit(trace, tradeoff=0.9).save(tmp_path / "policy")
    return str(tmp_path / "trace.npz"), str(tmp_path / "policy")


def ttamer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, env=os.environ | environment, timeout=120)


def test_terminals_that_know_few_signs(files: tuple[str, str]) -> None:
    shown = ttamer("inspect", files[1], PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"4 stages: gr\\xf6\\xdfer, +/-, c, d" in shown.stdout
    assert ttamer("--help", PYTHONIOENCODING="ascii").returncode == 0
    latin = ttamer("inspect", files[1], PYTHONIOENCODING="latin-1")
    assert "4 stages: größer, ±, c, d".encode("latin-1") in latin.stdout
    absent = ttamer("inspect", "größer", PYTHONIOENCODING="ascii")
    assert (absent.returncode, absent.stderr) == (2, b"error: gr\\xf6\\xdfer: No such file or directory\n")


@pytest.mark.parametrize("arguments", [["inspect", "{policy}"], ["--help"], ["--version"]])
def test_a_reader_that_goes_away(files: tuple[str, str], arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, *(one.format(policy=files[1]) for one in arguments)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_failed_check_says_so_to_nobody_too(files: tuple[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "evaluate", files[1], files[0], "--max-loss", "0"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr.startswith(b"check failed: mean loss ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_no_failed_check(files: tuple[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "inspect", files[1]], stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert (done.returncode, done.stderr) == (2, b"error: [Errno 28] No space left on device\n")


def test_an_interrupt(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from ttamer_fast.cli import commands, main\n"
        "commands.read_trace = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(main(['compare', 'trace.npz']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert done.returncode == 128 + signal.SIGINT
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("raised", [FAULT, MemoryError("a\nfault"), AssertionError("a\nfault")])
def test_a_fault_is_no_failed_check(
    files: tuple[str, str], raised: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(commands, "evaluate", broken)
    monkeypatch.delenv("TTAMER_DEBUG", raising=False)
    arguments = ["evaluate", files[1], files[0]]
    assert main(arguments) == 70
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {type(raised).__name__}: a fault (")
    assert shown.count("\n") == 1
    assert "--debug" in shown
    assert main(["--debug", *arguments]) == 70
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("TTAMER_DEBUG", "1")
    assert main(arguments) == 70
    assert "Traceback" in capsys.readouterr().err


def test_gates_say_what_they_found(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    trace, policy = files
    found = tt.evaluate(tt.load(policy), tt.read_trace(trace))
    assert main(["evaluate", policy, trace, "--max-loss", "1", "--max-cost", "100"]) == 0
    shown = capsys.readouterr()
    assert f"check passed: mean loss {found.loss:.6g} is within --max-loss 1\n" in shown.out
    assert f"check passed: mean cost {found.cost:.6g} is within --max-cost 100\n" in shown.out
    assert shown.err == ""
    assert main(["evaluate", policy, trace, "--max-loss", "1", "--max-cost", "0.5"]) == 1
    shown = capsys.readouterr()
    text = f"mean cost {found.cost:.6g} exceeds --max-cost 0.5 by {found.cost - 0.5:.3g}\n"
    assert f"check FAILED: {text}" in shown.out
    assert shown.err == f"check failed: {text}"
    assert main(["evaluate", policy, trace, "--max-loss", "0", "--json"]) == 1
    shown = capsys.readouterr()
    (check,) = json.loads(shown.out)["checks"]
    assert (check["name"], check["passed"]) == ("--max-loss", False)
    assert shown.err == f"check failed: {check['text']}\n"
    assert main(["compare", trace, "--folds", "2", "--check"]) in (0, 1)
    assert "clearly worse: objective " in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["nan", "-1"])
@pytest.mark.parametrize("option", ["--max-loss", "--max-cost"])
def test_a_limit_that_is_none_does_not_pass(
    files: tuple[str, str], option: str, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", files[1], files[0], option, limit]) == 2
    assert capsys.readouterr().err == f"error: `{option}` must be at least 0, got {float(limit)}\n"
    assert main(["bench", "--max-call-ratio", limit]) == 2


def test_inputs_are_not_written_over(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, policy = files
    before = Path(trace).read_bytes(), Path(policy).read_bytes()
    (tmp_path / "link.png").symlink_to(trace)
    (tmp_path / "policy.png").symlink_to(policy)
    for arguments in (
        ["fit", trace, "--tradeoff", "0.9", "-o", trace],
        ["fit", trace, "--tradeoff", "0.9", "-o", f"{tmp_path}/../{tmp_path.name}/trace.npz"],
        ["fit", trace, "--tradeoff", "0.9", "-o", str(tmp_path / "link.png")],
        ["frontier", trace, "--picture", str(tmp_path / "link.png")],
        ["inspect", policy, "--picture", str(tmp_path / "policy.png")],
    ):
        assert main(arguments) == 2
        assert "must be another file than those that are read, got " in capsys.readouterr().err
    assert before == (Path(trace).read_bytes(), Path(policy).read_bytes())


def test_outputs_are_tried_before_the_work(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def worked(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(commands, "read_trace", worked)
    for output, reason in (
        (tmp_path / "absent" / "policy", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "policy" / "policy", "Not a directory"),
    ):
        assert main(["fit", files[0], "--tradeoff", "0.9", "-o", str(output)]) == 2
        assert capsys.readouterr().err == f"error: {output}: {reason}\n"
    assert main(["frontier", files[0], "--picture", str(tmp_path / "frontier.txt")]) == 2
    assert "`path` must end in .png, .svg or .pdf" in capsys.readouterr().err


def test_versions_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ttamer {tt.__version__}\n"
    for arguments in (["-h"], ["fit", "-h"]):
        assert main(arguments) == 0
        assert "Usage" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["fit", "--tradoff", "0.9"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: no such option: --tradoff")
    assert shown.endswith("(see ttamer fit --help)\n")
    assert shown.count("\n") == 1


def test_a_sorted_file_is_hinted_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / name) for name in ("policy", "reference.npz", "sorted.npz", "shifted.npz")]
    tt.fit(make_trace(n=400), tradeoff=0.9).save(names[0])
    make_trace(n=1000, seed=1).save(names[1])
    like = make_trace(n=1000, seed=2)
    like.rows(np.argsort(like.signal[:, 0])).save(names[2])
    tt.Trace(np.array(like.signal) ** 4, like.loss, like.cost, like.prediction, kind=like.kind).save(names[3])
    assert main(["drift", *names[:3]]) == 1
    shown = capsys.readouterr()
    assert f"hint: rows are not in a random order: {names[2]}: neighbouring rows have alike signals" in shown.out
    assert shown.err.startswith("check failed: drift of the ")
    assert main(["drift", *names[:2], names[3], "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["hints"] == []


def test_a_file_without_its_kind_is_warned_about(files: tuple[str, str], tmp_path: Path) -> None:
    trace = tt.read_trace(files[0])
    path = tmp_path / "plain.npz"
    np.savez(path, signal=trace.signal, loss=trace.loss, cost=trace.cost, stages=np.array(trace.stages))
    warned = ttamer("fit", str(path), "--tradeoff", "0.9", "--no-summary", "-o", str(tmp_path / "policy"))
    assert warned.returncode == 0
    assert warned.stderr.startswith(f"warning: {path} does not say its kind".encode())
    assert warned.stderr.count(b"\n") == 1
    # A policy that is judged on it says it.
    assert ttamer("evaluate", files[1], str(path)).stderr == b""


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes("signal:größe,correct:größe,cost:größe\n0.5,1,1\n".encode("latin-1"))
    done = ttamer("compare", str(path))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"error: {path}: byte 9 (line 1) must be UTF-8".encode())


def test_many_stages_are_shown_briefly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = make_trace(n=30, k=200)
    tt.baselines.threshold(trace, 0.9).save(tmp_path / "policy")
    assert main(["inspect", str(tmp_path / "policy")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("200 stages: stage 0, stage 1, ")
    assert "stage 7, ... (200 in all)\n" in shown
