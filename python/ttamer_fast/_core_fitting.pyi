"""The part of `_core` that makes policies of traces; at run time there is no such module."""

from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
from _typeshed import ReadableBuffer, StrOrBytesPath
from numpy.typing import ArrayLike, NDArray

from ._core import Policy, Trace

def fit(
    trace: Trace,
    *,
    tradeoff: float | None = None,
    max_cost: float | None = None,
    max_loss: float | None = None,
    method: str = "pathwise",
    graph: str = "auto",
    order: list[int] | None = None,
    recall: bool | None = None,
    default_loss: float | None = None,
    seed: int = 0,
    deadline: bool = False,
    known_cost: bool = False,
    tuning: dict[str, Any] | None = None,
) -> Policy: ...

@final
class Learner:
    def __new__(
        cls,
        trace: Trace,
        *,
        method: str = "pathwise",
        graph: str = "auto",
        order: list[int] | None = None,
        default_loss: float | None = None,
        deadline: bool = False,
        known_cost: bool = False,
        tuning: dict[str, Any] | None = None,
    ) -> Learner: ...
    def policy(
        self, tradeoff: float, recall: bool | None = None, provenance: list[tuple[str, str]] = ...
    ) -> Policy: ...
    def draft(self, tradeoff: float, recall: bool | None = None) -> Policy: ...
    @property
    def log_odds_range(self) -> tuple[float, float]: ...
    @staticmethod
    def tradeoff_at(log_odds: float, /) -> float: ...

@final
class Calibration:
    def __new__(
        cls,
        trace: Trace,
        *,
        graph: str = "auto",
        order: list[int] | None = None,
        default_loss: float | None = None,
        deadline: bool = False,
        known_cost: bool = False,
    ) -> Calibration: ...
    def policy(
        self,
        *,
        tradeoff: float | None = None,
        max_cost: float | None = None,
        max_loss: float | None = None,
        recall: bool | None = None,
        cost: ArrayLike | None = None,
        seed: int = 0,
    ) -> Policy: ...
    @property
    def stages(self) -> tuple[str, ...]: ...
    @property
    def n(self) -> int: ...
    @property
    def cost(self) -> NDArray[np.float64]: ...

@final
class PolicyFamily:
    def at(self, tradeoff: float, /) -> Policy: ...
    @property
    def tradeoffs(self) -> NDArray[np.float64]: ...
    @property
    def policies(self) -> tuple[Policy, ...]: ...
    @property
    def stages(self) -> tuple[str, ...]: ...
    @property
    def costs(self) -> NDArray[np.float64]: ...
    @property
    def losses(self) -> NDArray[np.float64]: ...
    @property
    def estimate(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: ReadableBuffer, /) -> PolicyFamily: ...
    def save(self, path: StrOrBytesPath, /) -> None: ...
    @staticmethod
    def load(path: StrOrBytesPath, /) -> PolicyFamily: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Policy]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> PolicyFamily: ...
    def __deepcopy__(self, memo: Any, /) -> PolicyFamily: ...

def fit_family(
    trace: Trace,
    tradeoffs: Sequence[float],
    *,
    method: str = "pathwise",
    graph: str = "auto",
    order: list[int] | None = None,
    recall: bool | None = None,
    default_loss: float | None = None,
    seed: int = 0,
    deadline: bool = False,
    known_cost: bool = False,
) -> PolicyFamily: ...
