"""Logits and log-probabilities as arrays of floats: views where numpy can make one, and what to do where it cannot."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .arrays import array_of, numbers_of_objects

Logits: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

_IN_MEMORY = frozenset({1, 3, 11, 13})
"""Kinds of devices of DLPack whose memory the CPU reads: its own, pinned for CUDA or ROCm, and managed by CUDA."""
_DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 14: "oneAPI", 15: "WebGPU"}
_PLAIN = frozenset({float, int, list, tuple, np.ndarray})
"""Classes of entries of a list that are no tensors."""


def logit_array(name: str, value: Any) -> Logits:
    """`value` as an aligned float32 or float64 array of any strides, copied only if it must be.

    Floats of up to 32 bits become float32; longer ones, and integers, float64. Nulls of a column are NaN.

    Raises
    ------
    ValidationError
        For what is masked, for bools, complex numbers, text and other objects, for ragged lists, and for tensors that
        numpy cannot read, with what to do.
    """
    _check_masked(name, value)
    return _floats(name, value, _read(name, value))


def logprob_array(name: str, value: Any) -> Logits:
    """As :func:`logit_array`; what is masked, and None in a list, is NaN."""
    if isinstance(value, list | tuple):
        value = [np.nan if one is None or one is np.ma.masked else one for one in value]
    floats = _floats(name, value, _read(name, value))
    return np.where(np.ma.getmaskarray(value), np.nan, floats) if isinstance(value, np.ma.MaskedArray) else floats


def _floats(name: str, value: Any, array: NDArray[Any]) -> Logits:
    kind = array.dtype.kind
    if kind == "O":
        array = numbers_of_objects(name, array, value)
    elif kind == "f" or (kind == "V" and array.dtype.names is None and np.can_cast(array.dtype, np.float64)):
        array = array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64, copy=False)
    elif kind in "iu":
        array = array.astype(np.float64)
    else:
        raise ValidationError(f"`{name}` must be real numbers, got dtype {array.dtype}")
    regular = array.flags.aligned and all(stride % array.itemsize == 0 for stride in array.strides)
    return array if regular else array.copy()


def _check_masked(name: str, value: Any) -> None:
    if isinstance(value, np.ma.MaskedArray):
        raise ValidationError(
            f"`{name}` must not be masked, as masked may mean ruled out or unknown: call .filled(-np.inf) or "
            ".filled(np.nan)"
        )
    if isinstance(value, list | tuple) and any(issubclass(kind, np.ma.MaskedArray) for kind in set(map(type, value))):
        for i, one in enumerate(value):
            _check_masked(f"{name}[{i}]", one)


def _read(name: str, value: Any) -> NDArray[Any]:
    """`value` as numpy reads it; a list of tensors as it reads each of them."""
    _check_tensor(name, value)
    if isinstance(value, list | tuple) and any(hasattr(kind, "__dlpack__") for kind in set(map(type, value)) - _PLAIN):
        value = [_read(f"{name}[{i}]", one) for i, one in enumerate(value)]
    return array_of(name, value)


def _check_tensor(name: str, value: Any) -> None:
    """Refuse a tensor that is elsewhere, or that numpy has no dtype for, or whose gradient is asked for."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack_device__"):
        return
    given = type(value).__name__
    device = int(value.__dlpack_device__()[0])
    if device not in _IN_MEMORY:
        where = _DEVICES.get(device, f"device type {device}")
        call = next((f"call .{method}()" for method in ("cpu", "get") if hasattr(value, method)), "copy it there")
        raise ValidationError(f"`{name}` must be in the memory of the CPU, got a {given} on {where}: {call} first")
    if getattr(value, "requires_grad", False) is True:
        raise ValidationError(f"`{name}` must not require a gradient, got a {given} that does: call .detach() first")
    dtype = getattr(value, "dtype", None)
    if not isinstance(dtype, np.dtype) and str(dtype).endswith("bfloat16"):
        raise ValidationError(
            f"`{name}` must be of a dtype that numpy has, got a {given} of {dtype}: call .float() first"
        )
