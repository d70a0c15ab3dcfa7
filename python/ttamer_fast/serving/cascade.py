"""Models behind a policy: runs the stages that it asks for and returns the best answer in hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Policy, TTamerError, ValidationError

__all__ = ["Cascade", "Served"]

X = TypeVar("X")
Y = TypeVar("Y")


@dataclass(frozen=True)
class Served(Generic[Y]):
    """One request: the answer, the stage that gave it, the stages that ran in order, and their summed cost."""

    answer: Y
    stage: int
    consulted: tuple[int, ...]
    cost: float


class Cascade(Generic[X, Y]):
    """A policy with the models it decides about.

    Parameters
    ----------
    policy : Policy
        With k stages.
    models : sequence of k callables
        ``models[i](x)`` returns the answer y of stage i.
    confidence : callable
        ``confidence(y)`` is the signal of an answer, on the scale of the calibration trace.
    label : callable, optional
        ``label(y)`` is the integer that the calibration trace has as the prediction of such an answer.
    batch_models : sequence of k callables, optional
        ``batch_models[i](xs)`` returns the answers to a batch, in its order. Default: `models` one by one.

    Raises
    ------
    ValidationError
        If the numbers of models and stages differ.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 2))
    >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0])
    >>> policy = tt.fit(trace, tradeoff=0.9)
    >>> cascade = tt.Cascade(policy, [lambda x: (x, 0.99), lambda x: (-x, 0.5)], confidence=lambda y: y[1])
    >>> cascade(7).answer
    (7, 0.99)
    >>> [served.stage for served in cascade.batch([7, 8])]
    [0, 0]
    """

    def __init__(
        self,
        policy: Policy,
        models: Sequence[Callable[[X], Y]],
        *,
        confidence: Callable[[Y], float],
        label: Callable[[Y], int] | None = None,
        batch_models: Sequence[Callable[[Any], Sequence[Y]]] | None = None,
    ) -> None:
        for name, given in (("models", models), ("batch_models", batch_models)):
            if given is not None and len(given) != len(policy.stages):
                raise ValidationError(
                    f"`{name}` must have one model for each of {len(policy.stages)} stages, got {len(given)}"
                )
        self.policy = policy
        self._models = tuple(models)
        self._batch_models = None if batch_models is None else tuple(batch_models)
        self._confidence = confidence
        self._label = label

    def __call__(self, x: X) -> Served[Y]:
        """Serve one request; whatever a model raises passes through.

        Raises
        ------
        TTamerError
            If the policy prefers its default answer to running any stage.
        """
        run = self.policy.start()
        answers: dict[int, Y] = {}
        stage = run.next
        while stage is not None:
            answers[stage] = y = self._models[stage](x)
            stage = run.observe(self._confidence(y), None if self._label is None else self._label(y))
        return _served(answers, run.answer, run.cost)

    def batch(self, xs: Sequence[X] | NDArray[Any]) -> list[Served[Y]]:
        """Serve many requests in step: each stage runs once, on a batch of all the requests that ask for it.

        A numpy array is handed to the models as an array of rows, anything else as a list.

        Raises
        ------
        TTamerError
            If the policy prefers its default answer to running any stage.
        ValidationError
            If a model returns another number of answers than it was given inputs.
        """
        batch = self.policy.start_batch(len(xs))
        answers: list[dict[int, Y]] = [{} for _ in range(len(xs))]
        while bool((waiting := batch.next[batch.next >= 0]).size):
            stage = int(waiting.min())
            rows = batch.rows(stage)
            given = self._run_batch(stage, xs[rows] if isinstance(xs, np.ndarray) else [xs[row] for row in rows])
            for row, y in zip(rows, given, strict=True):
                answers[row][stage] = y
            labels = None if self._label is None else [self._label(y) for y in given]
            batch.observe(stage, [self._confidence(y) for y in given], labels)
        kept, cost = batch.answer.tolist(), batch.cost.tolist()
        return [_served(of_row, answer, paid) for of_row, answer, paid in zip(answers, kept, cost, strict=True)]

    def _run_batch(self, stage: int, xs: Any) -> Sequence[Y]:
        if self._batch_models is None:
            return [self._models[stage](x) for x in xs]
        given = self._batch_models[stage](xs)
        if len(given) != len(xs):
            raise ValidationError(f"`batch_models` entry {stage} must return {len(xs)} answers, got {len(given)}")
        return given


def _served(answers: dict[int, Y], stage: int | None, cost: float) -> Served[Y]:
    if stage is None or stage < 0:
        raise TTamerError("the policy answers this request with its default: no model ran")
    return Served(answers[stage], stage, tuple(answers), cost)
