"""`examples/server`: a day of a server with real models; without them it says what is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import REPOSITORY

FOLDER = REPOSITORY / "examples" / "server"


def run(*options: str, without: Sequence[str] = (), seconds: float = 280.0) -> subprocess.CompletedProcess[str]:
    """The program, as if some modules were not installed."""
    hidden = "".join(f"sys.modules[{name!r}] = None; " for name in without)
    code = f"import runpy, sys; {hidden}sys.argv = sys.argv[1:]; sys.path.insert(0, {str(FOLDER)!r}); "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(FOLDER / "day.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)


@pytest.mark.extra("server")
@pytest.mark.outside("sst2")
def test_a_short_day(outside_sst2: Path, tmp_path: Path) -> None:
    picture = tmp_path / "day.png"
    done = run("--data", str(outside_sst2), "--short", "--picture", str(picture))
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = re.findall(r"^(yes|NO) +\w", done.stdout, re.MULTILINE)
    assert (len(verdicts), set(verdicts)) == (14, {"yes"})
    for what in ("SIGKILL", "refused", "alarm", "fitted to the log", "promoted after", "401", "SIGTERM"):
        assert what in done.stdout, what
    row = r"^(.+?) +(\d+) +(\d+) +([\d.]+) +[\d.]+ +[\d.]+ +[\d.]+  +\d+ +\d+ +\d+ +\d+$"
    parts = {
        name: (int(count), int(lost), float(right))
        for name, count, lost, right in re.findall(row, done.stdout, re.MULTILINE)
    }
    assert sum(lost for _, lost, _ in parts.values()) == 0
    # What the promotion is for.
    assert parts["adverts: the candidate serves"][2] > parts["adverts: drift"][2] + 0.03
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.stat().st_size > 20_000


def test_what_is_missing_is_said_in_a_line(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("server: needs sst2_train.tsv in the folder --data or TTAMER_SST2, got ")
    for name in ("sst2_train.tsv", "sst2_dev.tsv", "sst2_test.tsv"):
        (tmp_path / name).write_text("good\t1\nbad\t0\n", encoding="utf-8")
    for name, without in {"starlette": ["starlette"], "uvicorn": ["uvicorn", "prometheus_client"]}.items():
        done = run("--data", str(tmp_path), without=without)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == f'server: needs {name}: pip install "ttamer_fast[server]"\n'
