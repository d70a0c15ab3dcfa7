"""Is the mean loss of a fixed policy below a limit? Asked as often as one likes, with more requests each time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import or_
from typing import Any

import numpy as np

from .._core import BoundedMean, Policy, PolicyFamily, ValidationError
from .._utils.arrays import Floats
from .._utils.checks import check_between, listed, shown
from ..traces import outcome
from ..traces.trace import Trace
from .limits import bounds_of, check_certifiable, limit_of

__all__ = ["LossCertificate", "certify"]

LARGEST_LOG = 700.0
"""Of a capital that is a finite number."""


@dataclass(frozen=True)
class LossCertificate:
    """What requests show so far of policies whose mean loss is to stay below a limit.

    Attributes
    ----------
    policy : Policy or None
        The last of the policies that are certified; None where the first is not.
    certified : int
        How many of `policies` are certified: those up to `policy`, each of whose capitals was large enough at a look.
    policies : tuple of Policy, length c
        Those that were tested, in the order of the test.
    capitals : tuple of float, length c
        What 1 has become in bets against "the mean is at least the limit"; 1 / `delta` certifies.
    losses, costs : tuple of float, length c
        Means per request so far, in the units of the trace.
    stage_loss : float or None
        Mean loss of the stage that the limit is relative to, on the same requests.
    requests : int
        How many there are so far, n.
    rows_needed : int or None
        About how many requests there would have to be in all to certify the next policy, if those to come are like
        those that are here; None where no number would do, or all are certified.
    max_loss, delta, largest_loss
        As asked for.
    traces : tuple of str
        Digests of the traces so far.
    """

    policy: Policy | None
    certified: int
    policies: tuple[Policy, ...]
    capitals: tuple[float, ...]
    losses: tuple[float, ...]
    costs: tuple[float, ...]
    stage_loss: float | None
    requests: int
    rows_needed: int | None
    max_loss: float | str
    delta: float
    largest_loss: float
    traces: tuple[str, ...]
    _values: Floats = field(repr=False, compare=False)
    """(c, n) what is limited on average."""
    _reached: tuple[bool, ...] = field(repr=False, compare=False)
    """Whose capital was at 1 / `delta` at one of the looks."""

    def continued(self, trace: Trace) -> LossCertificate:
        """The same test with further requests.

        Parameters
        ----------
        trace : Trace
            Requests that no earlier trace had, as for :func:`certify`.

        Returns
        -------
        LossCertificate
            Of all requests so far; this one stays as it is.

        Raises
        ------
        ValidationError
            As :func:`certify`, and if an earlier trace was the same.

        Notes
        -----
        What was certified earlier stays promised, also where the capital has fallen since. O(c n) for all n requests so
        far, as much memory as c n numbers.
        """
        return _tested(self.policies, trace, self.max_loss, self.delta, self.largest_loss, self)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values; policies by their digests."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if not name.startswith("_")}
        digests = [policy.digest for policy in self.policies]
        return found | {"policies": digests, "policy": None if self.policy is None else self.policy.digest}

    def __str__(self) -> str:
        limit = f"at most {self.max_loss}, but for a chance of {self.delta:g}"
        lines = [f"{self.certified} of {len(self.policies)} policies are certified to lose {limit}"]
        lines.append(f"requests     {self.requests}")
        if self.stage_loss is not None:
            lines.append(f"stage alone  loss {self.stage_loss:.5g}")
        for number, (loss, cost, capital) in enumerate(zip(self.losses, self.costs, self.capitals, strict=True)):
            verdict = "certified" if number < self.certified else f"capital {capital:.4g} of {1.0 / self.delta:.4g}"
            lines.append(f"policy {number:<5} loss {loss:.5g}, cost {cost:.5g}: {verdict}")
        if self.rows_needed is not None:
            lines.append(f"the next one needs about {self.rows_needed} requests in all")
        return "\n".join(lines)


def certify(
    policies: Policy | PolicyFamily | Iterable[Policy],
    trace: Trace,
    *,
    max_loss: float | str,
    delta: float = 0.05,
    largest_loss: float = 1.0,
) -> LossCertificate:
    """Which of some policies have a mean loss of at most `max_loss`, at any time that one asks.

    Parameters
    ----------
    policies : Policy, PolicyFamily or iterable of Policy
        Fitted without the requests of `trace`. They are tested in this order, those of a family from the largest
        trade-off to the smallest: put the safest first.
    trace : Trace
        Independent requests of the distribution that is served, all losses known; without weights, groups and
        propensity.
    max_loss : float or str
        ε, as in :func:`fit_certified`: a number, or ``"large+0.01"``, at most 0.01 above always answering with the
        stage ``large``.
    delta : float
        δ in (0, 1): the probability with which the promise may ever fail.
    largest_loss : float
        In the unit of the loss: none can ever be larger; known beforehand, not read off the trace.

    Returns
    -------
    LossCertificate
        ``.policy`` is the last one certified, None where there is none. ``.continued(more)`` goes on with further
        requests.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or out of range, a policy was fitted to this trace, a loss is above
        `largest_loss`, or policy and trace have other stages.

    Notes
    -----
    *The test.* For every policy a capital bets on every request against "the mean is at least ε". While that is true,
    it is a non-negative supermartingale that starts at 1, which *ever* reaches 1 / δ with probability at most δ (Ville
    1939; Waudby-Smith and Ramdas 2024, arXiv 2010.09686, section 4, with fixed bets). A policy is certified where its
    capital and those of all before it have been at 1 / δ when one looked.

    *What it promises.* Let j be the first of the policies whose mean is above ε. A policy that breaks the promise is
    certified only together with j, thus only if the capital of j reaches 1 / δ. So over all requests that may ever
    come, and however one decides when to stop, that happens with probability at most δ: no share of δ goes to one
    policy or one time. It is about one list of policies and one limit.

    Each value enters every bet in the same way, so that the order of the requests plays no part, and requests in one
    trace are worth as much as the same in several. For one look alone, :func:`fit_certified` certifies more.

    O(c n k) for c policies. Any thread may call it.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((6000, 2)) ** [1.0, 0.2]
    >>> stages = ["small", "large"]
    >>> trace = tt.Trace(signal, rng.random((6000, 2)) > signal, cost=[1.0, 9.0], kind="models", stages=stages)
    >>> family = tt.fit_family(trace[:1000], tradeoffs=[0.8, 0.9, 0.95])
    >>> first = tt.certify(family, trace[1000:1200], max_loss="large+0.02")
    >>> first.certified
    0
    >>> more = first.continued(trace[1200:6000])
    >>> more.certified > 0, more.requests
    (True, 5000)
    """
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    return _tested(_listed(policies), trace, max_loss, check_between("delta", delta, 1.0), largest_loss, None)


def _listed(policies: Policy | PolicyFamily | Iterable[Policy]) -> tuple[Policy, ...]:
    if isinstance(policies, Policy):
        return (policies,)
    if isinstance(policies, PolicyFamily):
        return tuple(reversed(policies.policies))
    try:
        found = tuple(policies)
    except TypeError:
        allowed = "a Policy, a PolicyFamily or several policies"
        raise ValidationError(f"`policies` must be {allowed}, got {shown(policies)}") from None
    if not found:
        raise ValidationError("`policies` must have at least one policy, got none")
    for number, policy in enumerate(found):
        if not isinstance(policy, Policy):
            raise ValidationError(f"`policies[{number}]` must be a Policy, got {type(policy).__name__}")
        if policy.stages != found[0].stages:
            wanted, given = listed(found[0].stages), listed(policy.stages)
            raise ValidationError(f"`policies[{number}]` must have the stages of the first, {wanted}, got {given}")
    return found


def _tested(
    policies: tuple[Policy, ...],
    trace: Trace,
    max_loss: float | str,
    delta: float,
    largest_loss: float,
    before: LossCertificate | None,
) -> LossCertificate:
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    traces = (() if before is None else before.traces) + (trace.digest,)
    if traces[-1] in traces[:-1]:
        raise ValidationError("`trace` must be of further requests, got a trace that was given before")
    for number, policy in enumerate(policies):
        if trace.digest in (policy.provenance.get("trace"), policy.provenance.get("held_out_trace")):
            raise ValidationError(f"`trace` must be of other requests than those that `policies[{number}]` was made of")
    trace = trace.matching(policies[0])
    bounds = bounds_of(largest_loss, False, math.inf)
    limit = limit_of(max_loss, bounds.largest, trace)
    check_certifiable(trace, bounds)
    found = [_judged(policy, trace, bounds.largest) for policy in policies]
    own = np.stack([limit.values(one.loss, trace) for one in found])
    values = own if before is None else np.concatenate([before._values, own], axis=1)
    bets = [BoundedMean(row, *limit.range) for row in values]
    logs = [bet.log_capital(limit.most) for bet in bets]
    reached = tuple(log >= -math.log(delta) for log in logs)
    if before is not None:
        reached = tuple(map(or_, reached, before._reached))
    certified = reached.index(False) if False in reached else len(reached)
    needed = bets[certified].rows_needed(limit.most, delta) if certified < len(bets) else None
    share = trace.n / values.shape[1]
    means = np.array([[one.loss.mean() for one in found], [one.cost.mean() for one in found]])
    stage_loss = None if limit.stage is None else float(trace.loss[:, limit.stage].mean())
    if before is not None:
        earlier = np.array([before.losses, before.costs])
        means = earlier + share * (means - earlier)
        if stage_loss is not None and before.stage_loss is not None:
            stage_loss = before.stage_loss + share * (stage_loss - before.stage_loss)
    return LossCertificate(
        policy=policies[certified - 1] if certified else None,
        certified=certified,
        policies=policies,
        capitals=tuple(math.exp(log) if log < LARGEST_LOG else math.inf for log in logs),
        losses=tuple(means[0].tolist()),
        costs=tuple(means[1].tolist()),
        stage_loss=stage_loss,
        requests=values.shape[1],
        rows_needed=None if needed is None else int(needed),
        max_loss=max_loss if isinstance(max_loss, str) else limit.most,
        delta=delta,
        largest_loss=bounds.largest,
        traces=traces,
        _values=values,
        _reached=reached,
    )


def _judged(policy: Policy, trace: Trace, largest: float) -> outcome.Outcome:
    found = outcome.of_policy(policy, trace)
    if found.loss.max(initial=0.0) > largest:
        raise ValidationError(
            f"`largest_loss` must be at least what no answer loses, {policy.default_loss:g}, got {largest:g}"
        )
    return found
