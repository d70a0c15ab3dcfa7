"""`examples/probe`: what probes are worth on recorded texts, and on real engines where they are installed."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import REPOSITORY

FOLDER = REPOSITORY / "examples" / "probe"
PROGRAM = FOLDER / "probe.py"
RECORDED = FOLDER / "recorded.npz"
GAP = re.compile(r"^(length|router|guess|guess may answer) +\S+ +(\S+) \[(\S+), (\S+)\]", re.MULTILINE)


def run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """The program with these arguments, after a statement."""
    start = "import runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    command = [sys.executable, "-c", f"{before}{start}runpy.run_path(sys.argv[0], run_name='__main__')"]
    everything = [*command, PROGRAM.as_posix(), *arguments]
    return subprocess.run(everything, capture_output=True, text=True, check=False, timeout=280)


def gaps(table: str) -> dict[str, tuple[float, float, float]]:
    """Of every way its difference to no probe, and the ends of the interval."""
    return {way: (float(mean), float(low), float(high)) for way, mean, low, high in GAP.findall(table)}


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that judges probes."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("worth")


@pytest.mark.rates
def test_a_router_pays_where_errors_are_dear_and_a_witness_everywhere(tmp_path: Path) -> None:
    done = run("--recorded", str(RECORDED), "--at", "0.8", "0.95")
    assert done.returncode == 0, done.stdout + done.stderr
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    cheap, dear = done.stdout.split("\nλ = ")[1:]
    for table in (cheap, dear):
        shown = "\n".join(f"    {line}" for line in f"λ = {table.strip()}".splitlines())
        assert shown in readme
        found = gaps(table)
        assert set(found) == {"length", "router", "guess", "guess may answer"}
        assert found["guess"][2] < 0.0
        assert found["guess may answer"][2] < found["guess"][1]
        assert found["length"][1] < 0.0 < found["length"][2]
    assert gaps(dear)["router"][2] < 0.0
    assert gaps(cheap)["router"][0] > 0.0


def test_the_router_is_first_and_sends_texts_straight_to_the_large_model(worth: ModuleType) -> None:
    trace = tt.read_trace(RECORDED, loss="loss")
    assert trace.stages == ("length", "router", "guess", "small", "large")
    assert np.isinf(trace.loss[:, :2]).all()
    part = worth.chosen(trace, ("router", "small", "large"))
    policy = worth.policy_for(part, 0.95, worth.full_cost(trace))
    assert policy.start().next == 0
    replay = policy.replay(part.signal, part.prediction)
    straight = ~replay.consulted[:, 1]
    assert 0.1 < straight.mean() < 0.4
    assert (replay.answer[straight] == 2).all()
    # They are the texts that the small model gets wrong.
    assert trace.loss[straight, 3].mean() > 2.0 * trace.loss[~straight, 3].mean()


def test_the_picture_has_a_line_for_every_way(worth: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    trace = tt.read_trace(RECORDED, loss="loss")[:2000]
    ways = {way: [worth.served(trace, way, at) for at in (0.9, 0.95)] for way in ("no probe", "guess")}
    worth.draw(trace, ways, tmp_path / "frontier.svg")
    drawn = (tmp_path / "frontier.svg").read_text(encoding="utf-8")
    assert len(re.findall(r'<g id="line2d_\d+">\s*<path d="M [^"]+" clip-path[^>]+stroke-width: 1.8', drawn)) == 2


@pytest.mark.extra("language-id")
def test_what_is_served_is_what_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    done = run("--texts", "5000", "--at", "0.95", "--trace", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert gaps(done.stdout)["guess"][2] < 0.0
    same, count = re.findall(r"(\d+) of (\d+) with the same stages and answer as in the replay", done.stdout)[0]
    assert same == count
    trace = tt.read_trace(path, loss="loss")
    assert trace.n == int(count) > 2000
    price = dict(zip(trace.stages, np.asarray(trace.cost), strict=True))
    assert price["length"] < price["router"] < price["guess"] < price["small"] < price["large"]


def test_a_package_that_is_missing_is_named() -> None:
    done = run(before="import sys; sys.modules['lingua'] = sys.modules['django'] = None; ")
    assert done.returncode == 69, done.stderr
    assert done.stderr.startswith("not installed: pip install ")
    assert {"Django", "lingua-language-detector"} <= set(done.stderr.split())
    assert done.stdout == ""
