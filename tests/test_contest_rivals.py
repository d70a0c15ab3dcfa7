"""The rivals of `benches/contest` on made-up requests of which the best is known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import REPOSITORY

sys.path.append(str(REPOSITORY / "benches" / "contest"))

import cascade_routing
import deferral
import frugal_gpt
import frugal_ml
from agreement import agreement_cascade, all_tiers, cascades, thresholds, vote
from hands import STOP, Hands
from rows import NOTHING, Floats, Rows, objective
from standings import THREADS

TRADEOFF = 0.9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Learners of scikit-learn wait for their threads longer than they work, where other tests run beside them."""
    with THREADS.limit(limits=1):
        yield


def complementary(n: int, seed: int) -> tt.Trace:
    """A cheap and a dear model; each is right where its signal is high, the dear one mostly: recall pays."""
    rng = np.random.default_rng(seed)
    signal = rng.random((n, 2))
    loss = np.stack([signal[:, 0] < 0.4, (signal[:, 1] < 0.2)], axis=1)
    truth = rng.integers(0, 3, n)
    return tt.Trace(
        signal, loss, [1.0, 3.0], prediction=np.where(loss, 7 + np.arange(2), truth[:, None]), kind="models"
    )


def of(method: object, train: tt.Trace, test: tt.Trace, tradeoff: float = TRADEOFF) -> float:
    """Mean objective of a method."""
    assert callable(method)
    (choice,) = method(train, Rows.of(test), (tradeoff,))
    return float(objective(test, choice, tradeoff).mean())


def best_of_complementary(test: tt.Trace) -> float:
    """Signals say everything: the cheap answer where it is right, else the dear one."""
    goes_on = test.signal[:, 0] < 0.4
    loss = np.where(goes_on, test.loss[:, 1], 0.0)
    return float((TRADEOFF * loss + (1.0 - TRADEOFF) * (0.25 + 0.75 * goes_on)).mean())


@pytest.mark.parametrize(
    ("method", "most"),
    [
        (deferral.boosted_deferral, 1.03),
        (deferral.logistic_deferral, 1.03),
        (frugal_gpt.frugal_gpt, 1.06),
        (cascade_routing.cascade_routing, 1.06),
    ],
)
def test_learned_rules_reach_what_is_best_where_signals_say_everything(method: object, most: float) -> None:
    train, test = complementary(3000, 0), complementary(3000, 1)
    best = best_of_complementary(test)
    assert best - 1e-9 <= of(method, train, test) <= most * best


@pytest.mark.parametrize("method", [deferral.boosted_deferral, deferral.logistic_deferral])
def test_deferral_returns_an_earlier_answer_where_that_is_better(method: object) -> None:
    """The second stage, which says nothing, is wrong more often than a first one that was doubted in vain."""
    rng = np.random.default_rng(2)
    signal = rng.random((4000, 2))
    first_is_wrong = rng.random(4000) < 0.6 * (1.0 - signal[:, 0])
    loss = np.stack([first_is_wrong, signal[:, 1] < 0.5], axis=1)
    trace = tt.Trace(signal, loss, [1.0, 1.0], kind="models")
    train, test = trace.rows(slice(2000)), trace.rows(slice(2000, None))
    assert callable(method)
    (choice,) = method(train, Rows.of(test), (0.95,))
    both = choice.consulted.all(axis=1)
    assert both.any()
    # With both in hand, what the second signal says is certain.
    assert (test.loss[both, 1][choice.answer[both] == 1] == 0.0).mean() > 0.97
    assert (choice.answer[both & (test.signal[:, 1] < 0.45)] == 0).mean() > 0.97


def by_force(scores: list[Floats], ends: Floats) -> float:
    """The least mean over all thresholds, one by one."""
    grids = [np.append(np.unique(score), np.inf) for score in scores]
    best = np.inf
    for chosen in product(*grids):
        open_, total = np.ones(len(ends), np.bool_), 0.0
        for at, score in enumerate(scores):
            stops = open_ & (score >= chosen[at])
            total += float(ends[stops, at].sum())
            open_ &= ~stops
        best = min(best, (total + float(ends[open_, -1].sum())) / len(ends))
    return best


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_thresholds_of_a_chain_are_the_best_of_all(stages: int) -> None:
    rng = np.random.default_rng(stages)
    for _ in range(20):
        ends = rng.random((60, stages))
        scores = [rng.integers(0, 12, 60) for _ in range(stages - 1)]
        value, chosen = frugal_gpt.tuned(scores, ends)
        assert len(chosen) == stages - 1
        assert value == pytest.approx(by_force([score.astype(np.float64) for score in scores], ends))


def test_chains_of_exits_go_down_and_chains_of_models_go_anywhere() -> None:
    cost = np.array([0.2, 0.3, 0.5])
    assert len(list(frugal_gpt.chains(Hands((0, 1, 2), True, cost)))) == 7
    assert len(list(frugal_gpt.chains(Hands((0, 1, 2), False, cost)))) == 3 + 6 + 6


def test_an_added_stage_is_the_best_of_all_stages_and_thresholds() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        signal = rng.integers(0, 8, 30) / 8.0
        signal[rng.random(30) < 0.2] = np.nan
        stops, adds = rng.random(30), {1: rng.random(30) + 0.1, 2: rng.random(30)}
        value, rule = frugal_ml.best_addition(signal, stops, adds)
        candidates = [stops.sum()]
        for threshold in [*np.unique(signal[~np.isnan(signal)]), np.inf]:
            below = ~(signal >= threshold)
            candidates += [float(np.where(below, added, stops).sum()) for added in adds.values()]
        assert value == pytest.approx(min(candidates))
        below = ~(signal >= rule.threshold)
        taken = stops if rule.stage == frugal_ml.NO_STAGE else np.where(below, adds[rule.stage], stops)
        assert taken.sum() == pytest.approx(value)


