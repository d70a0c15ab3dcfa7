"""Whether requests in production still look like those of the calibration trace: an anytime-valid alarm."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._core import Policy, PolicyFormatError, Replay, ValidationError, prediction_codes, write_file
from .._utils import arrays
from .._utils.arrays import Bools, Floats, Ints, Predictions
from .._utils.checks import check_between, check_seed
from .._utils.columns import by_name
from .._utils.files import open_file, path_of
from .._utils.splitmix import Words
from ..traces.record import Record
from ..traces.trace import Trace
from . import watched
from .betting import BLOCK, CELLS, Capitals, Cuts
from .report import Drift, DriftReport
from .watched import WATCHED

__all__ = ["DriftMonitor"]

CHUNK = 128 * BLOCK
"""Requests of a batch that are prepared at once."""
FEWEST = 2 * CELLS
"""Reference values below which a stage's quantity is not watched."""
FORMAT = "ttamer_fast drift monitor 1"

_REFERENCE = 0x5EED0FA11
"""Ties in the reference are broken by words that no request of the stream gets."""


class DriftMonitor:
    """Compares the requests that a policy serves with those of a reference trace, one by one or in batches.

    Watched of every stage: its **signal**, whether it **agrees** with the stage run with the next lower number, and
    whether it gives the **answer**, each among the requests that reach it; and whether it is **consulted** at all.
    Losses are not needed. Make one by :meth:`fit`.

    Notes
    -----
    *Guarantee.* If the requests served are exchangeable with those of the reference trace, the probability that the
    alarm is **ever** raised is at most `alpha`, however long the stream is, whenever one looks, and for every size of
    the reference: sampling error of the reference is part of the test.

    *How.* The reference values of a watched quantity, ties broken at random, are cut at fixed ranks into 8 cells. The
    masses of these cells are then Dirichlet with known integer parameters, so that under exchangeability the cells of
    the stream are a Pólya urn: an exact, known law in which the unknown distribution is integrated out. Against it
    bets a mixture of fixed tilts and of histograms with long and short memory, with a share moved back and forth
    (rate 1/t) so that a late drift is found too. Its capital is a test martingale: Ville's inequality bounds the
    probability that it ever exceeds c by 1/c. Alarm: the capital of any of the m watched quantities reaches m / alpha
    (a union bound: averaging them would need one filtration for all, which urns of dependent quantities do not have).

    *The reference must not be the rows the policy was fitted on* for this to be exact: thresholds tuned to those rows
    select them a little differently. Use a held-out part.

    *Weights* of the reference trace play no part: what is compared are requests as they come.

    *Cost.* O(k) memory whatever the length of the stream. A batch takes a few microseconds a request, a single
    :meth:`update` some tens; both give the same alarm. Not synchronised: one monitor for each thread or process.

    *Sources.* Ville 1939; Vovk et al. 2021 (arXiv 2102.10439) for conformal test martingales and jumping bets; Lindon
    and Malek 2022 (arXiv 2011.03567) for Dirichlet-multinomial test martingales.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((4000, 3))
    >>> trace = tt.Trace(signal, rng.random((4000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> train, held_out = trace.split()
    >>> policy = tt.fit(train, tradeoff=0.9)
    >>> monitor = tt.DriftMonitor.fit(policy, held_out, alpha=0.01)
    >>> same = rng.random((2000, 3))
    >>> monitor.update_replay(policy.replay(same), same)
    False
    >>> monitor.update_replay(policy.replay(same**2), same**2)
    True
    >>> monitor.report().stage
    'stage 0'
    """

    __slots__ = ("_alpha", "_capitals", "_cuts", "_digest", "_key", "_mean", "_seed", "_stages", "_sums", "_what")

    _alpha: float
    _capitals: Capitals
    _cuts: Cuts
    _digest: str
    _key: Words
    _mean: Floats
    _seed: int
    _stages: tuple[str, ...]
    _sums: Floats
    _what: Ints

    def __init__(self) -> None:
        raise TypeError("a DriftMonitor is made by DriftMonitor.fit, from_bytes or load")

    @classmethod
    def fit(cls, policy: Policy, trace: Trace, *, alpha: float = 0.01, seed: int = 0) -> DriftMonitor:
        """A monitor of `policy` with the requests of `trace` as the reference.

        Parameters
        ----------
        policy : Policy
            The policy that serves.
        trace : Trace
            Calibration requests that the policy was not fitted on; losses are ignored. Agreement is watched if it has
            predictions. Stages are matched by name: see :meth:`Trace.matching`.
        alpha : float
            In (0, 1): the probability of ever raising a false alarm.
        seed : int
            Of the random order of equal values.

        Raises
        ------
        ValidationError
            If the stages or kinds do not match, an argument is out of range, or the trace has fewer than 16 rows.

        Notes
        -----
        O(n k log n).
        """
        if not isinstance(trace, Trace):
            raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
        trace = trace.matching(policy)
        if trace.n < FEWEST:
            raise ValidationError(f"`trace` must have at least {FEWEST} rows, got {trace.n}")
        seed = check_seed(seed, bits=63)
        level = check_between("alpha", alpha, 1.0)
        replay = policy.replay(trace.signal, trace.prediction)
        entry = policy.start().next
        every = [(v, what) for v in range(trace.k) for what in range(len(WATCHED))]
        what = np.array([[v, q] for v, q in every if not (v == entry and WATCHED[q] == "consulted")])
        value, there = watched.values(what, trace.signal, replay.consulted, replay.answer, trace.prediction)
        kept = there.sum(axis=0) >= FEWEST
        what, value, there = what[kept], value[:, kept], there[:, kept]
        cuts = Cuts.of(value, there, watched.words(watched.keys(what, seed ^ _REFERENCE), 0, trace.n))
        total = watched.sums(value, there)
        self = object.__new__(cls)
        self._what, self._cuts, self._mean = what, cuts, total[1] / np.maximum(total[2], 1.0)
        self._stages, self._digest, self._alpha, self._seed = policy.stages, policy.digest, level, seed
        self.reset()
        return self

    def reset(self) -> None:
        """Forget the stream and lower the alarm; the reference stays. Each reset is a new chance of a false alarm."""
        m = len(self._what)
        self._key = watched.keys(self._what, self._seed)
        self._capitals = Capitals(self._cuts.gap, math.log(m / self._alpha))
        self._sums = np.zeros((3, m))

    def update(
        self,
        signal: Mapping[int, float | None],
        answer: int | None,
        prediction: Mapping[int, Hashable] | None = None,
    ) -> bool:
        """Take in one finished request.

        Parameters
        ----------
        signal : mapping of stage number to signal
            Of every stage that was run; NaN or None for an unknown one.
        answer : int or None
            `run.answer`.
        prediction : mapping of stage number to prediction, optional
            As given to `run.observe`; agreement is compared where both stages are in it.

        Returns
        -------
        bool
            Whether there has been an alarm.

        Raises
        ------
        ValidationError
            If a stage number is out of range or the answer is of no stage that was run.

        Examples
        --------
        >>> import numpy as np, ttamer_fast as tt
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.random((500, 2))
        >>> policy = tt.fit(tt.Trace(signal, rng.random((500, 2)) > signal, cost=[1.0, 2.0]), tradeoff=0.9)
        >>> signal = rng.random((500, 2))
        >>> monitor = tt.DriftMonitor.fit(policy, tt.Trace(signal, signal < 0.5, cost=[1.0, 2.0]))
        >>> run, seen = policy.start(), {}
        >>> while run.next is not None:
        ...     seen[run.next] = signal = 0.7
        ...     _ = run.observe(signal)
        >>> monitor.update(seen, run.answer)
        False
        """
        k = len(self._stages)
        if answer is not None and answer not in signal:
            raise ValidationError(f"`answer` must be a stage that was run, got {answer}")
        row, run = [math.nan] * k, [False] * k
        said: list[Hashable] = [None] * k
        for stage, value in signal.items():
            if not 0 <= stage < k:
                raise ValidationError(f"`signal` stage must be from 0 to {k - 1}, got {stage}")
            run[stage] = True
            row[stage] = math.nan if value is None else value
            if prediction is not None:
                said[stage] = prediction.get(stage)
        given = np.array([-1 if answer is None else answer])
        predictions = prediction_codes([said])
        self._take(np.array([row], np.float64), np.array([run]), given, predictions)
        return self.alarm

    def update_record(self, record: Record) -> bool:
        """Take in one served request: :meth:`update` with what the record says.

        Parameters
        ----------
        record : Record
            Of the policy that is watched; :attr:`Served.record` of a cascade.

        Returns
        -------
        bool
            Whether there has been an alarm.

        Raises
        ------
        ValidationError
            If it is no record, if another policy decided the request (both digests are named), or if its stages are
            not those of the policy (both are named).

        Examples
        --------
        >>> import numpy as np, ttamer_fast as tt
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.random((500, 2))
        >>> policy = tt.fit(tt.Trace(signal, rng.random((500, 2)) > signal, cost=[1.0, 2.0]), tradeoff=0.9)
        >>> cascade = tt.Cascade(policy, [lambda x: x, lambda x: x], signal=lambda y: y)
        >>> monitor = tt.DriftMonitor.fit(policy, tt.Trace(signal, signal < 0.5, cost=[1.0, 2.0]))
        >>> monitor.update_record(cascade(0.7).record)
        False
        """
        if not isinstance(record, Record):
            raise ValidationError(f"`record` must be a Record, got {type(record).__name__}")
        if record.digest != self._digest:
            raise ValidationError(
                f"`record` must be of the policy that is watched, {self._digest[:12]}, got {record.digest[:12]!r}"
            )
        if record.stages != self._stages:
            ours, theirs = list(self._stages), list(record.stages)
            raise ValidationError(f"`record` must have the stages {ours}, got {theirs}")
        steps = record.steps
        said = {stage: prediction for stage, _, prediction in steps}
        return self.update({stage: signal for stage, signal, _ in steps}, record.answer, said)

    def update_batch(
        self, signal: ArrayLike, consulted: ArrayLike, answer: ArrayLike, prediction: Predictions | None = None
    ) -> bool:
        """Take in n finished requests, in order.

        Parameters
        ----------
        signal : (n, k) array_like of float
            Stages in the order of the policy, here and in `consulted` and `prediction`; tables with named columns, such
            as data frames, are put into that order by name. Entries of stages that were not run are ignored.
        consulted : (n, k) array_like of bool
            Which stages were run.
        answer : (n,) array_like of int
            Whose answer was returned, -1 for none.
        prediction : (n, k) array_like, table, or sequence of n rows of k hashables, optional
            What the stages said, as in :class:`Trace`; entries of stages that were not run are ignored.

        Returns
        -------
        bool
            Whether there has been an alarm.

        Raises
        ------
        ValidationError
            If a shape does not fit or an answer is of no stage that was run.

        Notes
        -----
        O(n k), a few microseconds a request.
        """
        k = len(self._stages)
        rows = arrays.float_array("signal", by_name("signal", signal, self._stages))
        if rows.ndim != 2 or rows.shape[1] != k:
            raise ValidationError(f"`signal` must have shape (n, {k}), got {rows.shape}")
        run = np.asarray(by_name("consulted", consulted, self._stages))
        if run.shape != rows.shape or run.dtype.kind != "b":
            raise ValidationError(f"`consulted` must be bool of shape {rows.shape}, got {run.dtype} of {run.shape}")
        answers = arrays.int_array("answer", answer)
        if answers.shape != rows.shape[:1]:
            raise ValidationError(f"`answer` must have shape {rows.shape[:1]}, got {answers.shape}")
        wrong = (answers < -1) | (answers >= k)
        wrong |= ~wrong & (answers >= 0) & ~run[np.arange(len(run)), np.clip(answers, 0, k - 1)]
        if wrong.any():
            where, given = arrays.first_bad(answers, wrong)
            raise ValidationError(f"`answer`{where} must be a stage that was run, or -1, got {given}")
        said = by_name("prediction", prediction, self._stages)
        predictions = None if said is None else prediction_codes(said)
        if predictions is not None and predictions.shape != rows.shape:
            raise ValidationError(f"`prediction` must have shape {rows.shape}, got {predictions.shape}")
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            of_part = None if predictions is None else predictions[part]
            self._take(rows[part], run[part], answers[part], of_part)
        return self.alarm

    def update_replay(self, replay: Replay, signal: ArrayLike, prediction: Predictions | None = None) -> bool:
        """Take in requests that were replayed: :meth:`update_batch` with what the replay says."""
        return self.update_batch(signal, replay.consulted, replay.answer, prediction)

    def _take(self, signal: Floats, run: Bools, answer: Ints, prediction: Ints | None) -> None:
        value, there = watched.values(self._what, signal, run, answer, prediction)
        self._sums = watched.sums(value, there, self._sums)
        cell = self._cuts.cell(value, watched.words(self._key, self.requests, len(value)))
        self._capitals.observe(cell, there)

    @property
    def alarm(self) -> bool:
        """Whether there has been an alarm; it stays until :meth:`reset`."""
        return self._capitals.alarm >= 0

    @property
    def alarmed_at(self) -> int | None:
        """How many requests had been taken in when the alarm was raised, or None."""
        return self._capitals.alarmed_at if self.alarm else None

    @property
    def requests(self) -> int:
        """How many requests have been taken in."""
        return self._capitals.requests

    @property
    def alpha(self) -> float:
        """The false-alarm rate."""
        return self._alpha

    @property
    def policy_digest(self) -> str:
        """`Policy.digest` of the policy that is watched."""
        return self._digest

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._stages

    def report(self) -> DriftReport:
        """What has been seen; `stage` and `watched` say what raised the alarm, `stages` all that would have."""
        evidence = np.exp(np.minimum(self._capitals.peak - self._capitals.limit, 700.0))
        mean = self._sums[1] / np.maximum(self._sums[2], 1.0)
        components = [
            Drift(
                stage=self._stages[v],
                watched=WATCHED[q],
                evidence=float(evidence[p]),
                reference_rows=int(self._cuts.gap[p].sum()) - 1,
                rows=int(self._sums[0, p]),
                reference_mean=float(self._mean[p]),
                mean=float(mean[p]) if self._sums[2, p] else math.nan,
            )
            for p, (v, q) in enumerate(self._what.tolist())
        ]
        components.sort(key=lambda one: -one.evidence)
        drifted = {one.stage for one in components if one.evidence >= 1.0}
        what = self._what[self._capitals.alarm].tolist() if self.alarm else None
        return DriftReport(
            alpha=self._alpha,
            requests=self.requests,
            alarm=self.alarm,
            alarmed_at=self.alarmed_at,
            stage=None if what is None else self._stages[what[0]],
            watched=None if what is None else WATCHED[what[1]],
            stages=tuple(name for name in self._stages if name in drifted),
            components=tuple(components),
        )

    def to_bytes(self) -> bytes:
        """Everything, as JSON with a checksum: a monitor read back goes on exactly where this one is."""
        body = json.dumps(self._state(), separators=(",", ":"))
        check = hashlib.sha256(body.encode()).hexdigest()
        return f'{{"format":"{FORMAT}","sha256":"{check}","monitor":{body}}}'.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftMonitor:
        """The monitor written by :meth:`to_bytes`.

        Raises
        ------
        PolicyFormatError
            If the bytes are not those of a monitor, or damaged.
        """
        try:
            whole = json.loads(data)
            known = isinstance(whole, dict) and whole.get("format") == FORMAT
        except (ValueError, RecursionError):
            known = False
        if not known:
            raise PolicyFormatError("this is no drift monitor, or one of another version")
        body = json.dumps(whole.get("monitor"), separators=(",", ":"))
        if hashlib.sha256(body.encode()).hexdigest() != whole.get("sha256"):
            raise PolicyFormatError("the drift monitor is damaged: its checksum does not match")
        return cls._from_state(whole["monitor"])

    def save(self, path: str | PathLike[str]) -> None:
        """Write :meth:`to_bytes` to a file: the old one or the new one, whatever happens.

        Raises
        ------
        OSError
            If the system refuses; the old file is still there.
        """
        write_file(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> DriftMonitor:
        """The monitor in a file.

        Raises
        ------
        OSError
            If the system refuses to read the file.
        PolicyFormatError
            If it holds no monitor, or is damaged.
        """
        with open_file(path_of(path)) as stream:
            data = stream.read()
        try:
            return cls.from_bytes(data)
        except PolicyFormatError as error:
            raise PolicyFormatError(f"{path}: {error}") from error

    def _state(self) -> dict[str, Any]:
        counts = {name: getattr(self._capitals, name) for name in _COUNTS}
        facts = {"digest": self._digest, "alpha": self._alpha, "seed": self._seed}
        floats = {name: [repr(x) for x in array.ravel().tolist()] for name, array in self._floats().items()}
        whole = {"what": self._what, "tie": self._cuts.tie, "gap": self._cuts.gap}
        integers = {name: array.ravel().tolist() for name, array in whole.items()}
        return counts | facts | floats | integers | {"stages": list(self._stages)}

    def _floats(self) -> dict[str, Floats]:
        """Every array of floats that is kept in a file, itself."""
        own = {"edge": self._cuts.edge, "mean": self._mean, "sums": self._sums}
        return own | {name: getattr(self._capitals, name) for name in _CAPITALS}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> DriftMonitor:
        self = object.__new__(cls)
        self._what = np.array(state["what"], np.int64).reshape(-1, 2)
        m = len(self._what)
        tie, gap = np.array(state["tie"], np.uint64), np.array(state["gap"], np.int64)
        self._cuts = Cuts(np.empty((m, CELLS - 1)), tie.reshape(m, -1), gap.reshape(m, -1))
        self._mean, self._stages = np.empty(m), tuple(state["stages"])
        self._digest, self._alpha, self._seed = state["digest"], state["alpha"], state["seed"]
        self.reset()
        for name in _COUNTS:
            setattr(self._capitals, name, state[name])
        for name, array in self._floats().items():
            array[...] = np.array([float(x) for x in state[name]]).reshape(array.shape)
        self._capitals.place()
        return self

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return DriftMonitor.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        state = f"alarm at {self.alarmed_at}" if self.alarm else "no alarm"
        return f"DriftMonitor(stages={self._stages}, alpha={self._alpha}, requests={self.requests}, {state})"


_COUNTS = ("requests", "alarm", "alarmed_at")
_CAPITALS = ("urn", "block", "hist", "jumps", "peak", "log_capital")
"""What a file keeps of the capitals."""
