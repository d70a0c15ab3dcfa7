"""How `benches/contest` judges: costs, folds, cross-fitted estimates, kept results, the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import REPOSITORY

sys.path.append(str(REPOSITORY / "benches" / "contest"))
sys.path.append(str(REPOSITORY / "benches" / "quality"))

import run as contest_run
from contest_page import geometric_mean, lines
from contestants import CONTESTANTS, OURS
from estimates import BoostedTrees, Regression
from hands import MOST_MODELS, Hands
from kept import Kept
from library import choice_of, fitted
from rows import Rows, objective, spent
from standings import THREADS, Cell, Contest, check_complete

TRADEOFF = 0.9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Learners of scikit-learn wait for their threads longer than they work, where other tests run beside them."""
    with THREADS.limit(limits=1):
        yield


pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")


def made_up(n: int, kind: str, seed: int = 0, k: int = 3) -> tt.Trace:
    rng = np.random.default_rng(seed)
    truth, hard = rng.integers(0, 4, n), rng.normal(size=n)
    wrong = hard[:, None] + rng.normal(size=(n, k)) > np.linspace(0.2, 1.2, k)
    signal = 1.0 / (1.0 + np.exp(hard[:, None] + 0.7 * rng.normal(size=(n, k))))
    prediction = np.where(wrong, (truth[:, None] + rng.integers(1, 4, (n, k))) % 4, truth[:, None])
    return tt.Trace(signal, wrong, 2.0 ** np.arange(k), prediction=prediction, kind=kind)


@pytest.mark.parametrize("kind", ["exits", "models"])
def test_a_policy_is_judged_as_the_library_judges_it(kind: str) -> None:
    train, test = made_up(800, kind), made_up(800, kind, seed=1)
    policy = tt.fit(train, tradeoff=TRADEOFF)
    ours = objective(test, choice_of(policy, Rows.of(test)), TRADEOFF)
    assert ours.mean() == pytest.approx(tt.evaluate(policy, test).objective)
    (choice,) = fitted(train, Rows.of(test), (TRADEOFF,))
    assert objective(test, choice, TRADEOFF) == pytest.approx(ours)


def test_exits_pay_for_what_lies_before_and_models_for_themselves() -> None:
    consulted = np.array([[False, True, False], [True, False, True]])
    for kind, expected in (("exits", [3.0 / 7.0, 1.0]), ("models", [2.0 / 7.0, 5.0 / 7.0])):
        assert spent(made_up(2, kind), consulted) == pytest.approx(expected)
    assert Hands.of(made_up(50, "exits")).price(0, 2) == pytest.approx(6.0 / 7.0)
    assert Hands.of(made_up(50, "models")).price(0, 2) == pytest.approx(4.0 / 7.0)


def test_of_many_models_those_are_looked_at_that_go_together() -> None:
    rng = np.random.default_rng(0)
    n, useless = 400, np.ones((400, 4))
    part = rng.integers(0, 5, n)
    specialists = (part[:, None] != np.arange(5)).astype(np.float64)
    loss = np.concatenate([useless, specialists], axis=1)
    trace = tt.Trace(rng.random((n, 9)), loss, np.ones(9), kind="models")
    assert len(Hands.of(trace).order) == MOST_MODELS
    assert sorted(Hands.of(trace).order) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("learner", [BoostedTrees, Regression])
def test_estimates_of_training_rows_have_not_seen_them(learner: type[BoostedTrees | Regression]) -> None:
    """A target that nothing tells is not told: what is cross-fitted stands at its mean, up to chance."""
    train, test = Rows.of(made_up(1200, "models")), Rows.of(made_up(600, "models", seed=1))
    noise = (np.random.default_rng(3).random(1200) < 0.3).astype(np.float64)
    inside, outside = learner(train, test).estimate((0, 1, 2), noise)
    assert abs(np.corrcoef(inside, noise)[0, 1]) < 0.1
    assert inside.mean() == pytest.approx(noise.mean(), abs=0.03)
    assert outside.mean() == pytest.approx(noise.mean(), abs=0.03)


