"""What a policy is worth on rows held back: figures that do not flatter."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.cli import main


@pytest.fixture(scope="module")
def trace() -> tt.Trace:
    return make_trace(n=1500)


def refit(trace: tt.Trace, fitted: Callable[[tt.Trace], tt.Policy], folds: int = 5) -> tuple[float, float]:
    """Mean loss and cost of a cross-validation written out."""
    part = np.random.default_rng(0).permutation(trace.n) % folds
    loss = cost = 0.0
    for f in range(folds):
        found = tt.evaluate(fitted(trace.rows(part != f)), trace.rows(part == f))
        loss, cost = loss + found.loss * found.n / trace.n, cost + found.cost * found.n / trace.n
    return loss, cost


RESTRICTED: dict[str, Callable[[tt.Trace], tt.Policy]] = {
    "free": lambda trace: tt.fit(trace, tradeoff=0.95, recall=True, graph="auto"),
    "skip": lambda trace: tt.fit(trace, tradeoff=0.9, graph="skip", recall=False),
    "order": lambda trace: tt.fit(trace, tradeoff=0.9, order=[0, 3], recall=True),
    "markov": lambda trace: tt.fit(trace, tradeoff=0.9, estimator="markov"),
    "static": lambda trace: tt.baselines.static(trace, 0.9),
    "threshold": lambda trace: tt.baselines.threshold(trace, 0.9),
}


@pytest.mark.parametrize("name", RESTRICTED)
def test_the_fit_is_repeated_on_folds_as_it_was(trace: tt.Trace, name: str) -> None:
    fitted = RESTRICTED[name]
    found = tt.summarize(fitted(trace), trace)
    loss, cost = refit(trace, fitted)
    assert found.loss == pytest.approx(loss, rel=1e-9)
    assert found.cost == pytest.approx(cost, rel=1e-9)
    assert (found.n, found.folds) == (1500, 5)


def test_savings_are_against_the_last_stage_and_the_best_simple_rule(trace: tt.Trace) -> None:
    found = tt.summarize(tt.fit(trace, tradeoff=0.95), trace)
    compared = tt.compare(trace, tradeoff=0.95)
    simple = ("static", "threshold", "stage_thresholds", "patience", "markov")
    best = min(simple, key=lambda name: compared[name].objective)
    assert found.best.rule == best
    assert found.last.stage == "stage 3"
    for saving in (found.last, found.best):
        row = compared[saving.rule]
        assert (saving.loss, saving.cost) == (row.loss, row.cost)
        assert saving.loss_saved == pytest.approx(row.loss - found.loss)
        assert saving.cost_saved == pytest.approx(1.0 - found.cost / row.cost)
        assert saving.objective_saved == pytest.approx(row.objective - found.objective)
        for name in ("loss", "cost", "objective"):
            low, high = getattr(saving, f"{name}_saved_ci")
            assert low < getattr(saving, f"{name}_saved") < high
    assert found.objective > tt.fit(trace, tradeoff=0.95).value


def test_budgets_are_judged_as_the_mixture_that_they_are(trace: tt.Trace) -> None:
    policy = tt.fit(trace, max_cost=2.2, recall=True)
    known = policy.provenance
    assert "mixed_share" in known
    share = float(known["mixed_share"])

    def part(tradeoff: str) -> tuple[float, float]:
        return refit(trace, lambda rows: tt.fit(rows, tradeoff=float(known[tradeoff]), recall=True))

    expected = (1.0 - share) * np.array(part("tradeoff")) + share * np.array(part("mixed_tradeoff"))
    found = tt.summarize(policy, trace)
    assert [found.loss, found.cost] == pytest.approx(expected.tolist())
    assert abs(found.cost - 2.2) < 0.1


def test_certificates_are_judged_on_their_own_held_out_rows(trace: tt.Trace) -> None:
    policy = tt.fit_certified(trace, max_loss=0.4, held_out=0.4, seed=3)
    found = tt.summarize(policy, trace)
    assert (found.folds, found.n) == (1, 600)
    assert found.loss == pytest.approx(float(policy.provenance["held_out_loss"]))
    assert found.cost == pytest.approx(float(policy.provenance["held_out_cost"]))
    fitting, testing = trace.split(0.4, 3)
    rule = tt.baselines.ALL[found.best.rule](fitting, found.tradeoff)
    assert found.best.loss == pytest.approx(tt.evaluate(rule, testing).loss)
    with pytest.raises(
        tt.ValidationError, match="`trace` must be the one that the policy was certified on, got another"
    ):
        tt.summarize(policy, make_trace(n=1500, seed=1))


def test_groups_are_not_divided() -> None:
    rng = np.random.default_rng(0)
    once = make_trace(n=150, seed=2)
    rows = np.repeat(np.arange(150), 8)
    arrays = (once.signal[rows] + 1e-9 * rng.random((1200, 4)), once.loss[rows], once.cost, None)
    grouped = tt.Trace(*arrays, kind="models", group=rows)
    alone = tt.Trace(*arrays, kind="models")
    with_groups, without = (tt.summarize(tt.fit(one, tradeoff=0.95), one).objective for one in (grouped, alone))
    assert with_groups > 1.05 * without


def test_long_traces_are_judged_on_a_part() -> None:
    trace = make_trace(n=30_000, k=2)
    found = tt.summarize(tt.fit(trace, tradeoff=0.95), trace, folds=2)
    assert (found.n, found.folds) == (20_000, 2)


def test_what_is_refused(trace: tt.Trace) -> None:
    model = tt.Model.line([[0.5], [0.0]], [0.1, 0.1], [[[1.0]], [[1.0]]])
    with pytest.raises(tt.ValidationError, match="`policy` must be fitted to a trace"):
        tt.summarize(tt.solve(model), trace)
    with pytest.raises(tt.ValidationError, match="`trace` must be the one that the policy was fitted to, got another"):
        tt.summarize(tt.fit(trace, tradeoff=0.9), trace.rows(slice(1000)))
    with pytest.raises(tt.ValidationError, match="`folds` must be an integer from 2 to"):
        tt.summarize(tt.fit(trace, tradeoff=0.9), trace, folds=1)


def test_the_sentence_says_more_and_less(trace: tt.Trace) -> None:
    found = tt.summarize(tt.fit(trace, tradeoff=0.95), trace)
    saving = replace(
        found.last, cost_saved=-0.25, cost_saved_ci=(-0.5, 0.125), loss_saved=0.02, loss_saved_ci=(0.01, 0.03)
    )
    assert str(saving) == "25.0 % (-12.5 % to 50.0 %) more cost and 0.02 (0.01 to 0.03) less loss"
    free = replace(saving, cost_saved=float("nan"), loss_saved=-0.02, loss_saved_ci=(-0.03, -0.01))
    assert str(free) == "0.02 (0.01 to 0.03) more loss"
    lines = str(replace(found, loss=0.1, loss_ci=(0.05, 0.15), cost=2.0, cost_ci=(1.5, 2.5), last=saving, best=free))
    assert lines.split("\n") == [
        "held out (5-fold cross-validation, 1,500 requests; in brackets 95 % intervals): a request loses 0.1 (0.05 to "
        "0.15) and costs 2 (1.5 to 2.5),",
        f"  that is against the last stage, 'stage 3': {saving},",
        f"  and against the best simple rule, last stage: {free}",
    ]


def test_a_stage_that_costs_nothing() -> None:
    trace = make_trace(n=400)
    free = tt.Trace(trace.signal, trace.loss, np.zeros(4), kind="models")
    found = tt.summarize(tt.fit(free, tradeoff=0.9, recall=True), free)
    assert np.isnan(found.last.cost_saved)
    assert "cost than" not in str(found.last)


def test_held_out_figures_come_first(trace: tt.Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tt.fit(trace, tradeoff=0.95)
    (chosen,) = (one for one in policy.report if one["chosen"])
    assert f"held-out objective={chosen['objective']:.6f}, in-sample objective={policy.value:.6f}" in repr(policy)
    assert "value" not in repr(policy)
    restricted = tt.fit(trace, tradeoff=0.95, recall=True)
    assert f", in-sample objective={restricted.value:.6f})" in repr(restricted)
    solved = tt.solve(tt.Model.line([[0.5], [0.0]], [0.1, 0.1], [[[1.0]], [[1.0]]]))
    assert f"value={solved.value:.6f}" in repr(solved)

    path, output = str(tmp_path / "trace.npz"), str(tmp_path / "policy")
    trace.save(path)
    assert main(["fit", path, "--tradeoff", "0.95", "-o", output]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith(f"{tt.summarize(policy, trace)}\n")
    assert shown.index("held out objective") < shown.index("in sample objective")
    assert main(["fit", path, "--tradeoff", "0.95", "-o", output, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["held_out"] == json.loads(json.dumps(tt.summarize(policy, trace).to_dict()))
    assert content["held_out_objective"] == chosen["objective"]
    assert content["in_sample_objective"] == policy.value
    assert "value" not in content
    assert main(["fit", path, "--tradeoff", "0.95", "-o", output, "--no-summary", "--json"]) == 0
    assert "held_out" not in json.loads(capsys.readouterr().out)
    solved.save(output)
    assert main(["inspect", output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == solved.value


def test_restrictions_are_remembered(trace: tt.Trace) -> None:
    assert not {"graph", "order", "recall"} & tt.fit(trace, tradeoff=0.9).provenance.keys()
    for options, said in (
        ({"graph": "line", "recall": False}, {"graph": "line", "recall": "false"}),
        ({"order": ["stage 3", "stage 0"], "recall": True}, {"order": "3,0", "recall": "true"}),
    ):
        known = tt.fit(trace, max_cost=3.0, **options).provenance  # type: ignore[arg-type]
        assert {name: known[name] for name in ("graph", "order", "recall") if name in known} == said


def test_value_is_what_evaluate_says_where_costs_vary_by_row(trace: tt.Trace) -> None:
    rng = np.random.default_rng(1)
    cost = trace.cost * rng.uniform(0.2, 3.0, size=(trace.n, 1)) * (1.0 + trace.loss)
    for kind in ("models", "exits"):
        varied = tt.Trace(trace.signal, trace.loss, cost, trace.prediction, kind=kind)
        policies = [tt.fit(varied, tradeoff=0.9), tt.fit(varied, max_cost=0.5 * varied.full_cost)]
        policies += [rule(varied, 0.9) for rule in tt.baselines.ALL.values()]
        for policy in policies:
            assert policy.value == pytest.approx(tt.evaluate(policy, varied).objective, rel=1e-12)


def test_the_index_of_a_markov_policy_is_weighted(trace: tt.Trace) -> None:
    # Losses 4 times as large at a trade-off that makes up for it: the same policy, the same weighted numbers.
    one = tt.baselines.markov(trace, 0.8)
    large = tt.Trace(trace.signal, 4.0 * trace.loss, trace.cost, trace.prediction, kind="models")
    same = tt.baselines.markov(large, 0.5)
    factor = 0.5 / 0.2
    for a, b in zip(one.index, same.index, strict=True):
        assert np.allclose(factor * a, b)
