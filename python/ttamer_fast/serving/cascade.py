"""Models behind a policy: runs the stages that it asks for and returns the best answer in hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar

from .._core import Policy, ValidationError, in_order
from ..traces.record import PolicyIdentity
from .asking import ask
from .batch_driver import BatchDriver, in_step
from .driver import Driver
from .failures import RETURNED_NONE, reason_of
from .inputs import count_rows, take_rows
from .one_driver import OneDriver
from .served import Served
from .served_batch import ServedBatch
from .stage import Stage

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

    Raises
    ------
    ValidationError
        If the stages are not those of the policy, or `signal` is missing or has no callable to belong to.

    Notes
    -----
    Immutable: one cascade serves any number of threads, if its stages do.

    *Failures.* A stage fails for a request when it, its `signal` or its `prediction` raises an Exception, or when its
    output is None. It is paid for, is never the answer and is not asked again; the policy goes on without it.
    KeyboardInterrupt and its like pass through.

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
    """

    __slots__ = ("_calls", "_identity", "_policy", "_stages", "_where")

    def __init__(
        self,
        policy: Policy,
        stages: Stages[X, Y],
        *,
        signal: Callable[[Y], Any] | None = None,
        prediction: Callable[[Y], Any] | None = None,
    ) -> None:
        if not isinstance(policy, Policy):
            raise ValidationError(f"`policy` must be a Policy, got {type(policy).__name__}")
        self._policy = policy
        self._identity = PolicyIdentity.of(policy)
        names, entries = _named(stages)
        made = _as_stages(names, entries, signal, prediction)
        order = _order([stage.name for stage in made], policy.stages, isinstance(stages, Mapping))
        self._stages = tuple(made[at] for at in order)
        self._where = tuple(self._identity.where(stage) for stage in range(len(policy.stages)))
        self._calls = tuple((stage.run, stage.signal, stage.prediction) for stage in self._stages)

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self._policy

    @property
    def stages(self) -> tuple[Stage[X, Y], ...]:
        """The k stages, in the order of `policy.stages`."""
        return self._stages

    def __call__(self, x: X) -> Served[Y]:
        """Serve one request.

        Raises
        ------
        NoAnswerError
            If every stage that was asked has failed, and the policy has no default; has their reasons.
        ValidationError
            If a signal is no number or a prediction is not hashable; names the stage.
        """
        driver: Driver[Y] = Driver(self._policy, self._identity)
        asked = driver.ask
        while asked is not None:
            run, signal, prediction = self._calls[asked]
            try:
                output = run(x)
                if output is None:
                    asked = driver.failed(RETURNED_NONE)
                    continue
                sure, said = signal(output), None if prediction is None else prediction(output)
            except Exception as error:
                asked = driver.failed(reason_of(error))
                continue
            asked = driver.answered(sure, said, output)
        return driver.served()

    def batch(self, xs: Any) -> ServedBatch[Y]:
        """Serve n requests in step: stages run on all the requests that wait for them.

        Parameters
        ----------
        xs : list, array, or dict of arrays
            n inputs: a sequence, a numpy array, a tensor, or a dict of these; tables and labelled columns are refused.
            A stage with `batch` is handed some rows of it: of a numpy array an array, of a dict a dict with these rows
            of each of its arrays, of all else a list. A stage without is handed its rows one by one; a row of a dict is
            a dict.

        Raises
        ------
        ValidationError
            If `xs` is none of these, or a stage returns no list or array of as many outputs, signals or predictions as
            it was given inputs.

        Notes
        -----
        Every request is decided as if it were alone. O(n k) beside the stages.

        What `batch` raises, or `signal` and `prediction` of its outputs, fails all rows of that call; a None among the
        outputs fails its row, and the others are handed on without it.
        """
        n = count_rows(xs)
        driver: BatchDriver[Y] | OneDriver[Y] = in_step(self._policy, self._identity, n)
        while (question := driver.ask) is not None:
            asked, rows = question
            stage = self._stages[asked]
            found = ask(stage, self._where[asked], take_rows(xs, rows, n), len(rows))
            if found.failures:
                driver.failed(found.failures)
            if len(found.failures) < len(rows):
                driver.answered(found.signal, found.prediction, found.outputs)
        return driver.served()

    def __repr__(self) -> str:
        return f"Cascade(stages={self._identity.stages}, policy={self._identity.digest[:12]})"


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
            made.append(stage if name is None else replace(stage, name=name))
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


def _order(given: Sequence[str | None], wanted: Sequence[str], is_mapping: bool) -> list[int]:
    """For each stage of the policy, which of the given ones it is; those without a name are taken as they stand."""
    is_partly = None in given and len(given) == len(wanted)
    if is_partly and all(name in (None, own) for name, own in zip(given, wanted, strict=True)):
        return list(range(len(wanted)))
    names = [name if name is not None else "(no name)" for name in given]
    if is_mapping and set(names) != set(wanted):
        raise ValidationError(f"`stages` must have the stages {list(wanted)}, got {names}")
    return in_order("stages", list(wanted), names)