@pytest.mark.parametrize("learner", [BoostedTrees, Regression])
def test_estimates_tell_what_signals_tell(learner: type[BoostedTrees | Regression]) -> None:
    train, test = made_up(3000, "models"), made_up(3000, "models", seed=1)
    told = learner(Rows.of(train), Rows.of(test))
    for target, truth in ((train.loss[:, 2], test.loss[:, 2]), (3.0 * train.loss[:, 2], 3.0 * test.loss[:, 2])):
        _, outside = told.estimate((0, 1, 2), target)
        explained = 1.0 - ((outside - truth) ** 2).mean() / truth.var()
        assert explained > 0.25
    _, constant = told.estimate((0,), np.full(train.n, 2.0))
    assert (constant == 2.0).all()


def test_results_that_are_kept_are_not_computed_again(tmp_path: Path) -> None:
    trace = made_up(300, "models")
    methods = {name: CONTESTANTS[name] for name in (OURS, "FrugalML")}

    def cells(tradeoffs: tuple[float, ...]) -> tuple[list[Cell], dict[str, float]]:
        contest = Contest(methods, tradeoffs, 2, Kept(tmp_path), {})
        return contest.cells("made up", trace), contest.seconds

    (first,), seconds = cells((0.9,))
    assert set(seconds) == set(methods)
    (again,), seconds = cells((0.9,))
    assert seconds == {}
    for method in methods:
        assert (first.objectives[method] == again.objectives[method]).all()
    (same, _), seconds = cells((0.9, 0.95))
    assert set(seconds) == set(methods)
    assert (same.objectives[OURS] == first.objectives[OURS]).all()
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-8])
        break
    with pytest.raises((ValueError, EOFError)):
        cells((0.9, 0.95))


def test_what_a_result_depends_on_is_in_its_name() -> None:
    digests = {name: one.digest for name, one in CONTESTANTS.items()}
    assert len(set(digests.values())) == len(digests)
    assert digests == {name: one.digest for name, one in CONTESTANTS.items()}


def cell_of(ours: float, rival: float, spread: float) -> Cell:
    wobble = np.tile([-spread, spread], 200)
    return Cell("made up", TRADEOFF, {OURS: np.full(400, ours), "FrugalML": rival + wobble}, ("FrugalML",))


def test_a_rival_is_better_beyond_two_paired_standard_errors() -> None:
    clear, unclear = cell_of(0.11, 0.10, 0.05), cell_of(0.11, 0.10, 0.2)
    assert clear.better == ["FrugalML"]
    assert unclear.better == []
    assert clear.ratio == pytest.approx(1.1)
    methods = {name: CONTESTANTS[name] for name in (OURS, "FrugalML")}
    page = "\n".join(lines([clear], methods, {"made up": "models"}, "python"))
    assert "| made up | 0.9 | FrugalML | -10.0 ± 2.5 | 1.100 |" in page
    assert "geometric mean over 1 cells 1.100" in page
    assert "none." in "\n".join(lines([unclear], methods, {"made up": "models"}, "python"))
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)


def test_incomplete_traces_are_refused() -> None:
    loss = np.array([[0.0, np.nan], [1.0, 0.0]])
    with pytest.raises(SystemExit, match="every loss is known"):
        check_complete("log", tt.Trace(np.array([[0.4, np.nan], [0.2, 0.9]]), loss, [1.0, 1.0], kind="models"))
    with pytest.raises(SystemExit, match="without weights"):
        check_complete("weighted", made_up(5, "models").weighted(np.ones(5)))


def test_the_runner_writes_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.md"
    given = ["--rows", "300", "--folds", "2", "--lams", "0.9", "--methods", "FrugalML", "agreement (ABC)"]
    monkeypatch.setattr(sys, "argv", ["run.py", *given, "--output", str(output), "--kept", str(tmp_path / "kept")])
    contest_run.main()
    page = output.read_text(encoding="utf-8")
    assert page.strip() == capsys.readouterr().out.strip()
    assert "### digits (models, n 300, k 4)" in page
    assert "| FrugalML | " in page
    assert "| agreement (ABC) | " in page
    assert "boosted" not in page
