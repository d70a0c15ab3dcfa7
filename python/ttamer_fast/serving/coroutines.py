"""Which callables are coroutine functions, and which outputs are still to be awaited."""

from __future__ import annotations

import functools
import inspect
from typing import Any

__all__ = ["discard", "is_awaitable", "is_coroutine_function"]


def is_coroutine_function(function: Any) -> bool:
    """Whether a call gives a coroutine: of `async def`, of a method or partial of one, of an object called by one."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    # Of a class, a call makes an object: how that one is called does not matter.
    is_object = callable(function) and not isinstance(function, type)
    return is_object and inspect.iscoroutinefunction(type(function).__call__)


def is_awaitable(output: Any) -> bool:
    """Whether `await` takes it; looked up on its type, as `await` does."""
    return hasattr(type(output), "__await__")


def discard(awaitable: Any) -> None:
    """Let go of what nobody will await, without a warning that nobody has."""
    for end in ("close", "cancel"):  # a coroutine, a future
        if hasattr(awaitable, end):
            getattr(awaitable, end)()
            return
