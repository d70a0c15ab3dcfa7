"""The stages of a cascade as its loops call them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..traces.record import PolicyIdentity
from .breaker import Circuit
from .coroutines import is_awaitable, is_coroutine_function
from .stage import Stage
from .workers import Workers

__all__ = ["Call", "calls_of"]


class Call:
    """A stage of a cascade, and what the cascade keeps for it.

    Attributes
    ----------
    stage : Stage
        The stage.
    where : str
        Its number and name, for messages.
    circuit : Circuit or None
        Where the stage has a breaker.
    workers : Workers or None
        Of what is a plain function; None where it runs in the caller's thread or on the event loop.
    timeout : float
        Seconds, inf for no limit.
    runs_async, batches_async : bool
        Whether `run` is a coroutine function, and what a batch calls: `batch`, or `run` where there is none.
    is_limited : bool
        Whether it has a time-out, retries or a breaker.
    reads_clock : bool
        Whether it has a time-out or a breaker.
    plain_type : type
        Of the last output that was not to be awaited: one of the same type is not either.
    """

    __slots__ = (
        "batches_async",
        "circuit",
        "is_limited",
        "plain_type",
        "reads_clock",
        "runs_async",
        "stage",
        "timeout",
        "where",
        "workers",
    )

    def __init__(self, stage: Stage[Any, Any], name: str, where: str) -> None:
        self.stage = stage
        self.where = where
        self.circuit = None if stage.breaker is None else Circuit(stage.breaker)
        self.workers = Workers(name, stage.threads) if stage.threads else None
        self.timeout = math.inf if stage.timeout is None else stage.timeout
        self.runs_async = is_coroutine_function(stage.run)
        self.batches_async = self.runs_async if stage.batch is None else is_coroutine_function(stage.batch)
        self.reads_clock = stage.timeout is not None or stage.breaker is not None
        self.is_limited = self.reads_clock or stage.retries > 0
        self.plain_type: type = object

    def is_to_be_awaited(self, output: Any) -> bool:
        """Whether an output of a plain function has turned out to be awaitable."""
        if is_awaitable(output):
            return True
        self.plain_type = type(output)
        return False


def calls_of(stages: Sequence[Stage[Any, Any]], identity: PolicyIdentity) -> tuple[Call, ...]:
    """The k stages of a policy, in its order."""
    named = enumerate(zip(stages, identity.stages, strict=True))
    return tuple(Call(stage, name, identity.where(i)) for i, (stage, name) in named)
