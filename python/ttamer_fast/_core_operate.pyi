"""The part of `_core` that counts requests, follows shadows and holds budgets; at run time there is no such module."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ._core import Policy, PolicyFamily

@final
class Shadow:
    """Follows `policy` over requests that another one has decided; nothing is locked, and no thread loses a count.

    A request is (stage, signal, prediction) of each stage run, in order, the stage that answered (None: none), whether
    the deadline ended it, its cost and expected loss; stages that failed and that were barred are keys of mappings.
    Those in `without` were barred before it began, None: all that were barred. What comparing predictions raises is
    raised, and nothing has been counted then.
    """

    def __new__(cls, policy: Policy, /) -> Shadow: ...
    def follow(
        self,
        steps: Sequence[tuple[int, float, Hashable]],
        answer: int | None,
        late: bool,
        cost: float,
        expected_loss: float,
        failures: Mapping[int, object],
        barred: Mapping[int, object],
        without: Mapping[int, object] | None = None,
        /,
    ) -> None: ...
    def follow_batch(
        self,
        stage: NDArray[np.int32],
        is_late: NDArray[np.bool_] | None,
        cost: NDArray[np.float64],
        expected_loss: NDArray[np.float64],
        reports: Iterable[tuple[Any, ...]],
        without: Mapping[int, object] | None = None,
        /,
    ) -> None: ...
    @property
    def counts(self) -> tuple[int, int, int, int, int, int, int, float, float, float, float]:
        """agreed, of these in another order, stopped earlier, wanted more, left out (late); among those in which the
        shadow ended: with another answer, and of how many the sums are; cost of the requests and of the shadow,
        expected loss of the requests and of the shadow."""

@final
class Counters:
    """Counts requests of a cascade with k stages; nothing is locked, and no thread loses a count.

    A request is as for :class:`Shadow`, with seconds by stage where they were measured, and whether it is run through.
    Bounds ascend; a number belongs to the least bound that it does not exceed, the last place is for what exceeds all,
    and what is not finite is left out.
    """

    def __new__(cls, k: int, cost_bounds: Sequence[float], seconds_bounds: Sequence[float], /) -> Counters: ...
    def count(
        self,
        steps: Sequence[tuple[int, float, Hashable]],
        answer: int | None,
        late: bool,
        cost: float,
        expected_loss: float,
        failures: Mapping[int, object],
        barred: Mapping[int, object],
        seconds: Mapping[int, float] | None,
        explored: bool,
        /,
    ) -> None: ...
    def count_batch(
        self,
        stage: NDArray[np.int32],
        is_late: NDArray[np.bool_] | None,
        cost: NDArray[np.float64],
        expected_loss: NDArray[np.float64],
        reports: Iterable[tuple[Any, ...]],
        explored: NDArray[np.bool_] | None,
        /,
    ) -> None: ...
    def read(self) -> Counted: ...

@final
class Counted:
    """What was counted until it was read. `answers` has the stage that answered last in column 0, recalled in 1."""

    @property
    def outcomes(self) -> dict[str, int]: ...
    @property
    def explored(self) -> int: ...
    @property
    def runs(self) -> NDArray[np.uint64]: ...
    @property
    def failures(self) -> NDArray[np.uint64]: ...
    @property
    def barred(self) -> NDArray[np.uint64]: ...
    @property
    def answers(self) -> NDArray[np.uint64]: ...
    @property
    def cost_counts(self) -> NDArray[np.uint64]: ...
    @property
    def cost_sum(self) -> float: ...
    @property
    def seconds_counts(self) -> NDArray[np.uint64]: ...
    @property
    def seconds_sum(self) -> NDArray[np.float64]: ...

@final
class Governor:
    def __new__(
        cls, family: PolicyFamily, max_cost: float | None, max_rate: float | None, window: float, now: float, /
    ) -> Governor: ...
    def spend(self, cost: float, now: float, /) -> int: ...
    def spend_many(self, costs: NDArray[np.float64], now: float, /) -> int: ...
    @property
    def serving(self) -> int: ...
    @property
    def ladder(self) -> tuple[int, ...]: ...
    def along(self, family: PolicyFamily, /) -> Governor: ...
    def learned(self) -> tuple[list[float], int]: ...
    def resume(self, learned: list[float], requests: int, /) -> None: ...
    def report(self, now: float, /) -> dict[str, Any]: ...
