"""How sure a head is and what it says, read from logits on the device where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch

__all__ = ["SIGNALS", "Signal", "read"]

Signal: TypeAlias = "str | Callable[[torch.Tensor], torch.Tensor]"

SIGNALS = ("max_probability", "margin", "negative_entropy", "energy")
"""As in `ttamer_fast.signals`, from probabilities in 32 bits, 64 of a network in 64."""

NO_PREDICTION = -(2**63)


def read(torch: Any, logits: torch.Tensor, signal: Signal) -> torch.Tensor:
    """(2, n) int64 on the device of the logits (n, c): the bits of the signals as float64, and the classes.

    Nothing waits for the device. A row with a NaN or plus infinity, or without any class, says nothing: NaN, and the
    class that means "no prediction". Of a signal that is a function, NaN is left to the function.
    """
    rows = logits if logits.dtype == torch.float64 else logits.float()
    logarithms = torch.log_softmax(rows, 1)
    best = logarithms.amax(1)
    is_known = ~best.isnan()
    if callable(signal):
        sure = signal(logits)
        if getattr(sure, "shape", None) != best.shape:
            given = f"shape {tuple(sure.shape)}" if hasattr(sure, "shape") else type(sure).__name__
            raise ValueError(f"`signal` must return a tensor of shape {tuple(best.shape)}, got {given}")
    elif signal == "max_probability":
        sure = best.exp()
    elif signal == "margin":
        sure = _margin(torch, logarithms)
    elif signal == "negative_entropy":
        sure = -torch.special.entr(logarithms.exp()).sum(1)
    else:
        sure = torch.where(is_known, torch.logsumexp(rows, 1), torch.nan)
    said = torch.where(is_known, rows.argmax(1), NO_PREDICTION)
    return torch.stack([sure.double().view(torch.int64), said])


def _margin(torch: Any, logarithms: torch.Tensor) -> torch.Tensor:
    """Close probabilities keep all their digits."""
    if logarithms.shape[1] == 1:
        return logarithms[:, 0].exp()
    first, second = torch.topk(logarithms, 2, dim=1).values.unbind(1)
    return first.exp() * -torch.expm1(second - first)
