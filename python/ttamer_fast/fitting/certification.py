"""Policies whose mean loss is below a limit with a stated probability: Learn-then-Test."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .. import _core
from .._core import Policy, ValidationError
from .._utils.arrays import Floats, first_bad
from .._utils.checks import check_between, check_default_loss, check_flag, check_order, check_recall, check_seed
from ..traces import outcome
from ..traces.trace import Trace
from .doubts import warn_of_trace
from .learners import learner_of, provenance

__all__ = ["fit_certified"]

POINTS = 40
COARSE = 10
CLOSEST = 1e-3
BISECTIONS = 50


def fit_certified(
    trace: Trace,
    *,
    max_loss: float,
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
    max_loss : float
        ε, in the unit of the loss, in (0, `largest_loss`).
    delta : float
        δ in (0, 1): the probability with which the promise may fail.
    held_out : float
        Share of the rows, in (0, 1), that tests the candidates; the others fit them.
    largest_loss : float
        In the unit of the loss: none can ever be larger; known beforehand, not read off the trace.
    binary : bool
        Losses are 0 or `largest_loss` and nothing else: known beforehand too. Certifies more with the same rows.
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
        Of the split.

    Returns
    -------
    Policy
        Its provenance holds ``max_loss``, ``delta``, ``p_value``, ``p_value_of`` (``"Hoeffding-Bentkus"`` or
        ``"binomial tail"``), ``held_out`` (the share), ``seed``, ``held_out_rows``, ``held_out_loss``,
        ``held_out_cost`` (means per request in the trace's units) and ``tested`` (how many candidates were tested);
        ``trace`` and ``rows`` are of the part that it was fitted on.

    Raises
    ------
    ValidationError
        If an argument is out of range, a loss is above `largest_loss` or not as `binary` says, or no candidate can be
        certified: the message says which `max_loss` can.

    Warns
    -----
    CalibrationWarning
        If the trace says little, as in :func:`fit`.

    Notes
    -----
    Learn-then-Test (arXiv 2110.01052), fixed-sequence testing: at most 40 policies along the loss-cost frontier of the
    fitting part, ordered from the lowest loss to the lowest cost before the held-out rows are looked at, are tested in
    that order until a p-value exceeds `delta`; the last one before it is returned. The p-value is that of Hoeffding
    and Bentkus, or with `binary` the binomial tail P(Binomial(n, ε) <= lost requests): exact, and never larger. One
    calibration, 40 fits of decisions, O(n k) for each test.

    The promise is about one call. Calling again with other seeds or limits until one is certified voids it.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((4000, 3)) ** [1.0, 0.5, 0.2]
    >>> trace = tt.Trace(signal, rng.random((4000, 3)) > signal, cost=[1.0, 4.0, 20.0], kind="models")
    >>> policy = tt.fit_certified(trace, max_loss=0.15, delta=0.05)
    >>> float(policy.provenance["p_value"]) <= 0.05
    True
    >>> float(policy.provenance["held_out_loss"]) < 0.15
    True
    """
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    if trace.is_censored or trace.propensity is not None:
        raise ValidationError(
            "`trace` must have known losses and no propensity, to be certified on: give requests that were drawn at "
            "random and run through every stage"
        )
    if trace.weight is not None:
        raise ValidationError("`trace` must have no weights: the promise is about its own distribution")
    if trace.group is not None:
        raise ValidationError("`trace` must have no groups: the promise is about independent requests")
    scale = check_between("largest_loss", largest_loss, math.inf)
    limit = check_between("max_loss", max_loss, scale)
    level = check_between("delta", delta, 1.0)
    recalls = check_recall(recall)
    seed, binary = check_seed(seed), check_flag("binary", binary)
    nothing = check_default_loss(default_loss)
    if nothing is not None and (nothing > scale or (binary and nothing not in (0.0, scale))):
        allowed = f"0 or {scale:g} as `binary` is True" if binary else f"at most `largest_loss` {scale:g}"
        raise ValidationError(f"`default_loss` must be {allowed}, got {nothing:g}")
    _check_losses(trace.loss[:, trace.core.answering], scale, binary)
    warn_of_trace(trace)
    fitting, testing = trace.split(check_between("held_out", held_out, 1.0), seed)
    learner = learner_of(fitting, graph, check_order(order, trace.stages), nothing)
    goal = f"max_loss={limit!r}, delta={level!r}"
    chosen: _Tested | None = None
    for tested, candidate in enumerate(_candidates(learner, fitting, recalls), start=1):
        result = outcome.of_policy(candidate.policy, testing)
        loss = _mean(result.loss)
        p = p_value(loss / scale, limit / scale, testing.n, binary)
        if p > level:
            if chosen is None:
                least = scale * _least_limit(loss / scale, level, testing.n, binary)
                raise ValidationError(
                    f"`max_loss` of {limit:g} cannot be certified at `delta` {level:g} with {testing.n} held-out rows: "
                    f"the least that can is {least:.6g}"
                )
            break
        chosen = _Tested(candidate.tradeoff, p, loss, _mean(result.cost), tested)
    if chosen is None:
        raise ValidationError("`trace` leads to no policy")
    known = _provenance(fitting, testing, goal, limit, level, binary, chosen, held_out, seed)
    if nothing is not None:
        known.append(("default_loss", repr(nothing)))
    return learner.policy(chosen.tradeoff, recalls, known)


