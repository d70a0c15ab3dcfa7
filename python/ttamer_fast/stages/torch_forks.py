"""PyTorch in forked children, which do not have the threads of their parent."""

from __future__ import annotations

from .._utils.extras import require
from .._utils.forks import renew_after_fork

__all__ = ["WORK"]


class Work:
    """Whether PyTorch has worked in this process.

    Attributes
    ----------
    is_begun : bool
        By then it may have threads for work on a CPU, which a forked child waits for without end.
    """

    __slots__ = ("__weakref__", "is_begun")

    def __init__(self) -> None:
        self.is_begun = False

    def renew(self) -> None:
        """In a forked child: one thread, which is there."""
        if self.is_begun:
            require("torch", "torch").set_num_threads(1)


WORK = Work()
renew_after_fork(WORK)
