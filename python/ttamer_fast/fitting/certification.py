"""Policies whose mean loss is below a limit with a stated probability: Learn-then-Test."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .. import _core
from .._core import PlannedMean, Policy, ValidationError
from .._utils.arrays import Ints
from .._utils.checks import check_between, check_flag, check_order, check_recall, check_seed
from .._utils.warnings import CalibrationWarning
from ..traces import outcome
from ..traces.trace import Trace
from . import binomial
from .candidates import Candidate, mean, path, points_of
from .doubts import warn_of_trace
from .learners import learner_of, provenance
from .limits import Limit, bounds_of, check_certifiable, limit_of

__all__ = ["fit_certified"]


def fit_certified(
    trace: Trace,
    *,
    max_loss: float | str,
    delta: float = 0.05,
    held_out: float = 0.5,
    largest_loss: float = 1.0,
    binary: bool = False,
    graph: str = "auto",
    order: str | Sequence[int | str] = "auto",
    recall: bool | str = "auto",
    default_loss: float = math.inf,
    seed: int = 0,
) -> Policy:
    """Fit the cheapest policy whose mean loss is certified to be at most `max_loss`.

    With probability at least 1 - `delta` over the rows of the trace, the policy's mean loss on further requests of the
    same distribution is at most `max_loss`; otherwise there is an error. Holds for every sample size and distribution.

    Parameters
    ----------
    trace : Trace
        Independent calibration requests of the distribution that will be served, all losses known; without weights,
        groups and propensity.
    max_loss : float or str
        ε, in the unit of the loss: a number in (0, `largest_loss`); or relative to a stage, by name, or to the last one
        that answers, as in ``"large+0.01"`` or ``"last+0.01"``: the policy's mean loss is at most that of always
        answering with this stage, plus what follows the last "+", from 0 to below `largest_loss`.
    delta : float
        δ in (0, 1): the probability with which the promise may fail.
    held_out : float
        Share of the rows, in (0, 1), that tests the candidates; the others fit them.
    largest_loss : float
        In the unit of the loss: none can ever be larger; known beforehand, not read off the trace.
    binary : bool
        Losses are 0 or `largest_loss` and nothing else: known beforehand too. Then a limit that is a number is tested
        exactly.
    graph : {"auto", "line", "skip"}
        As in :func:`fit`.
    order : {"auto", "given"} or sequence of int or str
        As in :func:`fit`.
    recall : bool or "auto"
        As in :func:`fit`.
    default_loss : float
        As in :func:`fit`; a request without an answer loses that, so that finite it is at most `largest_loss`, and with
        `binary` 0 or `largest_loss`.
    seed : int
        Of the split, of the order in which rows are bet on, and of the coin of a mixture.

    Returns
    -------
    Policy
        Often a mixture of two. Its provenance holds ``max_loss``, ``delta``, ``p_value``, ``p_value_of``
        (``"betting"``, ``"betting on paired differences"`` or ``"binomial tail"``), ``held_out`` (the share), ``seed``,
        ``held_out_rows``, ``held_out_loss``, ``held_out_cost`` (means per request in the trace's units) and ``tested``
        (how many candidates were tested); ``trace`` and ``rows`` are of the part that it was fitted on. Relative to a
        stage, it may be the policy that always answers with this stage: nothing has to be tested then, and ``p_value``
        is 0.

    Raises
    ------
    ValidationError
        If an argument is out of range, a loss is above `largest_loss` or not as `binary` says, the stage that
        `max_loss` names is unknown or never answers, or no candidate can be certified: the message says which
        `max_loss` can, and about how many rows it would take.

    Warns
    -----
    CalibrationWarning
        If the trace says little, as in :func:`fit`; if no policy that is cheaper than the stage that `max_loss` names
        can be certified, so that the policy always answers with that stage.

    Notes
    -----
    Learn-then-Test (arXiv 2110.01052), fixed-sequence testing. On the fitting part at most 40 policies are made, for as
    many trade-offs. The candidates are the corners of their lower convex hull in loss and cost, and mixtures between
    neighbours in steps of a quarter of a standard error, from the lowest loss to the lowest cost. They are tested in
    that order, on rows that had no part in it, until a p-value exceeds `delta`; the last one before it is returned. A
    policy that breaks the promise can only be returned if the first such candidate is passed, which has a probability
    of at most `delta`.

    The p-value is 1 over the largest capital of bets against "the mean is above ε" (Ville 1939; Waudby-Smith and Ramdas
    2024, arXiv 2010.09686), on losses, or on the differences to the stage, request by request. Bets aim at the last of
    the held-out rows, from what losses were on the fitting part; that costs no validity, as any bet keeps it that is
    made before its row is seen. It certifies limits nearly as low as a normal approximation would, and lower than the
    bound of Hoeffding and Bentkus. With `binary` it is the binomial tail P(Binomial(n, ε) <= lost requests).

    One calibration, 40 fits of decisions, O(n k) for each test. Any thread may call it.

    The promise is about one call. Calling again with other seeds or limits until one is certified voids it; ask
    :func:`certify` to look again with more rows.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((4000, 3)) ** [1.0, 0.5, 0.2]
    >>> stages = ["small", "medium", "large"]
    >>> loss = rng.random((4000, 3)) > signal
    >>> trace = tt.Trace(signal, loss, cost=[1.0, 4.0, 20.0], kind="models", stages=stages)
    >>> policy = tt.fit_certified(trace, max_loss=0.15, delta=0.05)
    >>> float(policy.provenance["p_value"]) <= 0.05
    True
    >>> float(policy.provenance["held_out_loss"]) < 0.15
    True
    >>> near = tt.fit_certified(trace, max_loss="large+0.02")
    >>> near.provenance["p_value_of"]
    'betting on paired differences'
    """
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    binary, recalls, seed = check_flag("binary", binary), check_recall(recall), check_seed(seed)
    bounds = bounds_of(largest_loss, binary, default_loss)
    limit, level = limit_of(max_loss, bounds.largest, trace), check_between("delta", delta, 1.0)
    check_certifiable(trace, bounds)
    share = check_between("held_out", held_out, 1.0)
    warn_of_trace(trace)
    fitting, testing = trace.split(share, seed)
    stages = check_order(order, trace.stages)
    learner = learner_of(fitting, graph, stages, bounds.default_loss)
    points = points_of(learner, fitting, recalls)
    test = _Test(fitting, testing, limit, level, binary and limit.stage is None, seed)
    chosen, refused = None, None
    if limit.stage is not None and (stages is None or limit.stage in stages):
        chosen = test.alone(limit.stage)
        points = [point for point in points if point.cost < chosen.fitted_cost]
    tested = 0
    for candidate in path(points, testing.n):
        tested += 1
        tried = test.of(candidate)
        if tried.p > level:
            refused = tried
            break
        chosen = tried
    if chosen is None:
        raise ValidationError(_refusal(test, refused))
    if chosen.candidate is None and refused is not None:
        warnings.warn(
            f"no policy that is cheaper than always answering with {trace.stages[limit.stage or 0]!r} can be certified "
            f"at `max_loss` {max_loss} with {testing.n} held-out rows{test.rows_that_would_do(refused)}",
            CalibrationWarning,
            stacklevel=2,
        )
    asked = repr(limit.most) if limit.stage is None else f"{trace.stages[limit.stage]}+{limit.most!r}"
    further = [
        ("max_loss", asked),
        ("delta", repr(level)),
        ("p_value", repr(chosen.p)),
        ("p_value_of", test.name if chosen.candidate else "a difference of 0"),
        ("held_out_rows", str(testing.n)),
        ("held_out_trace", testing.digest),
        ("held_out", repr(share)),
        ("seed", str(seed)),
        ("held_out_loss", repr(chosen.loss)),
        ("held_out_cost", repr(chosen.cost)),
        ("tested", str(tested)),
    ]
    goal = f"max_loss={asked}, delta={level!r}"
    if chosen.candidate is None:
        alone = learner_of(fitting, "auto", [limit.stage or 0])
        tradeoff = _safest(alone)
        return alone.policy(tradeoff, recalls, [*provenance(fitting, tradeoff, goal), *further])
    if bounds.default_loss is not None:
        further.append(("default_loss", repr(bounds.default_loss)))
    known = [*provenance(fitting, chosen.candidate.first.tradeoff, goal), *further]
    return chosen.candidate.finished(learner, fitting, recalls, seed, known)


@dataclass(frozen=True)
class _Tested:
    """A candidate, none for one stage alone, and what the held-out rows say of it."""

    candidate: Candidate | None
    p: float
    loss: float
    cost: float
    fitted_cost: float
    bet: PlannedMean | None
    mean: float
    spread: float


@dataclass(frozen=True)
class _Test:
    """By which held-out rows, against which limit, and how."""

    fitting: Trace
    testing: Trace
    limit: Limit
    level: float
    is_exact: bool
    """Whether losses are coins, and of a policy alone."""
    seed: int

    @property
    def name(self) -> str:
        if self.limit.stage is not None:
            return "betting on paired differences"
        return "binomial tail" if self.is_exact else "betting"

    def alone(self, stage: int) -> _Tested:
        """Always answering with the stage that the limit is relative to: there is nothing to test."""
        one, two = (outcome.always(part, stage) for part in (self.fitting, self.testing))
        return _Tested(None, 0.0, mean(two.loss), mean(two.cost), mean(one.cost), None, 0.0, 0.0)

    def of(self, candidate: Candidate) -> _Tested:
        policy = candidate.draft(self.seed)
        one, two = (outcome.of_policy(policy, part) for part in (self.fitting, self.testing))
        values = self.limit.values(two.loss, self.testing)
        loss, bet = mean(two.loss), None
        if self.is_exact:
            p = binomial.tail(self._lost(loss), len(values), self.limit.most / self.limit.largest)
        else:
            known = self.limit.values(one.loss, self.fitting)
            bet = PlannedMean(values[self._order()], known, *self.limit.range)
            p = bet.p_value(self.limit.most, self.level)
        return _Tested(candidate, p, loss, mean(two.cost), mean(one.cost), bet, mean(values), float(values.std()))

    def least(self, tested: _Tested) -> float:
        """The least limit that these rows certify of a candidate."""
        if tested.bet is not None:
            return tested.bet.least(self.level)
        chance = binomial.least_chance(self._lost(tested.loss), self.testing.n, self.level)
        return self.limit.largest * chance

    def rows_that_would_do(self, tested: _Tested) -> str:
        """How many rows the trace would have to have, about, if others are like these; "" where nobody can say."""
        missing = self.limit.most - tested.mean
        if missing <= 0.0:
            return ""
        held_out = (NormalDist().inv_cdf(1.0 - self.level) * tested.spread / missing) ** 2
        rows = held_out * (self.fitting.n + self.testing.n) / self.testing.n
        return f", about {float(f'{rows:.2g}'):.0f} rows in all would do" if held_out > self.testing.n else ""

    def _lost(self, loss: float) -> int:
        return round(self.testing.n * loss / self.limit.largest)

    def _order(self) -> Ints:
        """In which held-out rows are bet on: drawn, as a trace may be sorted."""
        return np.random.default_rng(self.seed).permutation(self.testing.n)


def _refusal(test: _Test, refused: _Tested | None) -> str:
    if refused is None:
        return "`trace` leads to no policy"
    limit = test.limit
    return (
        f"`max_loss` of {limit.said(test.testing)} cannot be certified at `delta` {test.level:g} with {test.testing.n} "
        f"held-out rows{test.rows_that_would_do(refused)}: the least that can is "
        f"{limit.said(test.testing, test.least(refused))}"
    )


def _safest(learner: _core.Learner) -> float:
    return learner.tradeoff_at(learner.log_odds_range[1])
