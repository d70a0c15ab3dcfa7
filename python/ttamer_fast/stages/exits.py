"""The exits of one network: a sequence of stages, and the requests that all of them are run on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import check_integer, shown
from ..serving.inputs import each_row, take_rows
from ..serving.request import Request
from ..serving.stage import Stage

__all__ = ["Exits", "check_exit_names", "check_requests", "requests_by_batch"]

Y = TypeVar("Y")


class Exits(Sequence[Stage[Any, Y]]):
    """The k exits of a network, in their order."""

    __slots__ = ("_stages",)

    def __init__(self, stages: Iterable[Stage[Any, Y]]) -> None:
        self._stages = tuple(stages)

    @overload
    def __getitem__(self, at: int) -> Stage[Any, Y]: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Stage[Any, Y], ...]: ...
    def __getitem__(self, at: int | slice) -> Stage[Any, Y] | tuple[Stage[Any, Y], ...]:
        return self._stages[at]

    def __len__(self) -> int:
        return len(self._stages)


def check_exit_names(names: Sequence[str] | None, k: int) -> Sequence[str | None]:
    """A name for each of k exits, None for none, or a ValidationError."""
    if names is None:
        return [None] * k
    if isinstance(names, str) or len(names) != k:
        raise ValidationError(f"`names` must have {k} entries, one a block, got {shown(names)}")
    return names


def check_requests(requests: Sequence[Any]) -> None:
    """That an exit has been given what stages that carry are given, or a ValidationError."""
    for one in requests:
        if not isinstance(one, Request):
            given = type(one).__name__
            raise ValidationError(f"an exit must be given a Request, got {given}: call `exit.run(tt.Request(x))`")


def requests_by_batch(xs: Any, n: int, batch: int) -> Iterator[tuple[NDArray[np.int64], list[Request[Any]]]]:
    """The n inputs as new requests, `batch` of them at a time, with their numbers; or a ValidationError.

    What the stages keep for one batch can go before the next one comes.
    """
    most = check_integer("batch", batch, 1)
    for begin in range(0, n, most):
        rows = np.arange(begin, min(begin + most, n))
        yield rows, [Request(x) for x in each_row(take_rows(xs, rows, n))]
