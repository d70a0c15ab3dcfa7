"""From stored bytes to a policy that decides, and one request."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from reference.belief import Belief
from reference.exact import Chain, Dag, Tree
from reference.mixture import Mixture
from reference.rule import NO_PREDICTION, Choice, Fields, Report, Rule, failed
from reference.stored import opened
from reference.walks import Patience, Threshold

COMPONENTS: dict[str, Callable[[Fields], Rule]] = {
    "chain": Chain,
    "belief": Belief,
    "threshold": Threshold,
    "patience": Patience,
}


def _component(stored: Fields) -> Rule:
    ((kind, fields),) = stored.items()
    return COMPONENTS[kind](fields)


def _rule(stored: Fields) -> Rule:
    ((kind, fields),) = stored.items()
    if kind == "mixture":
        first, second = fields["components"]
        return Mixture(fields["seed"], fields["share"], (_component(first), _component(second)))
    return _component(fields) if kind == "component" else {"tree": Tree, "dag": Dag}[kind](fields)


class Policy:
    """A rule and what stages cost."""

    def __init__(self, stored: Fields) -> None:
        self.stages: list[str] = stored["stages"]
        self.rule = _rule(stored["rule"])
        ((self._priced, self._price),) = stored["price"].items()

    def price(self, last: int | None, stage: int) -> float:
        """What running `stage` after `last` (None: nothing yet) costs."""
        if self._priced == "stage":
            price: float = self._price[stage]
            return price
        row = 0 if last is None else last + 1
        jump: float = self._price["jump"][row * len(self.stages) + stage]
        return jump

    def may_follow(self, last: int | None, stage: int) -> bool:
        """Whether `stage` may run after `last` out of its turn; jumps lead forward."""
        if self._priced == "stage" or last is None:
            return self.price(last, stage) < math.inf
        return stage > last and self.price(last, stage) < math.inf

    def start(self, remaining: float = math.inf) -> Request:
        """A request with so many seconds left, inf without a deadline."""
        return Request(self, remaining)


class Request:
    """One request: what has been reported, what it cost, what is next, whose answer is best."""

    def __init__(self, policy: Policy, remaining: float) -> None:
        self.policy = policy
        self.reports: list[Report] = []
        self.cost = 0.0
        self.last: int | None = None
        """The stage that ran last; one that was barred did not run."""
        self.remaining = remaining
        """Seconds left, as was said last."""
        self._choice = Choice(policy.rule.begin(remaining), None)
        self._without: set[int] = set()
        """Stages that failed or were barred."""
        self._resort: float | None = None
        """Expected loss where a stage runs, or has run, out of its turn; infinite before it reports."""

    @property
    def next(self) -> int | None:
        return self._choice.next

    @property
    def answer(self) -> int | None:
        return self._choice.answer

    @property
    def is_close(self) -> bool:
        """Whether a decision so far may fall otherwise by rounding."""
        return self._choice.is_close

    @property
    def expected_loss(self) -> float:
        return self.policy.rule.expected_loss(self.reports) if self._resort is None else self._resort

    def observe(self, signal: float, prediction: int = NO_PREDICTION, remaining: float | None = None) -> None:
        """What the stage `next` reports, and the seconds that are left then; None: nobody says."""
        before = self._look_at_clock(remaining)
        report = Report(self._pay(), signal, prediction, False, before, self.remaining)
        if self._resort is None:
            self.reports.append(report)
            self._choice = self.policy.rule.observe(self.reports)
        else:
            self._resort = self.policy.rule.alone(report)
            self._choice = self._choice._replace(next=None, answer=report.stage)

    def fail(self, remaining: float | None = None) -> None:
        """The stage `next` has run and gave nothing; seconds as for :meth:`observe`."""
        before = self._look_at_clock(remaining)
        self._go_on_without(self._pay(), before)

    def bar(self) -> None:
        """The stage `next` cannot be tried."""
        assert self.next is not None, "the request has ended"
        self._go_on_without(self.next, self.remaining)

    def stop(self) -> None:
        """The request ends while the stage `next` runs."""
        self._pay()
        self._choice = self._choice._replace(next=None)

    def _pay(self) -> int:
        """The stage `next` has run. After barred ones it is paid for from the one that ran, where that has a price."""
        assert self.next is not None, "the request has ended"
        price = self.policy.price(self.last, self.next)
        self.cost += price if price < math.inf else self.policy.price(self.reports[-1].stage, self.next)
        self.last = self.next
        return self.next

    def _look_at_clock(self, remaining: float | None) -> float:
        """What was said last holds where nothing is said; returns what held before."""
        before = self.remaining
        self.remaining = before if remaining is None else remaining
        return before

    def _go_on_without(self, stage: int, before: float) -> None:
        """As the rule says; where that ends with empty hands, the best stage that has not been tried and may run."""
        rule = self.policy.rule
        self._without.add(stage)
        if self._resort is None:
            self.reports.append(failed(stage, before, self.remaining))
            self._choice = rule.observe(self.reports)
        else:
            self._choice = self._choice._replace(next=None)
        if self.next is None and self.answer is None and rule.expected_loss(self.reports) == math.inf:
            stages = range(len(self.policy.stages))
            losses = {v: rule.alone(failed(v)) for v in stages if self.policy.may_follow(self.last, v)}
            known = {v: loss for v, loss in losses.items() if loss is not None and v not in self._without}
            if known:
                self._choice = self._choice._replace(next=min(known, key=lambda v: (known[v], v)))
            self._resort = math.inf if known else None


OBSERVE, FAIL, BAR, STOP = TURNS = range(4)
"""What may become of the stage that is next."""


def take_turn(request: Any, turn: int, signal: float, prediction: int | None, remaining: float | None = None) -> None:
    """One of :data:`TURNS`, for a request or a run; reports and failures say how many seconds are left."""
    if turn == OBSERVE:
        request.observe(signal, prediction, remaining)
    elif turn == FAIL:
        request.fail(remaining)
    else:
        {BAR: request.bar, STOP: request.stop}[turn]()


def policy_of(data: bytes) -> Policy:
    """The policy that is stored in these bytes."""
    return Policy(opened(data))
