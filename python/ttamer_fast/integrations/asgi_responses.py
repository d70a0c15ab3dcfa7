"""How requests over HTTP ended, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._utils.extras import require

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Responses"]


class Responses:
    """Counts responses by their status, on one event loop: a collector."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._registry: Any = None

    def count(self, status: int) -> None:
        """One more."""
        self._counts[status] += 1

    def collect(self) -> Iterable[Metric]:
        """What has been counted so far."""
        families = require("prometheus_client.core", "metrics")
        says = "Responses of /predict by their status."
        family = families.CounterMetricFamily("ttamer_http_responses", says, labels=["code"])
        for status, count in sorted(self._counts.items()):
            family.add_metric([str(status)], count)
        yield family

    describe = collect

    def register(self, registry: Any) -> None:
        """Be read there."""
        registry.register(self)
        self._registry = registry

    def unregister(self) -> None:
        """Be read there no more."""
        self._registry.unregister(self)
