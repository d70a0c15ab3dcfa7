"""Modules of PyTorch that are to work together: what they are, where, and of which dtype."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .._core import ValidationError
from .._utils.checks import shown

if TYPE_CHECKING:
    import torch

__all__ = ["check_modules", "dtype_of", "home_of"]

Modules: TypeAlias = "Mapping[str, Sequence[torch.nn.Module]]"
"""By the names of arguments."""


def check_modules(torch: Any, argument: str, modules: Any) -> tuple[torch.nn.Module, ...]:
    """At least one module, all in eval mode, or a ValidationError."""
    try:
        every = tuple(modules)
    except TypeError:
        every = ()
    if not every:
        raise ValidationError(f"`{argument}` must be a sequence of at least 1 torch.nn.Module, got {shown(modules)}")
    for i, module in enumerate(every):
        if not isinstance(module, torch.nn.Module):
            raise ValidationError(f"`{argument}[{i}]` must be a torch.nn.Module, got {type(module).__name__}")
        for name, part in module.named_modules():
            if part.training:
                where = f"module {name!r} of it" if name else "it"
                raise ValidationError(f"`{argument}[{i}]` must be in eval mode, but {where} is in training mode")
    return every


def home_of(torch: Any, modules: Modules, device: Any) -> torch.device:
    """The device on which all parameters and buffers are, or a ValidationError; the CPU where there are none."""
    home = None
    if device is not None:
        try:
            home = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ValidationError(f"`device` must be a device of PyTorch, got {shown(device)}") from error
    for where, name, tensor in _tensors(modules):
        if home is None:
            home = tensor.device
        elif tensor.device.type != home.type or home.index not in (None, tensor.device.index):
            raise ValidationError(f"{where} must be on {home}, as the others are, got {name!r} on {tensor.device}")
        elif home.index is None:
            home = tensor.device
    if home is None:
        home = torch.device("cpu")
    if home.type not in ("cpu", "cuda"):
        raise ValidationError(f"`device` must be a CPU or a CUDA device, got {home}")
    return home


def dtype_of(modules: Modules) -> torch.dtype | None:
    """The floating dtype of all parameters, or a ValidationError; None where there are none."""
    dtype = None
    for where, name, parameter in _tensors(modules, buffers=False):
        if not parameter.is_floating_point():
            continue
        if dtype is None:
            dtype = parameter.dtype
        elif parameter.dtype != dtype:
            raise ValidationError(f"{where} must be of {dtype}, as the others are, got {name!r} of {parameter.dtype}")
    return dtype


def _tensors(modules: Modules, buffers: bool = True) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Parameters and buffers, with their names and where they are."""
    for argument, every in modules.items():
        for i, module in enumerate(every):
            where = f"`{argument}[{i}]`"
            yield from ((where, name, tensor) for name, tensor in module.named_parameters())
            if buffers:
                yield from ((where, name, tensor) for name, tensor in module.named_buffers())
