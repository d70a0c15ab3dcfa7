"""The programs in `examples/` run and say what they promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import REPOSITORY

pytest.importorskip("sklearn")


@pytest.mark.parametrize("name", ["forest", "skip"])
def test_example(name: str) -> None:
    # A build with debug assertions says so, and is tested too.
    warnings = ["-W", "error", "-W", "ignore:ttamer_fast was built:RuntimeWarning"]
    command = [sys.executable, *warnings, str(REPOSITORY / "examples" / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exact=True" in done.stdout
    lines = done.stdout.splitlines()
    paid = next(float(line.split()[1]) for line in lines if line.startswith("policy "))
    others = [line for line in lines if " ± " in line]
    assert 0.0 < paid < 1.0
    assert len(others) >= 2
    # Each line ends its total with the paired difference; none of the simple ways is clearly better.
    for line in others:
        gap, error = line.split(" policy ")[1].split(" ± ")
        assert float(gap) <= 2.0 * float(error.split()[0])