def p_value(mean: float, limit: float, n: int, binary: bool = False) -> float:
    """Of "the expected value is above `limit`", given the mean of n values in [0, 1], or {0, 1} if `binary`.

    Hoeffding-Bentkus (arXiv 2110.01052, eq. 5), or the binomial tail.
    """
    if binary:
        return _binomial_cdf(round(n * mean), n, limit)
    if mean >= limit:
        return 1.0
    hoeffding = math.exp(-n * _divergence(mean, limit))
    # A mean of n values that is a whole count stays one in spite of rounding.
    count = math.ceil(n * mean - 1e-9 * max(1.0, n * mean))
    return min(1.0, hoeffding, math.e * _binomial_cdf(count, n, limit))


@dataclass(frozen=True)
class _Candidate:
    odds: float
    tradeoff: float
    policy: Policy
    loss: float
    cost: float


@dataclass(frozen=True)
class _Tested:
    tradeoff: float
    p: float
    loss: float
    cost: float
    tested: int


def _candidates(learner: _core.Learner, trace: Trace, recall: bool | None) -> list[_Candidate]:
    """Policies that no other beats in both loss and cost on the fitting part, from the safest to the cheapest."""

    def candidate(odds: float) -> _Candidate:
        tradeoff = learner.tradeoff_at(odds)
        policy = learner.draft(tradeoff, recall)
        result = outcome.of_policy(policy, trace)
        return _Candidate(odds, tradeoff, policy, _mean(result.loss), _mean(result.cost))

    found = [candidate(odds) for odds in np.linspace(*learner.log_odds_range, COARSE).tolist()]
    while len(found) < POINTS:
        # The widest gap on the frontier; the limit plays no part, so what is reachable does not depend on it.
        gaps = [
            ((b.cost - a.cost) * (a.loss - b.loss), 0.5 * (a.odds + b.odds))
            for a, b in pairwise(found)
            if b.odds - a.odds > CLOSEST
        ]
        widest = max(gaps, default=(0.0, 0.0))
        if widest[0] <= 0.0:
            break
        insort(found, candidate(widest[1]), key=lambda c: c.odds)
    frontier: list[_Candidate] = []
    for one in sorted(found, key=lambda c: (c.loss, c.cost)):
        if not frontier or one.cost < frontier[-1].cost:
            frontier.append(one)
    return frontier


def _provenance(
    fitting: Trace,
    testing: Trace,
    goal: str,
    limit: float,
    level: float,
    binary: bool,
    chosen: _Tested,
    held_out: float,
    seed: int,
) -> list[tuple[str, str]]:
    return [
        *provenance(fitting, chosen.tradeoff, goal),
        ("max_loss", repr(limit)),
        ("delta", repr(level)),
        ("p_value", repr(chosen.p)),
        ("p_value_of", "binomial tail" if binary else "Hoeffding-Bentkus"),
        ("held_out_rows", str(testing.n)),
        ("held_out_trace", testing.digest),
        ("held_out", repr(float(held_out))),
        ("seed", str(seed)),
        ("held_out_loss", repr(chosen.loss)),
        ("held_out_cost", repr(chosen.cost)),
        ("tested", str(chosen.tested)),
    ]


def _divergence(a: float, b: float) -> float:
    """Kullback-Leibler divergence between coins with chances a and b, b in (0, 1)."""
    first = a * math.log(a / b) if a > 0.0 else 0.0
    return first + ((1.0 - a) * math.log((1.0 - a) / (1.0 - b)) if a < 1.0 else 0.0)


def _binomial_cdf(count: int, n: int, chance: float) -> float:
    """P(Binomial(n, chance) <= count), chance in (0, 1); O(count)."""
    if count >= n:
        return 1.0
    top = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    top += count * math.log(chance) + (n - count) * math.log1p(-chance)
    j = np.arange(count, 0, -1, dtype=np.float64)
    # Each term from the one above it.
    below = np.cumsum(np.log(j / (n - j + 1.0)) + math.log1p(-chance) - math.log(chance))
    largest = max(0.0, float(below.max(initial=0.0)))
    total = math.exp(-largest) + float(np.exp(below - largest).sum())
    return min(1.0, math.exp(min(0.0, top + largest + math.log(total))))


def _least_limit(mean: float, level: float, n: int, binary: bool) -> float:
    """The smallest limit that a mean of n values certifies."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if p_value(mean, middle, n, binary) <= level:
            high = middle
        else:
            low = middle
    return high


def _check_losses(loss: Floats, largest: float, binary: bool) -> None:
    """A ValidationError naming the first loss that contradicts what is said about all."""
    too_large = loss > largest
    if too_large.any():
        where, given = first_bad(loss, too_large)
        raise ValidationError(f"`trace` loss{where} must be at most `largest_loss` {largest:g}, got {given}")
    between = (loss > 0.0) & (loss < largest)
    if binary and between.any():
        where, given = first_bad(loss, between)
        raise ValidationError(f"`trace` loss{where} must be 0 or {largest:g} as `binary` is True, got {given}")


def _mean(values: Floats) -> float:
    return math.fsum(values) / values.size
