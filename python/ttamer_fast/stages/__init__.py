"""Stages that run a user's own models: each adapter is one :class:`~ttamer_fast.Stage`, or a sequence of them.

Nothing is loaded before it is used: a name loads its adapter, and an adapter imports its runtime when one is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `_MODULES` finds, for type checkers
    from .chat import Chat
    from .completion import Completion
    from .endpoint import EndpointError, RefusedError
    from .onnx_exits import OnnxExits
    from .onnx_model import OnnxModel
    from .torch_exits import TorchExits

__all__ = ["Chat", "Completion", "EndpointError", "OnnxExits", "OnnxModel", "RefusedError", "TorchExits"]

_MODULES = {
    "Chat": "chat",
    "Completion": "completion",
    "EndpointError": "endpoint",
    "OnnxExits": "onnx_exits",
    "OnnxModel": "onnx_model",
    "RefusedError": "endpoint",
    "TorchExits": "torch_exits",
}
"""Which module of this package holds a name."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
