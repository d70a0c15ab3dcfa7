"""A model, and how to read its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .._core import ValidationError

__all__ = ["Stage"]

X_contra = TypeVar("X_contra", contravariant=True)
Y_co = TypeVar("Y_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Stage(Generic[X_contra, Y_co]):
    """A model with what a policy has to know of its outputs.

    Parameters
    ----------
    run : callable
        ``run(x)`` returns the output for one input.
    signal : callable
        ``signal(output)`` is how sure the model is, a number on the scale of the calibration trace; None or NaN is "no
        information".
    prediction : callable, optional
        ``prediction(output)`` is what the model said, any hashable: two stages agree where these are equal. Needed if
        the calibration trace had predictions.
    batch : callable, optional
        ``batch(xs)`` returns the outputs for m inputs: a sequence, array or tensor of length m, no table. Then
        :meth:`Cascade.batch` calls it, and calls `signal` and `prediction` once, with all m outputs; both return m
        values. Without it the inputs of a batch are run one by one.
    name : str, optional
        The name that the policy has for this stage; it is compared with the policy's.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type.

    Notes
    -----
    *One output or a batch of them.* Called through `run`, `signal` and `prediction` get one output; called through
    `batch`, the outputs of the batch. With numpy one function does both: ``lambda y: y.max(axis=-1)``.

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

    run: Callable[[X_contra], Y_co]
    signal: Callable[[Any], Any] = field(kw_only=True)
    prediction: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    batch: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for argument, given in (("run", self.run), ("signal", self.signal)):
            if not callable(given):
                raise ValidationError(f"`{argument}` must be callable, got {type(given).__name__}")
        for argument, optional in (("prediction", self.prediction), ("batch", self.batch)):
            if optional is not None and not callable(optional):
                raise ValidationError(f"`{argument}` must be callable or None, got {type(optional).__name__}")
        if self.name is not None and not isinstance(self.name, str):
            raise ValidationError(f"`name` must be a string or None, got {type(self.name).__name__}")
