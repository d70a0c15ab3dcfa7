"""How stages that give logits are read where nothing else is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._core import ValidationError
from ..signals import max_probability
from .tensors import Tensor

__all__ = ["class_of", "readers"]


def class_of(logits: Any) -> Any:
    """The class with the largest logit: (n,) int64 of (n, c) logits, an int of (c,), -2**63 for a row that says
    nothing."""
    _, classes = max_probability(logits, argmax=True)
    return classes


def readers(
    where: str,
    output: Tensor,
    signal: Callable[[Any], Any] | None,
    prediction: Callable[[Any], Any] | None,
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Signal and prediction of a stage: those given, else those of logits.

    Raises
    ------
    ValidationError
        If they are not given and the output cannot be logits.
    """
    is_logits = output.dtype is not None and output.dtype.kind == "f" and len(output.shape) in (0, 2)
    for argument, given in (("signal", signal), ("prediction", prediction)):
        if given is None and not is_logits:
            wanted = f"as output {output.name!r} of {where} is no logits, floats (rows, classes)"
            raise ValidationError(f"`{argument}` must be given, {wanted}, got {output}")
    return signal or max_probability, prediction or class_of
