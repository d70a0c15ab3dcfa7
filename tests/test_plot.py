from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.plotting.policy import plot_policy
from ttamer_fast.plotting.situations import first_sentence, reached, situations

PNG = b"\x89PNG\r\n\x1a\n"


def test_frontier_picture(tmp_path: Path) -> None:
    path = tmp_path / "frontier.png"
    found = tt.frontier(make_trace(n=300), folds=2, tradeoffs=[0.5, 0.9])
    found.plot(path)
    assert path.read_bytes().startswith(PNG)
    found.plot(tmp_path / "frontier.svg", chosen=0.9, loss_unit="share wrong", cost_unit="ms")
    text = (tmp_path / "frontier.svg").read_text()
    for said in ("mean loss (share wrong)", "mean cost per request (ms)", "chosen: trade-off 0.9", "one stage for all"):
        assert said in text
    with pytest.raises(tt.ValidationError, match=r"`chosen` must be one of the trade-offs, \[0\.5, 0\.9\], got 0\.7"):
        found.plot(path, chosen=0.7)


@pytest.mark.parametrize("method", ["fit", *tt.baselines.ALL])
def test_policy_pictures(trace: tt.Trace, method: str, tmp_path: Path) -> None:
    policy = tt.fit(trace, tradeoff=0.9) if method == "fit" else tt.baselines.ALL[method](trace, 0.9)
    path = tmp_path / "policy.png"
    plot_policy(policy, path)
    assert path.read_bytes().startswith(PNG)


def test_picture_of_an_exact_policy(tmp_path: Path) -> None:
    policy = tt.solve(tt.Model.line([[0.2, 0.5], [0.1, 0.9]], [0.1, 0.2], [[[0.5, 0.5]], [[0.3, 0.7], [0.6, 0.4]]]))
    plot_policy(policy, tmp_path / "policy.svg")


def test_pictures_refuse_other_endings_and_name_the_extra(
    policy: tt.Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(tt.ValidationError, match=r"must end in \.png"):
        plot_policy(policy, tmp_path / "policy.txt")
    with pytest.raises(FileNotFoundError, match=r"policy\.png"):
        plot_policy(policy, tmp_path / "absent" / "policy.png")
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tt.MissingExtraError, match=r'pip install "ttamer_fast\[plot\]"'):
        plot_policy(policy, tmp_path / "policy.png")


def test_what_is_said_of_the_first_stage_is_what_it_does() -> None:
    signal = np.random.default_rng(0).random((2000, 2))
    trace = tt.Trace(signal, np.random.default_rng(1).random((2000, 2)) > signal ** [1.0, 0.1], [1.0, 3.0])
    policy = tt.fit(trace, tradeoff=0.8)
    said = first_sentence(policy.describe()["rule"], policy.stages)
    found = re.fullmatch(
        rf"First stage: {policy.stages[0]}; signal ≥ ([\d.e-]+): stop; else: run {policy.stages[1]}", said
    )
    assert found is not None, said
    least = float(found[1])
    assert policy.start().observe(least * 1.01) is None
    assert policy.start().observe(least * 0.99) == 1


def test_situations_are_shown_once_with_every_action_and_their_share(trace: tt.Trace) -> None:
    policy = tt.fit(trace, tradeoff=0.97)
    rule = policy.describe()["rule"]
    found = situations(rule)
    sets = [run for one in found for run in one.sets]
    assert len(sets) == len(set(sets)) == len({frozenset(row["after"]) for row in rule["decisions"]})
    assert all(one.actions[-1][0] == math.inf for one in found)
    assert all(list(one.actions) == sorted(one.actions) for one in found)
    replay = policy.replay(trace.signal[:2000], None if trace.prediction is None else trace.prediction[:2000])
    share = reached(policy, trace)
    assert share[frozenset(np.flatnonzero(replay.consulted[0]).tolist())] > 0.0
    first = frozenset([int(rule["decisions"][0]["stage"])])
    assert share[first] == 1.0
    everything = frozenset(range(trace.k))
    assert share.get(everything, 0.0) == pytest.approx(replay.consulted.all(axis=1).mean())


def test_rules_that_always_stop_are_one_row() -> None:
    ends = [{"after": after, "stage": after[-1], "stop": "inf", "next": []} for after in ([0, 1], [0, 2], [0, 1, 2])]
    rule = {"decisions": [{"after": [0], "stage": 0, "stop": 0.1, "next": [["0.5", 1], ["inf", 2]]}, *ends]}
    first, last = situations(rule)
    assert first.actions == ((0.1, -1), (0.5, 1), (math.inf, 2))
    assert last.actions == ((math.inf, -1),)
    assert last.text(["a", "b", "c"]) == "after 3 other sets of stages"
    assert last.share({frozenset([0, 1]): 0.25, frozenset([0, 1, 2]): 0.5}) == 0.75


def test_a_picture_with_the_requests_of_a_trace(trace: tt.Trace, tmp_path: Path) -> None:
    for policy in (tt.fit(trace, tradeoff=0.9), tt.fit(trace, max_cost=float(trace.cost.sum()) * 0.3)):
        plot_policy(policy, tmp_path / "policy.svg", trace)
        text = (tmp_path / "policy.svg").read_text()
        assert "share of requests" in text
        assert "(100%)" in text
