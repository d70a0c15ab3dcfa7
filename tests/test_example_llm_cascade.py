"""`examples/llm_cascade` asks real models and keeps its promises; without them it says what is missing."""

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

FOLDER = REPOSITORY / "examples" / "llm_cascade"
RECORDED = FOLDER / "recorded.npz"
PROGRAM = FOLDER / "cascade.py"
STAGES = ("vader", "minilm", "gemma")


def run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """The program with these arguments, after a statement."""
    start = "import runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    command = [sys.executable, "-c", f"{before}{start}runpy.run_path(sys.argv[0], run_name='__main__')"]
    everything = [*command, PROGRAM.as_posix(), *arguments]
    return subprocess.run(everything, capture_output=True, text=True, check=False, timeout=280)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the example can be imported."""
    monkeypatch.syspath_prepend(str(FOLDER))


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


# In some parts Gemma alone is not clearly worse, and the fit says so.
@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_the_policy_is_better_than_every_model_and_every_threshold(modules: None) -> None:
    trace = tt.read_trace(RECORDED, loss="loss")
    assert trace.stages == STAGES
    assert trace.n == 1800
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for tradeoff, worse in ((0.95, slice(1, 6)), (0.985, slice(0, 6)), (0.995, slice(0, 6))):
        table = module("judged").table(trace, tradeoff)
        assert "\n".join(f"    {line}" for line in table.splitlines()) in readme
        gaps = [float(line[18:].split()[1]) for line in table.splitlines()[2:]]
        assert len(gaps) == 6
        # The first is the policy without recall: where errors are cheap, it is as good.
        assert min(gaps[worse]) > 0.0


def test_the_recorded_trace_has_latencies() -> None:
    with np.load(RECORDED, allow_pickle=False) as saved:
        latency = saved["latency"]
    assert latency.shape == (1800, 3)
    assert np.all(latency > 0.0)
    middle = np.median(latency, axis=0)
    assert middle[0] < 0.01 < middle[1] < middle[2] < 2.0


@pytest.mark.extra("llm-cascade")
@pytest.mark.outside("sst2")
def test_what_is_served_is_what_was_recorded(outside_sst2: Path, tmp_path: Path) -> None:
    folders = ["--data", str(outside_sst2), "--cache", str(tmp_path)]
    done = run("--recorded", str(RECORDED), "--serve", "25", *folders)
    assert done.returncode == 0, done.stdout + done.stderr
    # Other processors round otherwise: a signal may differ a little, and with it a decision that was close.
    same = re.findall(r"(\d+) of 25 with the same stages and answer as in the replay", done.stdout)
    assert int(same[0]) >= 23
    accuracy = re.findall(r"^accuracy (\S+), replayed (\S+)$", done.stdout, re.MULTILINE)[0]
    assert abs(float(accuracy[0]) - float(accuracy[1])) <= 0.08
    cost = re.findall(r"^cost (\S+) ms, replayed (\S+) ms$", done.stdout, re.MULTILINE)[0]
    assert float(cost[0]) == pytest.approx(float(cost[1]), rel=0.1)
    assert float(re.findall(r"from the trace: (\S+)$", done.stdout, re.MULTILINE)[0]) < 0.3


@pytest.mark.extra("llm-cascade")
@pytest.mark.outside("sst2")
def test_what_is_recorded_is_served_the_same(outside_sst2: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    options = ["--sentences", "40", "--serve", "10", "--trained-on", "200", "--trace", str(path)]
    done = run(*options, "--data", str(outside_sst2), "--cache", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 with the same stages and answer as in the replay" in done.stdout
    cost = re.findall(r"^cost (\S+) ms, replayed (\S+) ms$", done.stdout, re.MULTILINE)[0]
    assert cost[0] == cost[1]
    trace = tt.read_trace(path, loss="loss")
    assert (trace.stages, trace.n) == (STAGES, 40)
    assert trace.cost[0] < trace.cost[1] < trace.cost[2]
    assert trace.loss[:, 2].mean() < 0.4
    with np.load(path, allow_pickle=False) as saved:
        assert np.all(saved["latency"] > 0.0)


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"sst2_{part}.tsv").write_text("a fine film\t1\n", encoding="utf-8")
    done = run("--data", str(tmp_path), before="import sys; sys.modules['xllamacpp'] = None; ")
    assert done.returncode == 69, done.stderr
    assert done.stderr.startswith("not installed: pip install ")
    assert "xllamacpp" in done.stderr.split()
    assert done.stdout == ""


@pytest.mark.parametrize("given", [[], ["--data", "nowhere"]])
def test_sentences_that_are_missing_are_named(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TTAMER_SST2", raising=False)
    done = run(*given)
    assert done.returncode == 66, done.stderr
    assert re.match(r"no sentences: (--data or TTAMER_SST2 must name|there is no file nowhere)", done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_other_weights_are_refused(modules: None, tmp_path: Path) -> None:
    (tmp_path / "gemma-3-270m-q4_k_m.gguf").write_bytes(b"something else")
    with pytest.raises(Exception, match="the weights are not the ones that were checked") as error:
        module("gemma").joined(str(tmp_path))
    assert error.value.code == 65  # type: ignore[attr-defined]
