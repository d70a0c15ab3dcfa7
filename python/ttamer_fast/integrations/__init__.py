"""A cascade among other programs: metrics, traces and HTTP. Nothing is loaded before it is named.

* :mod:`~ttamer_fast.integrations.prometheus`: metrics of a cascade (extra `metrics`).
* :mod:`~ttamer_fast.integrations.opentelemetry`: a span a request (extra `tracing`).
* :mod:`~ttamer_fast.integrations.asgi`: a cascade behind HTTP (extra `server`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import asgi, opentelemetry, prometheus

__all__ = ["asgi", "opentelemetry", "prometheus"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
