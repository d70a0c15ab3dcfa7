"""Whether requests in production still look like those of the calibration trace: an anytime-valid alarm."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._core import Monitor, Policy, PolicyFormatError, Replay, ValidationError, prediction_codes, write_file
from .._utils import arrays
from .._utils.arrays import Predictions
from .._utils.checks import check_between, check_seed
from .._utils.columns import by_name
from .._utils.files import open_file, path_of
from ..traces.record import Record
from ..traces.trace import Trace
from .order import warn_of_order
from .report import Drift, DriftReport, advice

__all__ = ["DriftMonitor"]


class DriftMonitor:
    """Compares the requests that a policy serves with those of a reference trace, one by one or in batches.

    Watched of every stage: its **signal**, whether it **agrees** with the stage run with the next lower number, and
    whether it gives the **answer**, each among the requests that reach it; whether it is **consulted** at all; and the
    **expected loss** of the requests that it answers. Watched of the stage that is run first: the **difficulty** of
    requests, which is the expected loss of its answer right after its report, a request in which a later stage says
    something else being harder than any other. Losses are not needed. Make one by :meth:`fit`.

    Notes
    -----
    *Guarantee.* If the requests served are exchangeable with those of the reference trace, the probability that the
    alarm is **ever** raised is at most `alpha`, however long the stream is, whenever one looks, and for every size of
    the reference: sampling error of the reference is part of the test. Retries, sessions, sorted files and daily
    cycles are not exchangeable: `docs/how-to/watch.md` says what to do about each.

    *How.* The reference values of a watched quantity, ties broken at random, are cut at fixed ranks into 8 cells. The
    masses of these cells are then Dirichlet with known integer parameters, so that under exchangeability the cells of
    the stream are a Pólya urn: an exact, known law in which the unknown distribution is integrated out. Against it
    bets a mixture of fixed tilts and of histograms with long and short memory, with a share moved back and forth
    (rate 1/t) so that a late drift is found too. Its capital is a test martingale: Ville's inequality bounds the
    probability that it ever exceeds c by 1/c. Alarm: the capital of the difficulty, which bets on harder requests,
    reaches 2 / alpha, or that of any of the m other quantities reaches 2 m / alpha (a union bound: averaging them would
    need one filtration for all, which urns of dependent quantities do not have).

    *The reference must not be the rows the policy was fitted on* for this to be exact: thresholds tuned to those rows
    select them a little differently. Use a held-out part.

    *Weights* of the reference trace play no part: what is compared are requests as they come.

    *Cost.* O(k) memory whatever the length of the stream, O(k) time a request: well under a microsecond a stage.

    *Threads and processes.* Threads may share one: each request is taken in whole, none is lost, and those of one
    batch stay in order, though others may come in between. A forked child goes on with a copy of its own.

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

    __slots__ = ("_core",)

    _core: Monitor

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
            predictions.
        alpha : float
            In (0, 1): the probability of ever raising a false alarm.
        seed : int
            Of the random order of equal values.

        Raises
        ------
        ValidationError
            If the stages or kinds do not match, an argument is out of range, the trace has fewer than 16 rows, or the
            policy asks for a stage that was not run, as the log of another policy may lack it.

        Warns
        -----
        OrderWarning
            If the rows of the trace are not in a random order (:func:`order_findings`).

        Notes
        -----
        O(n k log n).
        """
        if not isinstance(trace, Trace):
            raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
        trace = trace.matching(policy)
        if trace.is_censored:
            _check_known(policy, trace)
        level, number = check_between("alpha", alpha, 1.0), check_seed(seed, bits=63)
        self = cls._of(Monitor.fit(policy, trace.core, level, number))
        warn_of_order("trace", trace.signal, trace.prediction, trace.group, trace.stages)
        return self

    @classmethod
    def _of(cls, core: Monitor) -> DriftMonitor:
        self = object.__new__(cls)
        self._core = core
        return self

    def reset(self) -> None:
        """Forget the stream and lower the alarm; the reference stays. Each reset is a new chance of a false alarm."""
        self._core.reset()

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
        signals = signal if type(signal) is dict else dict(signal)
        if prediction is None or type(prediction) is dict:
            return self._core.update(signals, answer, prediction)
        return self._core.update(signals, answer, dict(prediction))

    def update_record(self, record: Record) -> bool:
        """Take in one served request: :meth:`update` with what the record says.

        A request in which a stage failed or was not tried, or that a deadline ended, is left out: what it consulted
        and answered tells of the stages, not of the requests.

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
        if record.digest != (digest := self.policy_digest):
            raise ValidationError(
                f"`record` must be of the policy that is watched, {digest[:12]}, got {record.digest[:12]!r}"
            )
        if record.stages != (names := self.stages):
            ours, theirs = list(names), list(record.stages)
            raise ValidationError(f"`record` must have the stages of the policy that is watched, {ours}, got {theirs}")
        if record.failures or record.barred or record.late:
            return self.alarm
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
            Entries of stages that were not run are ignored. Columns with names are put into the order of the stages.
        consulted : (n, k) array_like of bool
            Which stages were run.
        answer : (n,) array_like of int
            Whose answer was returned, -1 for none.
        prediction : (n, k) array_like, table, or sequence of n rows of k hashables, optional
            What the stages said; entries of stages that were not run are ignored.

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
        O(n k), well under a microsecond a stage.
        """
        stages = self.stages
        k = len(stages)
        rows = arrays.float_array("signal", by_name("signal", signal, stages))
        if rows.ndim != 2 or rows.shape[1] != k:
            raise ValidationError(f"`signal` must have shape (n, {k}), got {rows.shape}")
        run = np.asarray(by_name("consulted", consulted, stages))
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
        predictions = None if prediction is None else prediction_codes(by_name("prediction", prediction, stages))
        if predictions is not None and predictions.shape != rows.shape:
            raise ValidationError(f"`prediction` must have shape {rows.shape}, got {predictions.shape}")
        return self._core.update_batch(rows, np.ascontiguousarray(run), answers, predictions)

    def update_replay(self, replay: Replay, signal: ArrayLike, prediction: Predictions | None = None) -> bool:
        """Take in requests that were replayed: :meth:`update_batch` with what the replay says.

        Warns
        -----
        OrderWarning
            If the rows are sorted, or in blocks (:func:`order_findings`).
        """
        alarm = self.update_batch(signal, replay.consulted, replay.answer, prediction)
        warn_of_order("signal", signal, prediction, None, self.stages, is_stream=True)
        return alarm

    @property
    def alarm(self) -> bool:
        """Whether there has been an alarm; it stays until :meth:`reset`."""
        return self._core.alarm is not None

    @property
    def alarmed_at(self) -> int | None:
        """How many requests had been taken in when the alarm was raised, or None."""
        alarm = self._core.alarm
        return None if alarm is None else alarm[1]

    @property
    def requests(self) -> int:
        """How many requests have been taken in."""
        return self._core.requests

    @property
    def alpha(self) -> float:
        """The false-alarm rate."""
        return self._core.alpha

    @property
    def policy_digest(self) -> str:
        """`Policy.digest` of the policy that is watched."""
        return self._core.digest

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._core.stages

    def report(self) -> DriftReport:
        """What has been seen: what raised the alarm, how it changed and since when, and what to do.

        `stages` has all that would have raised it.
        """
        seen, stages = self._core.report(), self.stages
        components = [
            Drift(
                stage=stages[one["stage"]],
                watched=one["watched"],
                evidence=math.exp(min(one["log_evidence"], 700.0)),
                reference_rows=one["reference_rows"],
                rows=one["rows"],
                reference_mean=one["reference_mean"],
                mean=one["mean"],
                direction=one["direction"],
                since=one["since"],
            )
            for one in seen["components"]
        ]
        drifted = {one.stage for one in components if one.evidence >= 1.0}
        raised: dict[str, Any] = dict.fromkeys(("alarmed_at", "since", "stage", "watched", "direction", "advice"))
        if seen["alarm"] is not None:
            number, alarmed_at, since, direction = seen["alarm"]
            what = components[number]
            raised = {
                "alarmed_at": alarmed_at,
                "since": since,
                "stage": what.stage,
                "watched": what.watched,
                "direction": direction,
                "advice": advice(what.watched, direction, what.stage),
            }
        return DriftReport(
            alpha=self.alpha,
            requests=seen["requests"],
            alarm=seen["alarm"] is not None,
            stages=tuple(name for name in stages if name in drifted),
            components=tuple(sorted(components, key=lambda one: -one.evidence)),
            **raised,
        )

    def to_bytes(self) -> bytes:
        """Everything, with a checksum: a monitor read back goes on exactly where this one is."""
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftMonitor:
        """The monitor written by :meth:`to_bytes`.

        Raises
        ------
        PolicyFormatError
            If the bytes are not those of a monitor, or damaged.
        """
        return cls._of(Monitor.from_bytes(data))

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

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return DriftMonitor.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        state = f"alarm at {self.alarmed_at}" if self.alarm else "no alarm"
        return f"DriftMonitor(stages={self.stages}, alpha={self.alpha}, requests={self.requests}, {state})"


def _check_known(policy: Policy, trace: Trace) -> None:
    """A ValidationError where the policy asks for a stage that was not run."""
    asked = policy.replay(trace.signal, trace.prediction).consulted
    lacking = np.argwhere(asked & np.isnan(trace.signal) & np.isnan(trace.loss))
    if len(lacking):
        row, stage = lacking[0]
        raise ValidationError(
            f"`trace` row {row} must know what the policy asks for, got a stage {trace.stages[stage]!r} that was not "
            "run: give the log of this policy, or requests that were run through every stage"
        )
