"""Models behind a policy: runs the stages that it asks for and returns the best answer in hand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from .._core import Policy, ValidationError, in_order
from .._utils.checks import check_flag, check_seed
from ..records.log import RecordLog
from ..traces.record import PolicyIdentity
from . import asynchronous, synchronous
from .breaker import Circuit
from .calls import Call, calls_of
from .driver import Driver
from .exploration import Exploration, ExplorationReport
from .failures import RETURNED_NONE, reason_of
from .inputs import Input, Inputs, count_rows
from .limits import check_deadline
from .opening import Opening
from .recording import recorder_of
from .served import Served
from .served_batch import ServedBatch
from .stage import Stage
from .telling import StepDriver

__all__ = ["Cascade"]

X = TypeVar("X")
Y = TypeVar("Y")

Stages: TypeAlias = (
    Sequence[Stage[X, Y] | Callable[[X], Y]]
    | Mapping[str, Stage[X, Y]]
    | Mapping[str, Callable[[X], Y]]
    | Mapping[str, Stage[X, Y] | Callable[[X], Y]]
)


class Cascade(Generic[X, Y]):
    """A policy with the models it decides about.

    Parameters
    ----------
    policy : Policy
        With k stages.
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

    Raises
    ------
    ValidationError
        If the stages are not those of the policy, or `signal` is missing or has no callable to belong to; if `explore`
        is no share, or above 0 without `record`.

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
        "_functions",
        "_identity",
        "_is_plain",
        "_is_plain_async",
        "_is_timed",
        "_opening",
        "_policy",
        "_recorder",
        "_refusals",
        "_stages",
        "_timing",
    )

    def __init__(
        self,
        policy: Policy,
        stages: Stages[X, Y],
        *,
        signal: Callable[[Y], Any] | None = None,
        prediction: Callable[[Y], Any] | None = None,
        timing: bool = False,
        record: RecordLog | None = None,
        explore: float | Exploration = 0.0,
        seed: int = 0,
    ) -> None:
        if not isinstance(policy, Policy):
            raise ValidationError(f"`policy` must be a Policy, got {type(policy).__name__}")
        self._policy = policy
        self._identity = PolicyIdentity.of(policy)
        names, entries = _named(stages)
        made = _as_stages(names, entries, signal, prediction)
        order = _order([stage.name for stage in made], policy.stages, isinstance(stages, Mapping))
        self._stages = tuple(made[at] for at in order)
        self._calls = calls_of(self._stages, self._identity)
        self._functions = tuple(
            (call.stage.run, call.stage.signal, call.stage.prediction, call) for call in self._calls
        )
        self._opening = Opening(policy, self._identity, self._calls)
        self._timing = check_flag("timing", timing)
        is_limited = self._timing or any(call.is_limited for call in self._calls)
        self._is_timed = self._timing or any(call.reads_clock for call in self._calls)
        self._refusals = _refusal_of_call(self._calls), _refusal_of_batch(self._calls)
        is_bare = not is_limited and not any(stage.carries for stage in self._stages)
        self._is_plain = is_bare and self._refusals[0] is None
        self._is_plain_async = is_bare and all(call.runs_async for call in self._calls)
        self._recorder = recorder_of(record, policy, self._calls, explore, check_seed(seed), self._is_timed)

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self._policy

    @property
    def stages(self) -> tuple[Stage[X, Y], ...]:
        """The k stages, in the order of `policy.stages`."""
        return self._stages

    @property
    def circuits(self) -> Mapping[str, Circuit]:
        """Of the stages with a breaker, by name: whether they are tried at present; a new mapping each time."""
        named = zip(self._identity.stages, self._calls, strict=True)
        return MappingProxyType({name: call.circuit for name, call in named if call.circuit is not None})

    @property
    def slowdown(self) -> float | None:
        """How many times longer stages take at present than the policy expects, and calls of several requests than
        such calls did before, smoothed; from 1/4 to 16, 1 before any was timed. Seconds that are left count as fewer by
        it. None where the policy knows no time."""
        slowdown = self._opening.slowdown
        return None if slowdown is None else slowdown.factor

    @property
    def late(self) -> dict[str, int]:
        """How many calls of each stage are under way that nobody waits for, by name; a new dict each time.

        These are calls of plain functions that a time-out, a deadline or the end of their caller has left behind. They
        keep a worker busy until they end.
        """
        named = zip(self._identity.stages, self._calls, strict=True)
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
            return self._serve_within(x, check_deadline(deadline))
        driver: Driver[Y] = Driver(self._policy, self._identity)
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
            recorder = self._recorder
            return driver.served() if recorder is None else recorder.served(driver, x, None, False)
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
            is_timed = self._is_timed or seconds < math.inf
            limited: Driver[Y] = self._opening.one(asyncio.get_running_loop().time, seconds)
            given = Input(x)
            await asynchronous.serve(limited, self._calls, given, seconds, is_timed)
            recorder = self._recorder
            return limited.served() if recorder is None else recorder.served_async(limited, x, given)
        driver: Driver[Y] = Driver(self._policy, self._identity)
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
        recorder = self._recorder
        return driver.served() if recorder is None else recorder.served_async(driver, x, None)

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
        driver: StepDriver[Y] = self._opening.many(synchronous.now, seconds, n)
        inputs, has_deadline = Inputs(xs, n), seconds < math.inf
        synchronous.serve_batch(driver, self._calls, inputs, seconds, self._is_timed or has_deadline)
        recorder = self._recorder
        if recorder is None:
            return driver.served()
        table, through = recorder.take_many(driver)
        if through is not None:
            recorder.run(through, inputs, has_deadline)
        return table

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
        driver: StepDriver[Y] = self._opening.many(asyncio.get_running_loop().time, seconds, n)
        inputs = Inputs(xs, n)
        await asynchronous.serve_batch(driver, self._calls, inputs, seconds, self._is_timed or seconds < math.inf)
        recorder = self._recorder
        if recorder is None:
            return driver.served()
        table, through = recorder.take_many(driver)
        if through is not None:
            recorder.start(through, inputs)
        return table

    def _serve_within(self, x: X, seconds: float) -> Served[Y]:
        if self._refusals[0] is not None:
            raise ValidationError(self._refusals[0])
        driver: Driver[Y] = self._opening.one(synchronous.now, seconds)
        given, has_deadline = Input(x), seconds < math.inf
        synchronous.serve(driver, self._calls, given, seconds, self._is_timed or has_deadline)
        recorder = self._recorder
        return driver.served() if recorder is None else recorder.served(driver, x, given, has_deadline)

    def __reduce__(self) -> tuple[Callable[..., Cascade[X, Y]], tuple[Policy, tuple[Stage[X, Y], ...]]]:
        # What it counts stays behind: circuits and workers are those of one process.
        recorder = self._recorder
        more: dict[str, Any] = {}
        if recorder is not None:
            more = {"record": recorder.log, "explore": recorder.exploration, "seed": recorder.seed}
        return partial(Cascade, timing=self._timing, **more), (self._policy, self._stages)

    def __repr__(self) -> str:
        return f"Cascade(stages={self._identity.stages}, policy={self._identity.digest[:12]})"


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


