from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import main
from ttamer_fast.commands import _finite


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    trace = make_trace(n=400)
    trace.save(tmp_path / "trace.npz")
    tt.fit(trace, tradeoff=0.9).save(tmp_path / "policy")
    return str(tmp_path / "trace.npz"), str(tmp_path / "policy")


def json_of(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


def test_fit_and_inspect(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, policy = files
    output = tmp_path / "again"
    assert main(["fit", trace, "--tradeoff", "0.9", "--output", str(output)]) == 0
    assert output.read_bytes() == Path(policy).read_bytes()
    assert "written to" in capsys.readouterr().out
    assert main(["fit", trace, "-o", str(output), "--max-cost", "3", "--recall", "no", "--json"]) == 0
    assert json_of(capsys)["recall"] is False
    assert main(["inspect", policy, "--picture", str(tmp_path / "policy.png")]) == 0
    assert tt.load(policy).digest in capsys.readouterr().out
    assert (tmp_path / "policy.png").exists()
    assert main(["inspect", policy, "--json"]) == 0
    content = json_of(capsys)
    assert content["bytes"] == Path(policy).stat().st_size
    assert content["stages"] == ["stage 0", "stage 1", "stage 2", "stage 3"]


def test_every_baseline_can_be_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, tuned in tt.baselines.ALL.items():
        path = tmp_path / name
        tuned(make_trace(n=200), 0.9).save(path)
        assert main(["inspect", str(path)]) == 0
        assert name in capsys.readouterr().out


def test_evaluate(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    trace, policy = files
    assert main(["evaluate", policy, trace]) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert main(["evaluate", policy, trace, "--json", "--max-loss", "1", "--max-cost", "100"]) == 0
    assert json_of(capsys)["n"] == 400
    assert main(["evaluate", policy, trace, "--max-loss", "0"]) == 1
    assert main(["evaluate", policy, trace, "--max-cost", "0"]) == 1


def test_compare(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    trace, _ = files
    assert main(["compare", trace, "--folds", "2"]) == 0
    assert "a cascade" in capsys.readouterr().out
    assert main(["compare", trace, "--folds", "2", "--json", "--kind", "exits"]) == 0
    assert json_of(capsys)["folds"] == 2


def test_bench(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    trace, policy = files
    assert main(["bench", "--policy", policy, "--trace", trace, "--json"]) == 0
    assert json_of(capsys)["stages"] == 4
    assert main(["bench", "--policy", policy, "--trace", trace, "--max-call-ratio", "0"]) == 1
    assert "ns a consulted stage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["fit"],
        ["fit", "{trace}", "-o", "{folder}/p"],
        ["fit", "{trace}", "-o", "{folder}/p", "--tradeoff", "2"],
        ["fit", "{trace}", "-o", "{folder}/p", "--tradeoff", "0.9", "--graph", "ring"],
        ["fit", "{trace}", "-o", "{folder}/absent/p", "--tradeoff", "0.9"],
        ["fit", "absent.npz", "-o", "{folder}/p", "--tradeoff", "0.9"],
        ["inspect", "{trace}"],
        ["inspect", "absent"],
        ["compare", "{trace}", "--folds", "1"],
    ],
)
def test_wrong_usage_is_code_2(
    files: tuple[str, str], tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    trace, _ = files
    assert main([argument.format(trace=trace, folder=tmp_path) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip()
    assert "Traceback" not in captured.err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("demo", "fit", "evaluate", "compare", "inspect", "bench"):
        assert command in shown


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["--help"]) == 2
    assert 'typer is not installed: pip install "ttamer_fast[cli]"' in capsys.readouterr().err


def test_infinities_are_strings_in_json() -> None:
    assert _finite({"a": [float("inf"), (1.5, float("-inf"))]}) == {"a": ["inf", [1.5, "-inf"]]}