def test_frugal_ml_finds_the_rule_of_each_class() -> None:
    """Class 0 of the base is right above 0.5, and else the second model; class 1 is always right; 2 is the third's."""
    rng = np.random.default_rng(6)
    said, signal = rng.integers(0, 3, 3000), rng.random(3000)
    base = np.where(said == 0, signal < 0.5, said == 2)
    loss = np.stack([base, said != 0, said != 2], axis=1)
    prediction = np.stack([said, said, said], axis=1)
    trace = tt.Trace(np.stack([signal] * 3, axis=1), loss, [1.0, 2.0, 2.0], prediction=prediction, kind="models")
    train, test = trace.rows(slice(2000)), trace.rows(slice(2000, None))
    (choice,) = frugal_ml.frugal_ml(train, Rows.of(test), (TRADEOFF,))
    expected = np.where(said == 0, np.where(signal < 0.5, 1, 0), np.where(said == 1, 0, 2))[2000:]
    assert (choice.answer == expected).mean() > 0.995
    assert choice.consulted[:, 0].all()
    assert choice.consulted.sum() == test.n + (choice.answer != 0).sum()


def test_a_class_that_was_never_seen_is_left_to_the_base() -> None:
    train = complementary(500, 3)
    rows = Rows(np.array([[0.1, 0.9]]), np.array([[99, 99]]))
    (choice,) = frugal_ml.frugal_ml(train, rows, (TRADEOFF,))
    assert choice.answer.tolist() == [0]


def test_votes_go_to_what_most_said_and_ties_to_the_dearest() -> None:
    said = np.array([[4, 4, 5], [1, 2, 3], [NOTHING, 7, NOTHING], [NOTHING] * 3])
    found = vote(Rows(np.zeros((4, 3)), said), (0, 1, 2))
    assert found.votes.tolist() == [2, 1, 1, 1]
    assert found.answer[:2].tolist() == [1, 2]


def test_tiers_are_in_order_and_all_of_them() -> None:
    hands = Hands((0, 1, 2), False, np.array([0.2, 0.3, 0.5]))
    found = list(cascades(hands, all_tiers(hands)))
    assert sorted(found) == sorted(
        [((0,),), ((1,),), ((2,),), ((0, 1),), ((0, 2),), ((1, 2),), ((0, 1, 2),), ((0, 1), (2,))]
    )
    assert list(thresholds(((0, 1, 2), (3, 4), (5,)))) == [(2, 2), (3, 2)]


def test_agreement_moves_on_where_two_cheap_models_differ() -> None:
    """Where the two cheap ones agree they are right; where they do not, only the third is."""
    rng = np.random.default_rng(7)
    agree, truth = rng.random(2000) < 0.7, rng.integers(0, 5, 2000)
    prediction = np.stack([np.where(agree, truth, 8), np.where(agree, truth, 9), truth], axis=1)
    trace = tt.Trace(
        np.full((2000, 3), 0.5), prediction != truth[:, None], [1.0, 1.0, 8.0], prediction=prediction, kind="models"
    )
    (choice,) = agreement_cascade(trace, Rows.of(trace), (TRADEOFF,))
    assert (choice.answer == np.where(agree, 1, 2)).all()
    assert float(objective(trace, choice, TRADEOFF).mean()) == pytest.approx(0.1 * (0.2 + 0.8 * (1.0 - agree.mean())))


def test_a_set_is_worth_its_best_answer_where_nothing_is_uncertain() -> None:
    hands = Hands((0, 1, 2), False, np.array([0.2, 0.3, 0.5]))
    quality = np.array([[-0.5, -0.1, -0.3], [-0.2, -0.4, -0.3]])
    found = cascade_routing.options_of(hands, (0,), quality, np.zeros((4, 3)))
    assert found.next_stage.tolist() == [STOP, 1, 1, 2]
    assert found.cost.tolist() == pytest.approx([0.0, 0.3, 0.8, 0.5])
    assert found.quality == pytest.approx(np.array([[-0.5, -0.1, -0.1, -0.3], [-0.2, -0.2, -0.2, -0.2]]))
    assert found.best.tolist() == [0, 0]


def test_uncertain_answers_are_worth_the_mean_of_their_maximum() -> None:
    """Two independent estimates of spread 1 and equal means: their maximum is 1 / √π above (Clark 1961)."""
    hands = Hands((0, 1), False, np.array([0.4, 0.6]))
    noise = np.random.default_rng(8).standard_normal((40_000, 2))
    found = cascade_routing.options_of(hands, (0,), np.zeros((1, 2)), noise)
    assert found.quality[0] == pytest.approx([0.0, 1.0 / np.sqrt(np.pi)], abs=0.02)


def test_tuned_steps_are_no_worse_than_the_trade_off_itself() -> None:
    train = complementary(1500, 9)
    hands = Hands.of(train)
    seen, _ = cascade_routing.estimated(train, hands, Rows.of(train))

    def value(factors: tuple[float, ...]) -> float:
        choice = cascade_routing.routed(hands, seen, TRADEOFF, factors, train.k)
        return float(objective(train, choice, TRADEOFF).mean())

    assert value(cascade_routing.tuned(train, hands, seen, TRADEOFF)) <= value((1.0, 1.0))