def _named(stages: Stages[X, Y]) -> tuple[list[str | None], list[Stage[X, Y] | Callable[[X], Y]]]:
    """Entries, and what a mapping calls them."""
    if isinstance(stages, Mapping):
        return [name if isinstance(name, str) else repr(name) for name in stages], list(stages.values())
    if not isinstance(stages, Sequence):
        given = type(stages).__name__
        raise ValidationError(f"`stages` must be a sequence or mapping of Stage or callables, got {given}")
    return [None] * len(stages), list(stages)


def _as_stages(
    names: Sequence[str | None],
    stages: Sequence[Stage[X, Y] | Callable[[X], Y]],
    signal: Callable[[Y], Any] | None,
    prediction: Callable[[Y], Any] | None,
) -> tuple[Stage[X, Y], ...]:
    """Plain callables made stages, and stages given the names of a mapping."""
    made: list[Stage[X, Y]] = []
    plain = 0
    for i, (name, stage) in enumerate(zip(names, stages, strict=True)):
        if isinstance(stage, Stage):
            if name is not None and stage.name not in (None, name):
                raise ValidationError(f"`stages` entry {name!r} must be a Stage of that name, got {stage.name!r}")
            made.append(stage if name is None else _renamed(stage, name))
        elif not callable(stage):
            raise ValidationError(f"`stages` entry {i} must be a Stage or callable, got {type(stage).__name__}")
        elif signal is None:
            raise ValidationError(f"`signal` must be given, since `stages` entry {i} is a plain callable")
        else:
            made.append(Stage(stage, signal=signal, prediction=prediction, name=name))
            plain += 1
    for argument, given in (("signal", signal), ("prediction", prediction)):
        if given is not None and not plain:
            raise ValidationError(f"`{argument}` must be left out where every entry of `stages` is a Stage")
    return tuple(made)


def _renamed(stage: Stage[X, Y], name: str) -> Stage[X, Y]:
    """A copy under another name, whatever makes stages of this class."""
    renamed = copy(stage)
    object.__setattr__(renamed, "name", name)
    return renamed


def _order(given: Sequence[str | None], wanted: Sequence[str], is_mapping: bool) -> list[int]:
    """For each stage of the policy, which of the given ones it is; those without a name are taken as they stand."""
    is_partly = None in given and len(given) == len(wanted)
    if is_partly and all(name in (None, own) for name, own in zip(given, wanted, strict=True)):
        return list(range(len(wanted)))
    names = [name if name is not None else "(no name)" for name in given]
    if is_mapping and set(names) != set(wanted):
        raise ValidationError(f"`stages` must have the stages {list(wanted)}, got {names}")
    return in_order("stages", list(wanted), names)
