"""Who is told of every decided request, besides the log."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from .._core import ValidationError
from .._utils.warnings import ServingWarning
from ..traces.record import Record
from .counting import Counting
from .decided import Decided
from .decided_one import DecidedOne
from .failures import NoAnswerError, reason_of
from .served import Served
from .shadow import Shadowing
from .slot import Governor, PolicySlot

__all__ = ["Begun", "Listeners", "Observer", "check_observers"]

Y = TypeVar("Y")

Observer: TypeAlias = Callable[[Record], Any]
"""Called with the record of every decided request."""

End: TypeAlias = Callable[[Record | None], Any]
"""Called at the end of a request that was observed from its beginning: with None where an error went to its caller that
is none of its stages'."""


class Listeners:
    """Counters, shadow, governor and observers of a cascade.

    Parameters
    ----------
    observers : sequence of callables
        Called with every record. Of one with a method `begin`, that is called when a request begins that is served by
        itself, and what it returns is called at its end, in place of the observer.
    shadow : Shadowing, optional
        A second policy.
    slot : PolicySlot, optional
        Whose governor, if it has one, is told of costs.

    Notes
    -----
    What observers raise reaches no request: it is warned of once.
    """

    __slots__ = ("_has_warned", "_plain", "_spanning", "counting", "shadow", "slot")

    def __init__(
        self,
        observers: Sequence[Observer] = (),
        shadow: Shadowing | None = None,
        slot: PolicySlot | None = None,
    ) -> None:
        self._spanning = tuple(one for one in observers if hasattr(one, "begin"))
        self._plain = tuple(one for one in observers if not hasattr(one, "begin"))
        self._has_warned = False
        self.shadow = shadow
        self.slot = slot
        self.counting: Counting | None = None
        """Set where somebody asks for metrics."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody is told."""
        has_observers = bool(self._plain or self._spanning)
        return not has_observers and self.shadow is None and self.counting is None and self.governor is None

    @property
    def governor(self) -> Governor | None:
        """Who moves the slot."""
        return None if self.slot is None else self.slot._governor

    @property
    def is_told_of_beginnings(self) -> bool:
        """Whether :meth:`begin` is to be called for requests that are served by themselves."""
        return bool(self._spanning)

    def begin(self) -> Begun:
        """A request begins that is served by itself."""
        ends: list[End] = []
        for observer in self._spanning:
            try:
                ends.append(observer.begin())
            except Exception as error:
                self._complain(error)
        return Begun(ends, self._complain)

    async def around(self, serving: Awaitable[Served[Y]]) -> Served[Y]:
        """A request that is served by itself on an event loop, from its beginning to its end."""
        if not self._spanning:
            return await serving
        with self.begin() as begun:
            return begun.decided(await serving)

    def tell(self, record: Record) -> None:
        """A request that was served by itself is decided."""
        self.count(record)
        self.tell_others(record)

    def count(self, record: Record) -> None:
        """Those are told that a log tells in one with itself: counters and the shadow."""
        counting, shadow = self.counting, self.shadow
        if counting is not None:
            counting.counters.count(
                record._steps,
                record._answer,
                record._late,
                record._cost,
                record._expected_loss,
                record._failures,
                record._barred,
                record._seconds,
                record._explored,
            )
        if shadow is not None:
            shadow.follow(record)

    def tell_others(self, record: Record) -> None:
        """The others are told."""
        slot = self.slot
        if slot is not None and slot._governor is not None:
            slot._governor._spent(record._cost)
        for observer in self._plain:
            self._show(observer, record)

    def tell_many(self, decided: Decided | DecidedOne) -> None:
        """A batch is decided."""
        if isinstance(decided, DecidedOne):
            self.tell(decided._record)
            for observer in self._spanning:
                self._show(observer, decided._record)
            return
        if self.counting is not None:
            columns = decided.stage, decided.is_late, decided.cost, decided.expected_loss
            self.counting.counters.count_batch(*columns, decided.reports, decided.explored)
        if self.shadow is not None:
            self.shadow.follow_many(decided)
        governor = self.governor
        if governor is not None:
            governor._spent_many(decided.cost)
        observers = self._plain + self._spanning
        if observers:
            for record in decided.every_record():
                for observer in observers:
                    self._show(observer, record)

    def _show(self, observer: Observer, record: Record) -> None:
        try:
            observer(record)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        try:
            text = f"an observer was not told of a request, which is said once: {reason_of(error)}"
            warnings.warn(text, ServingWarning, stacklevel=2)
        except ServingWarning:  # where warnings are errors, the request goes on all the same
            pass


class Begun:
    """A request that is observed from its beginning: a context, in which it is served."""

    __slots__ = ("_complain", "_ends", "_record")

    def __init__(self, ends: list[End], complain: Callable[[Exception], None]) -> None:
        self._ends = ends
        self._complain = complain
        self._record: Record | None = None

    def decided(self, served: Served[Y]) -> Served[Y]:
        """What it came to."""
        self._record = served.record
        return served

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NoAnswerError):
            self._record = error.record
        for end in reversed(self._ends):
            try:
                end(self._record)
            except Exception as raised:
                self._complain(raised)


def check_observers(observers: Any) -> tuple[Observer, ...]:
    """The observers, or a ValidationError."""
    try:
        given = tuple(observers)
    except TypeError:
        raise ValidationError(f"`observers` must be a sequence of callables, got {type(observers).__name__}") from None
    for at, observer in enumerate(given):
        if not callable(observer):
            raise ValidationError(f"`observers[{at}]` must be callable, got {type(observer).__name__}")
    return given
