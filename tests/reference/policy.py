"""From stored bytes to a policy that decides, and one request."""

from __future__ import annotations

from collections.abc import Callable

from reference.belief import Belief
from reference.exact import Chain, Dag, Tree
from reference.mixture import Mixture
from reference.rule import NO_PREDICTION, Choice, Fields, Report, Rule
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

    def start(self) -> Request:
        return Request(self)


class Request:
    """One request: what has been reported, what it cost, what is next, whose answer is best."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.reports: list[Report] = []
        self.cost = 0.0
        self._choice = Choice(policy.rule.begin(), None)

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
    def last(self) -> int | None:
        return self.reports[-1].stage if self.reports else None

    @property
    def expected_loss(self) -> float:
        return self.policy.rule.expected_loss(self.reports)

    def observe(self, signal: float, prediction: int = NO_PREDICTION) -> None:
        """What the stage `next` reports."""
        assert self.next is not None, "the request has ended"
        self.cost += self.policy.price(self.last, self.next)
        self.reports.append(Report(self.next, signal, prediction))
        self._choice = self.policy.rule.observe(self.reports)


def policy_of(data: bytes) -> Policy:
    """The policy that is stored in these bytes."""
    return Policy(opened(data))
