"""Who is told of the decided requests of a policy: the log, and all who listen."""

from __future__ import annotations

from typing import Any, TypeVar

from ..traces.record import Record
from .driver import Driver
from .exploring import Exploring
from .inputs import Input, Inputs
from .listeners import Listeners
from .recording import Recorder, Through
from .request_ids import new_request_id
from .served import Served
from .served_batch import ServedBatch
from .telling import StepDriver

__all__ = ["Audience"]

Y = TypeVar("Y")


class Audience:
    """What stands between the decided requests of a cascade and whoever is told of them.

    Parameters
    ----------
    recorder : Recorder, optional
        What brings requests to a log, and says which are run through.
    listeners : Listeners
        Who else is told.
    """

    __slots__ = ("_listeners", "recorder")

    def __init__(self, recorder: Recorder | None, listeners: Listeners) -> None:
        self.recorder = recorder
        self._listeners = listeners

    def served(self, driver: Driver[Y], x: Any, given: Input | None, has_deadline: bool) -> Served[Y]:
        """What a decided request comes to, once all have been told; `given` is what its stages were given of `x`, None
        for that alone."""
        record, through = self.take(driver)
        if through is not None:
            assert self.recorder is not None
            self.recorder.run(through, Input(x) if given is None else given, has_deadline)
        return driver.handed(record)

    def served_async(self, driver: Driver[Y], x: Any, given: Input | None) -> Served[Y]:
        """The same on an event loop, where the other stages run later."""
        record, through = self.take(driver)
        if through is not None:
            assert self.recorder is not None
            self.recorder.start(through, Input(x) if given is None else given)
        return driver.handed(record)

    def take(self, driver: Driver[Any]) -> tuple[Record, Exploring | None]:
        """The record of a decided request, and the stages that it is to be run through."""
        recorder, listeners = self.recorder, self._listeners
        if recorder is not None:
            return recorder.take(driver, listeners)
        record = driver.record(new_request_id())
        listeners.tell(record)
        return record, None

    def served_batch(self, driver: StepDriver[Y], given: Inputs, has_deadline: bool) -> ServedBatch[Y]:
        """The same of a batch."""
        table, through = self._take_many(driver)
        if through is not None:
            assert self.recorder is not None
            self.recorder.run(through, given, has_deadline)
        return table

    def served_batch_async(self, driver: StepDriver[Y], given: Inputs) -> ServedBatch[Y]:
        """The same of a batch on an event loop."""
        table, through = self._take_many(driver)
        if through is not None:
            assert self.recorder is not None
            self.recorder.start(through, given)
        return table

    def _take_many(self, driver: StepDriver[Y]) -> tuple[ServedBatch[Y], Through | None]:
        recorder = self.recorder
        if recorder is None:
            table, through = driver.served(), None
        else:
            table, through = recorder.take_many(driver)
        self._listeners.tell_many(table._decided)
        return table, through
