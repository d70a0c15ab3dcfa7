"""The policy in service, which can be swapped and brought back while requests run."""

from __future__ import annotations

import math
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import Policy, TTamerError, ValidationError
from .._utils.checks import check_integer, check_number
from .._utils.files import path_of
from .._utils.forks import renew_after_fork
from .._utils.warnings import ServingWarning

__all__ = ["Governor", "PolicySlot", "SlotChange", "check_fits"]

WATCH_SECONDS = 1.0
"""How often a watched file is looked at."""

MOST_CHANGES = 64
"""How many of the last changes are kept."""

Signature: TypeAlias = tuple[int, int, int, int]
"""What changes with a file: time, size, device and number."""


What: TypeAlias = Literal["began", "swapped", "reloaded", "rolled back", "refused"]
"""What can become of a slot."""


class Governor(Protocol):
    """What moves a slot, and is told what requests have cost."""

    def _spent(self, cost: float, /) -> None: ...

    def _spent_many(self, costs: NDArray[np.float64], /) -> None: ...


class SlotChange(NamedTuple):
    """What became of a slot at one time."""

    time: float
    """Seconds since 1970."""
    what: What
    """What was done; "refused" is a file that was not taken."""
    digest: str
    """`Policy.digest` of the policy in service after it."""
    reason: str = ""
    """Why a file was refused."""


class PolicySlot:
    """The policy in service, for any number of cascades: what takes the place of a policy where it is to change.

    ``Cascade(slot, stages)`` asks the slot at the beginning of each request. A request that has begun keeps its policy
    to the end: requests never wait for a swap, and a swap never waits for requests.

    Parameters
    ----------
    policy : Policy or path
        The first one, or its file.
    watch : bool or float
        Whether to look at the file every second, or every so many seconds, and :meth:`reload` where it has changed.
    history : int
        How many earlier policies are kept for :meth:`rollback`, at least 1.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value, or `watch` is set without a file.
    PolicyFormatError, OSError
        If the file cannot be read.

    Notes
    -----
    Any thread may change a slot, and any number may serve from it. Changes are O(k) and rare; a request pays for one
    comparison. A forked child has a slot of its own, with the same policies, which watches the same file. A copy by
    pickle begins with the policy in service, and without history.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 2))
    >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0])
    >>> quick, careful = (tt.fit(trace, tradeoff=weight) for weight in (0.7, 0.95))
    >>> slot = tt.PolicySlot(quick)
    >>> cascade = tt.Cascade(slot, [lambda x: x, lambda x: x / 2], signal=lambda y: y)
    >>> len(cascade(0.6).consulted)
    1
    >>> slot.swap(careful)
    >>> len(cascade(0.6).consulted)
    2
    >>> slot.rollback() == quick
    True
    >>> [change.what for change in slot.changes]
    ['began', 'swapped', 'rolled back']
    """

    __slots__ = (
        "__weakref__",
        "_changes",
        "_earlier",
        "_governor",
        "_lock",
        "_path",
        "_policy",
        "_seen",
        "_watch",
        "_watching",
    )

    def __init__(self, policy: Policy | str | PathLike[str], *, watch: bool | float = False, history: int = 8) -> None:
        seconds = _check_watch(watch)
        most = check_integer("history", history, 1)
        self._path: Path | None = None
        self._seen: Signature | None = None
        if not isinstance(policy, Policy):
            self._path = path_of(policy, "policy").absolute()
            self._seen = _signature(self._path)
            policy = Policy.load(self._path)
        elif seconds is not None:
            raise ValidationError("`watch` must be False for a slot without a file")
        self._policy = policy
        self._governor: Governor | None = None
        self._earlier: deque[Policy] = deque(maxlen=most)
        self._changes: deque[SlotChange] = deque(maxlen=MOST_CHANGES)
        self._watch = seconds
        self._note("began", policy.digest)
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """In a forked child: a lock and a watcher of its own."""
        self._lock = threading.RLock()
        self._watching = None if self._watch is None else _watching(self, self._watch)

    @property
    def policy(self) -> Policy:
        """The policy in service."""
        return self._policy

    @property
    def path(self) -> Path | None:
        """The file of :meth:`reload`, None where there is none."""
        return self._path

    @property
    def earlier(self) -> tuple[Policy, ...]:
        """Policies that :meth:`rollback` brings back, the last of them first."""
        return tuple(self._earlier)[::-1]

    @property
    def changes(self) -> tuple[SlotChange, ...]:
        """What has become of the slot, the latest change last; at most 64."""
        with self._lock:
            return tuple(self._changes)

    @property
    def governor(self) -> Governor | None:
        """The BudgetGovernor that moves this slot, None where there is none."""
        return self._governor

    def swap(self, policy: Policy, *, instead_of: Policy | None = None) -> None:
        """Put another policy in service; the present one is kept for :meth:`rollback`.

        Parameters
        ----------
        policy : Policy
            Of the same stages, in the same order, and of the same kind. The policy in service changes nothing.
        instead_of : Policy, optional
            The policy that it is to replace: nothing is changed where another one is in service by now.

        Raises
        ------
        ValidationError
            If it is no policy, or of other stages or another kind; if another policy than `instead_of` is in service;
            if a governor moves the slot. The policy in service stays.
        """
        with self._lock:
            self._refuse_if_governed("swap(policy)")
            check_fits("policy", policy, self._policy)
            if instead_of is not None and self._policy.digest != instead_of.digest:
                ours, theirs = instead_of.digest[:12], self._policy.digest[:12]
                raise ValidationError(f"`instead_of` must be the policy in service, {theirs}, got {ours}")
            self._put(policy, "swapped")

    def rollback(self) -> Policy:
        """Bring back the policy that was in service before, and return it. The file is left alone, and not read again
        before it changes.

        Raises
        ------
        ValidationError
            If there was none before, or a governor moves the slot.
        """
        with self._lock:
            self._refuse_if_governed("rollback()")
            if not self._earlier:
                raise ValidationError("`rollback` must follow a swap: there is no earlier policy")
            self._policy = policy = self._earlier.pop()
            self._note("rolled back", policy.digest)
            return policy

    def reload(self) -> bool:
        """Put the policy of the file in service.

        Returns
        -------
        bool
            Whether the policy in service is that of the file. False, with a :class:`ServingWarning` that says why,
            where the file is missing or damaged, or its policy does not fit: the policy in service stays.

        Raises
        ------
        ValidationError
            If the slot has no file, or a governor moves it.
        """
        path = self._path
        if path is None:
            raise ValidationError("`reload` must be of a slot with a file, got none: PolicySlot(path)")
        with self._lock:
            self._refuse_if_governed("reload()")
            self._seen = _signature(path)
            try:
                policy = Policy.load(path)
                check_fits(str(path), policy, self._policy)
            except (TTamerError, OSError) as error:
                reason = " ".join(str(error).split())
                self._note("refused", self._policy.digest, reason)
            else:
                self._put(policy, "reloaded")
                return True
        warnings.warn(f"the policy {self._policy.digest[:12]} stays in service: {reason}", ServingWarning, stacklevel=2)
        return False

    def close(self) -> None:
        """Watch the file no more. Again, it does nothing."""
        self._watch = None
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.set()

    def _look(self) -> None:
        """Reload where the file has changed."""
        path = self._path
        if path is not None and self._governor is None and _signature(path) != self._seen:
            self.reload()

    def _put(self, policy: Policy, what: What) -> None:
        if policy.digest == self._policy.digest:
            return
        self._earlier.append(self._policy)
        self._policy = policy
        self._note(what, policy.digest)

    def _note(self, what: What, digest: str, reason: str = "") -> None:
        self._changes.append(SlotChange(time.time(), what, digest, reason))

    def _govern(self, governor: Governor) -> None:
        """From now on a governor moves the slot."""
        with self._lock:
            if self._governor is not None:
                raise ValidationError("`slot` must be moved by one governor, and has one")
            self._governor = governor

    def _refuse_if_governed(self, called: str) -> None:
        if self._governor is not None:
            raise ValidationError(
                f"`slot` is moved by a governor, which would undo {called}: swap the governor's family"
            )

    def __reduce__(self) -> tuple[Callable[..., PolicySlot], tuple[Any, ...]]:
        path = None if self._path is None else str(self._path)
        return _restored, (self._policy, path, self._watch or False, self._earlier.maxlen)

    def __repr__(self) -> str:
        where = "" if self._path is None else f", path={str(self._path)!r}"
        return f"PolicySlot(policy={self._policy.digest[:12]}, earlier={len(self._earlier)}{where})"


