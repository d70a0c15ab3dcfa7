"""Two policies side by side, as an object and on the command line."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import main

WIDTH = 80


@cache
def parts(kind: str = "exits") -> tuple[tt.Trace, tt.Trace]:
    return make_trace(3000, 4, kind=kind).split()


@cache
def policies(kind: str = "exits") -> dict[str, tt.Policy]:
    train, test = parts(kind)
    made = {name: getattr(tt.baselines, name)(train, 0.9) for name in ("threshold", "stage_thresholds", "patience")}
    made |= {"fit": tt.fit(train, tradeoff=0.9), "line": tt.fit(train, tradeoff=0.9, graph="line")}
    made |= {"line of others": tt.fit(test, tradeoff=0.9, graph="line"), "mixture": tt.fit(train, max_cost=2.5)}
    made |= {"declines": tt.fit(train, tradeoff=0.9, default_loss=0.3), "markov": tt.baselines.markov(train, 0.9)}
    return made


def facts(found: tt.PolicyDiff) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.a, fact.b) for fact in found.facts}


def test_facts_are_those_of_the_two_policies() -> None:
    a, b = policies()["stage_thresholds"], policies()["fit"]
    found = tt.diff(a, b)
    said = facts(found)
    assert said["digest"] == (a.digest[:12], b.digest[:12])
    assert said["goal"] == ("tradeoff=0.9", "tradeoff=0.9")
    assert said["trace"] == (parts()[0].digest[:12],) * 2
    assert said["rows"] == ("1500", "1500")
    assert said["bytes"] == (str(len(a.to_bytes())), str(len(b.to_bytes())))
    assert said["objective, fit"] == (f"{a.value:.4g}", f"{b.value:.4g}")
    assert said["first stage"] == tuple(one.stages[one.start().next or 0] for one in (a, b))
    assert said["default loss"] == ("inf", "inf")
    assert (found.same, found.judged, found.moved) == (False, None, ())
    assert facts(tt.diff(a, policies()["declines"]))["default loss"] == ("inf", "0.3")


def test_a_policy_is_the_same_as_itself() -> None:
    for policy in policies().values():
        again = tt.Policy.from_bytes(policy.to_bytes())
        found = tt.diff(policy, again, parts()[1])
        assert found.same
        assert not found.moved
        assert all(fact.a == fact.b for fact in found.facts)
        judged = found.judged
        assert judged is not None
        assert (judged.same_stages, judged.same_answer, judged.earlier, judged.later) == (1.0, 1.0, 0, 0)
        assert judged.objective.difference == 0.0
        assert str(found).startswith("the same policy\n")


def test_limits_that_moved() -> None:
    stages = parts()[0].stages
    one, two = policies()["threshold"], policies()["stage_thresholds"]
    limits = [policy.describe()["rule"]["threshold"] for policy in (one, two)]
    expected = [(name, f"{float(a):.4g}", f"{float(b):.4g}") for name, a, b in zip(stages, *limits, strict=True)]
    assert list(tt.diff(one, two).moved) == [row for row in expected if row[1] != row[2]] != []
    one, two = policies()["line"], policies()["line of others"]
    moved = tt.diff(one, two).moved
    first = one.describe()["rule"]["decisions"][0]
    found = next(fact for fact in moved if fact.name == f"after {stages[first['after'][0]]}")
    assert found.a.startswith(f"stop up to {first['stop']:.4g}; ")
    assert found.b != found.a


@pytest.mark.parametrize("kind", ["exits", "models"])
def test_a_trace_judges_both_request_by_request(kind: str) -> None:
    test = parts(kind)[1]
    a, b = policies(kind)["stage_thresholds"], policies(kind)["fit"]
    judged = tt.diff(a, b, test).judged
    assert judged is not None
    ours, theirs = tt.evaluate(a, test), tt.evaluate(b, test)
    for name in ("loss", "cost", "objective"):
        found = getattr(judged, name)
        assert (found.a, found.b) == (getattr(ours, name), getattr(theirs, name))
        assert found.difference == pytest.approx(found.b - found.a, abs=1e-12)
        low, high = found.interval
        assert low < found.difference < high
    one, two = (policy.replay(test.signal, test.prediction) for policy in (a, b))
    if kind == "exits":
        ran = [found.consulted.shape[1] - found.consulted[:, ::-1].argmax(axis=1) for found in (one, two)]
    else:
        ran = [found.consulted.sum(axis=1) for found in (one, two)]
    assert (judged.earlier, judged.later) == (int((ran[1] < ran[0]).sum()), int((ran[1] > ran[0]).sum()))
    assert judged.same_stages == pytest.approx((one.consulted == two.consulted).all(axis=1).mean())
    said, rows = test.prediction, np.arange(test.n)
    assert said is not None
    same = (one.answer == two.answer) | (said[rows, one.answer] == said[rows, two.answer])
    assert judged.same_answer == pytest.approx(same.mean())
    assert judged.n == test.n


def test_the_level_widens_and_the_other_way_round_mirrors() -> None:
    a, b, test = policies()["threshold"], policies()["fit"], parts()[1]
    found = [tt.diff(a, b, test, level=level).judged for level in (0.5, 0.95, 0.999)]
    widths = [one.loss.interval[1] - one.loss.interval[0] for one in found if one is not None]
    assert len(widths) == 3
    assert widths[0] < widths[1] < widths[2]
    back = tt.diff(b, a, test).judged
    assert back is not None
    assert found[1] is not None
    assert back.cost.difference == -found[1].cost.difference
    assert back.cost.interval == pytest.approx([-end for end in found[1].cost.interval[::-1]], rel=1e-12)
    assert (back.earlier, back.later) == (found[1].later, found[1].earlier)


@pytest.mark.rates
def test_intervals_hold_the_difference_of_the_population() -> None:
    population = make_trace(20_000, 3, seed=9)
    a, b = (tt.baselines.static(population, 1.0), tt.baselines.stage_thresholds(population, 0.8))
    truth = tt.evaluate(b, population, 0.9).objective - tt.evaluate(a, population, 0.9).objective
    rng, held, draws = np.random.default_rng(2), 0, 300
    for _ in range(draws):
        judged = tt.diff(a, b, population.rows(rng.integers(0, population.n, 200)), tradeoff=0.9, level=0.9).judged
        assert judged is not None
        held += judged.objective.interval[0] <= truth <= judged.objective.interval[1]
    assert held / draws >= 0.9 - 3.0 * np.sqrt(0.09 / draws)


def test_a_censored_trace_is_judged_on_what_was_run_through() -> None:
    test = parts()[1]
    known = np.random.default_rng(0).random(test.n) < 0.5
    hidden = np.where(known[:, np.newaxis], test.loss, np.nan)
    hidden[:, 0] = test.loss[:, 0]
    chance = np.where(np.isnan(hidden), np.nan, 0.5)
    log = tt.Trace(
        test.signal,
        hidden,
        test.cost,
        prediction=test.prediction,
        kind=test.kind,
        stages=test.stages,
        propensity=chance,
    )
    judged = tt.diff(policies()["threshold"], policies()["fit"], log).judged
    assert judged is not None
    assert judged.n == int(known.sum())


def test_a_line_has_at_most_80_signs() -> None:
    made = list(policies().values())
    for one in made:
        for two in made:
            text = str(tt.diff(one, two, parts()[1]))
            assert max(map(len, text.splitlines())) <= WIDTH
            assert text.isascii()
    trace = parts()[0]
    names = [
        f"a stage with a name that is far longer than {n} lines of a terminal would be wide, and more" for n in "abcd"
    ]
    named = tt.Trace(trace.signal, trace.loss, trace.cost, prediction=trace.prediction, kind=trace.kind, stages=names)
    one, two = (tt.fit(named.rows(slice(stop)), tradeoff=0.9, graph="line") for stop in (700, 1500))
    assert max(map(len, str(tt.diff(one, two)).splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"a": 1}, "`a` must be a Policy, got int"),
        ({"b": "x"}, "`b` must be a Policy, got str"),
        ({"trace": 1}, "`trace` must be a Trace, got int"),
        ({"level": 1.0}, "`level` must be above 0 and below 1, got 1.0"),
        ({"tradeoff": 2.0, "trace": "test"}, "`tradeoff` must be between 0 and 1, got 2.0"),
        ({"tradeoff": 0.5}, "`tradeoff` must come with a trace"),
    ],
)
def test_what_is_not_allowed(given: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"a": policies()["fit"], "b": policies()["line"]} | given
    if arguments.get("trace") == "test":
        arguments["trace"] = parts()[1]
    with pytest.raises(tt.ValidationError) as caught:
        tt.diff(**arguments)
    assert str(caught.value) == text


def test_other_stages_are_refused_with_both_lists() -> None:
    trace = parts()[0]
    other = tt.Trace(trace.signal, trace.loss, trace.cost, kind=trace.kind, stages=list("abcd"))
    with pytest.raises(tt.ValidationError) as caught:
        tt.diff(policies()["fit"], tt.baselines.static(other, 0.9))
    ours = list(trace.stages)
    assert str(caught.value) == f"`b` must have the stages {ours}, as `a` has, got ['a', 'b', 'c', 'd']"
    models = tt.Trace(trace.signal, trace.loss, trace.cost, kind="models", stages=trace.stages)
    with pytest.raises(tt.ValidationError, match="`b` must be of kind 'exits', as `a` is, got 'models'"):
        tt.diff(policies()["fit"], tt.baselines.static(models, 0.9))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("a.policy", "b.policy", "test.npz")]
    a, b = policies()["threshold"], policies()["fit"]
    a.save(files[0])
    b.save(files[1])
    parts()[1].save(files[2])
    first, second, trace = map(str, files)
    assert main(["diff", first, second]) == 0
    assert capsys.readouterr().out == f"{tt.diff(a, b)}\n"
    assert main(["diff", first, second, "--trace", trace, "--tradeoff", "0.8", "--level", "0.9"]) == 0
    assert capsys.readouterr().out == f"{tt.diff(a, b, parts()[1], tradeoff=0.8, level=0.9)}\n"
    assert main(["diff", first, second, "--trace", trace, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["stages"] == list(a.stages)
    assert told["judged"]["n"] == parts()[1].n
    assert main(["diff", first]) == 2
    assert main(["diff", first, str(tmp_path / "none.policy")]) == 2
    assert main(["diff", first, second, "--tradeoff", "0.5"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: `tradeoff` must come with a trace"
