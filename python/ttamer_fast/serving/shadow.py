"""A second policy that is decided beside the first, on what its stages said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._core import Policy, Shadow, ValidationError
from ..traces.record import Record
from .decided import Decided
from .slot import PolicySlot, check_fits

__all__ = ["ShadowReport", "Shadowing", "shadowing_of"]


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """How a second policy would have decided, in this process, since it is the shadow.

    Attributes
    ----------
    digest : str
        Of the second policy.
    compared : int
        Requests that it has followed: `agreed` + `stopped_earlier` + `wanted_more`.
    agreed : int
        Of these, it would have run the same stages.
    other_order : int
        Of `agreed`: it would have run them in another order.
    stopped_earlier : int
        It would have ended with fewer of the stages that ran.
    wanted_more : int
        It would have asked for a stage that did not run: how it would have ended is not known.
    left_out : int
        Requests that are not compared: a deadline ended them, or their predictions could not be compared.
    other_answer : int
        Of those that it would have ended (`agreed` and `stopped_earlier`), it would have given the answer of another
        stage.
    summed : int
        Those of them that have an answer both ways.
    cost, shadow_cost : float
        Summed cost of these, and what they would have cost, in the unit of the trace.
    expected_loss, shadow_expected_loss : float
        Summed expected loss of these, each according to the policy that decides.
    """

    digest: str
    compared: int
    agreed: int
    other_order: int
    stopped_earlier: int
    wanted_more: int
    left_out: int
    other_answer: int
    summed: int
    cost: float
    shadow_cost: float
    expected_loss: float
    shadow_expected_loss: float

    def __str__(self) -> str:
        if not self.compared:
            return f"shadow {self.digest[:12]}: nothing compared"
        shares = [f"{count / self.compared:.1%}" for count in (self.agreed, self.stopped_earlier, self.wanted_more)]
        text = f"shadow {self.digest[:12]} of {self.compared} requests: {shares[0]} agreed, {shares[1]} stopped earlier"
        text += f", {shares[2]} wanted more"
        if self.summed:
            costs = f"{self.shadow_cost / self.summed:.4g} in place of {self.cost / self.summed:.4g}"
            other = self.other_answer / (self.agreed + self.stopped_earlier)
            text += f"; of those that it ended, cost {costs}, {other:.1%} with another answer"
        return text


class Shadowing:
    """The shadow of a cascade: it counts for one policy, and begins anew where a slot turns to another one.

    Parameters
    ----------
    policy : Policy
        The first one.
    slot : PolicySlot or None
        What says which policy it is.
    """

    __slots__ = ("_lost", "_policy", "_shadow", "slot")

    def __init__(self, policy: Policy, slot: PolicySlot | None) -> None:
        self.slot = slot
        self._policy = policy
        self._shadow = Shadow(policy)
        self._lost = 0

    @property
    def given(self) -> Policy | PolicySlot:
        """What a cascade is given as its shadow."""
        return self._policy if self.slot is None else self.slot

    def core(self) -> Shadow:
        """What follows the present policy."""
        slot = self.slot
        if slot is not None and slot._policy is not self._policy:
            self._turn(slot)
        return self._shadow

    def follow(self, record: Record) -> None:
        """A request is decided."""
        try:
            self.core().follow(
                record._steps,
                record._answer,
                record._late,
                record._cost,
                record._expected_loss,
                record._failures,
                record._barred,
            )
        except Exception:  # of comparing objects of somebody else's class
            self._lost += 1

    def follow_many(self, decided: Decided) -> None:
        """A batch is decided."""
        columns = decided.stage, decided.is_late, decided.cost, decided.expected_loss
        try:
            self.core().follow_batch(*columns, decided.reports)
        except Exception:  # of comparing objects of somebody else's class
            self._lost += len(decided.stage)

    def report(self) -> ShadowReport:
        """What has been counted."""
        agreed, other_order, earlier, more, late, other, summed, *sums = self.core().counts
        compared = agreed + earlier + more
        return ShadowReport(
            self._policy.digest, compared, agreed, other_order, earlier, more, late + self._lost, other, summed, *sums
        )

    def _turn(self, slot: PolicySlot) -> None:
        policy = slot._policy
        self._shadow, self._policy, self._lost = Shadow(policy), policy, 0


def shadowing_of(shadow: Any, policy: Policy) -> Shadowing | None:
    """The shadow of a cascade with this policy, None for none; or a ValidationError."""
    if shadow is None:
        return None
    slot = shadow if isinstance(shadow, PolicySlot) else None
    second = shadow.policy if isinstance(shadow, PolicySlot) else shadow
    if not isinstance(second, Policy):
        raise ValidationError(f"`shadow` must be a Policy or a PolicySlot, got {type(shadow).__name__}")
    check_fits("shadow", second, policy)
    return Shadowing(second, slot)