def check_fits(name: str, policy: Any, present: Policy, whose: str = "the policy in service") -> None:
    """Whether a policy can take the place of another one, `whose` in words, or a ValidationError that names both lists
    of stages."""
    if not isinstance(policy, Policy):
        raise ValidationError(f"`{name}` must be a Policy, got {type(policy).__name__}")
    if policy.stages != present.stages:
        wanted, given = list(present.stages), list(policy.stages)
        raise ValidationError(f"`{name}` must have the stages {wanted}, in this order, got {given}")
    kinds = present.provenance.get("kind"), policy.provenance.get("kind")
    if None not in kinds and kinds[0] != kinds[1]:
        raise ValidationError(f"`{name}` must be of kind {kinds[0]!r}, as {whose} is, got {kinds[1]!r}")


def _check_watch(watch: Any) -> float | None:
    """Seconds between two looks at the file, None for none."""
    if isinstance(watch, bool):
        return WATCH_SECONDS if watch else None
    seconds = check_number("watch", watch)
    if not 0.0 < seconds < math.inf:
        raise ValidationError(f"`watch` must be a bool, or seconds above 0 and finite, got {watch}")
    return seconds


def _signature(path: Path) -> Signature | None:
    """None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_dev, found.st_ino


def _watching(slot: PolicySlot, seconds: float) -> threading.Event:
    """A thread that looks at the file of a slot until the event is set, or the slot is gone."""
    ended = threading.Event()
    watched = weakref.ref(slot, lambda _: ended.set())
    threading.Thread(target=_watch, args=(watched, ended, seconds), name="ttamer-slot", daemon=True).start()
    return ended


def _watch(watched: weakref.ref[PolicySlot], ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        slot = watched()
        if slot is None:
            return
        try:
            slot._look()
        except Exception as error:  # a warning that was made an error, or a governor that has just come
            slot._note("refused", slot._policy.digest, " ".join(str(error).split()))
        del slot


def _restored(policy: Policy, path: str | None, watch: bool | float, history: int) -> PolicySlot:
    slot = PolicySlot(policy, history=history)
    if path is not None:
        slot._path = Path(path)
        slot._seen = _signature(slot._path)
        slot._watch = _check_watch(watch)
        slot.renew()
    return slot
