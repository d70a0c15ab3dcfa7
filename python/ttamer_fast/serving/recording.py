"""Requests of a cascade brought to its log: as they were decided, or run through before."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import Counters, Policy, Shadow, ValidationError, drawn, drawn_of_batch
from ..records.chunk import CAPPED, EXPLORED
from ..records.filling import Explored
from ..records.log import RecordLog, prices_of
from ..traces.record import Record, Step
from . import asynchronous, synchronous
from .answers import listed
from .calls import Call
from .decided import Decided, Report
from .decided_one import DecidedOne
from .driver import Driver
from .exploration import Exploration, ExplorationReport, Explorations, check_exploration
from .exploring import Exploring, ExploringMany
from .failures import reason_of
from .inputs import Input, Inputs
from .listeners import Listeners
from .request_ids import new_request_id
from .served_batch import ServedBatch
from .telling import StepDriver
from .time_left import wait_until
from .workers import Workers

__all__ = ["Recorder", "Through", "recorder_of"]

Through: TypeAlias = Exploring | ExploringMany


def recorder_of(
    record: Any, policy: Policy, calls: Sequence[Call], explore: Any, seed: int, is_timed: bool
) -> Recorder | None:
    """What brings the requests of a cascade to its log, None where it has none; or a ValidationError."""
    exploration = check_exploration(explore)
    if record is None:
        if exploration.share > 0.0:
            raise ValidationError(f"`explore` must be 0 without `record`, got {exploration.share}")
        return None
    if not isinstance(record, RecordLog):
        raise ValidationError(f"`record` must be a RecordLog or None, got {type(record).__name__}")
    return Recorder(record, policy, calls, exploration, seed, is_timed)


class Recorder:
    """What stands between the requests of a cascade and its log.

    :meth:`take` brings a decided request to the log, :meth:`take_many` a batch. Of those that are run through it hands
    back what is to be run; their records come to the log after that.

    Parameters
    ----------
    log : RecordLog
        Where records go.
    policy : Policy
        That decides.
    calls : sequence of k Call
        Its stages.
    exploration : Exploration
        Which requests are run through.
    seed : int
        Of the draws.
    is_timed : bool
        Whether stages are timed.
    """

    __slots__ = (
        "_calls",
        "_filling",
        "_is_timed",
        "_number",
        "_prices",
        "_share",
        "_tasks",
        "_workers",
        "exploration",
        "explorations",
        "log",
        "seed",
    )

    def __init__(
        self,
        log: RecordLog,
        policy: Policy,
        calls: Sequence[Call],
        exploration: Exploration,
        seed: int,
        is_timed: bool,
    ) -> None:
        self.log = log
        self.exploration = exploration
        self.seed = seed
        self.explorations = Explorations(policy.stages, exploration.per_second)
        self._filling = log._filling
        self._calls = calls
        self._turn_to(policy)
        self._share = exploration.share
        self._is_timed = is_timed
        self._tasks: dict[asyncio.Task[None], Through] = {}
        self._workers = Workers("exploration", 1)

    def of(self, policy: Policy) -> Recorder:
        """The same for requests of another policy with these stages: what is under way is counted with it."""
        other = copy(self)
        other._turn_to(policy)
        return other

    def take(self, driver: Driver[Any], listeners: Listeners) -> tuple[Record, Exploring | None]:
        """The record of a decided request, of which listeners are told too, and the stages that it is to be run
        through."""
        name, share = new_request_id(), self._share
        if share and drawn(name, self.seed, share):
            record, through = self._drawn(driver, name)
            listeners.tell(record)
            return record, through
        record = driver.record(name)
        counting, shadow = listeners.counting, listeners.shadow
        counters = None if counting is None else counting.counters
        if not self._append(record, 0, None, counters, None if shadow is None else shadow.core()):
            listeners.count(record)
        listeners.tell_others(record)
        return record, None

    def take_many(self, driver: StepDriver[Any]) -> tuple[ServedBatch[Any], Through | None]:
        """The same of a batch."""
        table = driver.served()
        decided = table._decided
        if isinstance(decided, DecidedOne):
            return table, self._take_only(decided)
        n = len(table)
        flags = drawn_of_batch(decided.batch_id, n, self.seed, self._share)
        rows: NDArray[np.int64] = np.flatnonzero(flags)
        if not len(rows):
            self._append_rows(decided, None, flags, None)
            return table, None
        admitted = self.explorations.admit(len(rows))
        flags[rows[admitted:]] = CAPPED
        decided.explored = flags == EXPLORED
        if admitted < n:
            self._append_rows(decided, np.flatnonzero(flags != EXPLORED), flags, None)
        if not admitted:
            return table, None
        return table, self._exploring_many(decided, rows[:admitted], flags)

    def run(self, through: Through, given: Input | Inputs, has_deadline: bool) -> None:
        """Run a request through, in this thread or another one."""
        if not (self.exploration.background or has_deadline):
            self._run(through, given)
            return
        try:
            self._workers.submit(partial(self._run_alone, through, given))
        except RuntimeError:  # the system has no thread for it
            through.end()

    def start(self, through: Through, given: Input | Inputs) -> None:
        """Run a request through, as a task of this event loop."""
        self._end_left()
        task = asyncio.get_running_loop().create_task(self._run_async(through, given))
        self._tasks[task] = through
        # Also where it was cancelled before it had begun.
        task.add_done_callback(self._ended)

    def report(self) -> ExplorationReport:
        """What has been run through so far."""
        self._end_left()
        return self.explorations.report()

    def _turn_to(self, policy: Policy) -> None:
        self._number = self._filling.declare(*prices_of(policy))
        self._prices: NDArray[np.float64] = policy._prices()

    def _run(self, through: Through, given: Input | Inputs) -> None:
        try:
            while through.ask is not None:
                try:
                    if isinstance(through, Exploring):
                        assert isinstance(given, Input)
                        synchronous.serve(through, self._calls, given, math.inf, self._is_timed)
                    else:
                        assert isinstance(given, Inputs)
                        synchronous.serve_batch(through, self._calls, given, math.inf, self._is_timed)
                except Exception as error:  # of a stage that returns what nobody expects
                    through.lost(reason_of(error))
        finally:
            through.end()

    def _run_alone(self, through: Through, given: Input | Inputs) -> None:
        wait_until(math.inf, synchronous.now)
        self._run(through, given)

    async def _run_async(self, through: Through, given: Input | Inputs) -> None:
        wait_until(math.inf, asyncio.get_running_loop().time)
        while through.ask is not None:
            try:
                if isinstance(through, Exploring):
                    assert isinstance(given, Input)
                    await asynchronous.serve(through, self._calls, given, math.inf, self._is_timed)
                else:
                    assert isinstance(given, Inputs)
                    await asynchronous.serve_batch(through, self._calls, given, math.inf, self._is_timed)
            except Exception as error:  # of a stage that returns what nobody expects
                through.lost(reason_of(error))

    def _ended(self, task: asyncio.Task[None]) -> None:
        through = self._tasks.pop(task, None)
        if through is not None:
            through.end()

    def _end_left(self) -> None:
        """Nobody goes on with the oldest tasks where their loop was closed before they had ended."""
        for task in list(self._tasks):
            if not task.get_loop().is_closed():
                break
            self._ended(task)

    def _append(
        self,
        record: Record,
        flags: int,
        explored: Explored | None,
        counters: Counters | None = None,
        shadow: Shadow | None = None,
    ) -> bool:
        """A request to the log, with those who count and follow; whatever goes wrong, it is counted as lost, and they
        have not been told: False."""
        filling = self._filling
        try:
            if filling.core.append(
                self._number,
                record._request_id,
                record._steps,
                record._answer,
                record._late,
                record._cost,
                record._expected_loss,
                record._failures,
                record._barred,
                record._seconds,
                self._share,
                flags,
                explored,
                counters,
                shadow,
            ):
                filling.wake()
        except Exception:  # of comparing objects of somebody else's class
            filling.core.lose(1)
            return False
        return True

    def _drawn(self, driver: Driver[Any], name: str) -> tuple[Record, Exploring | None]:
        """A request that is to be run through, if there are not too many."""
        is_explored = self.explorations.admit(1) == 1
        record = driver.record(name, is_explored)
        if not is_explored:
            self._append(record, CAPPED, None)
            return record, None
        return record, self._exploring(record)

    def _open(self) -> list[bool]:
        """Which stages are not left alone at present."""
        return [call.circuit is None or call.circuit.state == "closed" for call in self._calls]

    def _exploring(self, record: Record) -> Exploring:
        run = record.consulted
        may_run = self._open()
        left = [stage for stage in range(len(self._calls)) if stage not in run and may_run[stage]]
        return Exploring(left, max(run, default=-1), self._prices, partial(self._through, record))

    def _through(self, record: Record, exploring: Exploring) -> None:
        lost = exploring.failures, exploring.barred_reasons
        explored = exploring.steps, *lost, exploring.seconds, exploring.cost
        self._append(record, EXPLORED, explored)
        runs = [stage for stage, _, _ in exploring.steps]
        self.explorations.ended(1, runs, exploring.failures, exploring.cost)

    def _take_only(self, decided: DecidedOne) -> ExploringMany | None:
        """The only request of a batch."""
        record, share = decided._record, self._share
        flags = 0
        if share and drawn(record.request_id, self.seed, share):
            flags = EXPLORED if self.explorations.admit(1) else CAPPED
        if flags != EXPLORED:
            self._append(record, flags, None)
            return None
        decided._record = record = record.as_explored()
        left = ~decided.consulted() & np.array(self._open())
        last = np.array([max(record.consulted, default=-1)], np.int64)
        return ExploringMany(left, last, self._prices, partial(self._through_only, record))

    def _through_only(self, record: Record, many: ExploringMany) -> None:
        steps: list[Step] = []
        lost: dict[bool, dict[int, str]] = {True: {}, False: {}}
        seconds: dict[int, float] = {}
        for report in many.reports:
            if report.reasons is not None:
                lost[report.is_begun][report.stage] = report.reasons[0]
            if report.is_begun:
                signal = math.nan if report.signal is None else report.signal.item(0)
                said = None if report.prediction is None else listed(report.prediction)[0]
                steps.append((report.stage, signal, said))
            if report.seconds is not None:
                seconds[report.stage] = report.seconds
        cost = float(many.cost[0])
        explored = steps, lost[True], lost[False], seconds or None, cost
        self._append(record, EXPLORED, explored)
        self.explorations.ended(1, [stage for stage, _, _ in steps], lost[True], cost)

    def _exploring_many(self, decided: Decided, rows: NDArray[np.int64], flags: NDArray[np.uint8]) -> ExploringMany:
        consulted = decided.consulted()
        left = ~consulted & np.array(self._open())
        left[flags != EXPLORED] = False
        k = consulted.shape[1]
        last = np.where(consulted.any(axis=1), k - 1 - consulted[:, ::-1].argmax(axis=1), -1).astype(np.int64)
        return ExploringMany(left, last, self._prices, partial(self._through_many, decided, rows, flags))

    def _through_many(
        self, decided: Decided, rows: NDArray[np.int64], flags: NDArray[np.uint8], many: ExploringMany
    ) -> None:
        self._append_rows(decided, rows, flags, (many.reports, many.cost))
        begun = [report for report in many.reports if report.is_begun]
        runs = [report.stage for report in begun for _ in report.rows]
        failures = [report.stage for report in begun if report.reasons is not None for _ in report.rows]
        self.explorations.ended(len(rows), runs, failures, float(many.cost.sum()))

    def _append_rows(
        self,
        decided: Decided,
        rows: NDArray[np.int64] | None,
        flags: NDArray[np.uint8],
        explored: tuple[list[Report], NDArray[np.float64]] | None,
    ) -> None:
        """Rows of a batch to the log, None for all; whatever goes wrong, they are counted."""
        filling = self._filling
        try:
            if filling.core.append_batch(
                self._number,
                decided.batch_id,
                rows,
                decided.stage,
                decided.is_late,
                decided.cost,
                decided.expected_loss,
                decided.reports,
                self._share,
                flags,
                explored,
            ):
                filling.wake()
        except Exception:  # of comparing objects of somebody else's class
            filling.core.lose(len(decided.stage) if rows is None else len(rows))
