"""`benches/gpu.py` runs on the CPU, and says so where there is no GPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

torch = pytest.importorskip("torch", reason='needs torch: pip install "ttamer_fast[torch]"')

pytestmark = pytest.mark.extra("torch")

PROGRAM = str(REPOSITORY / "benches" / "gpu.py")


def test_it_runs_on_the_cpu_and_answers_are_served_as_replayed(tmp_path: Path) -> None:
    report = tmp_path / "gpu.md"
    command = [sys.executable, PROGRAM, "--cpu", "--smoke", "--output", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    written = report.read_text(encoding="utf-8")
    assert written.strip() == done.stdout.strip()
    assert "on: the CPU, PyTorch" in written
    assert "Predictions that differ from the CPU: 0 of 256." in written
    assert "0 answers differ of 64, 0 paths." in written
    takes = [float(found) for found in re.findall(r"it takes (\S+) of 4 layers", written)]
    assert len(takes) == 2
    assert all(1.0 < layers < 3.9 for layers in takes)
    rows = [line.split(" | ") for line in written.splitlines() if re.match(r"\| \d", line)]
    assert [len(row) for row in rows] == [7] * 6
    times = [row[at] for row in rows[:4] for at in (1, 2, 5)] + [cell for row in rows[4:] for cell in row[1:]]
    assert all(float(cell.strip("| ")) > 0.0 for cell in times)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device: benches/gpu.py measures it")
def test_without_a_gpu_it_says_so() -> None:
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "there is no CUDA device here; --cpu measures the CPU\n"
