"""A model, and how to read its outputs."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._core import ValidationError
from .._utils.checks import check_between, check_budget, check_flag, check_integer
from .breaker import Breaker
from .coroutines import is_coroutine_function

__all__ = ["Stage"]

X_contra = TypeVar("X_contra", contravariant=True)
Y_co = TypeVar("Y_co", covariant=True)
Y = TypeVar("Y")


@dataclass(frozen=True, slots=True)
class Stage(Generic[X_contra, Y_co]):
    """A model with what a policy has to know of its outputs.

    Parameters
    ----------
    run : callable
        ``run(x)`` returns the output for one input; a function or a coroutine function.
    signal : callable
        ``signal(output)`` is how sure the model is, a number on the scale of the calibration trace; None or NaN is "no
        information".
    prediction : callable, optional
        ``prediction(output)`` is what the model said, any hashable: two stages agree where these are equal. Needed if
        the calibration trace had predictions.
    batch : callable, optional
        ``batch(xs)`` returns the outputs for m inputs: a sequence, array or tensor of length m, no table; a function
        or a coroutine function, whichever `run` is. Then :meth:`Cascade.batch` and its likes call it, and call `signal`
        and `prediction` once, with all m outputs; both return m values. Without it the inputs of a batch are run one by
        one.
    timeout : float, optional
        Seconds that the stage may take for a request, its retries and the waits for a worker included, finite and above
        0. A stage that takes longer fails, and the request goes on without it.
    retries : int
        Further attempts after an Exception, at least 0; none follows an output of None, a time-out, or what would be
        raised again (:class:`PermanentError`, :class:`ValidationError`).
    backoff : float
        Seconds, finite and at least 0. The wait before retry i is drawn from 0 to ``backoff * 2 ** (i - 1)``, at most 1
        second. An attempt that could not begin before the time-out or the deadline is not made.
    breaker : Breaker, optional
        Leaves the stage alone for a while after several failures in a row.
    threads : int
        Of a stage that is a plain function: how many calls may be under way at once in worker threads, at least 1; 0
        runs it in the caller's thread or on the event loop, where it cannot be cut off.
    name : str, optional
        The name that the policy has for this stage; it is compared with the policy's.
    carries : bool
        Whether `run` gets a :class:`Request` instead of the bare input, and `batch` a list of them: with it the stages
        of a request leave things for one another, such as exits of one network its hidden state.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value, or `signal` or `prediction` is a coroutine function.

    Notes
    -----
    *One output or a batch of them.* Called through `run`, `signal` and `prediction` get one output; called through
    `batch`, the outputs of the batch. With numpy one function does both: ``lambda y: y.max(axis=-1)``.

    *Threads.* In ``cascade(x)`` and :meth:`Cascade.batch` a plain function runs in the caller's thread, unless a
    time-out or a deadline is to be kept; then, and in :meth:`Cascade.acall` and :meth:`Cascade.abatch` always, in a
    worker thread with a copy of the caller's context variables. A thread cannot be stopped: a call that is late goes
    on, and keeps its worker busy, after its request has gone on without it (:attr:`Cascade.late`). A coroutine is
    cancelled and its end awaited.

    Outputs are kept until the request or batch is decided: a model must not write to them again.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> weights = np.array([[2.0, -2.0], [0.0, 1.0]])
    >>> stage = tt.Stage(
    ...     lambda x: x @ weights, batch=lambda xs: xs @ weights,
    ...     signal=lambda y: y.max(axis=-1), prediction=lambda y: y.argmax(axis=-1), name="linear",
    ... )
    >>> outputs = stage.batch(np.eye(2))
    >>> stage.signal(outputs).tolist(), stage.prediction(outputs).tolist()
    ([2.0, 1.0], [0, 1])
    """

    run: Callable[[X_contra], Y_co | Awaitable[Y_co]]
    signal: Callable[[Any], Any] = field(kw_only=True)
    prediction: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    batch: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    retries: int = field(default=0, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    backoff: float = field(default=0.05, kw_only=True)
    breaker: Breaker | None = field(default=None, kw_only=True)
    threads: int = field(default=8, kw_only=True)
    carries: bool = field(default=False, kw_only=True)

    if TYPE_CHECKING:  # an output is what is awaited, where there is something to await

        @overload
        def __init__(
            self: Stage[X_contra, Y],
            run: Callable[[X_contra], Awaitable[Y]],
            *,
            signal: Callable[[Any], Any],
            prediction: Callable[[Any], Any] | None = None,
            batch: Callable[[Any], Any] | None = None,
            timeout: float | None = None,
            retries: int = 0,
            name: str | None = None,
            backoff: float = 0.05,
            breaker: Breaker | None = None,
            threads: int = 8,
            carries: bool = False,
        ) -> None: ...

        @overload
        def __init__(
            self,
            run: Callable[[X_contra], Y_co],
            *,
            signal: Callable[[Any], Any],
            prediction: Callable[[Any], Any] | None = None,
            batch: Callable[[Any], Any] | None = None,
            timeout: float | None = None,
            retries: int = 0,
            name: str | None = None,
            backoff: float = 0.05,
            breaker: Breaker | None = None,
            threads: int = 8,
            carries: bool = False,
        ) -> None: ...

        def __init__(self, run: Any, **given: Any) -> None: ...

    def __post_init__(self) -> None:
        for argument, given in (("run", self.run), ("signal", self.signal)):
            if not callable(given):
                raise ValidationError(f"`{argument}` must be callable, got {type(given).__name__}")
        for argument, optional in (("prediction", self.prediction), ("batch", self.batch)):
            if optional is not None and not callable(optional):
                raise ValidationError(f"`{argument}` must be callable or None, got {type(optional).__name__}")
        for argument, reader in (("signal", self.signal), ("prediction", self.prediction)):
            if is_coroutine_function(reader):
                raise ValidationError(f"`{argument}` must be a plain function, got a coroutine function")
        if self.timeout is not None:
            object.__setattr__(self, "timeout", check_between("timeout", self.timeout, math.inf))
        object.__setattr__(self, "retries", check_integer("retries", self.retries, 0))
        object.__setattr__(self, "backoff", check_budget("backoff", self.backoff))
        object.__setattr__(self, "threads", check_integer("threads", self.threads, 0))
        object.__setattr__(self, "carries", check_flag("carries", self.carries))
        if self.breaker is not None and not isinstance(self.breaker, Breaker):
            raise ValidationError(f"`breaker` must be a Breaker or None, got {type(self.breaker).__name__}")
        if self.name is not None and not isinstance(self.name, str):
            raise ValidationError(f"`name` must be a string or None, got {type(self.name).__name__}")
