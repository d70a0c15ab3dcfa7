from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import main
from ttamer_fast.cli.policy_text import _decision_text, _recall_text
from ttamer_fast.cli.showing import finite
from ttamer_fast.evaluation.difference import _limits


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
    shown = capsys.readouterr().out
    assert tt.load(policy).digest in shown
    assert "of the objective on rows held back" in shown
    assert (tmp_path / "policy.png").exists()
    assert main(["inspect", policy, "--json"]) == 0
    content = json_of(capsys)
    assert content["bytes"] == Path(policy).stat().st_size
    assert content["stages"] == ["stage 0", "stage 1", "stage 2", "stage 3"]


def test_a_family_is_fitted_and_inspected(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, policy = files
    output = str(tmp_path / "family.policies")
    assert main(["fit", trace, "--tradeoffs", "0.95,0.8,0.9", "-o", output]) == 0
    assert "3 policies; means are held-out" in capsys.readouterr().out
    family = tt.PolicyFamily.load(output)
    assert family.tradeoffs.tolist() == [0.8, 0.9, 0.95]
    assert family.at(0.9) == tt.load(policy)
    assert main(["inspect", output]) == 0
    shown = capsys.readouterr().out
    assert family.digest in shown
    assert all(f"{cost:.6g}" in shown for cost in family.costs)
    assert main(["inspect", output, "--json"]) == 0
    assert [one["digest"] for one in json_of(capsys)["policies"]] == [one.digest for one in family]  # type: ignore[attr-defined]
    assert main(["fit", trace, "--tradeoffs", "auto", "-o", output, "--json"]) == 0
    assert json_of(capsys)["file"] == output
    for arguments, told in (
        (["fit", trace, "--tradeoffs", "0.8,x", "-o", output], "`--tradeoffs` must be auto, or numbers with commas"),
        (
            ["fit", trace, "--tradeoffs", "0.8", "--tradeoff", "0.9", "-o", output],
            "`--tradeoffs` must be the only goal",
        ),
        (["fit", trace, "--tradeoffs", "0.8,2", "-o", output], "`tradeoffs[1]` must be between 0 and 1"),
        (["inspect", output, "--picture", str(tmp_path / "a.png")], "`--picture` must be of one policy, got a family"),
        (["evaluate", output, trace], "not a policy file: it holds a family of policies"),
    ):
        assert main(arguments) == 2
        assert told in capsys.readouterr().err
    damaged = bytearray(Path(output).read_bytes())
    damaged[100] ^= 1
    Path(output).write_bytes(damaged)
    assert main(["inspect", output]) == 2
    assert "damaged family file" in capsys.readouterr().err


def test_stopping_beyond_a_limit_is_said_so() -> None:
    row: dict[str, Any] = {"stage": 0, "stop": 0.1, "next": [[0.2, 1], [0.3, -1], ["inf", 1]]}
    assert _decision_text(row) == "after 0: stop up to 0.1; run 1 up to 0.2; stop up to 0.3; run 1 up to inf"
    limits = _limits(("small", "large"), {"type": "belief", "decisions": [row]})
    assert limits == {"after small": "stop up to 0.1; large 0.2; stop 0.3; large"}


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


def test_certified_fit(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = files[0], tmp_path / "certified"
    trace = tt.read_trace(path)
    fit = ["fit", path, "-o", str(output), "--certify", "0.4"]
    assert main(fit) == 0
    assert output.read_bytes() == tt.fit_certified(trace, max_loss=0.4, delta=0.05).to_bytes()
    assert "betting" in capsys.readouterr().out
    assert main([*fit, "--delta", "0.1", "--binary", "--seed", "2", "--graph", "line", "--recall", "no", "--json"]) == 0
    known = json_of(capsys)["provenance"]
    assert isinstance(known, dict)
    assert (known["goal"], known["p_value_of"]) == ("max_loss=0.4, delta=0.1", "binomial tail")
    same = tt.fit_certified(trace, max_loss=0.4, delta=0.1, binary=True, graph="line", recall=False, seed=2)
    assert output.read_bytes() == same.to_bytes()
    assert main([*fit, "--largest-loss", "2"]) == 0
    assert output.read_bytes() == tt.fit_certified(trace, max_loss=0.4, largest_loss=2.0).to_bytes()
    fit[-1] = "last+0.1"
    assert main(fit) == 0
    assert output.read_bytes() == tt.fit_certified(trace, max_loss="last+0.1").to_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--certify", "0.001"], "the least that can is"),
        (["--certify", "nobody+0.1"], "`max_loss` must be relative to one of "),
        (["--certify", "0.4", "--tradeoff", "0.9"], "`--certify` must be the only goal"),
        (["--certify", "0.4", "--max-loss", "last+0.1"], "`--certify` must be the only goal"),
        (["--certify", "0.4", "--estimator", "markov"], "`--certify` must be the only goal"),
        (["--certify", "0.4", "--delta", "2"], "`delta` must be above 0 and below 1, got 2.0"),
        (["--certify", "0.4", "--largest-loss", "2", "--binary"], "must be 0 or 2 as `binary` is True, got 1.0"),
        (["--tradeoff", "0.9", "--delta", "0.1"], "must come with `--certify`"),
        (["--tradeoff", "0.9", "--binary"], "must come with `--certify`"),
        (["--tradeoff", "0.9", "--largest-loss", "1"], "must come with `--certify`"),
    ],
)
def test_certified_fits_that_are_refused(
    files: tuple[str, str], tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", files[0], "-o", str(tmp_path / "new"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_drift(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, stream, changed = (tmp_path / f"{name}.npz" for name in ("reference", "stream", "changed"))
    make_trace(n=1000, seed=1).save(reference)
    like = make_trace(n=1000, seed=2)
    like.save(stream)
    signal = np.array(like.signal)
    signal[300:, 0] **= 4.0
    tt.Trace(signal, like.loss, like.cost, like.prediction, kind=like.kind).save(changed)
    command = ["drift", files[1], str(reference)]
    assert main([*command, str(stream)]) == 0
    assert "1000 requests, false-alarm rate 0.01: no drift" in capsys.readouterr().out
    assert main([*command, str(changed), "--alpha", "0.05"]) == 1
    assert "drift of the signal of 'stage 0', alarm after" in capsys.readouterr().out
    assert main([*command, str(changed), "--json"]) == 1
    content = json_of(capsys)
    policy = tt.load(files[1])
    monitor = tt.DriftMonitor.fit(policy, tt.read_trace(reference))
    watched = tt.read_trace(changed)
    monitor.update_replay(policy.replay(watched.signal, watched.prediction), watched.signal, watched.prediction)
    assert content["alarmed_at"] == monitor.alarmed_at
    assert content["stage"] == "stage 0"
    assert content["watched"] == "signal"
    assert isinstance(content["components"], list)
    assert content["hints"] == []
    # A file that is sorted raises an alarm against its own like: it is told why, beside the alarm.
    sorted_file = tmp_path / "sorted.npz"
    like.rows(like.signal[:, 0].argsort()).save(sorted_file)
    assert main([*command, str(sorted_file)]) == 1
    captured = capsys.readouterr()
    hint = f"{sorted_file}: neighbouring rows have alike signals of stage 'stage 0'"
    assert f"hint: rows are not in a random order: {hint}" in captured.out
    assert captured.err.startswith("check failed: drift of ")
    assert main([*command, str(sorted_file), "--json"]) == 1
    assert hint in json.dumps(json_of(capsys)["hints"])
    assert len(content["components"]) == len(monitor.report().components)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{trace}", "{trace}", "{trace}"], "not a policy file"),
        (
            ["{policy}", "{other}", "{trace}"],
            "`reference` must have the stages ['stage 0', 'stage 1', 'stage 2', 'stage 3'], "
            "got ['stage 0', 'stage 1', 'stage 2']",
        ),
        (
            ["{policy}", "{trace}", "{other}"],
            "`stream` must have the stages ['stage 0', 'stage 1', 'stage 2', 'stage 3'], "
            "got ['stage 0', 'stage 1', 'stage 2']",
        ),
        (["{policy}", "{short}", "{trace}"], "`trace` must have at least 16 rows, got 9"),
        (["{policy}", "{trace}", "{trace}", "--alpha", "0"], "`alpha` must be above 0 and below 1, got 0.0"),
        (["{policy}", "{trace}", "absent.npz"], "absent.npz"),
        (["{policy}", "{trace}"], "stream"),
    ],
)
def test_drift_that_is_refused(
    files: tuple[str, str], tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"trace": files[0], "policy": files[1], "other": f"{tmp_path}/other.npz", "short": f"{tmp_path}/short.npz"}
    make_trace(n=100, k=3).save(names["other"])
    make_trace(n=9).save(names["short"])
    assert main(["drift", *(argument.format(**names) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err.lower()


def test_frontier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, picture = tmp_path / "trace.npz", tmp_path / "frontier.svg"
    make_trace(n=120, k=2).save(path)
    assert main(["frontier", str(path), "--folds", "2", "--picture", str(picture)]) == 0
    assert "120 requests, 2-fold cross-validation" in capsys.readouterr().out
    assert picture.read_text().lstrip().startswith("<?xml")
    assert main(["frontier", str(path), "--folds", "2", "--json"]) == 0
    content = json_of(capsys)
    assert content == json.loads(json.dumps(tt.frontier(tt.read_trace(path), folds=2).to_dict()))
    for options in (["--folds", "1"], ["--folds", "2", "--picture", str(tmp_path / "frontier.txt")]):
        assert main(["frontier", str(path), *options]) == 2
        assert "error: " in capsys.readouterr().err


def test_what_recall_was_worth() -> None:
    def text(difference: float) -> list[str]:
        with_recall = {"name": "pathwise", "difference": 0.0, "standard_error": 0.0}
        without = {"name": "pathwise, no recall", "difference": difference, "standard_error": 0.00081}
        policy: Any = SimpleNamespace(report=[with_recall, without])
        return _recall_text(policy)

    assert text(0.0021) == ["recall: worth 0.0021 ± 0.00081 of the objective on rows held back"]
    assert text(-0.0021) == ["recall: costs 0.0021 ± 0.00081 of the objective on rows held back"]
    policy: Any = SimpleNamespace(report=[])
    assert _recall_text(policy) == []


def test_orders_and_mixtures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = make_trace(n=400, kind="exits")
    path, output = tmp_path / "trace.npz", tmp_path / "policy"
    trace.save(path)
    fit = ["fit", str(path), "-o", str(output), "--tradeoff", "0.9", "--order"]
    for order, same in (("0,2,3", [0, 2, 3]), ("stage 0, stage 3", [0, 3]), ("given", "given")):
        assert main([*fit, order]) == 0
        assert output.read_bytes() == tt.fit(trace, tradeoff=0.9, order=same).to_bytes()
    assert main([*fit, "3,0"]) == 2
    assert "`order[1]` must be a later exit than 3, got 0" in capsys.readouterr().err
    coarse = tt.Trace(np.ones((400, 4)), trace.loss, trace.cost, np.arange(1600).reshape(400, 4) + 5000)
    coarse.save(path)
    assert main(["fit", str(path), "-o", str(output), "--max-cost", "2.5"]) == 0
    text = capsys.readouterr().out
    assert "of requests, by a coin:" in text
    assert "mixed_share" in text
    picture = tmp_path / "mixture.png"
    assert main(["inspect", str(output), "--picture", str(picture), "--json"]) == 0
    assert json_of(capsys)["describe"]["rule"]["type"] == "mixture"  # type: ignore[index]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_bench(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    trace, policy = files
    assert main(["bench", policy, "--trace", trace, "--json"]) == 0
    found = json_of(capsys)
    assert found["stages"] == 4
    assert set(found) >= {"call_ns", "floor_ns", "python_ns", "median_ns", "rounds", "noise", "is_noisy"}
    assert main(["bench", policy, "--trace", trace, "--max-call-ratio", "0"]) == 1
    text = capsys.readouterr().out
    assert "a consulted stage" in text
    assert "steady: " in text or "TOO NOISY to tell: " in text


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
    for command in ("demo", "fit", "evaluate", "compare", "frontier", "drift", "inspect", "bench"):
        assert command in shown


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["--help"]) == 2
    assert 'typer is not installed: pip install "ttamer_fast[cli]"' in capsys.readouterr().err


def test_infinities_are_strings_in_json() -> None:
    assert finite({"a": [float("inf"), (1.5, float("-inf"))]}) == {"a": ["inf", [1.5, "-inf"]]}
