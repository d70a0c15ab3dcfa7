"""Models behind a policy: runs the stages that it asks for and returns the best answer in hand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from .._core import Policy, ValidationError
from .._utils.checks import check_flag, check_seed
from ..records.log import RecordLog
from ..traces.record import PolicyIdentity
from . import asynchronous, synchronous
from .arranging import Stages, arranged
from .breaker import Circuit
from .calls import Call, calls_of
from .costing import Costing
from .counting import Counting, counting_of
from .driver import Driver
from .exploration import Exploration, ExplorationReport
from .failures import RETURNED_NONE, reason_of
from .governor import BudgetGovernor
from .incumbent import Incumbents
from .inputs import Input, Inputs, count_rows
from .limits import check_deadline
from .listeners import Listeners, Observer, check_observers
from .recording import recorder_of
from .served import Served
from .served_batch import ServedBatch
from .shadow import ShadowReport, shadowing_of
from .slot import PolicySlot
from .stage import Stage
from .telling import StepDriver

__all__ = ["Cascade"]

X = TypeVar("X")
Y = TypeVar("Y")


class Cascade(Generic[X, Y]):
    """A policy with the models it decides about.

    Parameters
    ----------
    policy : Policy, PolicySlot or BudgetGovernor
        With k stages. Of a slot, and of a governor, each request takes the policy that is in service when it begins,
        and keeps it.
    stages : sequence or mapping of k Stage or callables
        Matched with `policy.stages` by name where all have one, from their :class:`Stage` or as the keys of a mapping,
        and the policy has names of its own; else in the order of `policy.stages`, where a name that is given must be
        the policy's. A plain callable is a stage whose outputs are read by `signal` and `prediction`.
    signal : callable, optional
        ``signal(output)`` of the plain callables, as in :class:`Stage`.
    prediction : callable, optional
        ``prediction(output)`` of the plain callables, as in :class:`Stage`.
    timing : bool
        Whether to measure how long every stage takes: :attr:`Served.seconds`. Else it is measured where a deadline, a
        time-out or a breaker needs the time.
    record : RecordLog, optional
        What every request is written to, also one that nobody answered.
    explore : float or Exploration
        Share of requests, in [0, 1], of which `record` gets every stage: those that the policy did not ask for run
        after the answer is decided, for the record alone. 0 for none.
    seed : int
        Of which requests these are, from 0 to 2**64 - 1.
    shadow : Policy or PolicySlot, optional
        A second policy of the same stages, which decides beside the first on what its stages said:
        :meth:`shadow_report`. It runs no stage and changes no answer.
    observers : sequence of callables
        Each is called with the :class:`Record` of every decided request, also of one that nobody answered, where the
        request ran. What it raises is warned of once. Of one with a method `begin`, that is called when a request
        begins that is served by itself, and what it returns is called at its end with the record, or with None where
        an error goes to the caller that is none of its stages'.
    cost : callable, optional
        From an input to what its stages cost over what they cost the average request, such as its tokens over the mean
        number of tokens: a policy that knows what requests cost (`knows_cost`) is told, when a request begins. What it
        raises, or gives that is not finite and at least 0, is warned of once; such requests count as average ones.

    Raises
    ------
    ValidationError
        If the stages are not those of the policy, or `signal` is missing or has no callable to belong to; if `explore`
        is no share, or above 0 without `record`; if `shadow` is of other stages.

    Notes
    -----
    Four doors: ``cascade(x)`` and :meth:`batch` for plain functions, :meth:`acall` and :meth:`abatch` for coroutine
    functions and plain ones. All take the same decisions. One cascade serves any number of threads and event loops, if
    its stages do: what it counts, circuits and workers, is safe to share.

    *Failures.* A stage fails for a request when it, its `signal` or its `prediction` raises an Exception, when it takes
    longer than its `timeout`, or when its output is None. It is paid for, is never the answer and is not asked again;
    the policy goes on without it. A stage that its breaker keeps from being tried is not paid for; where that is known
    when a request begins, the request goes without it from the start (:meth:`Policy.start`). A policy fitted for up to
    five models goes on as one that never had the stage (:meth:`Policy.exact_without`). KeyboardInterrupt and its like
    pass through.

    *Deadlines*, in seconds from the call. When it is over, the best answer in hand goes out: the stage under way is cut
    off, which is paid for and whose answer is lost, and none is begun any more. What comes later is lost too, as of a
    coroutine that goes on after it was cancelled, whose end is awaited. A policy that knows time (`knows_time`) is told
    what is left before each decision, divided by :attr:`slowdown`; any other decides as without a deadline. The clock
    is `time.monotonic`, and `loop.time` in coroutines.

    *Exploration.* A request that is run through (:attr:`Served.explored`) has the answer, cost and stages of its
    policy. Which ones depends on their names and `seed` alone. The other stages run after the answer has gone out: on
    an event loop in tasks; after a call with a deadline, or with ``Exploration(background=True)``, in a thread; else
    before the call returns. They keep their own time-outs and retries, and a stage whose circuit is not closed is left
    out. What fails there fails for the record alone. :meth:`exploration_report` says what all that has cost.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 2))
    >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], stages=["small", "large"])
    >>> policy = tt.fit(trace, tradeoff=0.9)
    >>> small = tt.Stage(lambda x: (x, 0.99), signal=lambda y: y[1], name="small")
    >>> large = tt.Stage(lambda x: (-x, 0.5), signal=lambda y: y[1], name="large")
    >>> cascade = tt.Cascade(policy, [small, large])
    >>> served = cascade(7)
    >>> served.output, served.stage_name, served.outcome
    ((7, 0.99), 'small', 'stopped')
    >>> cascade.batch([7, 8]).outputs
    [(7, 0.99), (8, 0.99)]
    >>> import asyncio
    >>> async def ask(x):
    ...     return (x, 0.99)
    >>> remote = tt.Cascade(policy, [tt.Stage(ask, signal=lambda y: y[1], timeout=2.0, retries=1), large])
    >>> asyncio.run(remote.acall(7, deadline=5.0)).output
    (7, 0.99)
    """

    __slots__ = (
        "_calls",
        "_costing",
        "_functions",
        "_incumbents",
        "_is_plain",
        "_is_plain_async",
        "_is_timed",
        "_listeners",
        "_names",
        "_observers",
        "_recorder",
        "_refusals",
        "_stages",
        "_timing",
    )

    def __init__(
        self,
        policy: Policy | PolicySlot | BudgetGovernor,
        stages: Stages[X, Y],
        *,
        signal: Callable[[Y], Any] | None = None,
        prediction: Callable[[Y], Any] | None = None,
        timing: bool = False,
        record: RecordLog | None = None,
        explore: float | Exploration = 0.0,
        seed: int = 0,
        shadow: Policy | PolicySlot | None = None,
        observers: Sequence[Observer] = (),
        cost: Callable[[X], Any] | None = None,
    ) -> None:
        given = policy.slot if isinstance(policy, BudgetGovernor) else policy
        slot = given if isinstance(given, PolicySlot) else None
        first = given.policy if isinstance(given, PolicySlot) else given
        if not isinstance(first, Policy):
            allowed = "a Policy, a PolicySlot or a BudgetGovernor"
            raise ValidationError(f"`policy` must be {allowed}, got {type(policy).__name__}")
        self._names = first.stages
        self._stages = arranged(stages, first.stages, signal, prediction)
        self._calls = calls_of(self._stages, PolicyIdentity.of(first))
        self._functions = tuple(
            (call.stage.run, call.stage.signal, call.stage.prediction, call) for call in self._calls
        )
        self._timing = check_flag("timing", timing)
        is_limited = self._timing or any(call.is_limited for call in self._calls)
        self._is_timed = self._timing or any(call.reads_clock for call in self._calls)
        self._refusals = _refusal_of_call(self._calls), _refusal_of_batch(self._calls)
        self._costing = None if cost is None else Costing(cost)
        is_bare = not is_limited and cost is None and not any(stage.carries for stage in self._stages)
        self._recorder = recorder_of(record, first, self._calls, explore, check_seed(seed), self._is_timed)
        self._observers = check_observers(observers)
        self._listeners = Listeners(self._observers, shadowing_of(shadow, first), slot)
        is_bare = is_bare and not self._listeners.is_told_of_beginnings
        self._is_plain = is_bare and self._refusals[0] is None
        self._is_plain_async = is_bare and all(call.runs_async for call in self._calls)
        self._incumbents = Incumbents(first, slot, self._calls, self._recorder, self._listeners, self._costing)

    @property
    def policy(self) -> Policy:
        """The policy in service."""
        return self._incumbents.now().policy

    @property
    def stages(self) -> tuple[Stage[X, Y], ...]:
        """The k stages, in the order of `policy.stages`."""
        return self._stages

    @property
    def circuits(self) -> Mapping[str, Circuit]:
        """Of the stages with a breaker, by name: whether they are tried at present; a new mapping each time."""
        named = zip(self._names, self._calls, strict=True)
        return MappingProxyType({name: call.circuit for name, call in named if call.circuit is not None})

    @property
    def slowdown(self) -> float | None:
        """How many times longer stages take at present than the policy expects, and calls of several requests than
        such calls did before, smoothed; from 1/4 to 16, 1 before any was timed. Seconds that are left count as fewer by
        it. None where the policy knows no time."""
        slowdown = self._incumbents.now().opening.slowdown
        return None if slowdown is None else slowdown.factor

    @property
    def late(self) -> dict[str, int]:
        """How many calls of each stage are under way that nobody waits for, by name; a new dict each time.

        These are calls of plain functions that a time-out, a deadline or the end of their caller has left behind. They
        keep a worker busy until they end.
        """
        named = zip(self._names, self._calls, strict=True)
        return {name: 0 if call.workers is None else call.workers.late for name, call in named}

    def exploration_report(self) -> ExplorationReport:
        """What has been run through for the record, and what that has cost, in this process.

        Raises
        ------
        ValidationError
            If the cascade has no `record`.
        """
        if self._recorder is None:
            raise ValidationError("`record` must be given for an exploration report, got None")
        return self._recorder.report()

    def shadow_report(self) -> ShadowReport:
        """How the shadow would have decided, in this process, since it is the shadow.

        Raises
        ------
        ValidationError
            If the cascade has no `shadow`.
        """
        shadow = self._listeners.shadow
        if shadow is None:
            raise ValidationError("`shadow` must be given for a shadow report, got None")
        return shadow.report()

    def __call__(self, x: X, deadline: float | None = None) -> Served[Y]:
        """Serve one request.

        Parameters
        ----------
        x : object
            What the stages get.
        deadline : float, optional
            Seconds from now, above 0; inf or None for none.

        Raises
        ------
        NoAnswerError
            If no stage has answered, and the policy has no default; has the reasons of all.
        ValidationError
            If a stage is a coroutine function, or gives what is to be awaited; if the deadline is none; if a signal is
            no number or a prediction is not hashable. It names the stage.
        """
        if deadline is not None or not self._is_plain:
            return self._serve_observed(x, check_deadline(deadline))
        incumbent = self._incumbents.now()
        driver: Driver[Y] = Driver(incumbent.policy, incumbent.identity)
        asked = driver.ask
        while asked is not None:
            run, signal, prediction, call = self._functions[asked]
            try:
                output: Any = run(x)
                if output is None:
                    asked = driver.failed(RETURNED_NONE)
                    continue
                if type(output) is not call.plain_type and call.is_to_be_awaited(output):
                    break
                sure, said = signal(output), None if prediction is None else prediction(output)
            except Exception as error:
                asked = driver.failed(reason_of(error))
                continue
            asked = driver.answered(sure, said, output)
        else:
            audience = incumbent.audience
            return driver.served() if audience is None else audience.served(driver, x, None, False)
        raise synchronous.awaitable_error(call, "run", "acall(x)", output)

    async def acall(self, x: X, deadline: float | None = None) -> Served[Y]:
        """Serve one request on the event loop; the parameters as in a plain call.

        A plain function runs in a worker thread. Where the caller is cancelled, the stage under way is too, and its end
        awaited.

        Raises
        ------
        NoAnswerError
            If no stage has answered, and the policy has no default; has the reasons of all.
        ValidationError
            If the deadline is none; if a signal is no number or a prediction is not hashable: names the stage.
        """
        seconds = check_deadline(deadline)
        if seconds < math.inf or not self._is_plain_async:
            return await self._listeners.around(self._aserve_within(x, seconds))
        incumbent = self._incumbents.now()
        driver: Driver[Y] = Driver(incumbent.policy, incumbent.identity)
        asked = driver.ask
        while asked is not None:
            run, signal, prediction, _ = self._functions[asked]
            try:
                output: Any = await run(x)
                if output is None:
                    asked = driver.failed(RETURNED_NONE)
                    continue
                sure, said = signal(output), None if prediction is None else prediction(output)
            except Exception as error:
                asked = driver.failed(reason_of(error))
                continue
            asked = driver.answered(sure, said, output)
        audience = incumbent.audience
        return driver.served() if audience is None else audience.served_async(driver, x, None)

    def batch(self, xs: Any, deadline: float | None = None) -> ServedBatch[Y]:
        """Serve n requests in step: stages run on all the requests that wait for them.

        Parameters
        ----------
        xs : list, array, or dict of arrays
            n inputs: a sequence, a numpy array, a tensor, or a dict of these; tables and labelled columns are refused.
            A stage with `batch` is handed some rows of it: of a numpy array an array, of a dict a dict with these rows
            of each of its arrays, of all else a list. A stage without is handed its rows one by one; a row of a dict is
            a dict.
        deadline : float, optional
            Seconds from now in which all of them are to be answered, above 0; inf or None for none.

        Raises
        ------
        ValidationError
            If `xs` is none of these, or a stage returns no list or array of as many outputs, signals or predictions as
            it was given inputs; if a stage is a coroutine function, or gives what is to be awaited; if the deadline is
            none.

        Notes
        -----
        Every request is decided as if it were alone. O(n k) beside the stages.

        What `batch` raises, or `signal` and `prediction` of its outputs, fails all rows of that call; a None among the
        outputs fails its row, and the others are handed on without it. Time-outs, retries and breakers are for a call
        of `batch` as a whole, and row by row for a stage without.

        At the deadline, rows that have been answered keep their answers.
        """
        if self._refusals[1] is not None:
            raise ValidationError(self._refusals[1])
        seconds = check_deadline(deadline)
        n = count_rows(xs)
        incumbent = self._incumbents.now()
        driver: StepDriver[Y] = incumbent.opening.many(xs, synchronous.now, seconds, n)
        inputs, has_deadline = Inputs(xs, n), seconds < math.inf
        synchronous.serve_batch(driver, self._calls, inputs, seconds, self._is_timed or has_deadline)
        audience = incumbent.audience
        return driver.served() if audience is None else audience.served_batch(driver, inputs, has_deadline)

    async def abatch(self, xs: Any, deadline: float | None = None) -> ServedBatch[Y]:
        """Serve n requests in step on the event loop; the parameters as in :meth:`batch`.

        A stage with `batch` is called once for all rows that wait for it; without, its rows run at the same time:
        coroutines as tasks, plain functions in worker threads.

        Raises
        ------
        ValidationError
            As in :meth:`batch`, but for coroutine functions and what is to be awaited.

        Notes
        -----
        What is no Exception, such as KeyboardInterrupt, comes out by itself, once the other rows have been cancelled
        and have ended.
        """
        seconds = check_deadline(deadline)
        n = count_rows(xs)
        incumbent = self._incumbents.now()
        driver: StepDriver[Y] = incumbent.opening.many(xs, asyncio.get_running_loop().time, seconds, n)
        inputs = Inputs(xs, n)
        await asynchronous.serve_batch(driver, self._calls, inputs, seconds, self._is_timed or seconds < math.inf)
        audience = incumbent.audience
        return driver.served() if audience is None else audience.served_batch_async(driver, inputs)

    def _counted(self) -> Counting:
        """Counts of the requests that begin from now on; the same ones each time."""
        listeners = self._listeners
        if listeners.counting is None:
            listeners.counting = counting_of(self.policy)
            self._incumbents.tell_others()
        return listeners.counting

    def _serve_observed(self, x: X, seconds: float) -> Served[Y]:
        if not self._listeners.is_told_of_beginnings:
            return self._serve_within(x, seconds)
        with self._listeners.begin() as begun:
            return begun.decided(self._serve_within(x, seconds))

    def _serve_within(self, x: X, seconds: float) -> Served[Y]:
        if self._refusals[0] is not None:
            raise ValidationError(self._refusals[0])
        incumbent = self._incumbents.now()
        driver: Driver[Y] = incumbent.opening.one(x, synchronous.now, seconds)
        given, has_deadline = Input(x), seconds < math.inf
        synchronous.serve(driver, self._calls, given, seconds, self._is_timed or has_deadline)
        audience = incumbent.audience
        return driver.served() if audience is None else audience.served(driver, x, given, has_deadline)

    async def _aserve_within(self, x: X, seconds: float) -> Served[Y]:
        is_timed = self._is_timed or seconds < math.inf
        incumbent = self._incumbents.now()
        driver: Driver[Y] = incumbent.opening.one(x, asyncio.get_running_loop().time, seconds)
        given = Input(x)
        await asynchronous.serve(driver, self._calls, given, seconds, is_timed)
        audience = incumbent.audience
        return driver.served() if audience is None else audience.served_async(driver, x, given)

    def __reduce__(self) -> tuple[Callable[..., Cascade[X, Y]], tuple[Any, tuple[Stage[X, Y], ...]]]:
        # What it counts stays behind: circuits and workers are those of one process.
        recorder = self._recorder
        more: dict[str, Any] = {}
        if recorder is not None:
            more = {"record": recorder.log, "explore": recorder.exploration, "seed": recorder.seed}
        if self._listeners.shadow is not None:
            more["shadow"] = self._listeners.shadow.given
        if self._observers:
            more["observers"] = self._observers
        if self._costing is not None:
            more["cost"] = self._costing.cost
        policy = self._incumbents.slot or self.policy
        return partial(Cascade, timing=self._timing, **more), (policy, self._stages)

    def __repr__(self) -> str:
        identity = self._incumbents.now().identity
        return f"Cascade(stages={identity.stages}, policy={identity.digest[:12]})"


def _refusal_of_call(calls: Sequence[Call]) -> str | None:
    """Why ``cascade(x)`` cannot run these stages; None where it can."""
    for call in calls:
        if call.runs_async:
            return f"`run` of {call.where} is a coroutine function: call `await cascade.acall(x)`"
    return None


def _refusal_of_batch(calls: Sequence[Call]) -> str | None:
    """Why ``cascade.batch(xs)`` cannot run these stages; None where it can."""
    for call in calls:
        if call.batches_async:
            function = "run" if call.stage.batch is None else "batch"
            return f"`{function}` of {call.where} is a coroutine function: call `await cascade.abatch(xs)`"
    return None
